"""What must hold on a site: the context that was named, its GPUs, and everything of others as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contracts import clusters
from rehearsal.checks.checking import NotTried, StackSubject, require
from rehearsal.controllers.device_plugins import VENDOR
from rehearsal.controllers.world import Object
from rehearsal.report import Check
from settings import ExistingSettings
from settings.pools.fixed_pools import FixedPool
from settings.pools.gpu_shares import shares
from settings.pools.labels import POOL_LABEL

from .cluster import Snapshot

_NODES = "/api/v1/nodes"
_RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


@dataclass(frozen=True, kw_only=True)
class SiteSubject(StackSubject):
    """A stack that is up on a cluster that exists."""

    settings: ExistingSettings
    kubeconfig: Path
    secrets: Mapping[str, str]

    def given_secrets(self) -> dict[str, str]:
        """Those of the site that the stack file names."""
        return dict(self.secrets)


def named_context_is_used(subject: SiteSubject) -> str:
    """The stack is in the cluster of the context that the stack file names, and not in the current one."""
    current = yaml.safe_load(subject.kubeconfig.read_text(encoding="utf-8"))["current-context"]
    wanted = subject.settings.ground.context
    require(current != wanted, f"the current context is {current}, so nothing shows which one was used")
    used = [one for one in subject.resources if one["type"] == "pulumi:providers:kubernetes"]
    for provider in used:
        context = provider["inputs"].get("context")
        require(context == wanted, f"a Kubernetes provider has the context {context}")
    require(bool(used), "the stack has no Kubernetes provider")
    return f"{wanted}; the current context {current} leads nowhere"


def no_aws(subject: SiteSubject) -> str:
    """The stack has no resource in AWS, and no provider of it."""
    found = [one["urn"] for one in subject.resources if one["type"].partition(":")[0] in ("aws", "eks")]
    found += [one["urn"] for one in subject.resources if one["type"].startswith("pulumi:providers:aws")]
    require(not found, f"in AWS: {', '.join(found)}")
    return f"{len(subject.resources)} resources, none in AWS"


def gpus_are_advertised(subject: SiteSubject) -> str:
    """Each node of a GPU pool has the shares that the pool defines of the GPUs that are in it, and no others."""
    found = []
    for name, pool in _gpu_pools(subject).items():
        nodes = _nodes_of(subject, name, pool)
        require(bool(nodes), f"no node is in the pool {name}")
        for node in nodes:
            count = sum(gpus.count for gpus in clusters.gpus_of(node))
            wanted = {resource: str(amount * count) for resource, amount in shares(pool).items()}
            has = {key: value for key, value in node["status"]["allocatable"].items() if key.startswith(VENDOR)}
            has = {key: value for key, value in has.items() if value != "0"}
            require(has == wanted, f"{_name(node)} of {name} has {has or 'no GPU'}, not {wanted}")
            found.append(f"{_name(node)} of {name}: {', '.join(f'{value} {key}' for key, value in has.items())}")
    return "; ".join(found)


def runtime_class_exists(subject: SiteSubject) -> str:
    """The RuntimeClass that pods with GPUs ask for is there, and so is its handler."""
    _gpu_pools(subject)
    wanted = subject.settings.runtime_class
    if wanted is None:
        raise NotTried("pods with GPUs ask for no RuntimeClass")
    found = {one["metadata"]["name"]: one["handler"] for one in subject.plane.request("GET", _RUNTIME_CLASSES)["items"]}
    require(wanted in found, f"there is no RuntimeClass {wanted}; there are {', '.join(found) or 'none'}")
    return f"{wanted}, by the handler {found[wanted]}"


def nodes_are_marked(subject: SiteSubject) -> str:
    """Nodes that the stack file names have the pool's label and taints; nodes of others have no label of a pool."""
    named = {node: (name, pool) for name, pool in subject.settings.node_pools.items() for node in pool.nodes}
    for node in _items(subject, _NODES):
        label = node["metadata"].get("labels", {}).get(POOL_LABEL)
        name, pool = named.get(_name(node), (None, None))
        require(label == name, f"{_name(node)} has the label of pool {label}, not of {name}")
        if pool:
            has = {(one["key"], one["effect"]) for one in node["spec"].get("taints", [])}
            wanted = {(one.key, one.effect) for one in pool.taints}
            require(wanted <= has, f"{_name(node)} lacks taints: {sorted(wanted - has)}")
    if not named:
        raise NotTried("the pools select nodes by labels of the site")
    return ", ".join(f"{node} in {name}" for node, (name, _) in named.items())


def as_it_was(before: Snapshot, after: Snapshot) -> Check:
    """Whether a destroy left everything of others as it was, labels and taints of nodes too, and nothing of its own."""
    changes = before.changes(after)
    detail = "; ".join(changes) or f"{len(before.names)} objects, and what is said in {len(before.contents)} of them"
    if kept := sorted(map(str, after.kept - before.names)):
        detail += f"; kept, as charts or the stack file say: {', '.join(kept)}"
    return Check("everything of others is as it was", not changes, detail)


SITE_CHECKS: Mapping[str, Callable[[SiteSubject], str]] = {
    "the named context is used": named_context_is_used,
    "no AWS at all": no_aws,
    "nodes are marked": nodes_are_marked,
    "GPUs are advertised as the pools share them": gpus_are_advertised,
    "the runtime class exists": runtime_class_exists,
}


def _gpu_pools(subject: SiteSubject) -> dict[str, FixedPool]:
    pools = {name: pool for name, pool in subject.settings.node_pools.items() if pool.is_gpu}
    if not pools:
        raise NotTried("the stack has no GPU pool")
    return pools


def _nodes_of(subject: SiteSubject, name: str, pool: FixedPool) -> list[Object]:
    wanted = pool.node_selector(name).items()
    return [node for node in _items(subject, _NODES) if wanted <= node["metadata"].get("labels", {}).items()]


def _items(subject: SiteSubject, path: str) -> list[Any]:
    return subject.plane.request("GET", path)["items"]


def _name(node: Object) -> str:
    return node["metadata"]["name"]
