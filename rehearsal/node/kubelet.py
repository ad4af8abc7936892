"""kubelet, kube-proxy and the agent for network policies on a machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.authority import Signed
from rehearsal.machine.control_plane import ControlPlane, kubeconfig_of
from rehearsal.machine.toolchain import Toolchain

from .containers import SOCKET
from .namespaces import POD_NETWORK, Machine
from .root import PATH

DNS_ADDRESS = "10.100.0.10"
_CONFIG = Path("/etc/kubernetes")
_AUTHORITY = _CONFIG / "authority.crt"
_READY_SECONDS = 60
_FRUGAL = {"PATH": PATH, "GOGC": "50"}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """How a kubelet registers its node: its certificate, its provider's id of it, and the cgroup of all pods.

    It takes requests that `authority`, a certificate as PEM, has signed for.
    """

    signed: Signed
    authority: str
    cgroup: str
    provider_id: str = ""


def kubelet_configuration(machine: Machine, args: Registration) -> dict[str, Any]:
    """A KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": machine.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(_AUTHORITY)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": args.cgroup,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        # The hybrid layout of cgroups v1 and v2 that containers of some hosts have.
        "failCgroupV1": False,
        "failSwapOn": False,
        "fileCheckFrequency": "0s",
        # What else fills the host's memory and disk is not this machine's affair. A threshold of 0% is none.
        "evictionHard": {"memory.available": "0%", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 110,
        "nodeStatusUpdateFrequency": "2s",
        "podCIDR": machine.pods,
        "podLogsDir": "/var/log/pods",
        "providerID": args.provider_id,
        "readOnlyPort": 0,
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
        "syncFrequency": "10s",
        # A pod's changes are seen by watching, not at the next round.
        "configMapAndSecretChangeDetectionStrategy": "Watch",
    }


def start_kubelet(machine: Machine, toolchain: Toolchain, plane: ControlPlane, args: Registration) -> None:
    """Starts kubelet, which registers the node."""
    machine.write(_AUTHORITY, args.authority)
    machine.write(_CONFIG / "kubelet.json", json.dumps(kubelet_configuration(machine, args)))
    account = kubeconfig_of(plane.url, ca=plane.ca, signed=args.signed)
    machine.write(_CONFIG / "kubelet.kubeconfig", json.dumps(account))
    machine.start(
        "kubelet",
        [
            toolchain.path("kubelet"),
            f"--config={_CONFIG / 'kubelet.json'}",
            f"--kubeconfig={_CONFIG / 'kubelet.kubeconfig'}",
            f"--hostname-override={machine.name}",
            f"--node-ip={machine.address}",
        ],
        _FRUGAL,
    )


def enforces(machine: Machine) -> bool:
    """Whether network policies are enforced: the agent's chain is there."""
    return "KUBE-ROUTER-FORWARD" in machine.run("iptables-save", "-t", "filter")


def _serves(machine: Machine) -> bool:
    """Whether kube-proxy has written its rules."""
    return "-A KUBE-SERVICES" in machine.run("iptables-save", "-t", "nat")


def start_network(machine: Machine, toolchain: Toolchain, plane: ControlPlane) -> None:
    """Starts kube-proxy, for Services, and kube-router, for network policies only. Raises ProcessFailed."""
    machine.write(_CONFIG / "admin.kubeconfig", plane.kubeconfig.read_text(encoding="utf-8"))
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(_CONFIG / "admin.kubeconfig")},
        "clusterCIDR": POD_NETWORK,
        "mode": "iptables",
        "iptables": {"minSyncPeriod": "0s", "syncPeriod": "10s"},
        "nodeIPOverride": [machine.address],
        "hostnameOverride": machine.name,
        # The limits of connection tracking are the whole host's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    machine.write(_CONFIG / "kube-proxy.json", json.dumps(proxy))
    machine.start("kube-proxy", [toolchain.path("kube-proxy"), f"--config={_CONFIG / 'kube-proxy.json'}"], _FRUGAL)
    # kube-router writes whole tables, without chains that kube-proxy makes at the same time. A kube-proxy whose first
    # round fails so does not try again.
    machine.wait_until("kube-proxy", lambda: _serves(machine), seconds=_READY_SECONDS)
    machine.start(
        "kube-router",
        [
            toolchain.path("kube-router"),
            f"--kubeconfig={_CONFIG / 'admin.kubeconfig'}",
            "--run-firewall=true",
            "--run-router=false",
            "--run-service-proxy=false",
            "--run-loadbalancer=false",
            f"--hostname-override={machine.name}",
            "--service-cluster-ip-range=10.100.0.0/16",
            "--iptables-sync-period=10s",
            "--enable-ibgp=false",
            "--metrics-port=0",
        ],
        {**_FRUGAL, "NODE_NAME": machine.name},
    )
