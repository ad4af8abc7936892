"""The programs of a node: kubelet and kube-proxy, containerd, its network's plugins, network policies; and kubectl."""

from __future__ import annotations

from dataclasses import replace

from rehearsal.machine.tools import KUBERNETES, Download, Tool
from settings.kubernetes_versions import KUBERNETES_VERSIONS

from .gpu.tools import NVIDIA_TOOLS

# The newest is pinned with its node, so that one module is built for both.
_NODE = replace(
    KUBERNETES,
    name="kubernetes-node",
    pinned_in=f"kubernetes-{KUBERNETES_VERSIONS[-1]}",
    packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kubelet", "kube-proxy", "kubectl")},
    on_path=False,
    build_seconds={"kubelet": 100, "kube-proxy": 20, "kubectl": 40},
)
_CONTAINERD = Tool(
    name="containerd",
    module="github.com/containerd/containerd/v2",
    packages={
        name: f"github.com/containerd/containerd/v2/cmd/{name}"
        for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    },
    version_flags="-X github.com/containerd/containerd/v2/version.Version={version}",
    download=Download(
        url="https://github.com/containerd/containerd/releases/download/{version}/containerd-static-{number}-{os}-{arch}.tar.gz",
        checksums="https://github.com/containerd/containerd/releases/download/{version}/containerd-static-{number}-{os}-{arch}.tar.gz.sha256sum",
    ),
    on_path=False,
    build_seconds={"containerd": 120, "containerd-shim-runc-v2": 15, "ctr": 20},
)
_CNI = Tool(
    name="cni-plugins",
    module="github.com/containernetworking/plugins",
    packages={
        name: f"github.com/containernetworking/plugins/plugins/{kind}/{name}"
        for name, kind in {"bridge": "main", "loopback": "main", "host-local": "ipam", "portmap": "meta"}.items()
    },
    download=Download(
        url="https://github.com/containernetworking/plugins/releases/download/{version}/cni-plugins-{os}-{arch}-{version}.tgz",
        checksums="https://github.com/containernetworking/plugins/releases/download/{version}/cni-plugins-{os}-{arch}-{version}.tgz.sha256",
    ),
    on_path=False,
    build_seconds={"bridge": 20, "loopback": 5, "host-local": 5, "portmap": 5},
)
_KUBE_ROUTER = Tool(
    name="kube-router",
    module="github.com/cloudnativelabs/kube-router/v2",
    packages={"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"},
    version_flags="-X github.com/cloudnativelabs/kube-router/v2/pkg/version.Version={version}",
    on_path=False,
    build_seconds={"kube-router": 120},
)

NODE_TOOLS = (_NODE, _CONTAINERD, _CNI, _KUBE_ROUTER, *NVIDIA_TOOLS)
"""In the order in which a rehearsal needs them."""
