"""The folder and the cgroups of a rig: they are made for kubelet, and go also after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from karpenter_lab import until

from rehearsal.machine.tools import ToolMissing
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import leftovers

START = """\
import sys
from pathlib import Path
from rehearsal.node import leftovers
leftovers.MOUNTED = Path(sys.argv[1])
with leftovers.removed_afterwards("rig-1"):
    print("made", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cgroups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hierarchy of cgroups v2 whose root has more controllers than kubelet asks for."""
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma\n")
    (root / "cgroup.subtree_control").write_text("memory pids\n")
    monkeypatch.setattr(leftovers, "MOUNTED", root)
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "a cache"))
    return root


def test_cgroups_below_the_root_get_the_controllers_that_kubelet_asks_for(cgroups: Path) -> None:
    leftovers.make_cgroups("rig-1")
    assert (cgroups / "gpulab" / "rig-1").is_dir()
    assert (cgroups / "cgroup.subtree_control").read_text() == "+cpu +cpuset +hugetlb"


def test_a_root_with_all_controllers_stays_as_it_is(cgroups: Path) -> None:
    passed_on = "cpuset cpu memory hugetlb pids\n"
    (cgroups / "cgroup.subtree_control").write_text(passed_on)
    leftovers.make_cgroups("rig-1")
    assert (cgroups / "cgroup.subtree_control").read_text() == passed_on


def test_processes_in_the_root_are_reported(cgroups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(ToolMissing, match=f"cpu, cpuset, hugetlb below {cgroups}.*--cgroupns=host"):
        leftovers.make_cgroups("rig-1")


def fail_in_the_middle() -> None:
    with leftovers.removed_afterwards("rig-1"):
        assert leftovers.volumes("rig-1").is_dir()
        raise OSError("no space")


@pytest.mark.usefixtures("cgroups")
def test_a_failed_start_leaves_no_folder() -> None:
    with pytest.raises(OSError, match="no space"):
        fail_in_the_middle()
    until(lambda: not leftovers.folder("rig-1").exists(), "the folder is gone")


@pytest.mark.usefixtures("cgroups")
def test_the_folder_stays_as_long_as_a_process_needs_it() -> None:
    with subprocess.Popen(["sleep", "infinity"]) as machine:
        with leftovers.removed_afterwards("rig-1") as keep_for:
            keep_for(machine.pid)
        assert leftovers.volumes("rig-1").is_dir()
        machine.kill()
    until(lambda: not leftovers.folder("rig-1").exists(), "the folder is gone")


@pytest.mark.usefixtures("cgroups")
def test_a_killed_start_leaves_no_folder() -> None:
    command = [sys.executable, "-c", START, leftovers.MOUNTED]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as start:
        assert start.stdout
        assert start.stdout.readline() == "made\n"
        assert leftovers.folder("rig-1").is_dir()
        start.kill()
    until(lambda: not leftovers.folder("rig-1").exists(), "the folder is gone")


@pytest.mark.usefixtures("cgroups")
def test_the_next_rig_removes_what_was_forgotten_and_nothing_that_is_watched() -> None:
    leftovers.volumes("forgotten").mkdir(parents=True)
    with leftovers.removed_afterwards("watched"), leftovers.removed_afterwards("next"):
        assert not leftovers.folder("forgotten").exists()
        assert leftovers.folder("watched").is_dir()
