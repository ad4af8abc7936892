"""A machine with GPUs: the driver's files, NVIDIA's own container runtime, and the cards on the PCI bus.

As on a real host nothing of it is in an image. A container gets the GPUs that its NVIDIA_VISIBLE_DEVICES names, from
NVIDIA's container runtime (mode `auto`, so it makes CDI specifications at that moment): the library, nvidia-smi and the
devices' nodes. A stand-in are the library, nvidia-smi and MPS's control program, and nodes that no driver serves.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from rehearsal.machine.cache import cache_folder
from rehearsal.node.namespaces import Machine

from .cards import DRIVER, Card, facts, gpus, mig_minors
from .library import FACTS, LIBRARY, PROGRAM
from .tools import CONTAINER_TOOLKIT

RUNTIME = "nvidia"
_CONFIGURATION = "/etc/nvidia-container-runtime/config.toml"
_LIBRARIES = f"/usr/lib/{platform.machine()}-linux-gnu"
_BINARIES = "/usr/bin"
_RUNC = "/usr/sbin/runc"
_RUNC_WITH_PROC, _MOUNT_PROC = "/usr/local/sbin/runc-with-proc-driver", "/usr/local/sbin/mount-proc-driver"
_SCRIPTS = Path(__file__).parent / "scripts"
_MPS = "nvidia-cuda-mps-control"
# Major numbers: Linux' admin-guide/devices.txt for 195; the others are given by the kernel, and these are usual.
_NVIDIA, _UVM, _CAPABILITIES = 195, 511, 237
_CONTROL_NODES = {"nvidiactl": (_NVIDIA, 255), "nvidia-modeset": (_NVIDIA, 254)}
_UVM_NODES = {"nvidia-uvm": (_UVM, 0), "nvidia-uvm-tools": (_UVM, 1)}
_PCI, _PROC = "/sys/bus/pci/devices", "/proc/driver"
_VENDOR = 0x10DE
_NO_RESOURCES = "\n".join(["0x0 0x0 0x0"] * 13)
_NO_CAPABILITIES = "\0" * 256  # the whole configuration of a device on the bus, which has none of a vGPU


def runtimes() -> dict[str, str]:
    """The further runtime of containerd, for `NodeArgs.runtimes`: its name and its program."""
    return {RUNTIME: str(_program("nvidia-container-runtime"))}


def install(machine: Machine, libraries: Path, cards: Sequence[Card]) -> None:
    """Gives a running machine these cards. `libraries` is the folder that `library.build` made.

    Pods see them from then on, so it comes before the device plugin. Raises CalledProcessError.
    """
    _install_driver(machine, libraries, cards)
    low_level = _install_proc(machine, cards)
    machine.write(_CONFIGURATION, configuration(low_level))
    _make_nodes(machine, cards)
    _plug_in(machine, cards)


def report_error(machine: Machine, gpu: int, xid: int) -> None:
    """Lets a GPU report an error: 79 is "fallen off the bus", 31 a fault of a program, which leaves the GPU healthy.

    NVIDIA's device plugin sees it within a second. It marks the GPU unhealthy until the plugin starts again.
    """
    with machine.path(FACTS).open("a", encoding="utf-8") as file:
        file.write(f"xid {gpu} {xid}\n")


def configuration(low_level: str = _RUNC) -> str:
    """The configuration of NVIDIA's container runtime; what it does not say is NVIDIA's default."""
    return "\n".join(
        [
            # NVIDIA's default, which the device plugin's strategy `envvar` needs.
            "accept-nvidia-visible-devices-envvar-when-unprivileged = true",
            "[nvidia-container-runtime]",
            f'runtimes = ["{low_level}"]',
            "[nvidia-ctk]",
            f'path = "{_program("nvidia-cdi-hook")}"',
            "",
        ]
    )


def _program(name: str) -> Path:
    """A program of NVIDIA's toolkit in the cache, which a machine has at the same path."""
    return cache_folder() / "toolchain" / CONTAINER_TOOLKIT.folder_name / name


def _install_driver(machine: Machine, libraries: Path, cards: Sequence[Card]) -> None:
    library = f"{_LIBRARIES}/{LIBRARY.removesuffix('.1')}.{DRIVER}"
    for source, target in (
        (libraries / LIBRARY, library),
        (libraries / PROGRAM, f"{_BINARIES}/{PROGRAM}"),
        (_SCRIPTS / f"{_MPS}.sh", f"{_BINARIES}/{_MPS}"),
    ):
        _copy_program(machine, source, target)
    link = machine.path(f"{_LIBRARIES}/{LIBRARY}")
    link.unlink(missing_ok=True)
    link.symlink_to(Path(library).name)
    machine.write(FACTS, facts(cards, nodes="/dev"))
    # A container with a GPU reads it, as any user.
    machine.path(FACTS).chmod(0o644)


def _copy_program(machine: Machine, source: Path, target: str) -> None:
    path = machine.path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, path)
    path.chmod(0o755)


def _install_proc(machine: Machine, cards: Sequence[Card]) -> str:
    """Puts what the driver shows of MIG into /proc, also that of containers. Returns the runtime that does so."""
    if not any(card.instances for card in cards):
        return _RUNC
    machine.run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", _PROC)
    machine.write(f"{_PROC}/nvidia-caps/mig-minors", mig_minors(cards))
    machine.path(f"{_PROC}/nvidia-caps/mig-minors").chmod(0o644)
    _copy_program(machine, _SCRIPTS / "runc-with-proc-driver.sh", _RUNC_WITH_PROC)
    _copy_program(machine, _SCRIPTS / "mount-proc-driver.sh", _MOUNT_PROC)
    return _RUNC_WITH_PROC


def _make_nodes(machine: Machine, cards: Sequence[Card]) -> None:
    nodes: dict[str, tuple[int, int]] = {**_CONTROL_NODES, **_UVM_NODES}
    for gpu in gpus(cards):
        nodes[f"nvidia{gpu.index}"] = (_NVIDIA, gpu.index)
        for one in gpu.instances:
            for minor in (one.capability, one.capability + 1):
                nodes[f"nvidia-caps/nvidia-cap{minor}"] = (_CAPABILITIES, minor)
    for name, (major, minor) in nodes.items():
        path = machine.path(f"/dev/{name}")
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
        path.chmod(0o666)


def _plug_in(machine: Machine, cards: Sequence[Card]) -> None:
    """Puts the cards on the PCI bus, which feature discovery reads. The host's other devices are not seen there."""
    machine.run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", _PCI)
    for gpu in gpus(cards):
        device = {
            "vendor": f"0x{_VENDOR:04x}",
            "device": f"0x{gpu.card.device:04x}",
            "class": f"0x{gpu.card.pci_class:06x}",
            "subsystem_vendor": f"0x{_VENDOR:04x}",
            "subsystem_device": "0x0000",
            "numa_node": "-1",
            "resource": _NO_RESOURCES,
            "config": _NO_CAPABILITIES,
        }
        for name, text in device.items():
            machine.write(f"{_PCI}/{gpu.bus}/{name}", f"{text}\n" if name != "config" else text)
            machine.path(f"{_PCI}/{gpu.bus}/{name}").chmod(0o444)
