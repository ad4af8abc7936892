"""PostgreSQL for Keycloak and for the hub: Amazon RDS, or CloudNativePG in the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from components.charts import release_args
from components.cluster import SYSTEM_TOLERATION
from components.database_backups import DatabaseBackups, DatabaseBackupsArgs
from components.images import pinned, with_digests
from settings.identity import DATABASE, FINAL_SNAPSHOT

if TYPE_CHECKING:
    from settings import ChartSource

USERNAME = "keycloak"
PORT = 5432
# Letters and digits only, so nothing needs escaping.
PASSWORD_LENGTH = 40

POSTGRES = "17"
"""The major version; RDS and CloudNativePG follow its minor ones in the maintenance window and with the image."""
CLUSTER_IMAGE = "postgresql"

# UTC, at night in Europe and America, apart from each other as RDS asks.
BACKUP_WINDOW = "03:00-04:00"
MAINTENANCE_WINDOW = "sun:04:30-sun:05:30"

# RDS takes 10 to 15 minutes for an instance, longer with a standby; a snapshot before an upgrade as well.
CREATE_TIMEOUT = "60m"

API_VERSION = "postgresql.cnpg.io/v1"
CLUSTER = "keycloak-db"
OPERATOR = "cloudnative-pg"
OPERATOR_NAMESPACE = "cnpg-system"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach a database. It speaks TLS alone."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    database: str
    username: str
    password: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class RdsDatabaseArgs:
    """What the instance is made of.

    `database` is the name of the database, and of its owner. `storage` and `max_storage` are in GiB (without
    `max_storage` it does not grow), `backup_days` in days. Nodes in `client_security_group_id` reach it, nobody else.
    `snapshot_before` is the version of its user in production: before each new one is rolled out, a snapshot is taken.
    """

    identifier: str
    database: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    client_security_group_id: pulumi.Input[str]
    instance_class: str
    storage: int
    max_storage: int | None = None
    multi_az: bool
    backup_days: int
    final_snapshot: bool
    deletion_protection: bool
    snapshot_before: str | None = None


class RdsDatabase(pulumi.ComponentResource):
    """PostgreSQL on RDS: encrypted, private, over TLS alone, backed up.

    Its storage and its snapshots are encrypted with the account's key for RDS, not with one of the stack's: a last
    snapshot has to be readable after the stack, its keys included, is gone.
    """

    connection: Connection

    def __init__(self, name: str, args: RdsDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:RdsDatabase", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        password = generated_password(f"{name}-password", child)
        group = aws.ec2.SecurityGroup(
            name,
            description="PostgreSQL from the nodes of the cluster",
            vpc_id=args.vpc_id,
            tags={"Name": name},
            opts=child,
        )
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            description="PostgreSQL from the nodes of the cluster",
            ip_protocol="tcp",
            from_port=PORT,
            to_port=PORT,
            referenced_security_group_id=args.client_security_group_id,
            opts=child,
        )
        subnets = aws.rds.SubnetGroup(name, subnet_ids=args.subnet_ids, opts=child)
        parameters = aws.rds.ParameterGroup(
            name,
            family=f"postgres{POSTGRES}",
            parameters=[{"name": "rds.force_ssl", "value": "1", "apply_method": "immediate"}],
            opts=child,
        )
        # A name of its own for each life of the database: RDS refuses a snapshot whose name is taken.
        final = (
            random.RandomId(f"{name}-final", byte_length=4, opts=child).hex.apply(
                lambda suffix: f"{args.identifier}{FINAL_SNAPSHOT}{suffix}"
            )
            if args.final_snapshot
            else None
        )
        instance = aws.rds.Instance(
            name,
            identifier=args.identifier,
            engine="postgres",
            engine_version=POSTGRES,
            instance_class=args.instance_class,
            allocated_storage=args.storage,
            max_allocated_storage=args.max_storage,
            storage_type="gp3",
            storage_encrypted=True,
            db_name=args.database,
            username=args.database,
            password=password,
            port=PORT,
            multi_az=args.multi_az,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=parameters.name,
            backup_retention_period=args.backup_days,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            deletion_protection=args.deletion_protection,
            skip_final_snapshot=not args.final_snapshot,
            final_snapshot_identifier=final,
            apply_immediately=False,
            opts=pulumi.ResourceOptions.merge(
                child,
                pulumi.ResourceOptions(
                    protect=args.deletion_protection,
                    custom_timeouts=pulumi.CustomTimeouts(
                        create=CREATE_TIMEOUT, update=CREATE_TIMEOUT, delete=CREATE_TIMEOUT
                    ),
                ),
            ),
        )
        host: pulumi.Output[str] = instance.address
        if args.snapshot_before is not None:
            snapshot = aws.rds.Snapshot(
                f"{name}-before-upgrade",
                db_instance_identifier=instance.identifier,
                db_snapshot_identifier=before_upgrade(args.identifier, args.snapshot_before),
                opts=child,
            )
            # Whoever connects comes after the snapshot, so a new version is rolled out once it is there.
            host = pulumi.Output.all(host, snapshot.db_snapshot_arn).apply(lambda known: known[0])
        self.connection = Connection(
            host=host, port=PORT, database=args.database, username=args.database, password=password
        )
        self.register_outputs({"host": host, "port": PORT, "database": args.database})


def before_upgrade(identifier: str, version: str) -> str:
    """The name of the snapshot before a version: `gpulab-prod-keycloak-before-26-8-2`."""
    return f"{identifier}-before-{version.replace('.', '-')}"


@dataclass(frozen=True, kw_only=True)
class ClusterDatabaseArgs:
    """What the servers are made of.

    `storage` is in GiB; `instances` are servers, one of which is written to. `protect` keeps Pulumi from deleting them.
    Images are taken by their digests with `by_digest`, where contracts have them.
    `backups`: None for none.
    """

    namespace: pulumi.Input[str]
    instances: int
    storage: int
    protect: bool = False
    by_digest: bool = False
    backups: DatabaseBackupsArgs | None = None
    charts: Mapping[str, ChartSource] = field(default_factory=dict)


class ClusterDatabase(pulumi.ComponentResource):
    """PostgreSQL in the cluster, by CloudNativePG: its operator, and a Cluster of it on the default StorageClass."""

    connection: Connection
    backups: DatabaseBackups | None = None

    def __init__(self, name: str, args: ClusterDatabaseArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:ClusterDatabase", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        password = generated_password(f"{name}-password", child)
        # One that Helm makes would stay behind.
        namespace = kubernetes.core.v1.Namespace(
            f"{name}-operator",
            metadata={"name": OPERATOR_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        )
        operator = kubernetes.helm.v3.Release(
            f"{name}-operator",
            name=OPERATOR,
            namespace=namespace.metadata.name,
            values=with_digests(OPERATOR, operator_values(), args.charts, by_digest=args.by_digest),
            opts=child,
            **release_args(OPERATOR, args.charts),
        )
        secret = kubernetes.core.v1.Secret(
            f"{name}-owner",
            metadata={"name": f"{CLUSTER}-owner", "namespace": args.namespace},
            type="kubernetes.io/basic-auth",
            string_data={"username": USERNAME, "password": password},
            opts=child,
        )
        if args.backups:
            self.backups = DatabaseBackups(
                f"{name}-backups",
                args.backups,
                opts=child,
                database=DATABASE,
                # CloudNativePG gives the servers an account of the Cluster's name.
                service_account=CLUSTER,
            )
        spec = cluster_spec(
            instances=args.instances,
            storage=args.storage,
            secret=secret.metadata.name,
            by_digest=args.by_digest,
        )
        if args.backups and self.backups:
            spec |= backup_spec(self.backups.bucket_name, args.backups.region, args.backups.retention_days)
        cluster = kubernetes.apiextensions.CustomResource(
            name,
            api_version=API_VERSION,
            kind="Cluster",
            metadata={"name": CLUSTER, "namespace": args.namespace},
            spec=spec,
            # Only a running operator takes the servers away, and the last of their log goes to the bucket before.
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[operator, *(self.backups.ready if self.backups else [])],
                protect=args.protect,
            ),
        )
        if args.backups:
            kubernetes.apiextensions.CustomResource(
                f"{name}-schedule",
                api_version=API_VERSION,
                kind="ScheduledBackup",
                metadata={"name": CLUSTER, "namespace": args.namespace},
                spec=scheduled_backup_spec(cluster.metadata["name"], args.backups.schedule),  # type: ignore[index]
                opts=child,
            )
        host = pulumi.Output.concat(cluster.metadata["name"], "-rw")  # type: ignore[index]
        self.connection = Connection(host=host, port=PORT, database=DATABASE, username=USERNAME, password=password)
        self.register_outputs({"host": host, "port": PORT, "database": DATABASE})


def cluster_spec(*, instances: int, storage: int, secret: pulumi.Input[str], by_digest: bool = False) -> dict[str, Any]:
    """The `spec` of a Cluster (postgresql.cnpg.io/v1). It has TLS on by default."""
    return {
        "instances": instances,
        # The operator's budget for the server that is written to (minAvailable 1) would keep a single one on its node:
        # no update of the system nodes could drain it.
        "enablePDB": instances > 1,
        "imageName": pinned(CLUSTER_IMAGE, by_digest=by_digest),
        "storage": {"size": f"{storage}Gi"},
        "bootstrap": {"initdb": {"database": DATABASE, "owner": USERNAME, "secret": {"name": secret}}},
        "postgresql": {"pg_hba": ["hostssl all all all scram-sha-256", "hostnossl all all all reject"]},
        "affinity": {"tolerations": [SYSTEM_TOLERATION]},
        "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }


def backup_spec(bucket: pulumi.Input[str], region: str, retention_days: int) -> dict[str, Any]:
    """What a Cluster's `spec` has beside, so that its log (WAL) and its backups go to a bucket.

    By CloudNativePG's own support of object stores, which 1.31 still has and 1.32 has no more ("Appendix B - Backup on
    object stores", CloudNativePG 1.31); the plugin that follows it needs cert-manager. The credentials are the pod's
    (EKS Pod Identity, which barman's boto3 knows). The region also has running servers replaced: a pod that is older
    than its role's association has no credentials.
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
    """The `spec` of a ScheduledBackup, whose schedule begins with the second; the first backup is taken at once."""
    return {
        "schedule": f"0 {schedule}",
        "immediate": True,
        "cluster": {"name": cluster},
        "method": "barmanObjectStore",
        "backupOwnerReference": "cluster",
    }


def operator_values() -> dict[str, Any]:
    """The values of the chart `cloudnative-pg`."""
    return {
        "tolerations": [SYSTEM_TOLERATION],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
    }


def generated_password(name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A password of a program, for life: letters and digits, which need no escaping anywhere."""
    return random.RandomPassword(name, length=PASSWORD_LENGTH, special=False, opts=opts).result
