"""Storage: the file system of homes and shared volumes, its backups, and the CSI drivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components.iam import policy_document, service_trust_policy
from components.storage.csi_drivers import CsiDrivers, CsiDriversArgs
from components.storage.volumes import home_volume_tags
from settings.language.schedules import aws_backup_cron

if TYPE_CHECKING:
    from settings import Storage as StorageSettings
    from settings.storage import Backup as BackupSettings
    from settings.storage import Efs as EfsSettings

BACKUP_POLICIES = (
    "service-role/AWSBackupServiceRolePolicyForBackup",
    "service-role/AWSBackupServiceRolePolicyForRestores",
)
NFS = 2049


@dataclass(frozen=True, kw_only=True)
class StorageArgs:
    """What storage is made from.

    `subnet_ids` are the nodes', one per zone; all nodes are in the group `node_security_group_id`. `controllers_after`
    is what the drivers' controllers need to run: system nodes, DNS, the Pod Identity agent. `volume_tags` are for the
    claims' volumes, which Pulumi does not make. With `force_destroy`, a destroy deletes the backup vault with all
    backups; `protect` keeps Pulumi from deleting what holds data.
    """

    cluster_name: str
    kubernetes_version: str
    cluster_arn: pulumi.Input[str]
    partition: pulumi.Input[str]
    account_id: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    zones: Sequence[str]
    node_security_group_id: pulumi.Input[str]
    controllers_after: Sequence[pulumi.Resource]
    settings: StorageSettings
    volume_tags: Mapping[str, str]
    key_deletion_window_days: int = 7
    force_destroy: bool = False
    protect: bool = False


class Storage(pulumi.ComponentResource):
    """The storage that outlives notebooks, and the drivers that attach it to them.

    What runs nodes must depend on the whole component: the drivers detach volumes from nodes, and without their mount
    target pods would hang while they unmount.
    """

    file_system_id: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    backup_vault_name: pulumi.Output[str] | None
    """None without backups."""
    retained: dict[str, pulumi.Output[str]]
    """What a destroy keeps, by AWS's name of it. Empty unless the settings have `retain`."""

    def __init__(self, name: str, args: StorageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Storage", name, None, opts)
        # A destroy keeps these in the account, and only removes them from the state.
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=args.settings.retain)
        protected = pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(protect=args.protect))

        key = aws.kms.Key(
            f"{name}-data",
            description=f"Homes, shared volumes, claims and backups of {args.cluster_name}",
            enable_key_rotation=True,
            deletion_window_in_days=args.key_deletion_window_days,
            opts=protected,
        )
        # The name has a random suffix, so that an alias that a destroy kept does not block the next stack with this
        # name.
        alias = aws.kms.Alias(
            f"{name}-data", name_prefix=f"alias/{args.cluster_name}-data-", target_key_id=key.key_id, opts=kept
        )
        file_system = self._file_system(name, args, key, kept, protected)
        vault = self._backups(name, args, key, file_system, protected) if args.settings.backup.enabled else None
        CsiDrivers(
            name,
            CsiDriversArgs(
                cluster_name=args.cluster_name,
                kubernetes_version=args.kubernetes_version,
                cluster_arn=args.cluster_arn,
                partition=args.partition,
                controllers_after=args.controllers_after,
                key_arn=key.arn,
                settings=args.settings.gp3,
                volume_tags=args.volume_tags,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

        self.file_system_id = file_system.id
        self.key_arn = key.arn
        self.backup_vault_name = vault.name if vault else None
        # The policy is part of the file system, so it is not listed.
        retained = {"fileSystem": file_system.id, "key": key.arn, "keyAlias": alias.name}
        if vault:
            retained["backupVault"] = vault.name
        self.retained = retained if args.settings.retain else {}
        self.register_outputs(
            {
                "file_system_id": self.file_system_id,
                "key_arn": self.key_arn,
                "backup_vault_name": self.backup_vault_name,
                "retained": self.retained,
            }
        )

    def _file_system(
        self,
        name: str,
        args: StorageArgs,
        key: aws.kms.Key,
        kept: pulumi.ResourceOptions,
        protected: pulumi.ResourceOptions,
    ) -> aws.efs.FileSystem:
        """Makes the file system, with a mount target in each zone that only nodes can reach."""
        child = pulumi.ResourceOptions(parent=self)
        file_system = aws.efs.FileSystem(
            name,
            encrypted=True,
            kms_key_id=key.arn,
            **file_system_performance(args.settings.efs),
            tags={"Name": name},
            opts=protected,
        )
        aws.efs.FileSystemPolicy(
            name, file_system_id=file_system.id, policy=file_system.arn.apply(file_system_policy), opts=kept
        )
        # EFS's own backups are in a vault that nobody can delete. AWS Backup, below, replaces them.
        aws.efs.BackupPolicy(name, file_system_id=file_system.id, backup_policy={"status": "DISABLED"}, opts=child)
        group = aws.ec2.SecurityGroup(
            f"{name}-nfs",
            description="Mount targets: NFS from the nodes",
            vpc_id=args.vpc_id,
            tags={"Name": f"{name}-nfs"},
            opts=child,
        )
        rule = aws.vpc.SecurityGroupIngressRule(
            f"{name}-nfs",
            security_group_id=group.id,
            description="NFS from the nodes",
            ip_protocol="tcp",
            from_port=NFS,
            to_port=NFS,
            referenced_security_group_id=args.node_security_group_id,
            opts=child,
        )
        for zone, subnet_id in zip(args.zones, args.subnet_ids, strict=True):
            aws.efs.MountTarget(
                f"{name}-{zone}",
                file_system_id=file_system.id,
                subnet_id=subnet_id,
                security_groups=[group.id],
                # If the rule were deleted first, mounts would hang; deleting the mount target ends them.
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[rule])),
            )
        return file_system

    def _backups(
        self,
        name: str,
        args: StorageArgs,
        key: aws.kms.Key,
        file_system: aws.efs.FileSystem,
        protected: pulumi.ResourceOptions,
    ) -> aws.backup.Vault:
        """Makes AWS Backup's plan for the file system and for homes that are volumes, with its own vault."""
        child = pulumi.ResourceOptions(parent=self)
        vault = aws.backup.Vault(name, kms_key_arn=key.arn, force_destroy=args.force_destroy, opts=protected)
        role = aws.iam.Role(
            f"{name}-backup",
            description="AWS Backup, for the file system",
            assume_role_policy=pulumi.Output.from_input(args.account_id).apply(backup_trust_policy),
            opts=child,
        )
        permissions = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy.rpartition('/')[2]}",
                role=role.name,
                policy_arn=pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", args.partition, policy),
                opts=child,
            )
            for policy in BACKUP_POLICIES
        ]
        plan = aws.backup.Plan(name, rules=[backup_rule(args.settings.backup, vault.name)], opts=child)
        aws.backup.Selection(
            name,
            plan_id=plan.id,
            iam_role_arn=role.arn,
            resources=[file_system.arn],
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=permissions)),
        )
        if args.settings.homes == "per-person":
            aws.backup.Selection(
                f"{name}-homes",
                plan_id=plan.id,
                iam_role_arn=role.arn,
                # Selected by ARN, so that the region's settings for EBS in AWS Backup do not matter.
                resources=[pulumi.Output.format("arn:{0}:ec2:*:*:volume/*", args.partition)],
                conditions=[home_volumes(args.cluster_name)],
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=permissions)),
            )
        return vault


def file_system_performance(settings: EfsSettings) -> dict[str, Any]:
    """The file system's arguments for its throughput, and for moving files to Infrequent Access and back."""
    given: dict[str, Any] = {"throughput_mode": settings.throughput}
    if settings.provisioned_throughput is not None:
        given["provisioned_throughput_in_mibps"] = settings.provisioned_throughput
    if days := settings.infrequent_access_days:
        unit = "DAY" if days == 1 else "DAYS"
        # EFS accepts one transition per entry.
        given["lifecycle_policies"] = [
            {"transition_to_ia": f"AFTER_{days}_{unit}"},
            {"transition_to_primary_storage_class": "AFTER_1_ACCESS"},
        ]
    return given


def file_system_policy(file_system_arn: str) -> str:
    """Who may use the file system: clients that reach a mount target, through an access point, with TLS, never as root.

    An access point fixes the directory and the user. Without one, a client mounts `/` and can be any user. AWS Backup
    restores through EFS's API and does not mount anything. The EFS CSI driver mounts `/` only to delete the directory
    of a volume that it made itself (`deleteAccessPointRootDir`, off in the addon), and the platform has no such
    volumes. Sources: "Using IAM to control file system data access" and "Using access points in IAM policies", EFS user
    guide: an identity policy can allow a mount too, so only a Deny applies to everybody. A `Not` operator also matches
    if the key is missing.
    """
    access_points = {"elasticfilesystem:AccessPointArn": f"{file_system_arn.rpartition(':')[0]}:access-point/*"}
    return policy_document(
        {
            "Sid": "MountThroughMountTargets",
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
            "Resource": file_system_arn,
            "Condition": {
                "Bool": {"elasticfilesystem:AccessedViaMountTarget": "true"},
                "StringLike": access_points,
            },
        },
        {
            "Sid": "NothingWithoutAccessPoint",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"],
            "Resource": file_system_arn,
            "Condition": {"StringNotLike": access_points},
        },
        {
            "Sid": "NoRoot",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "elasticfilesystem:ClientRootAccess",
            "Resource": file_system_arn,
        },
        {
            "Sid": "NothingWithoutTls",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "*",
            "Resource": file_system_arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


def home_volumes(cluster_name: str) -> aws.backup.SelectionConditionArgsDict:
    """The conditions that select the volumes of homes. All of them must hold.

    Source: "Assign resources with AWS CLI", AWS Backup developer guide.
    """
    fixed, patterns = home_volume_tags(cluster_name)
    return {
        "string_equals": [{"key": f"aws:ResourceTag/{key}", "value": value} for key, value in fixed.items()],
        "string_likes": [{"key": f"aws:ResourceTag/{key}", "value": value} for key, value in patterns.items()],
    }


def backup_rule(settings: BackupSettings, vault_name: pulumi.Input[str]) -> aws.backup.PlanRuleArgsDict:
    """The rule of a backup plan: when, into which vault, and for how many days."""
    lifecycle: aws.backup.PlanRuleLifecycleArgsDict = {"delete_after": settings.retention_days}
    if settings.cold_storage_days is not None:
        lifecycle["cold_storage_after"] = settings.cold_storage_days
    return {
        "rule_name": "homes",
        "target_vault_name": vault_name,
        "schedule": aws_backup_cron(settings.schedule),
        "lifecycle": lifecycle,
    }


def backup_trust_policy(account_id: str) -> str:
    """Who may assume the backups' role: AWS Backup, for this account (no confused deputy)."""
    return service_trust_policy("backup.amazonaws.com", StringEquals={"aws:SourceAccount": account_id})
