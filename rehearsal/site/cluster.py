"""Fills an API server with the cluster of a fixture, and says what of it is as it was."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import Named, named, owner_of, release_of
from rehearsal.controllers.world import Object
from rehearsal.providers.kubernetes import configuration
from rehearsal.providers.kubernetes.client import ApiError, Cluster, NoSuchKind

_FIELD_MANAGER = "distribution"
_SERVED_SECONDS, _LOOK_SECONDS = 60, 0.1
# What controllers make of their own accord, and what a running cluster writes all the time.
# Of network file systems there are attachments only because the charts' stand-ins have no CSIDriver to say no.
_PASSING = frozenset(
    (
        *("APIService", "ControllerRevision", "Endpoints", "EndpointSlice", "Event", "Lease", "Pod", "ReplicaSet"),
        "VolumeAttachment",
    )
)
# What a chart says of objects that outlive its release, such as definitions of which people may have made objects.
_KEEP = "helm.sh/resource-policy"
# In every namespace; a controller makes them again.
_OF_NAMESPACES = ("kube-root-ca.crt", "default")
# Labels of what stand-ins make and remove at any time.
_STAND_INS = "rehearsal.gpulab.dev/"
# Annotations by which the stack knows what it has set on nodes of others.
_OURS = "gpulab.dev/"
# Definitions first, then the namespaces of all others.
_FIRST = ("CustomResourceDefinition", "Namespace")


def connected(kubeconfig: Path) -> Cluster:
    """A client of the API server, as the administrator."""
    return Cluster(configuration.access({"kubeconfig": str(kubeconfig)}))


def fill(cluster: Cluster, objects: Iterable[Object]) -> None:
    """Makes the objects, definitions and namespaces first. Raises ApiError for what the API server refuses."""
    for obj in sorted(objects, key=lambda one: _FIRST.index(one["kind"]) if one["kind"] in _FIRST else len(_FIRST)):
        _wait_until_served(cluster, obj)
        whole = {**obj, **_record(obj)}
        try:
            cluster.create(whole, field_manager=_FIELD_MANAGER)
        except ApiError as error:
            if not error.already_exists:
                raise
            cluster.apply(whole, field_manager=_FIELD_MANAGER, force=True)


def _record(obj: Object) -> dict[str, Any]:
    """Helm's record of a release of others, which is in its Secret: of a fixture only the names are known."""
    release = release_of(obj) if obj["kind"] == "Secret" else None
    if release is None:
        return {}
    chart = {"metadata": {"name": release.name, "version": "0.0.0"}}
    record = {"name": release.name, "namespace": release.namespace, "version": 1, "info": {"status": "deployed"}}
    packed = gzip.compress(json.dumps({**record, "chart": chart}).encode())
    return {"data": {"release": base64.b64encode(base64.b64encode(packed)).decode()}}


def _wait_until_served(cluster: Cluster, obj: Object) -> None:
    """Waits until the API server serves the kind of an object, whose definition may be new. Raises NoSuchKind."""
    deadline = time.monotonic() + _SERVED_SECONDS
    while not cluster.serves(obj["apiVersion"], obj["kind"]):
        if time.monotonic() > deadline:
            raise NoSuchKind(obj["apiVersion"], obj["kind"])
        time.sleep(_LOOK_SECONDS)


def without_programs(objects: Iterable[Object], left_out: Collection[str]) -> list[Object]:
    """The objects without programs that the stack brings itself, and without what belongs to these alone.

    `left_out` are names of `contracts.clusters.programs`.
    """
    objects = list(objects)
    found = FoundCluster.of(objects).programs
    gone = [program for program in found if program.program in left_out]
    stays = {program.workload.namespace for program in found if program not in gone} | {"kube-system"}
    spaces = {program.workload.namespace for program in gone} - stays
    workloads, releases = {one.workload for one in gone}, {one.owner.release for one in gone} - {None}
    return [
        one
        for one in objects
        if not (
            named(one) in workloads
            or owner_of(one, {}).release in releases
            or one["metadata"].get("namespace") in spaces
            or (one["kind"] == "Namespace" and one["metadata"]["name"] in spaces)
        )
    ]


@dataclass(frozen=True)
class Snapshot:
    """The names of a cluster's objects, and what people set of those that somebody wrote down."""

    names: frozenset[Named]
    contents: Mapping[Named, Any] = field(default_factory=dict)
    kept: frozenset[Named] = frozenset()
    """Those that are to stay after the stack: of a chart, or people's files."""

    @classmethod
    def of(cls, cluster: Cluster, written: Iterable[Object]) -> Snapshot:
        """Of the cluster as it is, with the contents of the objects `written`."""
        live: dict[Named, Object] = {}
        for kind in cluster.all_kinds():
            if kind.kind in _PASSING:
                continue
            for obj in cluster.objects(kind):
                metadata = obj["metadata"]
                made_here = any(label.startswith(_STAND_INS) for label in metadata.get("labels") or ())
                if not metadata.get("ownerReferences") and metadata["name"] not in _OF_NAMESPACES and not made_here:
                    live[Named(kind=kind.kind, name=metadata["name"], namespace=metadata.get("namespace"))] = obj
        wanted = {named(one) for one in written}
        said = {name: _said(obj) for name, obj in live.items() if name in wanted}
        kept = (name for name, obj in live.items() if (obj["metadata"].get("annotations") or {}).get(_KEEP) == "keep")
        return cls(frozenset(live), said, frozenset(kept))

    def changes(self, later: Snapshot) -> list[str]:
        """What was made and is not kept, removed or changed since; empty where all is as it was."""
        made = [f"{name} is left" for name in later.names - self.names - later.kept]
        removed = [f"{name} is gone" for name in self.names - later.names]
        changed = [
            f"{name} has other {', '.join(parts)}"
            for name, before in self.contents.items()
            if (after := later.contents.get(name)) is not None
            and (parts := sorted(part for part in before if before[part] != after[part]))
        ]
        return sorted([*made, *removed, *changed])


def _said(obj: Object) -> dict[str, Any]:
    """What people and tools say of an object: not what controllers write of it."""
    metadata = obj["metadata"]
    rest = {
        key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind", "secrets")
    }
    annotations = metadata.get("annotations") or {}
    # Kubernetes' controllers and KWOK write annotations all the time.
    ours = {key: value for key, value in annotations.items() if key.startswith(_OURS)}
    return {"labels": metadata.get("labels") or {}, "annotations": ours, **rest}
