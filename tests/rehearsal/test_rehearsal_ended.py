"""Rehearsals that a user keeps short, ends early, or starts with wrong arguments."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from labs import small_stack
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.machine.toolchain import Toolchain, cache_folder
from rehearsal.machine.tools import ENGINE, LANGUAGE_HOST

pytestmark = pytest.mark.seconds(150)

NIGHTLY = pytest.mark.endurance


def test_a_quick_rehearsal_runs_no_pods(toolchain: Toolchain, tmp_path: Path) -> None:
    """It uses a thrifty lab in a VPC with a secondary range, because no other test brings these up and down."""
    stack = small_stack(
        tmp_path,
        people=True,
        lifecycle={"thrift": True},
        network={"secondaryCidr": "100.64.0.0/16", "prefixDelegation": True},
    )
    with start(stack, "--quick", "--json", tmp_path / "quick.json") as process:
        printed, _ = process.communicate(timeout=20 * MINUTES)
    assert process.returncode == 0, printed
    report = json.loads((tmp_path / "quick.json").read_text(encoding="utf-8"))
    assert "pods" not in report["seconds"]
    assert report["left"]["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
    assert not any(" pod " in check["name"] for check in report["checks"])


@pytest.mark.parametrize(
    ("after", "how"),
    [
        ("kubernetes", ["--keep"]),
        ("checks", []),
        *(pytest.param(one, [], marks=NIGHTLY) for one in ("start", "preview", "kubernetes", "up", "refresh")),
    ],
)
def test_ctrl_c_leaves_nothing_running(toolchain: Toolchain, tmp_path: Path, after: str, how: list[str]) -> None:
    with start(small_stack(tmp_path), *how) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(f"done {after} "):
                break
        time.sleep(0.5)  # into the phase that follows
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(MINUTES) == 130, rest
    assert "Interrupted" in rest
    assert "Traceback" not in rest
    assert rehearsal_processes("dev") == []
    assert list((cache_folder() / "rehearsals").glob("dev-*")) == []


def test_ctrl_c_while_the_rest_is_built_after_the_first_preview(toolchain: Toolchain, tmp_path: Path) -> None:
    """A machine that has what a preview needs and builds the rest: it has no Kubernetes programs yet."""
    present = tmp_path / "cache" / "toolchain"
    present.mkdir(parents=True)
    for tool in (ENGINE, LANGUAGE_HOST):
        (present / tool.folder_name).symlink_to(cache_folder() / "toolchain" / tool.folder_name)
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/building\nsleep 600\n", encoding="utf-8")
    go.chmod(0o755)
    # Nobody is at the proxy: no network, so the rest is built.
    alone = {"GPULAB_CACHE": str(tmp_path / "cache"), "https_proxy": "http://127.0.0.1:9"}
    with start("dev", env={**alone, "PATH": f"{go.parent}{os.pathsep}{os.environ['PATH']}"}) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("done preview "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(MINUTES) == 130, rest
    said = "".join(lines)
    assert "programs are missing" in said
    assert "resources)" in lines[-1], said
    assert "7 programs are still missing" in rest
    assert "Traceback" not in said + rest
    assert not psutil.pid_exists(int((tmp_path / "building").read_text(encoding="utf-8")))
    assert list((tmp_path / "cache" / "rehearsals").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nowhere"], 2, "Pulumi.nowhere.yaml"),
        (["dev", "--today", "2030-01-01"], 2, "gpulab:lifecycle.expires"),
        (["down", "dev-00000000"], 2, "there is no rehearsal dev-00000000"),
        (["dev", "--plugins", "/no/such/folder"], 2, "/no/such/folder"),
        (["dev", "--today", "tomorrow"], 2, "--today"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence_with_nothing_started(
    arguments: list[str], status: int, says: str
) -> None:
    with start(*arguments) as process:
        printed, _ = process.communicate(timeout=MINUTES)
    assert process.returncode == status, printed
    assert says in printed
    assert "Traceback" not in printed
