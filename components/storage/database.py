"""PostgreSQL on Amazon RDS, and how clients connect to a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_random as random

from settings.people.identity import FINAL_SNAPSHOT

if TYPE_CHECKING:
    from settings.rds import RdsFields

PORT = 5432
# Letters and digits only, so nothing needs escaping.
PASSWORD_LENGTH = 40

POSTGRES = "17"
"""The major version; RDS installs minor versions in the maintenance window."""

# UTC, at night in Europe and America. RDS does not let them overlap.
BACKUP_WINDOW = "03:00-04:00"
MAINTENANCE_WINDOW = "sun:04:30-sun:05:30"

# RDS takes 10 to 15 minutes for an instance, and longer with a standby. A snapshot before an upgrade takes time too.
CREATE_TIMEOUT = "60m"


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach a database. It accepts only TLS."""

    host: pulumi.Input[str]
    port: pulumi.Input[int]
    database: str
    username: str
    password: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class RdsDatabaseArgs:
    """What the instance is made from.

    `database` is the name of the database, and of its owner; `settings` is the stack file's section with its fields.
    `storage` and `max_storage` are in GiB; without `max_storage` it does not grow. Only nodes in
    `client_security_group_id` can reach it. `snapshot_before` is the version of the application that uses it, in
    production: a snapshot is taken before each new version is rolled out.
    """

    identifier: str
    database: str
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    client_security_group_id: pulumi.Input[str]
    settings: RdsFields
    storage: int
    max_storage: int | None = None
    deletion_protection: bool
    snapshot_before: str | None = None


class RdsDatabase(pulumi.ComponentResource):
    """PostgreSQL on RDS: encrypted, private, with TLS only, backed up.

    Its storage and its snapshots are encrypted with the account's key for RDS, not with a key of the stack: the final
    snapshot must stay readable after the stack and its keys are gone.
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
        # Each database gets a new name for its final snapshot: RDS refuses a snapshot whose name exists.
        final = (
            random.RandomId(f"{name}-final", byte_length=4, opts=child).hex.apply(
                lambda suffix: f"{args.identifier}{FINAL_SNAPSHOT}{suffix}"
            )
            if args.settings.final_snapshot
            else None
        )
        instance = aws.rds.Instance(
            name,
            identifier=args.identifier,
            engine="postgres",
            engine_version=POSTGRES,
            instance_class=args.settings.instance_class,
            allocated_storage=args.storage,
            max_allocated_storage=args.max_storage,
            storage_type="gp3",
            storage_encrypted=True,
            db_name=args.database,
            username=args.database,
            password=password,
            port=PORT,
            multi_az=args.settings.multi_az,
            publicly_accessible=False,
            db_subnet_group_name=subnets.name,
            vpc_security_group_ids=[group.id],
            parameter_group_name=parameters.name,
            backup_retention_period=args.settings.backup_days,
            backup_window=BACKUP_WINDOW,
            maintenance_window=MAINTENANCE_WINDOW,
            auto_minor_version_upgrade=True,
            copy_tags_to_snapshot=True,
            delete_automated_backups=True,
            deletion_protection=args.deletion_protection,
            skip_final_snapshot=not args.settings.final_snapshot,
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
            # Clients depend on the snapshot through the host, so a new version is rolled out after the snapshot is
            # made.
            host = pulumi.Output.all(host, snapshot.db_snapshot_arn).apply(lambda known: known[0])
        self.connection = Connection(
            host=host, port=PORT, database=args.database, username=args.database, password=password
        )
        self.register_outputs({"host": host, "port": PORT, "database": args.database})


def before_upgrade(identifier: str, version: str) -> str:
    """The name of the snapshot before a version: `gpulab-prod-keycloak-before-26-8-2`."""
    return f"{identifier}-before-{version.replace('.', '-')}"


def generated_password(name: str, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A program's password, which never changes: letters and digits, so nothing needs escaping."""
    return random.RandomPassword(name, length=PASSWORD_LENGTH, special=False, opts=opts).result
