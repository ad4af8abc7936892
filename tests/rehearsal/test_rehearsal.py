"""Whole rehearsals, as a user starts them: dev and prod."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.machine.toolchain import Toolchain

# What the lab does without.
UNTRIED = {
    "dev": {"load balancer, rules, targets and names match", "roles are within the boundary"},
    "prod": set(),
}
DRIFT = "a newer image leaves notebooks alone"


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal left for its user: exit status, what was printed, the JSON report."""

    stack: str
    exit_code: int
    printed: str
    report: dict[str, Any]

    @property
    def checks(self) -> dict[str, bool | None]:
        return {check["name"]: check["ok"] for check in self.report["checks"]}


@pytest.fixture(scope="module")
def decoy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home in which opening a file with state or credentials blocks forever."""
    home = tmp_path_factory.mktemp("home")
    for name in (".aws/config", ".aws/credentials", ".pulumi/credentials.json", ".kube/config", ".docker/config.json"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
    return home


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(stack, marks=[pytest.mark.xdist_group(f"rehearsal of {stack}"), pytest.mark.seconds(300)])
        for stack in ("dev", "prod")
    ],
)
def outcome(
    request: pytest.FixtureRequest, toolchain: Toolchain, decoy_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """A rehearsal of prod, or of dev with a user who has their own state and credentials."""
    path = tmp_path_factory.mktemp("reports") / "report.json"
    users_own = {
        "HOME": str(decoy_home),
        "KUBECONFIG": str(decoy_home / ".kube" / "config"),
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAUSERSOWN00000000",
        "PULUMI_ACCESS_TOKEN": "pul-users-own",
        "PULUMI_BACKEND_URL": "https://users.own.example.com",
    }
    process = start(request.param, "--json", path, env=users_own if request.param == "dev" else {})
    try:
        printed, _ = process.communicate(timeout=20 * MINUTES)
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        yield Outcome(request.param, process.returncode, printed, report)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(MINUTES)


def test_a_stack_goes_up_and_comes_down_and_leaves_nothing(outcome: Outcome) -> None:
    assert outcome.exit_code == 0, outcome.printed
    report = outcome.report
    assert report["resources_created"] > 50
    assert report["second_preview_changes"] == 0
    assert report["refresh_changes"] == 0
    assert False not in outcome.checks.values(), outcome.printed
    untried = {name for name, ok in outcome.checks.items() if ok is None}
    # Production's maintenance window may be open at this hour.
    assert untried - {DRIFT} == UNTRIED[outcome.stack]
    assert {place: report["left"][place] for place in ("state", "aws", "kubernetes", "processes")} == {
        "state": 0,
        "aws": 0,
        "kubernetes": 0,
        "processes": 0,
    }
    phases = {"preview", "up", "second preview", "refresh", "destroy"}
    assert phases <= report["seconds"].keys()
    assert report["peak_memory_mib"] > 0
    assert any("moto" in part for part in report["stand_ins"])
    assert rehearsal_processes(outcome.stack) == []


def test_every_check_of_the_rehearsal_was_made(outcome: Outcome) -> None:
    expected = {
        "CRDs admit every pool",
        "system nodes exist",
        "the cluster's kubeconfig works",
        "tags on every AWS resource",
        "the user's settings are not used",
        "a GPU pod runs on the cheapest instance",
        "a CPU pod runs, but not on a GPU node",
        "a GPU pod without toleration stays pending",
        "50 GPU pods at once are all decided",
        DRIFT,
        "consolidation leaves notebooks alone",
        "an empty GPU node is removed",
        "on-demand is bought when there is no spot",
        "Pod Identity comes before the pods",
        "the destroy keeps its order",
        "nodes with running pods go",
        "no secret in plain text",
        "roles are within the boundary",
        "workflows' roles admit every call",
    }
    assert expected <= outcome.checks.keys()


def test_production_alone_refuses_a_destroy_until_it_is_unlocked(outcome: Outcome) -> None:
    refused = [one for one in outcome.report["checks"] if "protected" in one["name"]]
    assert [one["ok"] for one in refused] == ([True] if outcome.stack == "prod" else []), refused
