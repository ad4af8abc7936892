"""The CSI drivers as addons of EKS, with the classes of volumes and snapshots that claims name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

import contracts.eks
from components.cluster import SYSTEM_NODE_LABELS, SYSTEM_TOLERATION
from components.pod_identity import trust_policy
from components.volumes import GP3_CLASS, GP3_RETAIN_CLASS

if TYPE_CHECKING:
    from settings.storage import Gp3

NAMESPACE = "kube-system"
EBS_DRIVER = "ebs.csi.aws.com"
EBS_ADDON = "aws-ebs-csi-driver"
EFS_ADDON = "aws-efs-csi-driver"
SNAPSHOT_ADDON = "snapshot-controller"
# The names that the addons give to their controllers' service accounts ("Amazon EKS add-ons", EKS user guide).
EBS_SERVICE_ACCOUNT = "ebs-csi-controller-sa"
EFS_SERVICE_ACCOUNT = "efs-csi-controller-sa"
EBS_POLICY = "service-role/AmazonEBSCSIDriverPolicy"
EFS_POLICY = "service-role/AmazonEFSCSIDriverPolicy"

# EKS makes it in each cluster, of gp2 volumes that are not encrypted.
EKS_CLASS = "gp2"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
DEFAULT_SNAPSHOT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"


@dataclass(frozen=True, kw_only=True)
class CsiDriversArgs:
    """What the drivers have to know.

    `controllers_after` is what their controllers need to run: system nodes, DNS, the Pod Identity agent. `key_arn` is
    the key of the volumes of claims, and `volume_tags` are their tags: Pulumi does not make them.
    """

    cluster_name: str
    kubernetes_version: str
    cluster_arn: pulumi.Input[str]
    partition: pulumi.Input[str]
    controllers_after: Sequence[pulumi.Resource]
    key_arn: pulumi.Input[str]
    settings: Gp3
    volume_tags: Mapping[str, str]


class CsiDrivers(pulumi.ComponentResource):
    """The drivers, whose controllers run on the system nodes, and gp3 as the class of claims that name none."""

    def __init__(self, name: str, args: CsiDriversArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:CsiDrivers", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=[*args.controllers_after, *resources])

        def addon(
            addon_name: str, short: str, values: dict[str, Any], needed: Sequence[pulumi.Resource] = ()
        ) -> aws.eks.Addon:
            return aws.eks.Addon(
                f"{name}-{short}",
                cluster_name=args.cluster_name,
                addon_name=addon_name,
                addon_version=contracts.eks.addon_version(addon_name, args.kubernetes_version),
                # What was edited by hand in the cluster gives way.
                resolve_conflicts_on_update="OVERWRITE",
                configuration_values=json.dumps(values),
                opts=after(*needed),
            )

        def identity(short: str, service_account: str, policy: str) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
            role = aws.iam.Role(
                f"{name}-{short}",
                description=f"The controller of {short}",
                assume_role_policy=pulumi.Output.from_input(args.cluster_arn).apply(
                    lambda cluster_arn: trust_policy(cluster_arn, NAMESPACE, service_account)
                ),
                opts=child,
            )
            attachment = aws.iam.RolePolicyAttachment(
                f"{name}-{short}",
                role=role.name,
                policy_arn=pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", args.partition, policy),
                opts=child,
            )
            # Not the addon's own, which EKS makes together with the pods that need it.
            association = aws.eks.PodIdentityAssociation(
                f"{name}-{short}",
                cluster_name=args.cluster_name,
                namespace=NAMESPACE,
                service_account=service_account,
                role_arn=role.arn,
                opts=child,
            )
            return role, [attachment, association]

        snapshots = addon(SNAPSHOT_ADDON, "snapshots", on_system_nodes())
        ebs_role, ebs_permissions = identity("ebs", EBS_SERVICE_ACCOUNT, EBS_POLICY)
        use_of_key = aws.iam.RolePolicy(
            f"{name}-ebs-key",
            role=ebs_role.name,
            policy=pulumi.Output.from_input(args.key_arn).apply(use_of_key_policy),
            opts=child,
        )
        ebs = addon(
            EBS_ADDON,
            "ebs",
            {"controller": {**on_system_nodes(), "extraVolumeTags": dict(args.volume_tags)}},
            # The driver takes snapshots only if it finds their definitions as it is installed.
            [*ebs_permissions, use_of_key, snapshots],
        )
        _, efs_permissions = identity("efs", EFS_SERVICE_ACCOUNT, EFS_POLICY)
        addon(EFS_ADDON, "efs", {"controller": on_system_nodes()}, efs_permissions)

        kubernetes.storage.v1.StorageClassPatch(
            f"{name}-{EKS_CLASS}",
            metadata={
                "name": EKS_CLASS,
                # EKS's own manager of the field gives way.
                "annotations": {DEFAULT_CLASS: "false", "pulumi.com/patchForce": "true"},
            },
            opts=after(),
        )
        for class_name, reclaim_policy in ((GP3_CLASS, "Delete"), (GP3_RETAIN_CLASS, "Retain")):
            kubernetes.storage.v1.StorageClass(
                f"{name}-{class_name}",
                metadata={
                    "name": class_name,
                    "annotations": {DEFAULT_CLASS: "true" if class_name == GP3_CLASS else "false"},
                },
                **storage_class(args.settings, args.key_arn, reclaim_policy),
                opts=after(ebs),
            )
        VolumeSnapshotClass(f"{name}-snapshots", GP3_CLASS, driver=EBS_DRIVER, opts=after(ebs))
        self.register_outputs({})


class VolumeSnapshotClass(pulumi.CustomResource):
    """How volumes of a driver are kept in snapshots, for those that name no class; a snapshot goes with its object.

    The kind has no `spec`, and `kubernetes.apiextensions.CustomResource` takes nothing else.
    """

    def __init__(self, name: str, class_name: str, *, driver: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            "kubernetes:snapshot.storage.k8s.io/v1:VolumeSnapshotClass",
            name,
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshotClass",
                "metadata": {"name": class_name, "annotations": {DEFAULT_SNAPSHOT_CLASS: "true"}},
                "driver": driver,
                "deletionPolicy": "Delete",
            },
            opts,
        )


def on_system_nodes() -> dict[str, Any]:
    """Where a controller runs: on the system nodes, which outlive all others."""
    return {"nodeSelector": SYSTEM_NODE_LABELS, "tolerations": [SYSTEM_TOLERATION]}


def storage_class(settings: Gp3, key_arn: pulumi.Input[str], reclaim_policy: str) -> dict[str, Any]:
    """The arguments of a StorageClass of encrypted gp3 volumes, each made in the zone of its first pod's node.

    Parameters are those of the EBS CSI driver (docs/parameters.md), all of them text.
    """
    return {
        "provisioner": EBS_DRIVER,
        "parameters": {
            "type": "gp3",
            "encrypted": "true",
            "kmsKeyId": key_arn,
            "iops": str(settings.iops),
            "throughput": str(settings.throughput),
        },
        "reclaim_policy": reclaim_policy,
        "volume_binding_mode": "WaitForFirstConsumer",
        "allow_volume_expansion": True,
    }


def use_of_key_policy(key_arn: str) -> str:
    """What the EBS driver may do with the key of its volumes, which AWS's own policy for it leaves out.

    Source: the driver's docs/install.md, "Set up driver permissions"; grants are for EC2 alone, which attaches volumes.
    """
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"],
                    "Resource": key_arn,
                    "Condition": {"Bool": {"kms:GrantIsForAWSResource": "true"}},
                },
                {
                    "Effect": "Allow",
                    "Action": [
                        "kms:Encrypt",
                        "kms:Decrypt",
                        "kms:ReEncrypt*",
                        "kms:GenerateDataKey*",
                        "kms:DescribeKey",
                    ],
                    "Resource": key_arn,
                },
            ],
        }
    )
