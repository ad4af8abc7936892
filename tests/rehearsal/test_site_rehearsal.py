"""A whole rehearsal on a cluster that exists, as a user starts it: no AWS, and everything of others stays as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.machine.toolchain import Toolchain

pytestmark = [pytest.mark.xdist_group("rehearsal of workstation"), pytest.mark.seconds(60)]


@pytest.fixture(scope="module")
def outcome(
    toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The exit status, what was printed and the report, of a user whose own kubeconfig and AWS nobody may read."""
    folder = tmp_path_factory.mktemp("site")
    home = folder / "home"
    for name in (".kube/config", ".aws/config", ".aws/credentials"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)  # reading it blocks
    report = folder / "report.json"
    users_own = {"HOME": str(home), "KUBECONFIG": str(home / ".kube" / "config"), "AWS_PROFILE": "production"}
    process = start("workstation", "--json", report, env=users_own)
    try:
        printed, _ = process.communicate(timeout=10 * MINUTES)
        yield process.returncode, printed, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(MINUTES)


def test_a_site_goes_up_and_comes_down_and_leaves_everything_of_others(
    outcome: tuple[int, str, dict[str, Any]],
) -> None:
    exit_code, printed, report = outcome
    assert exit_code == 0, printed
    assert report["resources_created"] > 30
    assert report["second_preview_changes"] == report["refresh_changes"] == 0
    assert {place: report["left"][place] for place in ("state", "aws", "kubernetes", "processes")} == {
        "state": 0,
        "aws": 0,
        "kubernetes": 0,
        "processes": 0,
    }
    assert rehearsal_processes("workstation") == []


def test_every_check_of_a_site_was_made_and_holds(outcome: tuple[int, str, dict[str, Any]]) -> None:
    _, printed, report = outcome
    checks = {check["name"]: check["ok"] for check in report["checks"]}
    assert [name for name, ok in checks.items() if ok is False] == [], printed
    expected = {
        "the named context is used",
        "no AWS at all",
        "nodes are marked",
        "GPUs are advertised as the pools share them",
        "the runtime class exists",
        "a notebook runs on each GPU product",
        "shares of a card are all used",
        "a pod without the pool's tolerations stays off GPU nodes",
        "namespaces refuse what they must",
        "the hub may act in teams only",
        "no secret in plain text",
        "the saved state passes the policies",
        "the destroy keeps its order",
        "everything of others is as it was",
    }
    assert {name for name in expected if checks.get(name)} == expected, printed


def test_eight_notebooks_share_one_card_and_a_ninth_is_refused_in_words(
    outcome: tuple[int, str, dict[str, Any]],
) -> None:
    (shared,) = [check for check in outcome[2]["checks"] if check["name"] == "shares of a card are all used"]
    assert shared["detail"].startswith("8 notebooks of pytorch-share on ws-4090; one more: "), shared
    (products,) = [check for check in outcome[2]["checks"] if check["name"] == "a notebook runs on each GPU product"]
    assert "RTX 4090" in products["detail"]
    assert "RTX A6000" in products["detail"]
