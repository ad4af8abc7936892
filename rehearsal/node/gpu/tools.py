"""NVIDIA's programs and node feature discovery, built from the Go modules that NVIDIA and Kubernetes publish.

They are parts of images and of a node's own root filesystem, so none on the host's PATH is used.
"""

from __future__ import annotations

from rehearsal.machine.tools import Tool

_DEVICE_PLUGIN_MODULE = "github.com/NVIDIA/k8s-device-plugin"
_TOOLKIT_MODULE = "github.com/NVIDIA/nvidia-container-toolkit"
_FEATURES_MODULE = "sigs.k8s.io/node-feature-discovery"
# NVIDIA's Makefiles set them: the functions of NVML and CUDA are looked for only when they are called.
_LATE_BINDING = (
    "'-extldflags=-Wl,--export-dynamic -Wl,--unresolved-symbols=ignore-in-object-files -Wl,-z,lazy'"
    " -X {module}/internal/info.version={{version}}"
)

DEVICE_PLUGIN = Tool(
    name="nvidia-device-plugin",
    module=_DEVICE_PLUGIN_MODULE,
    packages={
        name: f"{_DEVICE_PLUGIN_MODULE}/cmd/{name}"
        for name in ("nvidia-device-plugin", "gpu-feature-discovery", "mps-control-daemon", "config-manager")
    },
    version_flags=_LATE_BINDING.format(module=_DEVICE_PLUGIN_MODULE),
    cgo=True,
    on_path=False,
    build_seconds={
        "nvidia-device-plugin": 56,
        "gpu-feature-discovery": 80,
        "mps-control-daemon": 2,
        "config-manager": 5,
    },
)
CONTAINER_TOOLKIT = Tool(
    name="nvidia-container-toolkit",
    module=_TOOLKIT_MODULE,
    packages={name: f"{_TOOLKIT_MODULE}/cmd/{name}" for name in ("nvidia-container-runtime", "nvidia-cdi-hook")},
    version_flags=_LATE_BINDING.format(module=_TOOLKIT_MODULE),
    cgo=True,
    on_path=False,
    build_seconds={"nvidia-container-runtime": 19, "nvidia-cdi-hook": 2},
)
NODE_FEATURES = Tool(
    name="node-feature-discovery",
    module=_FEATURES_MODULE,
    packages={name: f"{_FEATURES_MODULE}/cmd/{name}" for name in ("nfd-master", "nfd-worker", "nfd-gc")},
    # The chart mounts the node's folders below names that begin with /host-.
    version_flags=f"-X {_FEATURES_MODULE}/pkg/version.version={{version}}"
    f" -X {_FEATURES_MODULE}/pkg/utils/hostpath.pathPrefix=/host-",
    on_path=False,
    build_seconds={"nfd-master": 288, "nfd-worker": 14, "nfd-gc": 7},
)

NVIDIA_TOOLS = (DEVICE_PLUGIN, CONTAINER_TOOLKIT, NODE_FEATURES)
