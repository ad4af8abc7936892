"""containerd's store with unpacked images, in the cache: a machine starts with a copy that shares its files.

Unpacked layers and content are never written again, so a copy has hard links to them; only databases are copied.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from rehearsal.machine.cache import locked
from rehearsal.machine.processes import Processes
from rehearsal.machine.toolchain import Toolchain
from rehearsal.progress import Display

from . import containers, namespaces
from .cached import checked, key, node_cache, remove, remove_interrupted, report, waiting
from .images import Image

_KEPT_BYTES = 12 * 1024**3
"""How much of the newest stores stays in the cache: two of a whole site's, and small ones."""
_FILLING = ".filling-"


def copy(store: Path, folder: Path) -> None:
    """Copies a store into `folder`, which must not exist and must be on the same disk. Raises ToolMissing, OSError."""
    checked(["cp", "--archive", "--link", store, folder], "the copy of the images' store")
    for database in folder.rglob("*.db"):
        original = database.with_suffix(".original")
        database.rename(original)
        shutil.copyfile(original, database)
        original.unlink()


def filled(root: Path, toolchain: Toolchain, images: Sequence[Image], display: Display) -> Path:
    """The store with these images, unpacked. Raises ProcessFailed."""
    contents = sorted(f"{image.reference} {image.archive.name}" for image in images)
    cache = node_cache()
    name = f"store-{key(toolchain.path('containerd').parent.name, *contents)}"
    store = cache / name
    if not store.is_dir():
        with locked(cache, name, waiting(display, "the images' store")) as lock:
            if not store.is_dir():
                lock.say("unpacking images")
                _fill(store, root, toolchain, images, display)
    os.utime(store)
    return store


def _fill(store: Path, root: Path, toolchain: Toolchain, images: Sequence[Image], display: Display) -> None:
    """Imports the images by a containerd of its own."""
    folder = store.with_name(f"{_FILLING}{store.name}")
    remove(folder)
    try:
        _import(folder, root, toolchain, images, display)
        (folder / "machine" / "containerd").rename(store)
    finally:
        remove(folder)
    _remove_old(store)
    remove_interrupted(store.parent, _FILLING)


def _import(folder: Path, root: Path, toolchain: Toolchain, images: Sequence[Image], display: Display) -> None:
    """Fills the store of a machine in `folder`, which ends."""
    processes = Processes(f"{folder.name}-{secrets.token_hex(4)}", folder / "logs")
    try:
        machine = namespaces.start(
            processes,
            folder / "machine",
            root=root,
            name="store",
            number=1,
        )
        containers.start(machine, toolchain, {}, machine.address)
        ctr = [toolchain.path("ctr"), "--namespace=k8s.io", "images"]
        for archive, name in {image.archive: image.name for image in images}.items():
            report(display, f"unpacking {name}")
            machine.run(*ctr, "import", "--local", archive)
        for image in images:
            if image.reference != image.name:
                machine.run(*ctr, "tag", "--force", image.name, _of_node(image.reference))
    finally:
        processes.end()


def _of_node(reference: str) -> str:
    """The name by which a node asks for an image: Docker Hub's own images are those of `library`.

    Beside a digest no tag counts. What is built here has another digest, and is found by that name all the same.
    """
    name, _, digest = reference.partition("@")
    registry, _, path = name.partition("/")
    if registry == "docker.io" and "/" not in path:
        name = f"{registry}/library/{path}"
    return f"{name.rpartition(':')[0]}@{digest}" if digest else name


def _remove_old(newest: Path) -> None:
    """Removes the stores that nobody used for longest, but never `newest`."""
    others = sorted(newest.parent.glob("store-*"), key=lambda one: one.stat().st_mtime, reverse=True)
    kept = 0
    for one in others:
        kept += _bytes(one)
        if kept > _KEPT_BYTES and one != newest:
            shutil.rmtree(one, ignore_errors=True)


def _bytes(folder: Path) -> int:
    files = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(file.lstat().st_size for file in files)
