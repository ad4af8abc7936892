"""The cores and the memory that a machine says it has: those of the site's machine, and not of this one.

kubelet reads them (cAdvisor, `machine.Info`) from files that a machine can have of its own.
"""

from __future__ import annotations

from pathlib import Path

_MEMINFO = """\
MemTotal: {kib} kB
MemFree: {kib} kB
MemAvailable: {kib} kB
Buffers: 0 kB
Cached: 0 kB
SwapTotal: 0 kB
SwapFree: 0 kB
"""
_CPUINFO = """\
processor\t: {number}
cpu MHz\t\t: 3000.000
physical id\t: 0
core id\t\t: {number}
cpu cores\t: {cores}
"""
_KIB_A_GIB = 1024 * 1024


def write(folder: Path, *, cores: int, memory: float) -> None:
    """Writes the files for a machine with `memory` GiB, for `machine.sh`."""
    cores_folder = folder / "cpu"
    cores_folder.mkdir(parents=True)
    (folder / "meminfo").write_text(_MEMINFO.format(kib=int(memory * _KIB_A_GIB)))
    text = "\n".join(_CPUINFO.format(number=number, cores=cores) for number in range(cores))
    (folder / "cpuinfo").write_text(f"{text}\n")
    (cores_folder / "online").write_text(f"0-{cores - 1}\n")
    # Without a topology below it, kubelet counts a core and gives it to no pod by its number: this host may lack it.
    for number in range(cores):
        (cores_folder / f"cpu{number}").mkdir()
