"""The databases that a ground has: what keeps the data of Keycloak and of the hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pulumi

from components.ground.placement import Placement
from components.order import after
from components.storage.cluster_database import ClusterDatabase, ClusterDatabaseArgs
from components.storage.database import Connection, RdsDatabase, RdsDatabaseArgs
from components.storage.database_backups import DatabaseBackupsArgs

if TYPE_CHECKING:
    from settings import ChartSource
    from settings.notebooks.hub import HubDatabase
    from settings.people.database import Database as KeycloakDatabase


@dataclass(frozen=True, kw_only=True)
class Made:
    """A database, and what a destroy keeps of it: how its ground names it."""

    connection: Connection
    retained: Mapping[str, pulumi.Output[str]] = field(default_factory=dict)


class Databases(Protocol):
    """Where PostgreSQL runs. `version` is that of whoever uses the database."""

    def for_keycloak(
        self,
        name: str,
        database: str,
        settings: KeycloakDatabase,
        *,
        version: str | None,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
        pods_after: Sequence[pulumi.Resource],
    ) -> Made:
        """Keycloak's. If it is in the cluster, it is in `namespace`, and its pods need `pods_after`."""
        ...

    def for_hub(
        self, name: str, database: str, settings: HubDatabase, *, version: str | None, opts: pulumi.ResourceOptions
    ) -> Connection | None:
        """The hub's; None where it is a volume of the hub's own."""
        ...


@dataclass(frozen=True, kw_only=True)
class EksDatabases:
    """On RDS, in `subnet_ids` and for nodes in `node_security_group_id` only; or in the cluster.

    `protect` keeps a database from being deleted. `production` has a snapshot taken before each new version of its
    user. `backups` are those of a database in the cluster; RDS has its own.
    """

    cluster_name: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    node_security_group_id: pulumi.Input[str]
    placement: Placement
    production: bool = False
    protect: bool = False
    backups: DatabaseBackupsArgs | None = None
    charts: Mapping[str, ChartSource] = field(default_factory=dict)

    def for_keycloak(
        self,
        name: str,
        database: str,
        settings: KeycloakDatabase,
        *,
        version: str | None,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
        pods_after: Sequence[pulumi.Resource],
    ) -> Made:
        """By the kind that the settings name. RDS waits for the network only, as it takes the longest."""
        if settings.kind == "rds":
            args = self._on_rds(database, settings, settings.storage, version, max_storage=settings.max_storage)
            return Made(connection=RdsDatabase(name, args, opts=opts).connection)
        in_cluster = ClusterDatabaseArgs(
            namespace=namespace,
            database=database,
            settings=settings,
            placement=self.placement,
            protect=self.protect,
            by_digest=self.production,
            backups=self.backups,
            charts=self.charts,
        )
        made = ClusterDatabase(name, in_cluster, opts=after(opts, *pods_after))
        kept = made.backups and self.backups and self.backups.retain
        retained = {"databaseBackups": made.backups.bucket_name} if made.backups and kept else {}
        return Made(connection=made.connection, retained=retained)

    def for_hub(
        self, name: str, database: str, settings: HubDatabase, *, version: str | None, opts: pulumi.ResourceOptions
    ) -> Connection | None:
        """On RDS, or a volume."""
        if settings.kind == "volume":
            return None
        args = self._on_rds(database, settings, settings.size, version)
        return RdsDatabase(name, args, opts=opts).connection

    def _on_rds(
        self,
        database: str,
        settings: KeycloakDatabase | HubDatabase,
        storage: int,
        version: str | None,
        *,
        max_storage: int | None = None,
    ) -> RdsDatabaseArgs:
        return RdsDatabaseArgs(
            identifier=f"{self.cluster_name}-{database}",
            database=database,
            vpc_id=self.vpc_id,
            subnet_ids=self.subnet_ids,
            client_security_group_id=self.node_security_group_id,
            settings=settings,
            storage=storage,
            max_storage=max_storage,
            deletion_protection=self.protect,
            snapshot_before=version if self.production else None,
        )


@dataclass(frozen=True, kw_only=True)
class SiteDatabases:
    """In the cluster, on its volumes of `storage_class`, which `backed_up_by` backs up.

    With `operator` false, CloudNativePG runs there already.
    """

    placement: Placement
    storage_class: str | None = None
    backed_up_by: str | None = None
    operator: bool = True
    production: bool = False
    protect: bool = False
    charts: Mapping[str, ChartSource] = field(default_factory=dict)

    def for_keycloak(
        self,
        name: str,
        database: str,
        settings: KeycloakDatabase,
        *,
        version: str | None,
        namespace: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
        pods_after: Sequence[pulumi.Resource],
    ) -> Made:
        """By CloudNativePG. Whoever runs the cluster backs its volumes up."""
        in_cluster = ClusterDatabaseArgs(
            namespace=namespace,
            database=database,
            settings=settings,
            placement=self.placement,
            storage_class=self.storage_class,
            backed_up_by=self.backed_up_by,
            operator=self.operator,
            protect=self.protect,
            by_digest=self.production,
            charts=self.charts,
        )
        return Made(connection=ClusterDatabase(name, in_cluster, opts=after(opts, *pods_after)).connection)

    def for_hub(
        self,
        name: str,
        database: str,
        settings: HubDatabase,
        *,
        version: str | None,
        opts: pulumi.ResourceOptions,
    ) -> Connection | None:
        """A volume of the hub's own."""
        return None
