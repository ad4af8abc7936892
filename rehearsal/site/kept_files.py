"""What a destroy keeps of a site's shared files: their namespace, their claims, and the volumes of these."""

from __future__ import annotations

from components.ground.existing.ownership import Named
from components.storage import volumes
from components.storage.claims import NAMESPACE
from rehearsal.providers.kubernetes.client import Cluster
from rehearsal.report import Check
from settings import ExistingSettings


def kept_files(cluster: Cluster) -> frozenset[Named]:
    """Those that there are."""
    claims = [
        one["metadata"]["name"] for one in cluster.objects(cluster.kind("v1", "PersistentVolumeClaim"), NAMESPACE)
    ]
    held = [
        one["metadata"]["name"]
        for one in cluster.objects(cluster.kind("v1", "PersistentVolume"))
        if one["spec"].get("claimRef", {}).get("namespace") == NAMESPACE
    ]
    return frozenset(
        [
            *([Named(kind="Namespace", name=NAMESPACE)] if claims else []),
            *(Named(kind="PersistentVolumeClaim", name=name, namespace=NAMESPACE) for name in claims),
            *(Named(kind="PersistentVolume", name=name) for name in held),
        ]
    )


def as_listed(one: Named) -> str:
    """The name as `rehearsal.checks.leftovers` lists it."""
    return f"{one.kind} {one.namespace}/{one.name}" if one.namespace else f"{one.kind} {one.name}"


def all_kept(settings: ExistingSettings, kept: frozenset[Named]) -> Check:
    """Whether the destroy left the claim of each directory, with its volume."""
    storage = settings.storage
    directories = {one.directory for team in settings.teams for one in volumes.made_volumes(team, storage)}
    found = [sum(one.kind == kind for one in kept) for kind in ("PersistentVolumeClaim", "PersistentVolume")]
    detail = f"{found[0]} claims and {found[1]} volumes of {len(directories)} directories"
    return Check("shared files are kept", found == [len(directories)] * 2, detail)
