"""PostgreSQL in the cluster, run by CloudNativePG. A new image brings a new minor version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.ground.placement import Placement
from components.images import pinned, with_digests
from components.storage.database import PORT, Connection, generated_password
from components.storage.database_backups import DatabaseBackups, DatabaseBackupsArgs
from settings.people.database import SERVER_GIB

if TYPE_CHECKING:
    from settings import ChartSource
    from settings.people.database import Database

IMAGE = "postgresql"
BACKED_UP_BY = "gpulab.dev/backed-up-by"
"""The annotation of a Cluster whose volumes somebody else backs up; the policy `data-without-backup` takes it."""
API_VERSION = "postgresql.cnpg.io/v1"
OPERATOR = "cloudnative-pg"
OPERATOR_NAMESPACE = "cnpg-system"


@dataclass(frozen=True, kw_only=True)
class ClusterDatabaseArgs:
    """What the servers are made from.

    `database` is the name of the database and of its owner. `protect` keeps Pulumi from deleting them. With
    `by_digest`, images are pinned by their digests, if contracts has them. `backups` is None for no backups. Without
    `operator`, the cluster has CloudNativePG's already. `storage_class` is None for the cluster's default class.
    Its volumes are backed up by `backed_up_by`.
    """

    namespace: pulumi.Input[str]
    database: str
    settings: Database
    placement: Placement
    storage_class: str | None = None
    backed_up_by: str | None = None
    operator: bool = True
    protect: bool = False
    by_digest: bool = False
    backups: DatabaseBackupsArgs | None = None
    charts: Mapping[str, ChartSource] = field(default_factory=dict)


class ClusterDatabase(pulumi.ComponentResource):
    """CloudNativePG's operator, and a PostgreSQL Cluster of it on the default StorageClass."""

    connection: Connection
    backups: DatabaseBackups | None = None

    def __init__(self, name: str, args: ClusterDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:ClusterDatabase", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        cluster_name = cluster_of(args.database)
        password = generated_password(f"{name}-password", child)
        operators = [self._operator(f"{name}-operator", args)] if args.operator else []
        secret = kubernetes.core.v1.Secret(
            f"{name}-owner",
            metadata={"name": f"{cluster_name}-owner", "namespace": args.namespace},
            type="kubernetes.io/basic-auth",
            string_data={"username": args.database, "password": password},
            opts=child,
        )
        if args.backups:
            self.backups = DatabaseBackups(
                f"{name}-backups",
                args.backups,
                opts=child,
                database=args.database,
                # CloudNativePG gives the servers a service account with the Cluster's name.
                service_account=cluster_name,
            )
        spec = cluster_spec(
            database=args.database,
            instances=args.settings.instances,
            storage=args.settings.storage,
            secret=secret.metadata.name,
            placement=args.placement,
            storage_class=args.storage_class,
            by_digest=args.by_digest,
        )
        if args.backups and self.backups:
            spec |= backup_spec(self.backups.bucket_name, args.backups.region, args.backups.retention_days)
        cluster = kubernetes.apiextensions.CustomResource(
            name,
            api_version=API_VERSION,
            kind="Cluster",
            metadata={"name": cluster_name, "namespace": args.namespace, **_annotations(args.backed_up_by)},
            spec=spec,
            # Only a running operator removes the servers, and they first write the end of their log to the bucket.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*operators, *(self.backups.ready if self.backups else [])],
                protect=args.protect,
            ),
        )
        if args.backups:
            kubernetes.apiextensions.CustomResource(
                f"{name}-schedule",
                api_version=API_VERSION,
                kind="ScheduledBackup",
                metadata={"name": cluster_name, "namespace": args.namespace},
                spec=scheduled_backup_spec(cluster.metadata["name"], args.backups.schedule),  # type: ignore[index]
                opts=child,
            )
        host = pulumi.Output.concat(cluster.metadata["name"], "-rw")  # type: ignore[index]
        self.connection = Connection(
            host=host, port=PORT, database=args.database, username=args.database, password=password
        )
        self.register_outputs({"host": host, "port": PORT, "database": args.database})

    def _operator(self, name: str, args: ClusterDatabaseArgs) -> pulumi.Resource:
        """The operator's release in a namespace of its own: one that Helm makes would not be deleted."""
        child = pulumi.ResourceOptions(parent=self)
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": OPERATOR_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        )
        return kubernetes.helm.v3.Release(
            name,
            name=OPERATOR,
            namespace=namespace.metadata.name,
            values=with_digests(OPERATOR, operator_values(args.placement), args.charts, by_digest=args.by_digest),
            opts=child,
            **release_args(OPERATOR, args.charts),
        )


def _annotations(backed_up_by: str | None) -> dict[str, Any]:
    return {"annotations": {BACKED_UP_BY: backed_up_by}} if backed_up_by else {}


def cluster_of(database: str) -> str:
    """The name of the Cluster that serves a database: `keycloak-db`."""
    return f"{database}-db"


def cluster_spec(
    *,
    database: str,
    instances: int,
    storage: int,
    secret: pulumi.Input[str],
    placement: Placement,
    storage_class: str | None = None,
    by_digest: bool = False,
) -> dict[str, Any]:
    """The `spec` of a Cluster (postgresql.cnpg.io/v1). It has TLS on by default."""
    return {
        "instances": instances,
        # The operator's disruption budget for the primary (minAvailable 1) would keep a single server on its node, so
        # updates of the system nodes could not drain it.
        "enablePDB": instances > 1,
        "imageName": pinned(IMAGE, by_digest=by_digest),
        "storage": {"size": f"{storage}Gi", **({"storageClass": storage_class} if storage_class else {})},
        "bootstrap": {"initdb": {"database": database, "owner": database, "secret": {"name": secret}}},
        "postgresql": {"pg_hba": ["hostssl all all all scram-sha-256", "hostnossl all all all reject"]},
        # What uses the database needs it at all times, and nodes of pools come and go.
        # An empty list of tolerations makes CloudNativePG 1.30 restart the servers again and again: it compares what it
        # wants with what it wrote down, where an empty list is none (pkg/specs/podspec_diff.go).
        "affinity": {key: value for key, value in placement.pod.items() if value},
        "inheritedMetadata": {"annotations": dict(placement.annotations)},
        "resources": {
            "requests": {"cpu": "250m", "memory": f"{SERVER_GIB}Gi"},
            "limits": {"memory": f"{SERVER_GIB}Gi"},
        },
    }


def backup_spec(bucket: pulumi.Input[str], region: str, retention_days: int) -> dict[str, Any]:
    """The additions to a Cluster's `spec` that write its log (WAL) and its backups to a bucket.

    This uses CloudNativePG's own support of object stores, which 1.31 still has and 1.32 removes ("Appendix B - Backup
    on object stores", CloudNativePG 1.31); its successor, a plugin, needs cert-manager. The pod's own credentials are
    used (EKS Pod Identity, which barman's boto3 supports). Adding the region's variable also replaces running servers:
    a pod that is older than its role's association has no credentials.
    """
    return {
        "backup": {
            "retentionPolicy": f"{retention_days}d",
            "barmanObjectStore": {
                "destinationPath": pulumi.Output.concat("s3://", bucket),
                "s3Credentials": {"inheritFromIAMRole": True},
                "data": {"compression": "gzip"},
                "wal": {"compression": "gzip"},
            },
        },
        "env": [{"name": "AWS_DEFAULT_REGION", "value": region}],
    }


def scheduled_backup_spec(cluster: pulumi.Input[str], schedule: str) -> dict[str, Any]:
    """The `spec` of a ScheduledBackup, whose schedule has a field for seconds. The first backup is taken at once."""
    return {
        "schedule": f"0 {schedule}",
        "immediate": True,
        "cluster": {"name": cluster},
        "method": "barmanObjectStore",
        "backupOwnerReference": "cluster",
    }


def operator_values(placement: Placement) -> dict[str, Any]:
    """The values of the chart `cloudnative-pg`."""
    return {
        **placement.pod,
        "podAnnotations": dict(placement.annotations),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
    }
