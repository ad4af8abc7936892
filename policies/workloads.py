"""Workloads: what pods that a program defines itself may write, call, use and see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_policy.proxy import UnknownValueError

from policies.reading.pods import containers, namespace_of, pod_spec
from policies.reading.resources import Resource, at, is_kind, items
from policies.rules import LOW, MEDIUM, Found, Limits, best_practices, cis, resource_policy

_WORKLOADS = is_kind("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")
_PODS = "Security: Pod security"
_SYSTEM = "kube-system"


def _containers(workload: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The containers, each with its place and name. Pods in kube-system are left out."""
    if not _is_in_system(workload):
        for place, container in containers(pod_spec(workload) or {}):
            yield f"{place} ({container.get('name')})", container


def _is_in_system(workload: Resource) -> bool:
    try:
        return namespace_of(workload) == _SYSTEM
    except UnknownValueError:
        return False  # a namespace that the program creates: its name is not known before the cluster exists


@resource_policy(
    "workload-writable-root",
    "A container has a read-only root file system",
    fix="Set securityContext.readOnlyRootFilesystem to true, and mount an emptyDir where it must write",
    severity=LOW,
    concerns=_WORKLOADS,
    framework=best_practices(f"{_PODS}, configure your images with read-only root file system"),
)
def workload_writable_root(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise an attacker can install tools and change the programs in the container."""
    for place, container in _containers(workload):
        if at(container, "securityContext.readOnlyRootFilesystem") is not True:
            yield f"{place} can write to its root file system"


@resource_policy(
    "workload-seccomp",
    "A container has a seccomp profile",
    fix="Set securityContext.seccompProfile.type of the pod or the container to RuntimeDefault",
    severity=MEDIUM,
    concerns=_WORKLOADS,
    framework=best_practices("Security: Runtime security, seccomp"),
)
def workload_seccomp(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """Without a profile it may make every system call, unless the node's kubelet sets a default profile."""
    shared = at(pod_spec(workload), "securityContext.seccompProfile.type")
    for place, container in _containers(workload):
        profile = at(container, "securityContext.seccompProfile.type", shared)
        if profile not in ("RuntimeDefault", "Localhost"):
            yield f"{place} has {'no seccomp profile' if profile is None else f'the seccomp profile {profile}'}"


@resource_policy(
    "workload-resources",
    "A container has CPU and memory requests and a memory limit",
    fix="Set resources.requests of cpu and memory, and resources.limits of memory",
    severity=MEDIUM,
    concerns=_WORKLOADS,
    framework=best_practices(f"{_PODS}, set requests and limits for each container"),
)
def workload_resources(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise it may run on a full node and take memory from others. A limit counts as a request too."""
    for place, container in _containers(workload):
        limits = set(at(container, "resources.limits", {}))
        requests = limits | set(at(container, "resources.requests", {}))
        missing = [f"requests.{name}" for name in ("cpu", "memory") if name not in requests]
        missing += ["limits.memory"] if "memory" not in limits else []
        if missing:
            yield f"{place} lacks {', '.join(missing)}"


@resource_policy(
    "secret-in-environment",
    "A container reads its secrets from files",
    fix="Mount the Secret as a volume instead of using env[].valueFrom.secretKeyRef or envFrom[].secretRef",
    severity=LOW,
    concerns=_WORKLOADS,
    framework=cis("4.4.1"),
)
def secret_in_environment(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """Every child process inherits environment variables, and a program that prints its environment reveals them."""
    for place, container in _containers(workload):
        named = [str(one.get("name")) for one in items(container.get("env")) if "secretKeyRef" in _source(one)]
        # The name of the Secret may not be known yet; it does not matter here.
        named += [
            "all keys of a Secret (envFrom)" for one in items(container.get("envFrom")) if "secretRef" in set(one)
        ]
        if named:
            yield f"{place} has secrets in its environment: {', '.join(named)}"


def _source(variable: Mapping[str, Any]) -> set[str]:
    return set(variable["valueFrom"]) if "valueFrom" in set(variable) else set()
