"""containerd on a machine: its configuration, and the network of pods that its plugins make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rehearsal.machine.toolchain import Toolchain

from . import registry
from .namespaces import Machine
from .root import PATH

SOCKET = "/run/containerd/containerd.sock"
PAUSE = "registry.k8s.io/pause:3.10.1"
_READY_SECONDS = 60
_ETC = Path("/etc/containerd")
_HOSTS = _ETC / "certs.d"
_CNI = Path("/etc/cni/net.d/10-pods.conflist")
_RUNTIME = "io.containerd.cri.v1.runtime"
_IMAGES = "io.containerd.cri.v1.images"
RUNC = "runc"


def pod_network(pods: str) -> dict[str, Any]:
    """CNI's configuration. Pods reach each other and the machines; nothing leads out, so nothing is masqueraded."""
    ranges = {"ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True}
    plugins = [
        {**bridge, "ipam": {"type": "host-local", **ranges}},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def configuration(plugins: Path, runtimes: Mapping[str, str], default: str = RUNC) -> str:
    """Containerd's configuration. `plugins` is the folder of CNI's; `runtimes` are programs by a runtime's name."""
    lines = [
        "version = 3",
        'root = "/var/lib/containerd"',
        'state = "/run/containerd"',
        f"[grpc]\n  address = {json.dumps(SOCKET)}",
        f"[plugins.'{_IMAGES}']\n  snapshotter = 'overlayfs'",
        f"[plugins.'{_IMAGES}'.pinned_images]\n  sandbox = {json.dumps(PAUSE)}",
        f"[plugins.'{_IMAGES}'.registry]\n  config_path = '{_HOSTS}'",
        # Without CAP_SYS_RESOURCE, as in many containers, no process may become less likely to be killed.
        f"[plugins.'{_RUNTIME}']\n  restrict_oom_score_adj = true",
        f"[plugins.'{_RUNTIME}'.cni]\n  bin_dirs = [{json.dumps(str(plugins))}]\n  conf_dir = '{_CNI.parent}'",
        f"[plugins.'{_RUNTIME}'.containerd]\n  default_runtime_name = '{default}'",
    ]
    for name, program in {RUNC: "/usr/sbin/runc", **runtimes}.items():
        table = f"plugins.'{_RUNTIME}'.containerd.runtimes.{name}"
        lines += [f"[{table}]\n  runtime_type = 'io.containerd.runc.v2'"]
        lines += [f"[{table}.options]\n  BinaryName = {json.dumps(program)}\n  SystemdCgroup = false"]
    return "\n".join(lines) + "\n"


def start(
    machine: Machine,
    toolchain: Toolchain,
    runtimes: Mapping[str, str],
    registry_address: str,
    *,
    default: str = RUNC,
) -> None:
    """Starts containerd, which asks the registry at this address for all images. Raises ProcessFailed.

    A pod that names no runtime has the `default` one.
    """
    machine.write(_ETC / "config.toml", configuration(toolchain.path("bridge").parent, runtimes, default))
    machine.write(_HOSTS / "_default" / "hosts.toml", registry.hosts(registry_address))
    machine.write(_CNI, json.dumps(pod_network(machine.pods)))
    program = toolchain.path("containerd")
    machine.start(
        "containerd",
        [program, "--config", _ETC / "config.toml", "--log-level", "info"],
        # It starts containerd-shim-runc-v2, which is in the same folder.
        {"PATH": f"{program.parent}:{PATH}"},
    )
    machine.wait_until("containerd", machine.path(SOCKET).exists, seconds=_READY_SECONDS)
