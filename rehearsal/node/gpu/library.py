"""Compiles the stand-in of NVML and of nvidia-smi, with NVIDIA's own header, which is in its Go module."""

from __future__ import annotations

import subprocess
from pathlib import Path

from rehearsal.machine.tools import ToolMissing
from rehearsal.node import root as machine_root
from rehearsal.node.cached import failure, kept, key, node_cache
from rehearsal.node.root import Bind
from rehearsal.progress import Display

from . import modules
from .cards import DRIVER

FACTS = f"/lib/firmware/nvidia/{DRIVER}/gsp_stand_in.bin"
"""Where the library looks for its facts. NVIDIA's toolkit gives each container with a GPU the driver's firmware, so the
facts get there with the library."""

LIBRARY, PROGRAM = "libnvidia-ml.so.1", "nvidia-smi"
_SOURCES = Path(__file__).parent
_FILES = ("nvml.c", "nvml_facts.h", "nvidia-smi.c")
_PIN, _MODULE = "nvidia-container-toolkit", "github.com/NVIDIA/go-nvml"
_FLAGS = ("-O1", "-Wall", "-DNVML_NO_UNVERSIONED_FUNC_DEFS", f'-DFACTS="{FACTS}"')


def build(display: Display, root: Path | None) -> Path:
    """The folder with the library and the program, compiled in the machine root `root`, or with the host's gcc.

    Raises ToolMissing.
    """
    sources = [(_SOURCES / name).read_bytes() for name in _FILES]
    where = root.name if root else "host"
    header = modules.version(_PIN, _MODULE)
    path = node_cache() / f"nvml-{key(*sources, *_FLAGS, where, header)}"
    return kept(path, lambda making: _compile(making, root), display, "the stand-in of NVML", seconds=3)


def _compile(target: Path, root: Path | None) -> None:
    target.mkdir()
    header = modules.folder(_PIN, _MODULE) / "pkg" / "nvml"
    if root is None:
        _run_gcc(None, _SOURCES, header, target, ())
    else:
        binds = (Bind(_SOURCES, "/sources"), Bind(header, "/header"), Bind(target, "/made", writable=True))
        _run_gcc(root, Path("/sources"), Path("/header"), Path("/made"), binds)


def _run_gcc(root: Path | None, sources: Path, header: Path, made: Path, binds: tuple[Bind, ...]) -> None:
    common = ["gcc", *_FLAGS, f"-I{header}"]
    library = made / LIBRARY
    for command in (
        [*common, "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", library, sources / "nvml.c"],
        [*common, "-o", made / PROGRAM, sources / "nvidia-smi.c", library],
    ):
        if root:
            done = machine_root.run(root, command, binds=binds, network=False)
        else:
            done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolMissing(failure(done, "compiling the stand-in of NVML"))
