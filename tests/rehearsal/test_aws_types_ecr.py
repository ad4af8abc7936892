"""ECR in the aws stand-in: each type lives without drift, and refuses what ECR refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import SimulatedAws, simulated_aws

from rehearsal.cloud import server
from rehearsal.providers.protocol.model import Refused

REPOSITORY, RULE = "aws:ecr/repository:Repository", "aws:ecr/pullThroughCacheRule:PullThroughCacheRule"
QUAY = {"ecrRepositoryPrefix": "lab/quay", "upstreamRegistryUrl": "quay.io"}


@pytest.fixture(scope="module")
def account() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(account: SimulatedAws) -> Iterator[SimulatedAws]:
    """An account that is empty again after each test."""
    yield account
    server.start_over()
    account.made.clear()


@pytest.mark.parametrize(
    ("token", "given", "changed"),
    [
        (REPOSITORY, {"name": "lab/quay/a", "forceDelete": True}, {"tags": {"a": "b"}}),
        (REPOSITORY, {"name": "lab/quay/a"}, {"imageTagMutability": "IMMUTABLE"}),
        (RULE, QUAY, {}),
    ],
)
def test_a_resource_lives_without_drift_from_its_creation_to_its_end(
    aws: SimulatedAws, token: str, given: dict[str, Any], changed: dict[str, Any]
) -> None:
    made = aws.create(token, given)
    assert aws.drift(made) == {}
    aws.update(made, {**given, **changed})
    assert aws.drift(made) == {}
    aws.delete(made)
    assert aws.drift(made) == {"gone": True}
    aws.delete(made)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"upstreamRegistryUrl": "nvcr.io"}, "UnsupportedUpstreamRegistryException"),
        ({"upstreamRegistryUrl": "ghcr.io"}, "InvalidParameterException"),
        ({"ecrRepositoryPrefix": "a-name-of-more-than-thirty-characters"}, "InvalidParameterException"),
        ({"ecrRepositoryPrefix": "lab--a"}, "InvalidParameterException"),
    ],
)
def test_ecr_refuses_rules_that_it_cannot_follow(aws: SimulatedAws, changes: dict[str, str], code: str) -> None:
    with pytest.raises(Refused, match=code):
        aws.create(RULE, {**QUAY, **changes})


def test_ecr_has_one_rule_a_prefix_and_one_repository_a_name(aws: SimulatedAws) -> None:
    for token, given, code in (
        (RULE, QUAY, "PullThroughCacheRuleAlreadyExistsException"),
        (REPOSITORY, {"name": "lab/quay/a"}, "RepositoryAlreadyExistsException"),
    ):
        aws.create(token, given)
        with pytest.raises(Refused, match=code):
            aws.create(token, given)


def test_a_repository_with_images_goes_only_by_force(aws: SimulatedAws) -> None:
    kept, forced = (
        aws.create(REPOSITORY, {"name": f"lab/{name}", "forceDelete": force}, name=name)
        for name, force in (("kept", False), ("forced", True))
    )
    for made in (kept, forced):
        manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}'
        aws.provider.cloud().client("ecr").put_image(repositoryName=made.id, imageManifest=manifest, imageTag="1")
    aws.delete(forced)
    with pytest.raises(Refused, match="RepositoryNotEmptyException"):
        aws.delete(kept)
