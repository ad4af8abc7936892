"""The store of unpacked images: what does not work leaves nothing in the cache."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.machine.cache import locked
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.tools import ToolMissing
from rehearsal.node import store
from rehearsal.progress import Display


def test_a_copy_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"copy of the images' store failed.*\n.*No such file"):
        store.copy(tmp_path / "none", tmp_path / "copy")


def test_what_a_killed_process_left_is_removed_and_what_another_fills_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fill(folder: Path, *_: object) -> None:
        (folder / "machine" / "containerd").mkdir(parents=True)

    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path))
    monkeypatch.setattr(store, "_import", fill)
    cache = tmp_path / "node"
    killed, running = cache / ".filling-store-killed", cache / ".filling-store-running"
    for one in (killed, running):
        one.mkdir(parents=True)
    toolchain = Toolchain({"containerd": Path("/containerd-v2/containerd")}, {})
    with locked(cache, "store-running", lambda _: None):
        made = store.filled(tmp_path, toolchain, [], Display(Console(file=io.StringIO())))
    assert made.is_dir()
    assert list(cache.glob(".filling-*")) == [running]
