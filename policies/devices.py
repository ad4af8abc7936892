"""Devices: which GPUs of its node a pod gets, and how much shared memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading import helm
from policies.reading.node_classes import gives_gpus_by_variable, needs_mig_mode, node_class_of, shares_by_mps
from policies.reading.node_pools import advertised, is_gpu_pool, may_have_labels, may_match
from policies.reading.pods import SHARED_GPU, WORKLOADS, PodShape, object_name, workload_shape
from policies.reading.profiles import HUB, Profile, all_profiles, profiles
from policies.reading.resources import Resource, Stack, at, either, entries, is_kind, items
from policies.rules import (
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    passing,
    resource_policy,
    stack_policy,
)

_SHARED_MEMORY = "/dev/shm"  # noqa: S108 (the path itself, and no file in it)


@resource_policy(
    "notebook-shared-memory",
    "A notebook with GPUs has more than 64 MiB of shared memory",
    fix="Mount an emptyDir with medium: Memory and a sizeLimit at /dev/shm (singleuser.storage.extraVolumes and"
    " extraVolumeMounts, volumes and volume_mounts in kubespawner_override, sharedMemory in a catalogue)",
    severity=MEDIUM,
    concerns=either(helm.RELEASES, is_kind("ConfigMap")),
    where=helm.of_chart(HUB),
)
def notebook_shared_memory(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With 64 MiB, PyTorch's DataLoader ends with a bus error, and NCCL runs out of space.

    Profiles that request a share of a GPU are left out: on an MPS pool the device plugin mounts /dev/shm.
    """
    storage = at(helm.values(resource), "singleuser.storage", {}) if helm.is_release(resource) else {}
    for profile in profiles(resource):
        gpus = [name for name in profile.shape().gpus if name != SHARED_GPU]
        if gpus and not _has_shared_memory(profile, storage):
            yield f"{profile.name} at {profile.place} requests {gpus[0]} but has only 64 MiB at {_SHARED_MEMORY}"


def _has_shared_memory(profile: Profile, storage: Mapping[str, Any]) -> bool:
    """Whether the profile, or else the chart's values, mount a volume in memory at /dev/shm."""
    volumes = profile.override.get("volumes") or storage.get("extraVolumes")
    mounts = profile.override.get("volume_mounts") or storage.get("extraVolumeMounts")
    mounted = {one.get("name") for _, one in entries(mounts) if _is_shared_memory(one.get("mountPath"))}
    return any(one.get("name") in mounted and at(one, "emptyDir.medium") == "Memory" for _, one in entries(volumes))


def _is_shared_memory(path: Any) -> bool:
    return str(path).rstrip("/") == _SHARED_MEMORY


@stack_policy(
    "mps-pool-of-one-team",
    "Only one team uses the GPUs of a pool that shares them by MPS",
    fix="Use timeSlicing or MIG in the device plugin's configuration, or give each namespace its own NodePool, by"
    " node_selector or node_affinity_required in its profiles",
    severity=HIGH,
)
def mps_pool_of_one_team(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """With MPS all pods of a node have the same /dev/shm, where each can read and change the others' data."""
    pools, undecided = passing(stack.of_kind("NodePool"), lambda pool: shares_by_mps(stack, pool))
    yield from undecided
    for pool in pools:
        yield from about(pool, _namespaces_beside_each_other(stack, pool))


def _namespaces_beside_each_other(stack: Stack, pool: Resource) -> Iterator[Found]:
    # If nothing renames the shares, they may still have this name.
    shares = {*advertised(stack, pool), SHARED_GPU}
    on_it = [shape for shape in _shapes(stack) if shares & shape.gpus.keys() and _may_run_on(shape, pool)]
    namespaces = sorted({str(shape.namespace or "default") for shape in on_it})
    if len(namespaces) > 1:
        yield f"pods of {', '.join(namespaces)} share its GPUs by MPS, and so share {_SHARED_MEMORY} of its nodes too"


def _shapes(stack: Stack) -> Iterator[PodShape]:
    """The pods of workloads and of profiles."""
    yield from filter(None, map(workload_shape, stack.of_kind(*WORKLOADS)))
    yield from (profile.shape() for _, profile in all_profiles(stack))


def _may_run_on(shape: PodShape, pool: Resource) -> bool:
    selected = not shape.node_selector or may_have_labels(pool, shape.node_selector)
    return selected and (not shape.node_affinity or any(may_match(pool, term) for term in shape.node_affinity))


@stack_policy(
    "gpu-node-visible-devices",
    "On GPU nodes an image cannot choose which GPUs its containers get",
    fix="In spec.userData of the NodePool's EC2NodeClass run nvidia-ctk config --in-place --set"
    " accept-nvidia-visible-devices-envvar-when-unprivileged=false, and configure the device plugin to use CDI",
    severity=HIGH,
)
def gpu_node_visible_devices(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """EKS's GPU node images use NVIDIA's runtime by default, and most GPU images set NVIDIA_VISIBLE_DEVICES=all.

    So a pod that requests no GPU, and that no quota counts, gets all of them. Bottlerocket's default is right.
    """
    pools, undecided = passing(stack.of_kind("NodePool"), is_gpu_pool)
    yield from undecided
    for pool in pools:
        yield from about(pool, _by_variable(stack, pool))


def _by_variable(stack: Stack, pool: Resource) -> Iterator[Found]:
    node_class = node_class_of(stack, pool)
    if node_class is not None and gives_gpus_by_variable(node_class):
        yield (
            "a container whose image sets NVIDIA_VISIBLE_DEVICES=all gets every GPU of its node "
            f"(EC2NodeClass {object_name(node_class)})"
        )


@stack_policy(
    "mig-manager-stops-kubelet",
    "mig-manager does not stop kubelet on new nodes",
    fix="Set migManager.env to [{name: HOST_KUBELET_SYSTEMD_SERVICE, value: ''}]; better still, create the slices in"
    " user data (nvidia-smi -mig 1, nvidia-smi mig -cgi) before kubelet starts",
    severity=MEDIUM,
)
def mig_manager_stops_kubelet(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """It stops kubelet to change a GPU's mode if the driver is the host's. AL2023's containerd then loses containers.

    Such a node stays NotReady, and you pay for it (NVIDIA/mig-parted, issue 368).
    """
    pools, undecided = passing(stack.of_kind("NodePool"), lambda pool: needs_mig_mode(stack, pool))
    yield from undecided
    for release in helm.releases(stack, "gpu-operator") if pools else ():
        yield from about(release, _stopped_kubelet(release, pools))


def _stopped_kubelet(release: Resource, pools: list[Resource]) -> Iterator[Found]:
    values = helm.values(release)
    variables = {one.get("name"): one.get("value") for one in items(at(values, "migManager.env"))}
    if (
        at(values, "migManager.enabled") is not False
        and at(values, "driver.enabled") is False
        and variables.get("HOST_KUBELET_SYSTEMD_SERVICE", "kubelet.service") != ""
    ):
        yield f"mig-manager stops kubelet on new nodes of {', '.join(map(object_name, pools))}"
