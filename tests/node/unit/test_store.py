"""The store of unpacked images: what does not work leaves nothing in the cache."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.machine.cache import locked
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.tools import ToolMissing
from rehearsal.node import store
from rehearsal.node.cached import kept
from rehearsal.progress import Display

TOOLCHAIN = Toolchain({"containerd": Path("/containerd-v2/containerd")}, {})
DISPLAY = Display(Console(file=io.StringIO()))


def cache_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, whose stores are filled with no image."""

    def fill(folder: Path, *_: object) -> None:
        (folder / "machine" / "containerd").mkdir(parents=True)

    monkeypatch.setenv("GPULAB_CACHE", str(folder))
    monkeypatch.setattr(store, "_import", fill)
    return folder / "node"


def test_a_copy_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match=r"copy of the images' store failed.*\n.*No such file"):
        store.copy(tmp_path / "none", tmp_path / "copy")


def test_what_a_killed_process_left_is_removed_and_what_another_fills_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = cache_of(tmp_path, monkeypatch)
    killed, running = cache / ".filling-store-killed", cache / ".filling-store-running"
    for one in (killed, running):
        one.mkdir(parents=True)
    with locked(cache, "store-running", lambda _: None):
        made = store.filled(tmp_path, TOOLCHAIN, [], DISPLAY)
    assert made.is_dir()
    assert list(cache.glob(".filling-*")) == [running]


def test_small_stores_take_no_large_one_out_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = cache_of(tmp_path, monkeypatch)
    monkeypatch.setattr(store, "_KEPT_BYTES", 1000)
    ages = {"store-unused": 4, "store-large": 3, "store-small": 2, "store-bare": 1}
    for name, age in ages.items():
        folder = cache / name
        folder.mkdir(parents=True)
        (folder / "content").write_bytes(bytes(900 if name in ("store-unused", "store-large") else 10))
        os.utime(folder, (age * -1000, age * -1000))
    made = store.filled(tmp_path, TOOLCHAIN, [], DISPLAY)
    assert {one.name for one in cache.glob("store-*")} == {*ages, made.name} - {"store-unused"}


def test_what_was_being_made_by_an_older_recipe_goes(tmp_path: Path) -> None:
    killed, running = tmp_path / ".making-image-1", tmp_path / ".making-image-2"
    for one in (killed, running):
        one.mkdir()
    with locked(tmp_path, "image-2", lambda _: None):
        kept(tmp_path / "image-3", Path.mkdir, DISPLAY, "an image", seconds=1)
    assert list(tmp_path.glob(".making-*")) == [running]
