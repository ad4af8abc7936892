"""Data: stored data survives mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts.stateful import verdict
from policies.encryption import CLUSTER
from policies.lifecycle import default_tags
from policies.reading import helm
from policies.reading.resources import Resource, Stack, at, is_kind, is_true, is_type, items, made_from, number, texts
from policies.rules import (
    CRITICAL,
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    resource_policy,
    stack_policy,
)

_STATE = best_practices("Reliability: Data plane, persistent storage")

_DATABASE_IN_CLUSTER = "kubernetes:postgresql.cnpg.io/v1:Cluster"
BACKED_UP_BY = "gpulab.dev/backed-up-by"
"""The annotation of a Cluster of CloudNativePG whose volumes somebody else backs up."""


def is_stateful(type_: str) -> bool:
    """Whether resources of a type must be protected: data and its keys (contracts/stateful.json), and clusters.

    Kubernetes objects come and go with their cluster. Of these only databases must be protected.
    """
    return is_data_of_aws(type_) or type_ in (CLUSTER, _DATABASE_IN_CLUSTER)


def is_data_of_aws(type_: str) -> bool:
    """Whether resources of this type hold data, judged by the type only."""
    return type_.startswith("aws:") and verdict(type_) == "data"


_DATABASES = ("aws:rds/instance:Instance", "aws:rds/cluster:Cluster")
_FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"


@resource_policy(
    "stateful-unprotected",
    "In production, resources that hold data are protected",
    fix="Set the resource option protect: true; to destroy the stack, see policies/unlock.json",
    severity=CRITICAL,
    concerns=is_stateful,
    framework=_STATE,
    labs="disabled",
)
def stateful_unprotected(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """A protected resource is neither deleted nor replaced by the engine, whatever the program says."""
    # An image repository with forceDelete may lose its images.
    properties = {"forceDelete": at(resource.props, "forceDelete", False)}
    is_harmless = is_data_of_aws(resource.resource_type) and verdict(resource.resource_type, properties) == "none"
    if not resource.opts.protect and not is_harmless:
        yield "a destroy, or a change that replaces it, deletes its data"


@stack_policy(
    "data-without-backup",
    "A file system and a database have backups",
    fix="Name the file system in resources of a backup.Selection; set backupRetentionPeriod of a database, or "
    f"spec.backup of a CloudNativePG cluster, or its annotation {BACKED_UP_BY}, which says who backs its volumes up",
    severity=HIGH,
    framework=_STATE,
    limits={
        "days": {"type": "integer", "default": 1, "description": "The minimum number of days that backups are kept."}
    },
)
def data_without_backup(stack: Stack, limits: Limits) -> Iterator[Finding]:
    """Encryption and protection do not help if somebody deletes files in a notebook."""
    for database in stack.of_type(*_DATABASES):
        yield from about(database, _database_backups(database, limits["days"]))
    for in_cluster in stack.of_type(_DATABASE_IN_CLUSTER):
        by_others = at(in_cluster.props, "metadata.annotations", {}).get(BACKED_UP_BY)
        if not (by_others or at(in_cluster.props, "spec.backup", {}) or at(in_cluster.props, "spec.plugins", [])):
            yield Finding(in_cluster, "nothing backs it up")
    for file_system in stack.of_type(_FILE_SYSTEM):
        yield from about(file_system, _file_system_backups(file_system, stack))


def _database_backups(database: Resource, days: int) -> Iterator[Found]:
    # The backups of an instance in a cluster are the cluster's.
    if not database.props.get("clusterIdentifier") or database.resource_type.endswith(":Cluster"):
        kept = number(database.props.get("backupRetentionPeriod")) or 0
        if kept < days:
            yield f"its backups are kept for {kept:g} days; the minimum is {days}"


def _file_system_backups(file_system: Resource, stack: Stack) -> Iterator[Found]:
    # Compare what the selection and the policy are made from: a preview does not know the ARN.
    for selection in stack.of_type("aws:backup/selection:Selection"):
        if made_from(selection, "resources", file_system) or _selects_by_tag(selection, file_system):
            return
    for policy in stack.of_type("aws:efs/backupPolicy:BackupPolicy"):
        of_this = made_from(policy, "fileSystemId", file_system)
        if of_this and at(policy.props, "backupPolicy.status") == "ENABLED":
            return
    yield "nothing backs it up"


def _selects_by_tag(selection: Resource, file_system: Resource) -> bool:
    defaults = default_tags(file_system.provider.props) if file_system.provider else {}
    tags = {**defaults, **at(file_system.props, "tags", {}), **at(file_system.props, "tagsAll", {})}
    chosen = items(selection.props.get("selectionTags"))
    return any(tags.get(str(one.get("key")), "") == one.get("value") for one in chosen)


@resource_policy(
    "storage-class-deletes-homes",
    "A StorageClass for homes keeps its volumes",
    fix="Set reclaimPolicy to Retain, or use a class with Retain for homes",
    severity=HIGH,
    concerns=is_kind("StorageClass"),
    framework=_STATE,
    limits={
        "label": {
            "type": "string",
            "default": "gpulab.dev/homes",
            "description": "The label of classes for homes; a class with `home` in its name is one too.",
        }
    },
)
def storage_class_deletes_homes(storage_class: Resource, limits: Limits) -> Iterator[Found]:
    """With Delete, Kubernetes' default, deleting a claim by mistake deletes its volume at once."""
    metadata = at(storage_class.props, "metadata", {})
    is_for_homes = limits["label"] in set(metadata.get("labels") or {}) or "home" in str(metadata.get("name") or "")
    if is_for_homes and storage_class.props.get("reclaimPolicy", "Delete") != "Retain":
        yield "deleting a claim deletes the home"


@stack_policy(
    "hub-homes-deleted",
    "Homes that a hub creates use a StorageClass that keeps volumes",
    fix="Set values.singleuser.storage.dynamic.storageClass to a class with reclaimPolicy Retain",
    severity=HIGH,
    framework=_STATE,
)
def hub_homes_deleted(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """The chart creates a claim for each person, by default with the cluster's default class."""
    for hub in helm.releases(stack, "jupyterhub"):
        yield from about(hub, _homes(at(helm.values(hub), "singleuser.storage", {}), stack))


def _homes(storage: Any, stack: Stack) -> Iterator[Found]:
    if storage.get("type") != "dynamic":
        return
    name = at(storage, "dynamic.storageClass")
    for one in stack.of_kind("StorageClass"):
        named = at(one.props, "metadata.name", one.name)
        default = at(one.props, "metadata.annotations", {}).get("storageclass.kubernetes.io/is-default-class")
        if (named == name if name else is_true(default)) and one.props.get("reclaimPolicy") == "Retain":
            return
    yield f"homes use {name or 'the default StorageClass'}, so deleting a claim deletes the home"


@resource_policy(
    "database-final-snapshot",
    "In production, a database leaves a final snapshot",
    fix="Set skipFinalSnapshot to false and finalSnapshotIdentifier to a name",
    severity=MEDIUM,
    concerns=is_type(*_DATABASES),
    framework=_STATE,
    labs="disabled",
)
def database_final_snapshot(database: Resource, _limits: Limits) -> Iterator[Found]:
    """Its automatic backups are deleted together with it."""
    if is_true(database.props.get("skipFinalSnapshot")):
        yield "skipFinalSnapshot is true"


@resource_policy(
    "key-without-rotation",
    "A KMS key is rotated",
    fix="Set enableKeyRotation to true",
    severity=MEDIUM,
    concerns=is_type("aws:kms/key:Key"),
    framework=best_practices("Security: Data encryption and secrets management, rotate your CMKs periodically"),
)
def key_without_rotation(key: Resource, _limits: Limits) -> Iterator[Found]:
    """Keys for signing cannot be rotated, so they are left out."""
    if texts(key.props.get("keyUsage")) not in ([], ["ENCRYPT_DECRYPT"]):
        return
    if not is_true(key.props.get("enableKeyRotation")):
        yield "enableKeyRotation is not set"
