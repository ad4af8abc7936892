"""GPU policies close to their edge: taints, tolerations, sharing, and what a pod sees of its node's GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.policies.conftest import (
    kubernetes,
    node_pool,
    release,
    text,
)
from tests.policies.objects import FAMILY_OF_ONE, GPU, TAINT, refuses_the_first_only, workload


def case(name, **changed):
    """An object from a real case, with some of its `spec` changed."""
    obj = yaml.safe_load((Path(__file__).parents[1] / "cases" / name).read_text(encoding="utf-8"))
    return kubernetes(obj["kind"], {**obj["spec"], **changed}, metadata=obj["metadata"])


ON_A_GPU = {"slug": "gpu", "kubespawner_override": {"extra_resource_limits": {GPU: 1}}}


def profile_of(**override):
    """A ConfigMap with one profile."""
    listed = text([{"slug": "one", "kubespawner_override": override}])
    metadata = {"labels": {"gpulab.dev/profiles": "team"}}
    return kubernetes("ConfigMap", metadata=metadata, data={"profiles.yaml": listed})


def shared_memory(medium, at="/dev/shm"):
    volume = {"name": "shm", "emptyDir": {"medium": medium, "sizeLimit": "4Gi"}}
    return {"volumes": [volume], "volume_mounts": [{"name": "shm", "mountPath": at}]}


def plugin_config(sharing, **others):
    shared = {sharing: {"resources": [{"name": GPU, "replicas": 4}]}, **others}
    return yaml.safe_dump({"version": "v1", "sharing": shared})


def own_plugin(sharing, **others):
    return release("nvidia-device-plugin", {"config": {"map": {"only": plugin_config(sharing, **others)}}})


def share_of(namespace, selector=None):
    """A workload that requests a share of a GPU."""
    asked = {"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}
    return workload(namespace=namespace, container=asked, **({"nodeSelector": selector} if selector else {}))


def on(*pools):
    """A term of node affinity."""
    return {"matchExpressions": [{"key": "gpulab.dev/pool", "operator": "In", "values": list(pools)}]}


def by_affinity(namespace, *pools):
    """A workload that requests a share of a GPU, on one of these pools."""
    asked = {"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}
    required = {"nodeSelectorTerms": [on(pool) for pool in pools]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return workload(namespace=namespace, container=asked, affinity=affinity)


def node_class_of(alias, user_data=None):
    spec = {"amiSelectorTerms": [{"alias": alias}], **({"userData": user_data} if user_data else {})}
    return kubernetes("EC2NodeClass", spec, api="karpenter.k8s.aws/v1", metadata={"name": "nodes"})


def operator(values):
    return release("gpu-operator", {"driver": {"enabled": False}, **values})


SLICED = kubernetes(
    "NodePool",
    {
        "template": {
            "metadata": {"labels": {"nvidia.com/mig.config": "all-1g.10gb"}},
            "spec": {"nodeClassRef": {"kind": "EC2NodeClass", "name": "nodes"}},
        }
    },
    api="karpenter.sh/v1",
)
GPU_NODES = node_pool("gpu", taints=[TAINT], nodeClassRef={"kind": "EC2NodeClass", "name": "nodes"})
BY_VARIABLE = "accept-nvidia-visible-devices-envvar-when-unprivileged"
A_SHARE = {"extra_resource_limits": {"nvidia.com/gpu.shared": 1}}
ON_WHOLE_GPUS = {"resources": {"limits": {GPU: "1"}}}
MPS_LABELS = {"gpulab.dev/pool": "shared", "nvidia.com/device-plugin.config": "shared"}
MPS_POOL = kubernetes(
    "NodePool",
    {"template": {"metadata": {"labels": MPS_LABELS}}, "limits": {"nvidia.com/gpu.shared": "8"}},
    api="karpenter.sh/v1",
    metadata={"name": "shared"},
)
DEVICE_PLUGIN = release(
    "gpu-operator",
    {
        "devicePlugin": {
            "config": {"data": {"whole": "version: v1", "shared": plugin_config("mps")}, "default": "whole"}
        }
    },
)


REFUSED_AND_ACCEPTED = {
    "a CPU pool needs no taint": (
        "gpu-pool-taint",
        node_pool(),
        kubernetes("NodePool", {"limits": {"cpu": "8"}}, api="karpenter.sh/v1"),
    ),
    "a GPU pool is known by its limit alone": (
        "gpu-pool-taint",
        node_pool(requirements=[], spec_={"limits": {"nvidia.com/mig-1g.10gb": "7"}}),
        node_pool(requirements=[], spec_={"limits": {"cpu": "7"}}),
    ),
    "NoExecute keeps pods away too": (
        "gpu-pool-taint-effect",
        node_pool(taints=[{**TAINT, "effect": "PreferNoSchedule"}]),
        node_pool(taints=[{**TAINT, "effect": "NoExecute"}]),
    ),
    "a share of a GPU is a GPU": (
        "gpu-request-without-toleration",
        workload(container={"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}),
        workload(
            container={"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}},
            tolerations=[{"key": GPU, "operator": "Exists"}],
        ),
    ),
    "a DaemonSet needs no GPU to tolerate its nodes": (
        "gpu-toleration-without-request",
        workload(tolerations=[{"key": GPU, "operator": "Exists"}]),
        workload("DaemonSet", tolerations=[{"key": GPU, "operator": "Exists"}]),
    ),
    "a pod of the wild with every GPU of a node that it asks nothing of": (
        "gpu-toleration-without-request",
        case("pod-without-gpu-on-gpu-pool.yaml"),
        case("pod-without-gpu-on-gpu-pool.yaml", tolerations=[]),
    ),
    "shared memory that the chart's values mount for all": (
        "notebook-shared-memory",
        release("jupyterhub", {"singleuser": {"storage": {"extraVolumes": {}}, "profileList": [ON_A_GPU]}}),
        release(
            "jupyterhub",
            {
                "singleuser": {
                    "storage": {
                        "extraVolumes": {"shm": {"name": "shm", "emptyDir": {"medium": "Memory"}}},
                        "extraVolumeMounts": {"shm": {"name": "shm", "mountPath": "/dev/shm"}},
                    },
                    "profileList": [ON_A_GPU],
                }
            },
        ),
    ),
    "an emptyDir on the node's disk is no shared memory": (
        "notebook-shared-memory",
        profile_of(extra_resource_limits={GPU: 1}, **shared_memory(medium="")),
        profile_of(extra_resource_limits={GPU: 1}, **shared_memory(medium="Memory")),
    ),
    "a slash at its end makes no other folder": (
        "notebook-shared-memory",
        profile_of(extra_resource_limits={GPU: 1}, **shared_memory("Memory", at="/dev/shm/x")),
        profile_of(extra_resource_limits={GPU: 1}, **shared_memory("Memory", at="/dev/shm/")),
    ),
    "where MPS may be, /dev/shm is the node's": (
        "notebook-shared-memory",
        profile_of(extra_resource_limits={"nvidia.com/mig-1g.5gb": 1}),
        profile_of(extra_resource_limits={"nvidia.com/gpu.shared": 1}),
    ),
    "an MPS daemon's shared memory is for one namespace": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, profile_of(**A_SHARE), share_of("other")],
        [MPS_POOL, DEVICE_PLUGIN, profile_of(**A_SHARE), share_of("team")],
    ),
    "pods that are kept on pools of their own share no GPU": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), share_of("other", {"gpulab.dev/pool": "shared"})],
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), share_of("other", {"gpulab.dev/pool": "another"})],
    ),
    "so do pods by required node affinity": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), by_affinity("other", "another", "shared")],
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), by_affinity("other", "another", "third")],
    ),
    "and pods of profiles": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, share_of("other"), profile_of(**A_SHARE, node_affinity_required=[on("shared")])],
        [MPS_POOL, DEVICE_PLUGIN, share_of("other"), profile_of(**A_SHARE, node_affinity_required=[on("another")])],
    ),
    "a key with nothing in it is no MPS": (
        "mps-pool-of-one-team",
        [node_pool("shared"), own_plugin("mps", timeSlicing=None), share_of("team"), share_of("other")],
        [node_pool("shared"), own_plugin("timeSlicing", mps=None), share_of("team"), share_of("other")],
    ),
    "a whole GPU is nobody else's": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), share_of("other")],
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), workload(namespace="other", container=ON_WHOLE_GPUS)],
    ),
    "which configuration a node has, its label says": (
        "mps-pool-of-one-team",
        [MPS_POOL, DEVICE_PLUGIN, share_of("team"), share_of("other")],
        [node_pool("shared", taints=[TAINT]), DEVICE_PLUGIN, share_of("team"), share_of("other")],
    ),
    "mig-manager may not stop kubelet where the driver is the image's": (
        "mig-manager-stops-kubelet",
        [SLICED, operator({})],
        [SLICED, operator({"migManager": {"env": [{"name": "HOST_KUBELET_SYSTEMD_SERVICE", "value": ""}]}})],
    ),
    "it has no mode to change where user data did": (
        "mig-manager-stops-kubelet",
        [SLICED, node_class_of("al2023@v20260930", "#!/bin/bash\nnvidia-smi -L\n"), operator({})],
        [SLICED, node_class_of("al2023@v20260930", "#!/bin/bash\nnvidia-smi -i 0 -mig 1\n"), operator({})],
    ),
    "without MIG, or with another's driver, it stops none": (
        "mig-manager-stops-kubelet",
        [SLICED, operator({"migManager": {"env": [{"name": "WITH_REBOOT", "value": "true"}]}})],
        [SLICED, operator({"migManager": {"enabled": False}})],
    ),
    "a variable of an image is no request": (
        "gpu-node-visible-devices",
        [GPU_NODES, node_class_of("al2023@v20260930")],
        [GPU_NODES, node_class_of("al2023@v20260930", f"nvidia-ctk config --in-place --set={BY_VARIABLE}=false")],
    ),
    "Bottlerocket takes no variable for a request, unless told to": (
        "gpu-node-visible-devices",
        [
            GPU_NODES,
            node_class_of(
                "bottlerocket@v1.66.0",
                "[settings.kubernetes.nvidia.container-runtime]\nvisible-devices-envvar-when-unprivileged = true",
            ),
        ],
        [GPU_NODES, node_class_of("bottlerocket@v1.66.0")],
    ),
    "a file of its own says it too, and nodes without GPUs need it not": (
        "gpu-node-visible-devices",
        [GPU_NODES, node_class_of("al2@v20260930", f"echo '{BY_VARIABLE} = true' > config.toml")],
        [
            node_pool("cpu", requirements=[{**FAMILY_OF_ONE[0], "values": ["m7i"]}], nodeClassRef={"name": "nodes"}),
            node_class_of("al2023@v20260930"),
        ],
    ),
    "what a comment says, or a line before, does not count": (
        "gpu-node-visible-devices",
        [
            GPU_NODES,
            node_class_of(
                "al2023@v20260930", f"{BY_VARIABLE} = false\nsed -i 's/{BY_VARIABLE} = false/{BY_VARIABLE} = true/'"
            ),
        ],
        [
            GPU_NODES,
            node_class_of(
                "al2023@v20260930",
                f"# {BY_VARIABLE} = true\nsed 's/^#*{BY_VARIABLE} = true/{BY_VARIABLE} = false/'"
                f"\n # {BY_VARIABLE}=true",
            ),
        ],
    ),
    "NVIDIA's own chart has one configuration for all nodes": (
        "mps-pool-of-one-team",
        [node_pool("shared"), own_plugin("mps"), share_of("team"), share_of("other")],
        [node_pool("shared"), own_plugin("timeSlicing"), share_of("team"), share_of("other")],
    ),
    "a system's pod may tolerate everything": (
        "toleration-of-everything",
        workload(tolerations=[{"operator": "Exists"}]),
        workload(namespace="kube-system", tolerations=[{"operator": "Exists"}]),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])
