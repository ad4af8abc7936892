"""Scene 10: somebody follows docs/troubleshooting.md; each of its commands for a cluster or a notebook works."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from components.teams.names import HUB_NAMESPACE
from tests import page_commands

from .notebook import Notebook
from .site import Site
from .visitor import Visitor

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

_SECONDS = 10
# What only another site has: of AWS, of cert-manager, of homes on a shared file system.
_ELSEWHERE = re.compile(r"targetgroupbinding|nodeclaim|certificate|home-sizes")
_NOT_THERE = re.compile(r"the server doesn't have a resource type|not found|NotFound")
# Images of the rig have no PyTorch, and its stand-in for the driver samples nothing.
_NOT_IN_THE_RIG = {"import torch": "No module named 'torch'", "gc, torch": "No module named 'torch'"}
_INCOMPLETE = {"pip uninstall": "at least one requirement", "pip install": "at least one requirement"}
_STAYS = re.compile(r"port-forward")


@pytest.fixture
def person(site: Site, visitor: Callable[..., Visitor]) -> Iterator[tuple[Visitor, Notebook]]:
    """Somebody of the team vision whose notebook runs."""
    somebody = visitor("/vision/developer")
    yield somebody, somebody.started("vision_python")
    somebody.stop()


def filled(site: Site, command: str, visitor: Visitor) -> str:
    """The command with names of this site in place of the page's."""
    pod = site.notebook("vision", visitor.name)
    assert pod
    (hub,) = site.kubernetes.list(f"/api/v1/namespaces/{HUB_NAMESPACE}/pods", labelSelector="component=hub")
    claims = site.kubernetes.list("/api/v1/namespaces/team-vision/persistentvolumeclaims")
    jobs = site.kubernetes.list("/apis/batch/v1/namespaces/identity/jobs")
    for placeholder, name in (
        ("keycloak-realm-…", jobs[0]["metadata"]["name"]),
        ("-n NAMESPACE NAME", f"-n {HUB_NAMESPACE} {hub['metadata']['name']}"),
        ("team-NAME", "team-vision"),
        ("team-TEAM", "team-vision"),
        ("home-PERSON", next(one["metadata"]["name"] for one in claims if visitor.name in one["metadata"]["name"])),
        ("CLAIM", claims[0]["metadata"]["name"]),
        ("POD", pod["metadata"]["name"]),
        ("namespace NAME", f"namespace {HUB_NAMESPACE}"),
        ("node NAME", "node-1"),
        ("nodeclaim NAME", "nodeclaim node-1"),
        ("TEAM", "vision"),
        ("8080:80", ":80"),
    ):
        command = command.replace(placeholder, name)
    assert not re.search(r"\b[A-Z]{4,}\b(?!:)|…", command), f"{command}: what is this at a site?"
    return command


def test_the_clusters_commands_answer(site: Site, person: tuple[Visitor, Notebook]) -> None:
    toolchain = site.rehearsal.toolchain
    folders = [str(toolchain.path(name).parent) for name in ("kubectl", "helm")]
    environment = {
        "PATH": ":".join([*folders, os.environ["PATH"]]),
        "KUBECONFIG": str(site.rehearsal.plane.kubeconfig),
        "HOME": "/nonexistent",
    }
    wrong = {}
    for command in page_commands.of(*page_commands.OF_THE_CLUSTER):
        typed = filled(site, command, person[0])
        try:
            done = subprocess.run(
                ["bash", "-c", typed],
                env=environment,
                timeout=_SECONDS,
                check=False,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired as still:
            if not _STAYS.search(typed):
                wrong[typed] = f"it does not end: {still.stdout!r}"
            continue
        said = done.stdout + done.stderr
        is_elsewhere = _ELSEWHERE.search(typed) and (_NOT_THERE.search(said) or not said)
        if done.returncode and not is_elsewhere:
            wrong[typed] = said[-500:]
    assert not wrong, "\n".join(f"{command}: {said}" for command, said in wrong.items())


def test_the_notebooks_commands_answer(person: tuple[Visitor, Notebook]) -> None:
    _, notebook = person
    notebook.write("SCRIPT", b"print('profiled')")
    wrong = {}
    for command in page_commands.of(*page_commands.IN_NOTEBOOKS):
        said = notebook.shell(f"{command} < /dev/null; echo ended with $?")
        known = {**_NOT_IN_THE_RIG, **_INCOMPLETE}
        expected = next((words for part, words in known.items() if part in command), "ended with 0")
        if expected not in said:
            wrong[command] = said[-500:]
    assert not wrong, "\n".join(f"{command}: {said}" for command, said in wrong.items())
