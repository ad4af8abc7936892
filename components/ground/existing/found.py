"""What a cluster that exists has, as data: made of the objects that its API server lists, or a fixture holds."""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from components.ground.existing.addresses import Addresses, addresses_of
from components.ground.existing.ownership import Named, Owner, named, owner_of, release_of
from components.ground.existing.recognition import distribution_evidence, program_of
from contracts import clusters
from settings.pools.found_nodes import FoundNode
from settings.pools.labels import SiteTaint

Manifest = Mapping[str, Any]

OWNED_KINDS = (
    "Namespace",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "StorageClass",
    "IngressClass",
    "RuntimeClass",
    "CSIDriver",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)
"""Kinds whose objects a stack might make although somebody else's has the name."""

CONTROL_PLANE = (
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/master",
    "node.kubernetes.io/microk8s-controlplane",
)
"""The keys of labels and taints of nodes of the control plane."""

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_INGRESS = "ingressclass.kubernetes.io/is-default-class"
_VERSION = re.compile(r"v?(\d+)\.(\d+)")


@dataclass(frozen=True, kw_only=True)
class StorageClass:
    """A storage class. `shares`: whether its volumes can be ReadWriteMany; None if its provisioner isn't known."""

    name: str
    provisioner: str
    is_default: bool = False
    shares: bool | None = None
    keeps: bool = False
    """Whether a volume outlives its claim (reclaimPolicy Retain)."""
    waits: bool = False
    """Whether a claim has no volume before a pod uses it (WaitForFirstConsumer)."""


@dataclass(frozen=True, kw_only=True)
class IngressClass:
    """An ingress class, and the controller that serves it."""

    name: str
    controller: str
    is_default: bool = False


@dataclass(frozen=True, kw_only=True)
class RuntimeClass:
    """A RuntimeClass, and the runtime in containerd's configuration that it stands for."""

    name: str
    handler: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that runs in the cluster: its name in `contracts.clusters.programs`, and what runs it."""

    program: str
    workload: Named
    version: str | None
    """The tag of its image; None if it is pinned by digest only."""
    owner: Owner

    @property
    def title(self) -> str:
        """Its name for people."""
        return clusters.programs()[self.program].title


Class = TypeVar("Class", StorageClass, IngressClass)


@dataclass(frozen=True, kw_only=True)
class FoundCluster:
    """What a cluster has. Everything is in the order of names."""

    git_version: str
    """The API server's, such as v1.34.2+k3s1."""
    nodes: tuple[FoundNode, ...] = ()
    control_plane: frozenset[str] = frozenset()
    """The names of its nodes, where the cluster shows them."""
    evidence: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What speaks for each distribution, in words."""
    storage_classes: tuple[StorageClass, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    runtime_classes: tuple[RuntimeClass, ...] = ()
    programs: tuple[Program, ...] = ()
    objects: Mapping[Named, Owner] = field(default_factory=dict)
    """Namespaces, Helm releases and cluster-scoped objects, each with whose it is."""
    addresses: Addresses = field(default_factory=Addresses)
    identity: str = ""
    """What tells it from all other clusters, as long as it lives: the UID of its namespace kube-system."""

    @classmethod
    def of(cls, manifests: Iterable[Manifest], *, version: str | None = None) -> FoundCluster:
        """The cluster with these objects, each with its `kind`. `version` is the API server's; by default, kubelet's.

        Objects of kinds that say nothing are passed over. Raises ValueError if there is neither a version nor a node.
        """
        by_kind: dict[str, list[Manifest]] = defaultdict(list)
        for manifest in manifests:
            by_kind[manifest["kind"]].append(manifest)
        for same in by_kind.values():
            same.sort(key=lambda manifest: (manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]))
        stacks = _stacks(by_kind["Namespace"])
        return cls(
            git_version=version or _newest_kubelet(by_kind["Node"]),
            nodes=tuple(map(_node, by_kind["Node"])),
            control_plane=frozenset(node["metadata"]["name"] for node in by_kind["Node"] if _is_control_plane(node)),
            evidence=distribution_evidence(by_kind["Node"], version),
            storage_classes=tuple(map(_storage_class, by_kind["StorageClass"])),
            ingress_classes=tuple(map(_ingress_class, by_kind["IngressClass"])),
            runtime_classes=tuple(
                RuntimeClass(name=one["metadata"]["name"], handler=one["handler"]) for one in by_kind["RuntimeClass"]
            ),
            programs=tuple(_programs([*by_kind["DaemonSet"], *by_kind["Deployment"]], stacks)),
            objects=_objects(by_kind, stacks),
            addresses=addresses_of(by_kind["Node"], by_kind["Service"], by_kind["EndpointSlice"]),
            identity=_identity(by_kind["Namespace"]),
        )

    @property
    def version(self) -> str:
        """The minor version of Kubernetes, such as 1.34."""
        return minor(self.git_version)

    @functools.cached_property
    def crds(self) -> frozenset[str]:
        """The names of its CustomResourceDefinitions, such as clusters.postgresql.cnpg.io."""
        return frozenset(one.name for one in self.objects if one.kind == "CustomResourceDefinition")

    @property
    def default_storage_class(self) -> StorageClass | None:
        """The one that claims without a class get; None without one."""
        return _default(self.storage_classes)

    @property
    def default_ingress_class(self) -> IngressClass | None:
        """The one that Ingresses without a class get; None without one."""
        return _default(self.ingress_classes)

    def storage_class(self, name: str) -> StorageClass | None:
        """The storage class of that name."""
        return next((one for one in self.storage_classes if one.name == name), None)

    def ingress_class(self, name: str) -> IngressClass | None:
        """The ingress class of that name."""
        return next((one for one in self.ingress_classes if one.name == name), None)

    def running(self, program: str) -> tuple[Program, ...]:
        """What runs of a program, by its name in `contracts.clusters.programs`. Raises KeyError for another name."""
        if program not in clusters.programs():
            raise KeyError(f"{program} is none of the known programs: {', '.join(clusters.programs())}")
        return tuple(one for one in self.programs if one.program == program)

    def others(self, program: str, stack: str) -> tuple[Program, ...]:
        """What runs of a program and is not the stack's own. Raises KeyError as `running` does."""
        return tuple(one for one in self.running(program) if one.owner.stack != stack)

    def is_of_others(self, wanted: Named, stack: str) -> bool:
        """Whether there is such an object, and the stack has not made it."""
        owner = self.objects.get(wanted)
        return owner is not None and owner.stack != stack


def minor(version: str) -> str:
    """The minor version in a version of Kubernetes. Raises ValueError if it is none."""
    found = _VERSION.match(version)
    if found is None:
        raise ValueError(f"{version!r} is no version of Kubernetes such as v1.34.2+k3s1")
    return f"{found[1]}.{found[2]}"


def release_number(version: str) -> tuple[int, ...]:
    """A version's numbers, for comparing minor versions."""
    return tuple(map(int, minor(version).split(".")))


def _default(classes: tuple[Class, ...]) -> Class | None:
    return next((one for one in classes if one.is_default), None)


def _stacks(namespaces: Iterable[Manifest]) -> dict[str, str]:
    owners = {namespace["metadata"]["name"]: owner_of(namespace, {}).stack for namespace in namespaces}
    return {name: stack for name, stack in owners.items() if stack}


def _identity(namespaces: Iterable[Manifest]) -> str:
    of_system = (one["metadata"] for one in namespaces if one["metadata"]["name"] == "kube-system")
    return next((metadata["uid"] for metadata in of_system if metadata.get("uid")), "")


def _newest_kubelet(nodes: Sequence[Manifest]) -> str:
    versions = [node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes]
    if not versions:
        raise ValueError("there is no version: the cluster has no node")
    return max(versions, key=release_number)


def _node(node: Manifest) -> FoundNode:
    return FoundNode(
        name=node["metadata"]["name"],
        labels=dict(node["metadata"].get("labels") or {}),
        annotations=dict(node["metadata"].get("annotations") or {}),
        # Not validated: the API server knows better than the settings what a taint can be.
        taints=tuple(
            SiteTaint.model_construct(key=taint["key"], value=taint.get("value") or None, effect=taint["effect"])
            for taint in node.get("spec", {}).get("taints") or ()
        ),
        allocatable=dict(node.get("status", {}).get("allocatable") or {}),
    )


def _is_control_plane(node: Manifest) -> bool:
    labels = node["metadata"].get("labels") or {}
    taints = {taint["key"] for taint in node.get("spec", {}).get("taints") or ()}
    return any(key in labels or key in taints for key in CONTROL_PLANE)


def _is_default(manifest: Manifest, annotation: str) -> bool:
    return (manifest["metadata"].get("annotations") or {}).get(annotation) == "true"


def _storage_class(one: Manifest) -> StorageClass:
    return StorageClass(
        name=one["metadata"]["name"],
        provisioner=one["provisioner"],
        is_default=_is_default(one, _DEFAULT_CLASS),
        shares=clusters.shares(one["provisioner"]),
        keeps=one.get("reclaimPolicy") == "Retain",
        waits=one.get("volumeBindingMode") == "WaitForFirstConsumer",
    )


def _ingress_class(one: Manifest) -> IngressClass:
    return IngressClass(
        name=one["metadata"]["name"],
        controller=one["spec"]["controller"],
        is_default=_is_default(one, _DEFAULT_INGRESS),
    )


def _programs(workloads: Iterable[Manifest], stacks: Mapping[str, str]) -> Iterable[Program]:
    for workload in workloads:
        for program, version in program_of(workload):
            yield Program(program=program, workload=named(workload), version=version, owner=owner_of(workload, stacks))


def _objects(by_kind: Mapping[str, Sequence[Manifest]], stacks: Mapping[str, str]) -> dict[Named, Owner]:
    objects = {named(one): owner_of(one, stacks) for kind in OWNED_KINDS for one in by_kind.get(kind, ())}
    for secret in by_kind.get("Secret", ()):
        if release := release_of(secret):
            objects[release] = owner_of(secret, stacks)
    return objects
