"""The AWS actions that the workflows' roles may use, grouped by how a policy can limit them to a stack.

Actions, and the resources and conditions that they support, are from AWS's "Service Authorization Reference".
"""

from __future__ import annotations

READ_ONLY = (
    "acm:Describe*", "acm:List*",
    "backup:Describe*", "backup:Get*", "backup:List*",
    "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "ec2:GetSecurityGroupsForVpc",
    "ecr:Describe*", "ecr:ListTagsForResource",
    "eks:Describe*", "eks:List*",
    "elasticfilesystem:Describe*", "elasticfilesystem:List*",
    "elasticloadbalancing:Describe*",
    "events:Describe*", "events:List*",
    "iam:GetInstanceProfile", "iam:GetOpenIDConnectProvider", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole",
    "iam:GetRolePolicy", "iam:List*",
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:List*",
    "logs:Describe*", "logs:List*",
    "pricing:GetProducts",
    "rds:Describe*", "rds:List*",
    "route53:Get*", "route53:List*",
    # Buckets and their settings, but not their content.
    "s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration", "s3:ListAllMyBuckets", "s3:ListBucket", "s3:ListBucketVersions",
    "s3:ListTagsForResource",
    "secretsmanager:DescribeSecret", "secretsmanager:ListSecrets",
    "servicequotas:Get*", "servicequotas:List*",
    "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:List*",
    "sts:GetCallerIdentity",
    "tag:GetResources",
    "wafv2:Get*", "wafv2:List*",
)  # fmt: skip
"""Reads the resources of the services that the platform uses, but not the data in them."""
# These make resources without a name of ours, so they are limited to the stack's region.
NEW = (
    "acm:RequestCertificate",
    "backup:CreateBackupPlan", "backup-storage:MountCapsule",
    "ec2:AllocateAddress", "ec2:CreateFlowLogs", "ec2:CreateInternetGateway", "ec2:CreateLaunchTemplate",
    "ec2:CreateNatGateway", "ec2:CreateNetworkInterface", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet", "ec2:CreateVpc", "ec2:CreateVpcEndpoint",
    # For the NAT instance. EKS also requires it to make a node group with a launch template.
    "ec2:RunInstances",
    # It supports no resources. It fills repositories with the cluster's name.
    "ecr:CreatePullThroughCacheRule",
    "elasticfilesystem:CreateFileSystem",
    "elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup",
    "kms:CreateKey",
)  # fmt: skip
# These change and delete such resources, and make their parts, if they have the stack's tags. Each action supports
# `aws:ResourceTag` for all its resources.
OWN = (
    "acm:AddTagsToCertificate", "acm:DeleteCertificate", "acm:RemoveTagsFromCertificate",
    "backup:*BackupSelection", "backup:DeleteBackupPlan", "backup:DeleteRecoveryPoint", "backup:TagResource",
    "backup:UntagResource", "backup:UpdateBackupPlan",
    "ec2:*Route", "ec2:*RouteTable", "ec2:*SecurityGroupEgress", "ec2:*SecurityGroupIngress",
    "ec2:*SecurityGroupRuleDescriptions*", "ec2:*VpcCidrBlock", "ec2:AttachInternetGateway",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateTags", "ec2:DeleteFlowLogs", "ec2:DeleteInternetGateway", "ec2:DeleteLaunchTemplate*",
    "ec2:DeleteNatGateway", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteTags", "ec2:DeleteVpc",
    "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:ModifyInstance*", "ec2:ModifyLaunchTemplate",
    "ec2:ModifySecurityGroupRules", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute", "ec2:ModifyVpcEndpoint",
    "ec2:ReleaseAddress", "ec2:ReplaceRouteTableAssociation", "ec2:StartInstances", "ec2:StopInstances",
    "ec2:TerminateInstances",
    "elasticfilesystem:*AccessPoint", "elasticfilesystem:*FileSystemPolicy", "elasticfilesystem:*MountTarget*",
    "elasticfilesystem:DeleteFileSystem", "elasticfilesystem:PutBackupPolicy",
    "elasticfilesystem:PutLifecycleConfiguration", "elasticfilesystem:TagResource", "elasticfilesystem:UntagResource",
    "elasticfilesystem:UpdateFileSystem*",
    "elasticloadbalancing:*Listener*", "elasticloadbalancing:*Rule*", "elasticloadbalancing:AddTags",
    "elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:Modify*", "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
    "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
)  # fmt: skip
# These can't be limited by the stack's tags, only by its region. Each has its reason.
UNTAGGED = (
    # AWS also checks these on the association, which a NAT gateway deletes with itself, and on a NAT instance's
    # interface: neither has tags.
    "ec2:AssociateAddress", "ec2:DisassociateAddress",
    # EFS makes and deletes its mount targets' interfaces with its caller's rights. One that is in use cannot be
    # deleted.
    "ec2:DeleteNetworkInterface",
    # The image cache's snapshot comes from elsewhere.
    "ec2:DisableFastSnapshotRestores", "ec2:EnableFastSnapshotRestores",
    # As for its creation.
    "ecr:DeletePullThroughCacheRule",
    # A flow log into CloudWatch is a log delivery, a type without tags.
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery",
    # The web ACL comes from elsewhere; these do not support the load balancer's tags.
    "elasticloadbalancing:SetWebACL", "wafv2:AssociateWebACL", "wafv2:DisassociateWebACL",
)  # fmt: skip
# When a service checks whether a new resource may get its tags, it sets this condition key.
MAKING = {
    "ec2:CreateTags": "ec2:CreateAction",
    "elasticfilesystem:TagResource": "elasticfilesystem:CreateAction",
    "elasticloadbalancing:AddTags": "elasticloadbalancing:CreateAction",
}
# For each service: the actions that change something, and the resources that have the cluster's name.
NAMED = {
    "backup": (("Create*", "Delete*", "Put*", "TagResource", "UntagResource"), ("backup-vault:{name}-*",)),
    "eks": (
        ("Associate*", "Create*", "Delete*", "Disassociate*", "TagResource", "UntagResource", "Update*"),
        (
            "cluster/{name}", "access-entry/{name}/*", "addon/{name}/*", "identityproviderconfig/{name}/*",
            "nodegroup/{name}/*", "podidentityassociation/{name}/*",
        ),
    ),
    "ecr": (
        ("CreateRepository", "DeleteRepository", "PutImageTagMutability", "TagResource", "UntagResource"),
        ("repository/{cache}/*",),
    ),
    "events": (("Delete*", "Put*", "RemoveTargets", "TagResource", "UntagResource"), ("rule/{name}-*",)),
    "logs": (
        ("Create*", "Delete*", "PutRetentionPolicy", "TagResource", "UntagResource"),
        ("log-group:*/{name}/*",),
    ),
    "rds": (
        ("AddTagsToResource", "Create*", "Delete*", "Modify*", "RemoveTagsFromResource", "Reset*",
         "StartDBInstance", "StopDBInstance"),
        # An instance has an option group, which is the default one if none is given.
        ("db:{name}-*", "og:default:*", "pg:{name}-*", "snapshot:{name}-*", "subgrp:{name}-*"),
    ),
    "sqs": (("CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue", "UntagQueue"), ("{name}-*",)),
}  # fmt: skip
KEY = (
    "kms:*Alias", "kms:CancelKeyDeletion", "kms:CreateGrant", "kms:Decrypt", "kms:DisableKeyRotation", "kms:Enable*",
    "kms:Encrypt", "kms:GenerateDataKey*", "kms:PutKeyPolicy", "kms:ReEncrypt*", "kms:RetireGrant",
    "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription",
)  # fmt: skip
# The services that may get the platform's roles, and those that may make a service-linked role in the account.
PASSED_TO = (
    "backup.amazonaws.com", "ec2.amazonaws.com", "eks.amazonaws.com", "monitoring.rds.amazonaws.com",
    "pods.eks.amazonaws.com", "vpc-flow-logs.amazonaws.com",
)  # fmt: skip
SERVICE_LINKED = (
    "autoscaling.amazonaws.com", "backup.amazonaws.com", "eks-nodegroup.amazonaws.com", "eks.amazonaws.com",
    "elasticfilesystem.amazonaws.com", "elasticloadbalancing.amazonaws.com", "pullthroughcache.ecr.amazonaws.com",
    "rds.amazonaws.com", "spot.amazonaws.com",
)  # fmt: skip
