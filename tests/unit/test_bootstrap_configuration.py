"""The bootstrap's configuration: what it refuses, all at once, and what it takes from the stack files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bootstrap import configuration
from bootstrap.configuration import Configuration
from settings import SettingsError, StackFileError

PROJECT = Path(__file__).resolve().parents[2]
RIGHT: dict[str, Any] = {
    "aws:region": "us-east-1",
    "gpulab-bootstrap:repository": "example/gpulab",
    "gpulab-bootstrap:stacks": ["dev", "prod"],
    "gpulab-bootstrap:owner": "ml-platform@example.com",
    "gpulab-bootstrap:costCenter": "1234",
}


def load(**changed: Any) -> Configuration:
    config = {f"gpulab-bootstrap:{key}" if ":" not in key else key: value for key, value in changed.items()}
    given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in {**RIGHT, **config}.items()}
    return configuration.load(given, account="example", stack_files=PROJECT)


def test_it_takes_cluster_region_domain_and_secrets_from_the_stack_files() -> None:
    stacks = load().stacks
    assert (stacks["dev"].cluster, stacks["dev"].region, stacks["dev"].domain) == ("gpulab-dev", "us-east-1", None)
    assert (stacks["prod"].region, stacks["prod"].domain) == ("eu-west-1", "gpulab.example.com")
    assert stacks["dev"].secrets == ()
    names = {arn.rpartition(":")[2] for arn in stacks["prod"].secrets}
    assert names == {"gpulab/google-AbCdEf", "gpulab/github-AbCdEf", "gpulab/ldap-AbCdEf", "gpulab/mail-AbCdEf"}


def test_a_cost_center_of_digits_is_text() -> None:
    assert load().tags["CostCenter"] == "1234"


def test_a_repository_is_named_as_its_tokens_name_it() -> None:
    assert load().subject == "repo:example/gpulab"
    ids = {"owner": 123456, "repository": 789012}
    assert load(repositoryIds=ids).subject == "repo:example@123456/gpulab@789012"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("aws:region", "", "must be an AWS region such as us-east-1"),
        ("repository", "https://github.com/example/gpulab", "must be a repository on GitHub, owner/name"),
        ("repository", "example/*", "must be a repository on GitHub, owner/name"),
        ("repositoryIds", {"owner": 1}, "repository: is missing"),
        ("repositoryIds", {"owner": "1", "repository": 2}, "owner: must be a whole number"),
        ("stacks", ["dev", "dev"], "must not repeat an entry: dev"),
        ("stacks", ["*"], "must be the name of a stack"),
        ("stacks", ["preview"], "is reserved"),
        ("stacks", "dev", "must be a list"),
        ("owner", "", "is missing"),
        ("unlock", "yes", "must be true or false"),
        (
            "openIdConnectProvider",
            "arn:aws:iam::123456789012:oidc-provider/example.com",
            "list-open-id-connect-providers",
        ),
        ("repositry", "example/gpulab", "did you mean"),
        ("gpulab-bootstrap:repositoryIds.owner", "1", "pulumi config set --path"),
        ("gpulab-bootstrp:unlock", "true", 'did you mean "gpulab-bootstrap:unlock"'),
    ],
)
def test_what_is_wrong_is_refused_by_its_key(key: str, value: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        load(**{key: value})
    assert key in str(refused.value)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        load(**{"aws:region": "moon", "repository": "x", "stacks": []})
    assert {mistake.key for mistake in refused.value.mistakes} == {
        "aws:region",
        "gpulab-bootstrap:repository",
        "gpulab-bootstrap:stacks",
    }


def test_a_stack_without_a_file_is_told_of() -> None:
    with pytest.raises(StackFileError, match=r"Pulumi.staging.yaml"):
        load(stacks=["staging"])
