"""A site moves from EKS to a cluster that exists, and back: people, teams and profiles stay as they are."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import ingress_mocks
import pytest
from engine_mocks import EngineMocks
from existing_lab import find
from platform_lab import answering_eks
from test_ground import API, deploy
from test_shared_files import CLAIM, VOLUME, nfs

import settings
from components.platform import Platform

STACKS = Path(__file__).parents[2] / "stacks"
ON_EKS, ON_SITE = STACKS / "moved-to-eks.happy.yaml", STACKS / "moved-to-a-site.happy.yaml"
TODAY = datetime.date(2026, 6, 1)
GROUND = {"aws:region", "gpulab:network", "gpulab:cluster", "gpulab:ground"}
"""What says which cluster it is."""
MOVED = {"gpulab:storage", "gpulab:ingress", "gpulab:nodePools"}
"""What differs with the cluster."""
SECRETS = {"gpulab-secrets:github": "the client's secret at GitHub"}
_SECTION = re.compile(r"^  (\S+):(?=\s)", re.MULTILINE)


def sections(path: Path) -> dict[str, str]:
    """The text of each section, as it is written."""
    _, *parts = _SECTION.split(path.read_text(encoding="utf-8"))
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_only_the_cluster_and_what_it_brings_differ() -> None:
    eks, site = sections(ON_EKS), sections(ON_SITE)
    assert {key for key in eks | site if eks.get(key) != site.get(key)} == GROUND | MOVED
    assert {"gpulab:teams", "gpulab:profiles", "gpulab:identity", "gpulab:hub"} <= eks.keys() & site.keys()


def test_what_people_see_is_read_alike_on_both() -> None:
    eks, site = (settings.check_stack_file(path, "lab", TODAY) for path in (ON_EKS, ON_SITE))
    assert isinstance(eks, settings.EksSettings)
    assert isinstance(site, settings.ExistingSettings)
    assert (eks.teams, eks.profiles) == (site.teams, site.profiles)
    own = {"database", "keycloak"}  # RDS on EKS, CloudNativePG there
    for one, other in ((eks.identity, site.identity), (eks.hub, site.hub)):
        assert one is not None
        assert other is not None
        assert one.model_dump(exclude=own) == other.model_dump(exclude=own)


@pytest.fixture(scope="module")
def grounds() -> dict[str, EngineMocks]:
    """The same site, made on both grounds."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_CONFIG", json.dumps(SECRETS))
        eks = settings.check_stack_file(ON_EKS, "lab", TODAY)
        made["eks"] = mocks = EngineMocks()
        with answering_eks(mocks, patch):
            ingress_mocks.answer(mocks, patch)
            mocks.deploy(lambda: Platform(eks.name, eks))
        made["site"] = mocks = EngineMocks()
        mocks.outputs[CLAIM] = lambda one: {"spec": {**one.inputs["spec"], "volumeName": f"pvc-{one.name}"}}
        mocks.outputs[VOLUME] = lambda one: {"spec": {**nfs(), **(one.inputs.get("spec") or {})}}
        deploy(settings.check_stack_file(ON_SITE, "lab", TODAY), find("k3s", *API), mocks)
    return made


@pytest.mark.parametrize(
    "kind",
    [
        "core/v1:ResourceQuota",
        "core/v1:LimitRange",
        "rbac.authorization.k8s.io/v1:Role",
        "networking.k8s.io/v1:NetworkPolicy",
    ],
)
def test_teams_have_the_same_limits_and_rights_on_both(grounds: dict[str, EngineMocks], kind: str) -> None:
    eks, site = (_of_teams(mocks, f"kubernetes:{kind}") for mocks in grounds.values())
    assert {namespace for namespace, _ in eks} == {"team-research", "team-vision"}
    assert eks == site


def test_people_sign_in_with_the_same_accounts_to_the_same_profiles(grounds: dict[str, EngineMocks]) -> None:
    eks, site = (_texts(mocks) for mocks in grounds.values())
    assert eks["realm.json"] == site["realm.json"]
    assert eks["accounts.json"] == site["accounts.json"]
    first, other = (json.loads(texts["catalogue.json"]) for texts in (eks, site))
    assert first["hub"] == other["hub"]
    assert first["profiles"] == other["profiles"]


def _texts(mocks: EngineMocks) -> dict[str, str]:
    """The texts in all ConfigMaps, by their keys."""
    return {key: text for one in mocks.all("kubernetes:core/v1:ConfigMap") for key, text in one.inputs["data"].items()}


def _of_teams(mocks: EngineMocks, type_: str) -> dict[tuple[str, str], Any]:
    """What is in the namespaces of teams, by namespace and name, without the addresses of a cluster."""
    found = {}
    for one in mocks.all(type_):
        metadata = one.inputs["metadata"]
        if metadata.get("namespace", "").startswith("team-"):
            content = {key: value for key, value in one.inputs.items() if key != "metadata"}
            found[metadata["namespace"], metadata["name"]] = content
    return found
