"""The CSI drivers as EKS addons, with the storage and snapshot classes that claims use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

import contracts.eks
from components.ground.pod_identity import PodRole, PodRoleArgs, pod_role
from components.ground.system_nodes import SYSTEM_NODES
from components.iam import policy_document
from settings.storage import GP3_CLASS, GP3_RETAIN_CLASS

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

# EKS makes this class in each cluster; its gp2 volumes are not encrypted.
EKS_CLASS = "gp2"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
DEFAULT_SNAPSHOT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"


@dataclass(frozen=True, kw_only=True)
class CsiDriversArgs:
    """What the drivers need to know.

    `controllers_after` is what their controllers need to run: system nodes, DNS, the Pod Identity agent. `key_arn` and
    `volume_tags` are the key and the tags of the claims' volumes, which Pulumi does not make.
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
    """The drivers, whose controllers run on the system nodes, and gp3 as the default class of claims."""

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
                # Changes made by hand in the cluster are overwritten.
                resolve_conflicts_on_update="OVERWRITE",
                configuration_values=json.dumps(values),
                opts=after(*needed),
            )

        def identity(short: str, service_account: str, policy: str) -> PodRole:
            # Not the addon's own association, which EKS makes at the same time as the pods that need it.
            return pod_role(
                f"{name}-{short}",
                PodRoleArgs(
                    cluster_name=args.cluster_name,
                    cluster_arn=args.cluster_arn,
                    namespace=NAMESPACE,
                    service_account=service_account,
                    description=f"The controller of {short}",
                    attached={
                        f"{name}-{short}": pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", args.partition, policy)
                    },
                ),
                child,
            )

        snapshots = addon(SNAPSHOT_ADDON, "snapshots", SYSTEM_NODES.pod)
        ebs_identity = identity("ebs", EBS_SERVICE_ACCOUNT, EBS_POLICY)
        use_of_key = aws.iam.RolePolicy(
            f"{name}-ebs-key",
            role=ebs_identity.role.name,
            policy=pulumi.Output.from_input(args.key_arn).apply(use_of_key_policy),
            opts=child,
        )
        ebs = addon(
            EBS_ADDON,
            "ebs",
            {"controller": {**SYSTEM_NODES.pod, "extraVolumeTags": dict(args.volume_tags)}},
            # The driver supports snapshots only if it finds their CRDs at its installation.
            [*ebs_identity.permissions, ebs_identity.association, use_of_key, snapshots],
        )
        efs_identity = identity("efs", EFS_SERVICE_ACCOUNT, EFS_POLICY)
        efs_needs = [*efs_identity.permissions, efs_identity.association]
        addon(EFS_ADDON, "efs", {"controller": SYSTEM_NODES.pod}, efs_needs)

        kubernetes.storage.v1.StorageClassPatch(
            f"{name}-{EKS_CLASS}",
            metadata={
                "name": EKS_CLASS,
                # Takes the field over from EKS's own field manager.
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
    """The default class of a driver's snapshots; a snapshot is deleted with its object.

    The kind has no `spec`, and `kubernetes.apiextensions.CustomResource` accepts only that.
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


def storage_class(settings: Gp3, key_arn: pulumi.Input[str], reclaim_policy: str) -> dict[str, Any]:
    """The arguments of a StorageClass for encrypted gp3 volumes.

    Each volume is made in the zone of its first pod's node.

    The parameters are those of the EBS CSI driver (docs/parameters.md); all values are text.
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
    """What the EBS driver may do with the key of its volumes; AWS's own policy for it lacks this.

    Source: the driver's docs/install.md, "Set up driver permissions"; grants are only for EC2, which attaches volumes.
    """
    return policy_document(
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
    )
