"""The stack files of sites that exist: short, accepted without a warning, each with a page that leads to a notebook."""

from __future__ import annotations

import base64
import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from engine_mocks import EngineMocks
from test_ground import API, NAMESPACE, RELEASE, deploy
from test_shared_files import CLAIM, VOLUME, nfs

import settings
from components.ground import secrets
from components.ground.existing.found import FoundCluster
from contracts import clusters
from rehearsal.site.machines import fitted
from settings.people.names import namespace_of

PROJECT = Path(__file__).parents[3]
FILES = (PROJECT / "Pulumi.workstation.yaml", *sorted((PROJECT / "examples").glob("*.yaml")))
TODAY = datetime.date(2026, 6, 1)
NAMES = [path.stem.removeprefix("Pulumi.") for path in FILES]
SECRETS = {"gpulab-secrets:github": "the client's secret at GitHub", "gpulab-secrets:cloudflare": "a token"}
THERE = {".dockerconfigjson": '{"auths": {}}', "tls.crt": "a certificate", "tls.key": "its key"}
"""What the Secrets of a site hold that the stack files name."""


@dataclass(frozen=True)
class Made:
    """A site, and what the engine registered of it."""

    stack: settings.ExistingSettings
    mocks: EngineMocks


def page_of(path: Path) -> Path:
    return PROJECT / "docs" / "sites" / f"{path.stem.removeprefix('Pulumi.')}.md"


def load(path: Path) -> settings.ExistingSettings:
    loaded = settings.check_stack_file(path, "lab", TODAY)
    assert isinstance(loaded, settings.ExistingSettings)
    return loaded


def test_there_are_the_five_sites() -> None:
    assert NAMES == ["workstation", "eks-of-others", "microk8s", "one-machine", "talos"]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_stack_file_of_a_site_is_accepted_without_a_warning(path: Path) -> None:
    assert load(path).warnings == ()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_stack_file_of_a_site_fits_on_a_screen(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_site_has_a_page_from_nothing_to_a_notebook_and_back(path: Path) -> None:
    page = page_of(path)
    assert f"docs/sites/{page.name}" in path.read_text(encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert f"]({'../../' if path.parent == PROJECT else '../../examples/'}{path.name})" in text
    for heading in ("From here to a notebook", "Start again", "Remove everything"):
        assert f"\n## {heading}\n" in text


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_somebody_of_each_team_can_start_a_notebook_with_a_gpu(path: Path) -> None:
    loaded = load(path)
    for team in loaded.teams.values():
        offered = [loaded.profiles[name] for name in team.profiles]
        assert any(profile.gpu is not None for profile in offered)
        assert any(team.quota.accelerators.values())


def test_the_page_of_workstations_has_what_one_machine_needs(tmp_path: Path) -> None:
    config = yaml.safe_load(FILES[0].read_text(encoding="utf-8"))["config"]
    (example,) = re.findall(r"```yaml\n(.*?)```", page_of(FILES[0]).read_text(encoding="utf-8"), re.DOTALL)
    config |= yaml.safe_load(example)
    del config["gpulab:profiles"]["pytorch"]
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(yaml.safe_dump({"config": config}), encoding="utf-8")
    assert load(path).warnings == ()


def cluster_of(stack: settings.ExistingSettings) -> FoundCluster:
    """A cluster of the site's distribution, whose nodes have the names and labels of the stack file."""
    objects = clusters.cluster(stack.ground.distribution)
    nodes = fitted([one for one in objects if one["kind"] == "Node"], stack.node_pools)
    return FoundCluster.of([*(one for one in objects if one["kind"] != "Node"), *nodes, *API])


@pytest.fixture(scope="module", params=FILES, ids=NAMES)
def made(request: pytest.FixtureRequest) -> Made:
    """A site's platform, on the cluster of its distribution as it is in the wild."""
    stack = load(request.param)
    mocks = EngineMocks()
    mocks.outputs[CLAIM] = lambda one: {"spec": {**one.inputs["spec"], "volumeName": f"pvc-{one.name}"}}
    mocks.outputs[VOLUME] = lambda one: {"spec": {**nfs(), **(one.inputs.get("spec") or {})}}
    read = {key: base64.b64encode(value.encode()).decode() for key, value in THERE.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "read_secret", lambda *_: read)
        patch.setenv("PULUMI_CONFIG", json.dumps(SECRETS))
        return Made(stack, deploy(stack, cluster_of(stack), mocks))


def test_a_site_is_made_on_its_cluster_as_it_is_in_the_wild(made: Made) -> None:
    charts = {one.inputs["name"] for one in made.mocks.all(RELEASE)}
    assert "jupyterhub" in charts
    assert ("keycloak" in charts) == (made.stack.identity is not None)
    assert ("nvidia-device-plugin" in charts) == (made.stack.gpu.plugin == "device-plugin")
    assert "gpu-operator" not in charts
    namespaces = {one.inputs["metadata"]["name"] for one in made.mocks.all(NAMESPACE)}
    assert {namespace_of(team) for team in made.stack.teams} <= namespaces
