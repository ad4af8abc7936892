"""Twins of NodePools and NodeOverlays, which Karpenter's KWOK provider acts on in the place of the stack's own.

The provider ignores a NodePool whose class is an EC2NodeClass. Its twin differs in its name, in the kind of its class
and, where the rehearsal is to be quick, in two durations. A foreground deletion of the pool waits for the twin, its
NodeClaims and their nodes, as on AWS it waits for the pool's own.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import contracts
from rehearsal.controllers import instance_types
from rehearsal.controllers.node_classes import Switch, drift_hash, owned_by
from rehearsal.controllers.selectors import matches
from rehearsal.controllers.world import EC2_NODE_CLASSES, NODE_OVERLAYS, NODE_POOLS, Object, World, place, place_of
from settings.node_pools import TWIN_SUFFIX
from settings.values import seconds

NODE_POOL_LABEL = "karpenter.sh/nodepool"
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"

_NEVER = "Never"
# What the rehearsal knows of a twin: that it is one of this manifest. And, on its nodes, the class that they are of.
_MANIFEST = "rehearsal.gpulab.dev/manifest"
_NODE_CLASS = "rehearsal.gpulab.dev/node-class"


@dataclass(frozen=True)
class Durations:
    """The most that a twin waits, in seconds; None leaves the pool's own."""

    consolidate_after: int | None = None
    grace_period: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Durations:
        """Those of GPULAB_CONSOLIDATE_AFTER and GPULAB_GRACE_PERIOD, in seconds."""
        after, grace = (environment.get(name) for name in ("GPULAB_CONSOLIDATE_AFTER", "GPULAB_GRACE_PERIOD"))
        return cls(int(after) if after else None, int(grace) if grace else None)


class Twins:
    """Keeps a twin of each NodePool of EC2's, and of each NodeOverlay that selects such a pool."""

    def __init__(self, karpenter: Switch, durations: Durations) -> None:
        self._karpenter = karpenter
        self._durations = durations

    def reconcile(self, world: World) -> None:
        """Makes, changes and removes twins, and lets the pools' status say what Karpenter says of the twins'."""
        if not self._karpenter.running:
            return
        classes = {one["metadata"]["name"]: one for one in world.listed(EC2_NODE_CLASSES)}
        live = {one["metadata"]["name"]: one for one in world.listed(NODE_POOLS)}
        for pool in list(live.values()):
            reference = pool["spec"]["template"]["spec"]["nodeClassRef"]
            if reference["kind"] != "EC2NodeClass":
                continue
            known = live.get(pool["metadata"]["name"] + TWIN_SUFFIX)
            if "deletionTimestamp" not in pool["metadata"]:
                twin = twin_of_pool(pool, classes.get(reference["name"]), self._durations)
                _keep(world, NODE_POOLS, twin, known)
            if known:
                _copy_status(world, pool, known)
        overlays = {one["metadata"]["name"]: one for one in world.listed(NODE_OVERLAYS)}
        for overlay in list(overlays.values()):
            twin = twin_of_overlay(overlay)
            if twin and "deletionTimestamp" not in overlay["metadata"]:
                _keep(world, NODE_OVERLAYS, twin, overlays.get(twin["metadata"]["name"]))


def twin_of_pool(pool: Object, node_class: Object | None, durations: Durations) -> Object:
    """The NodePool that Karpenter's KWOK provider acts on for `pool`, whose EC2NodeClass is `node_class`.

    A mark of the class in the template makes nodes drift when the class changes, as they do on AWS.
    """
    spec = copy.deepcopy(pool["spec"])
    template = spec["template"]
    template["spec"]["nodeClassRef"] |= {"group": "karpenter.kwok.sh", "kind": "KWOKNodeClass"}
    if node_class:
        metadata = template.setdefault("metadata", {})
        metadata["annotations"] = {**metadata.get("annotations", {}), _NODE_CLASS: drift_hash(node_class)}
    # Without a grace period of its own a pool waits for ever for pods that must not be disrupted: that must be seen.
    _shorten(template["spec"], "terminationGracePeriod", durations.grace_period)
    _shorten(spec.get("disruption", {}), "consolidateAfter", durations.consolidate_after)
    return _twin(pool, spec)


def twin_of_overlay(overlay: Object) -> Object | None:
    """The same overlay for the twins of the pools that it selects by name; None when it names no pool.

    An overlay is compared with what all offerings of an instance type have in common, where the KWOK provider has none
    of AWS's labels: what it asks of them becomes a list of the instance types that fulfil it.
    """
    spec = copy.deepcopy(overlay["spec"])
    by_pool = [one for one in spec.get("requirements", []) if one["key"] == NODE_POOL_LABEL and one.get("values")]
    if not by_pool or is_twin(overlay):
        return None
    for requirement in by_pool:
        requirement["values"] = [f"{pool}{TWIN_SUFFIX}" for pool in requirement["values"]]
    of_types = [one for one in spec["requirements"] if one["key"].startswith(instance_types.PREFIX)]
    if of_types:
        known = contracts.instance_types()
        names = [name for name, one in known.items() if matches(of_types, instance_types.labels(one))]
        others = [one for one in spec["requirements"] if one not in of_types]
        spec["requirements"] = [*others, {"key": _INSTANCE_TYPE, "operator": "In", "values": names}]
    return _twin(overlay, spec)


def is_twin(obj: Object) -> bool:
    """Whether a NodePool or NodeOverlay is a twin."""
    return _MANIFEST in obj["metadata"].get("annotations", {})


def original(pool: str) -> str:
    """The name of the pool whose twin has the name `pool`."""
    return pool.removesuffix(TWIN_SUFFIX)


def _shorten(section: dict[str, Any], key: str, most: int | None) -> None:
    own = section.get(key)
    if most is not None and own not in (None, _NEVER):
        section[key] = f"{min(seconds(own), most)}s"


def _twin(of: Object, spec: dict[str, Any]) -> Object:
    made: Object = {
        "apiVersion": of["apiVersion"],
        "kind": of["kind"],
        "metadata": {"name": f"{of['metadata']['name']}{TWIN_SUFFIX}", "ownerReferences": [owned_by(of)]},
        "spec": spec,
    }
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    made["metadata"]["annotations"] = {_MANIFEST: digest}
    return made


def _keep(world: World, collection: str, twin: Object, live: Object | None) -> None:
    """Applies `twin` unless it is there as it should be."""
    annotations = live["metadata"].get("annotations", {}) if live else {}
    if annotations.get(_MANIFEST) != twin["metadata"]["annotations"][_MANIFEST]:
        world.kubernetes.apply(place_of(collection, twin), twin)


def _copy_status(world: World, pool: Object, twin: Object) -> None:
    """Gives the pool what its twin's status says; observed generations are the pool's own."""
    status, old = copy.deepcopy(twin.get("status") or {}), pool.get("status") or {}
    for condition in status.get("conditions", []):
        condition["observedGeneration"] = pool["metadata"]["generation"]
    if status and status != old:
        gone = old.get("resources", {}).keys() - status.get("resources", {}).keys()
        status.setdefault("resources", {}).update(dict.fromkeys(gone))
        world.kubernetes.patch(f"{place(NODE_POOLS, pool['metadata']['name'])}/status", {"status": status})
