"""What a rig could leave on the host: mounts, links, rules of firewalls, cgroups, settings of the kernel, processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from rehearsal.machine.processes import describe, marked
from rehearsal.node import leftovers

# What kubelet, kube-proxy and the script of the machine set, there.
_SETTINGS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/hostname"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward"),
    *("net/bridge/bridge-nf-call-iptables", "net/netfilter/nf_conntrack_max", "fs/inotify/max_user_instances"),
)


def host_state() -> Mapping[str, object]:
    """Each part by its name, to be compared with a later one."""
    return {
        "mounts": sorted(line.split(maxsplit=2)[2] for line in _lines("/proc/self/mountinfo")),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "routes": _lines("/proc/net/route"),
        "rules": {command: _printed(command) for command in ("nft list ruleset", "iptables-save", "ip rule")},
        # Those of rigs are looked for by their ids: others may run.
        "cgroups": sorted(one for one, _, _ in os.walk(leftovers.MOUNTED) if "kube" in one and "/gpulab/" not in one),
        "settings": {name: _lines(f"/proc/sys/{name}") for name in _SETTINGS},
        "devices": sorted(path.name for path in Path("/dev").iterdir()),
    }


def left(rig_id: str) -> list[str]:
    """The processes of a rig that still run."""
    return [describe(one) for one in marked(rig_id)]


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8").splitlines()
    return []


def _printed(command: str) -> str | None:
    """What the host's own program says; None without it."""
    words = command.split()
    if not shutil.which(words[0]):
        return None
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout
