"""Checks a stack's settings against the cluster that it names, before anything is made.

Each finding begins with the key of the stack file that it is about. Findings about the GPUs of nodes are the pools'
(`settings.pools.found_nodes`).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from components.gates.node_marks import refusal
from components.ground.existing.description import gpu_labels, text
from components.ground.existing.finding import Finding
from components.ground.existing.found import FoundCluster, StorageClass, release_number
from components.ground.existing.in_the_way import installed_findings, owner_findings, plugin_findings
from components.ground.existing.network_policies import policy_findings, reached_findings
from components.ground.existing.ownership import Named
from components.nodes.fixed_nodes import pool_marks
from components.nodes.site_gpu import PCI_LABEL
from contracts import clusters
from settings.language.section import Mistake
from settings.pools.found_nodes import FoundNode, is_discovered, is_of_the_control_plane

if TYPE_CHECKING:
    from settings import ExistingSettings
    from settings.pools.fixed_pools import FixedPool

__all__ = ["findings", "text"]

_UNUSABLE = ("node.kubernetes.io/unschedulable", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_OF_THE_OPERATOR = "nvidia.com/gpu.present"


def findings(
    settings: ExistingSettings, found: FoundCluster, makes: Collection[Named]
) -> tuple[list[Mistake], list[Mistake]]:
    """What would make the stack fail on this cluster, and what deserves a look: errors and warnings.

    `makes` is what the stack makes under names of its own choice (`makes.made_by`).
    """
    found_out = [
        *_distribution(settings, found),
        *_version(found),
        *_storage(settings, found),
        *_ingress(settings, found),
        *_pools(settings, found),
        *plugin_findings(settings, found),
        *installed_findings(settings, found),
        *policy_findings(settings, found),
        *reached_findings(settings, found),
        *owner_findings(settings, found, makes),
    ]
    errors, warnings = (
        [Mistake(f"gpulab:{key}", message) for kind, key, message in found_out if kind == wanted]
        for wanted in ("error", "warning")
    )
    return errors, warnings


def _distribution(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    stated, key = settings.ground.distribution, "ground.distribution"
    if stated in found.evidence:
        return
    if found.evidence:
        shown = " and ".join(f"{name} ({', '.join(said)})" for name, said in found.evidence.items())
        yield "error", key, f"is {stated}, and the cluster shows that it is {shown}: correct it, or the context"
    else:
        yield "warning", key, f"is {stated}, which nothing in the cluster confirms or denies: check it, and the context"


def _version(found: FoundCluster) -> Iterator[Finding]:
    oldest, newest = clusters.kubernetes_range()
    key, said = "ground.context", f"leads to Kubernetes {found.version} ({found.git_version})"
    if release_number(found.git_version) < release_number(oldest):
        yield "error", key, f"{said}, which is older than {oldest}: upgrade the cluster to {oldest} to {newest} first"
    elif release_number(found.git_version) > release_number(newest):
        yield "error", key, f"{said}, and this release of gpulab knows {oldest} to {newest}: take a newer release"


def _storage(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    storage = settings.storage
    own = list(storage.install.classes)
    disks = storage.homes == "per-person" or settings.identity is not None or settings.running_hub is not None
    if storage.home_class is not None:
        yield from _class_there("storage.homeClass", storage.home_class, found, own)
    elif disks and found.default_storage_class is None:
        there = _names(found.storage_classes)
        yield (
            "error",
            "storage.homeClass",
            f"is missing, and the cluster has no default storage class: {_choose(there)}",
        )
    defaults = [one.name for one in found.storage_classes if one.is_default]
    if len(defaults) > 1 and disks and storage.home_class is None:
        message = f"is missing, and the cluster has {len(defaults)} default classes ({', '.join(defaults)}): name one"
        yield "warning", "storage.homeClass", message
    shared = {"storage.sharedClass": storage.shared_class} | {
        f"storage.volumes.{name}.storageClass": volume.storage_class for name, volume in storage.volumes.items()
    }
    yield from _kept_homes(settings, found)
    for key, name in shared.items():
        if name is not None:
            yield from _class_that_shares(key, name, found, own)


def _kept_homes(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    """Homes per person go with their team's namespace: only their class keeps the disks."""
    storage = settings.storage
    one = found.storage_class(storage.home_class) if storage.home_class else found.default_storage_class
    is_own = one is not None and one.name in storage.install.classes
    if storage.retain and storage.homes == "per-person" and one is not None and not is_own and not one.keeps:
        yield (
            "error",
            "storage.retain",
            f"can't keep homes: class {one.name} deletes a disk with its claim. Name a class with reclaimPolicy Retain "
            "as homeClass, or leave retain out",
        )


def _class_there(key: str, name: str, found: FoundCluster, own: Collection[str]) -> Iterator[Finding]:
    if found.storage_class(name) is None and name not in own:
        there = [*_names(found.storage_classes), *own]
        yield "error", key, f"is {name}, and there is no such storage class: {_choose(there, name)}"


def _class_that_shares(key: str, name: str, found: FoundCluster, own: Collection[str]) -> Iterator[Finding]:
    yield from _class_there(key, name, found, own)
    storage_class = found.storage_class(name)
    if storage_class is None:
        return
    if storage_class.waits and storage_class.shares is not False:
        yield (
            "error",
            key,
            f"is {name}, which makes a volume only when a pod uses its claim, and claims of shared files have no "
            "pod: take or make a class with volumeBindingMode Immediate",
        )
    if storage_class.shares:
        return
    could = _names(one for one in found.storage_classes if one.shares)
    instead = (
        f"take {' or '.join(could)}"
        if could
        else "no class of the cluster can, so set storage.install.nfs or storage.install.seaweedfs"
    )
    said = f"is {name} ({storage_class.provisioner})"
    if storage_class.shares is None:
        yield "warning", key, f"{said}: whether it can do ReadWriteMany is not known. If it can't, {instead}"
    elif key == "storage.sharedClass" and not could:
        message = f"{said}, whose volumes one node can mount, not several: {instead}, or set homes: per-person"
        yield "error", key, message
    else:
        yield "error", key, f"{said}, whose volumes one node can mount, not several: {instead}"


def _ingress(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    ingress, key = settings.ingress, "ingress.ingressClass"
    if ingress.access != "ingress" or ingress.install.traefik:
        return
    there = _names(found.ingress_classes)
    if not there:
        what = f"is {ingress.ingress_class}" if ingress.ingress_class else "is missing"
        yield (
            "error",
            key,
            f"{what}, and the cluster has no ingress class: set install.traefik, or access: port-forward",
        )
    elif ingress.ingress_class is None:
        if found.default_ingress_class is None:
            yield "error", key, f"is missing, and the cluster has no default ingress class: {_choose(there)}"
    elif ingress.ingress_class not in there:
        yield (
            "error",
            key,
            f"is {ingress.ingress_class}, and there is no such class: {_choose(there, ingress.ingress_class)}",
        )


def _pools(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    nodes = {node.name: node for node in found.nodes}
    for name, pool in settings.node_pools.items():
        missing = [node for node in pool.nodes if node not in nodes]
        for node in missing:
            key = f"nodePools.{name}.nodes"
            yield "error", key, f"has {node}, and the cluster has no such node: {_choose(list(nodes), node)}"
        if pool.nodes:
            chosen = [nodes[node] for node in pool.nodes if node in nodes]
            yield from _marked_by_others(name, pool, chosen, settings)
        else:
            chosen = [node for node in found.nodes if pool.selector.items() <= node.labels.items()]
            yield from _selected(name, pool, chosen, found, settings)
        for node in chosen:
            reasons = [taint.key for taint in node.taints if taint.key in _UNUSABLE]
            if reasons:
                yield "warning", f"nodePools.{name}", f"has {node.name}, which takes no pods now ({', '.join(reasons)})"


def _marked_by_others(
    name: str, pool: FixedPool, named: Collection[FoundNode], settings: ExistingSettings
) -> Iterator[Finding]:
    """Labels and taints that an update would refuse to change, in the same words."""
    for node in named:
        manifest = {
            "metadata": {
                "name": node.name,
                "labels": node.labels,
                "annotations": node.annotations,
                "resourceVersion": "",
            },
            "spec": {"taints": [taint.model_dump(exclude_none=True) for taint in node.taints]},
        }
        if why := refusal(manifest, settings.stack, pool_marks(name, pool, settings.gpu.plugin)):
            yield "error", f"nodePools.{name}.nodes", why


def _selected(
    name: str, pool: FixedPool, chosen: Collection[FoundNode], found: FoundCluster, settings: ExistingSettings
) -> Iterator[Finding]:
    selector = ", ".join(f"{key}={value}" for key, value in pool.selector.items())
    key = f"nodePools.{name}.selector"
    if not chosen and _OF_THE_OPERATOR in pool.selector and settings.gpu.plugin == "device-plugin":
        message = (
            f"is {selector}, which no node has, and which only the GPU Operator sets: select by {PCI_LABEL}=true, "
            "which Node Feature Discovery sets. Or name the nodes in nodes"
        )
        yield "error", key, message
    elif not chosen and is_discovered(pool) and settings.gpu.plugin != "present":
        message = (
            f"is {selector}, which no node has yet: feature discovery, which the stack installs, sets it where there "
            "are GPUs of NVIDIA. Until then notebooks of this pool wait"
        )
        yield "warning", key, message
    elif not chosen:
        labels = gpu_labels(found.nodes)
        for_gpus = f"labels that look like GPUs are {', '.join(labels)}" if labels else "no label looks like GPUs"
        instead = for_gpus if pool.is_gpu else "`kubectl get nodes --show-labels` lists their labels"
        yield "error", key, f"is {selector}, which no node has: {instead}. Or name the nodes in nodes"
    elif not pool.include_control_plane and all(any(map(is_of_the_control_plane, node.taints)) for node in chosen):
        which = ", ".join(node.name for node in chosen)
        yield (
            "error",
            f"nodePools.{name}.includeControlPlane",
            f"is false, and all nodes with {selector} are tainted nodes of the control plane ({which}): set it to true",
        )


def _names(classes: Iterable[StorageClass | object]) -> list[str]:
    return [one.name for one in classes]  # type: ignore[attr-defined]


def _choose(there: Collection[str], wanted: str | None = None) -> str:
    """What there is instead, the nearest name first."""
    if not there:
        return "there is none"
    near = difflib.get_close_matches(wanted, there, n=1) if wanted else []
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"there {'is' if len(there) == 1 else 'are'} {', '.join(there)}{hint}"
