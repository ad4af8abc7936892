"""How to remove a thing from an account: lines for the AWS CLI, and in which order kinds can go."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .account import Account, Held

Command = list[str]
ACTIONS = (
    "backup:ListBackupSelections",
    "backup:ListRecoveryPointsByBackupVault",
    "eks:ListNodegroups",
    "elasticfilesystem:DescribeMountTargets",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "events:ListTargetsByRule",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListPolicyVersions",
    "iam:ListRolePolicies",
)
"""The IAM actions that it takes to say what is in a thing; none of them removes anything."""
_DELETION_WINDOW_DAYS = 7  # the shortest that KMS takes


def rank(held: Held) -> int:
    """A number by which things that go before others have a lower one."""
    return list(_REMOVALS).index(held.type)


def preparations(account: Account, held: Held) -> list[str]:
    """The lines that have to go before those of anything else of its kind."""
    lines = _references(held) if held.type == ("ec2", "SecurityGroups") else ()
    return [_line(account, line) for line in lines]


def commands(account: Account, held: Held) -> list[str]:
    """The lines that remove it and what is in it; none for what goes with its owner. Raises botocore's ClientError."""
    return [_line(account, line) for line in _REMOVALS[held.type](account, held)]


def _line(account: Account, command: Command) -> str:
    return shlex.join([*command, "--region", account.region])


def _aws(service: str, operation: str, option: str) -> Callable[[Account, Held], Iterator[Command]]:
    def one(account: Account, held: Held) -> Iterator[Command]:
        yield ["aws", service, operation, option, held.id]

    return one


def _instance(account: Account, held: Held) -> Iterator[Command]:
    yield ["aws", "ec2", "terminate-instances", "--instance-ids", held.id]
    yield ["aws", "ec2", "wait", "instance-terminated", "--instance-ids", held.id]


def _load_balancer(account: Account, held: Held) -> Iterator[Command]:
    asked = account.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=held.id)["Attributes"]
    if any(one["Key"] == "deletion_protection.enabled" and one["Value"] == "true" for one in asked):
        off = "Key=deletion_protection.enabled,Value=false"
        yield ["aws", "elbv2", "modify-load-balancer-attributes", "--load-balancer-arn", held.id, "--attributes", off]
    yield ["aws", "elbv2", "delete-load-balancer", "--load-balancer-arn", held.id]
    yield ["aws", "elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", held.id]


def _record(account: Account, held: Held) -> Iterator[Command]:
    record = {key: value for key, value in held.raw.items() if key not in ("HostedZoneId", "ZoneName")}
    batch = json.dumps({"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]})
    zone = held.raw["HostedZoneId"]
    yield ["aws", "route53", "change-resource-record-sets", "--hosted-zone-id", zone, "--change-batch", batch]


def _cluster(account: Account, held: Held) -> Iterator[Command]:
    for group in account.pages("eks", "list_nodegroups", "nodegroups", clusterName=held.id):
        named = ["--cluster-name", held.id, "--nodegroup-name", group]
        yield ["aws", "eks", "delete-nodegroup", *named]
        yield ["aws", "eks", "wait", "nodegroup-deleted", *named]
    if held.raw.get("deletionProtection"):
        yield ["aws", "eks", "update-cluster-config", "--name", held.id, "--no-deletion-protection"]
    yield ["aws", "eks", "delete-cluster", "--name", held.id]
    yield ["aws", "eks", "wait", "cluster-deleted", "--name", held.id]


def _database(account: Account, held: Held) -> Iterator[Command]:
    named = ["--db-instance-identifier", held.id]
    if held.raw.get("DeletionProtection"):
        yield ["aws", "rds", "modify-db-instance", *named, "--no-deletion-protection", "--apply-immediately"]
    yield ["aws", "rds", "delete-db-instance", *named, "--skip-final-snapshot", "--delete-automated-backups"]
    yield ["aws", "rds", "wait", "db-instance-deleted", *named]


def _file_system(account: Account, held: Held) -> Iterator[Command]:
    for target in account.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=held.id):
        yield ["aws", "efs", "delete-mount-target", "--mount-target-id", target["MountTargetId"]]
    yield ["aws", "efs", "delete-file-system", "--file-system-id", held.id]


def _vault(account: Account, held: Held) -> Iterator[Command]:
    vault = ["--backup-vault-name", held.id]
    call = "list_recovery_points_by_backup_vault"
    for point in account.pages("backup", call, "RecoveryPoints", BackupVaultName=held.id):
        yield ["aws", "backup", "delete-recovery-point", *vault, "--recovery-point-arn", point["RecoveryPointArn"]]
    yield ["aws", "backup", "delete-backup-vault", *vault]


def _plan(account: Account, held: Held) -> Iterator[Command]:
    plan = ["--backup-plan-id", held.id]
    for one in account.pages("backup", "list_backup_selections", "BackupSelectionsList", BackupPlanId=held.id):
        yield ["aws", "backup", "delete-backup-selection", *plan, "--selection-id", one["SelectionId"]]
    yield ["aws", "backup", "delete-backup-plan", *plan]


def _nat_gateway(account: Account, held: Held) -> Iterator[Command]:
    yield ["aws", "ec2", "delete-nat-gateway", "--nat-gateway-id", held.id]
    yield ["aws", "ec2", "wait", "nat-gateway-deleted", "--nat-gateway-ids", held.id]


def _interface(account: Account, held: Held) -> Iterator[Command]:
    attachment = held.raw.get("Attachment") or {}
    in_use_by_aws = held.raw.get("Status") == "in-use" and "InstanceId" not in attachment
    if held.raw.get("RequesterManaged") or in_use_by_aws:
        return  # it goes with what AWS made it for
    if attachment:
        yield ["aws", "ec2", "detach-network-interface", "--attachment-id", attachment["AttachmentId"], "--force"]
    yield ["aws", "ec2", "delete-network-interface", "--network-interface-id", held.id]


def _fast_restore(account: Account, held: Held) -> Iterator[Command]:
    zone = held.raw["AvailabilityZone"]
    named = ["--availability-zones", zone, "--source-snapshot-ids", held.id]
    yield ["aws", "ec2", "disable-fast-snapshot-restores", *named]


def _references(held: Held) -> Iterator[Command]:
    """A security group's rules that name another group keep that group from going."""
    for egress, key in ((False, "IpPermissions"), (True, "IpPermissionsEgress")):
        permissions = [one for one in held.raw.get(key, []) if one.get("UserIdGroupPairs")]
        for one in permissions:
            only = {
                "IpProtocol": one["IpProtocol"],
                "UserIdGroupPairs": [_pair(pair) for pair in one["UserIdGroupPairs"]],
            }
            only |= {port: one[port] for port in ("FromPort", "ToPort") if port in one}
            operation = "revoke-security-group-egress" if egress else "revoke-security-group-ingress"
            yield ["aws", "ec2", operation, "--group-id", held.id, "--ip-permissions", json.dumps([only])]


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {"GroupId": pair["GroupId"]}


def _internet_gateway(account: Account, held: Held) -> Iterator[Command]:
    gateway = ["--internet-gateway-id", held.id]
    for one in held.raw.get("Attachments", []):
        yield ["aws", "ec2", "detach-internet-gateway", *gateway, "--vpc-id", one["VpcId"]]
    yield ["aws", "ec2", "delete-internet-gateway", *gateway]


def _route_table(account: Account, held: Held) -> Iterator[Command]:
    for one in held.raw.get("Associations", []):
        yield ["aws", "ec2", "disassociate-route-table", "--association-id", one["RouteTableAssociationId"]]
    yield ["aws", "ec2", "delete-route-table", "--route-table-id", held.id]


def _rule(account: Account, held: Held) -> Iterator[Command]:
    targets = [one["Id"] for one in account.pages("events", "list_targets_by_rule", "Targets", Rule=held.id)]
    force = ["--force"] if held.raw.get("ManagedBy") else []
    if targets:
        yield ["aws", "events", "remove-targets", "--rule", held.id, "--ids", *targets, *force]
    yield ["aws", "events", "delete-rule", "--name", held.id, *force]


def _role(account: Account, held: Held) -> Iterator[Command]:
    role = ["--role-name", held.id]
    for one in account.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=held.id):
        profile = ["--instance-profile-name", one["InstanceProfileName"]]
        yield ["aws", "iam", "remove-role-from-instance-profile", *profile, *role]
    for one in account.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=held.id):
        yield ["aws", "iam", "detach-role-policy", *role, "--policy-arn", one["PolicyArn"]]
    for name in account.pages("iam", "list_role_policies", "PolicyNames", RoleName=held.id):
        yield ["aws", "iam", "delete-role-policy", *role, "--policy-name", name]
    yield ["aws", "iam", "delete-role", *role]


def _policy(account: Account, held: Held) -> Iterator[Command]:
    policy = ["--policy-arn", held.id]
    for one in account.pages("iam", "list_policy_versions", "Versions", PolicyArn=held.id):
        if not one["IsDefaultVersion"]:
            yield ["aws", "iam", "delete-policy-version", *policy, "--version-id", one["VersionId"]]
    yield ["aws", "iam", "delete-policy", *policy]


def _key(account: Account, held: Held) -> Iterator[Command]:
    days = str(_DELETION_WINDOW_DAYS)
    yield ["aws", "kms", "schedule-key-deletion", "--key-id", held.id, "--pending-window-in-days", days]


def _zone(account: Account, held: Held) -> Iterator[Command]:
    yield ["aws", "route53", "delete-hosted-zone", "--id", held.id.rpartition("/")[2]]


def _bucket(account: Account, held: Held) -> Iterator[Command]:
    yield ["aws", "s3", "rb", f"s3://{held.id}", "--force"]


def _secret(account: Account, held: Held) -> Iterator[Command]:
    yield ["aws", "secretsmanager", "delete-secret", "--secret-id", held.id, "--recovery-window-in-days", "7"]


# In the order in which they can go: what uses before what is used.
_REMOVALS: Mapping[tuple[str, str], Callable[[Account, Held], Iterator[Command]]] = {
    ("ec2", "Instances"): _instance,
    ("elb", "LoadBalancerDescriptions"): _aws("elb", "delete-load-balancer", "--load-balancer-name"),
    ("elbv2", "LoadBalancers"): _load_balancer,
    ("elbv2", "TargetGroups"): _aws("elbv2", "delete-target-group", "--target-group-arn"),
    ("route53", "ResourceRecordSets"): _record,
    ("route53", "HostedZones"): _zone,
    ("acm", "CertificateSummaryList"): _aws("acm", "delete-certificate", "--certificate-arn"),
    ("eks", "clusters"): _cluster,
    ("rds", "DBInstances"): _database,
    ("rds", "DBSnapshots"): _aws("rds", "delete-db-snapshot", "--db-snapshot-identifier"),
    ("rds", "DBSubnetGroups"): _aws("rds", "delete-db-subnet-group", "--db-subnet-group-name"),
    ("rds", "DBParameterGroups"): _aws("rds", "delete-db-parameter-group", "--db-parameter-group-name"),
    ("backup", "BackupPlansList"): _plan,
    ("backup", "BackupVaultList"): _vault,
    ("efs", "AccessPoints"): _aws("efs", "delete-access-point", "--access-point-id"),
    ("efs", "FileSystems"): _file_system,
    ("ec2", "FlowLogs"): _aws("ec2", "delete-flow-logs", "--flow-log-ids"),
    ("ec2", "VpcEndpoints"): _aws("ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids"),
    ("ec2", "NatGateways"): _nat_gateway,
    ("ec2", "Addresses"): _aws("ec2", "release-address", "--allocation-id"),
    ("ec2", "NetworkInterfaces"): _interface,
    ("ec2", "Volumes"): _aws("ec2", "delete-volume", "--volume-id"),
    ("ec2", "FastSnapshotRestores"): _fast_restore,
    ("ec2", "Snapshots"): _aws("ec2", "delete-snapshot", "--snapshot-id"),
    ("ec2", "LaunchTemplates"): _aws("ec2", "delete-launch-template", "--launch-template-id"),
    ("ec2", "SecurityGroups"): _aws("ec2", "delete-security-group", "--group-id"),
    ("ec2", "Subnets"): _aws("ec2", "delete-subnet", "--subnet-id"),
    ("ec2", "RouteTables"): _route_table,
    ("ec2", "InternetGateways"): _internet_gateway,
    ("ec2", "Vpcs"): _aws("ec2", "delete-vpc", "--vpc-id"),
    ("events", "Rules"): _rule,
    ("sqs", "QueueUrls"): _aws("sqs", "delete-queue", "--queue-url"),
    ("logs", "logGroups"): _aws("logs", "delete-log-group", "--log-group-name"),
    ("secretsmanager", "SecretList"): _secret,
    ("s3", "Buckets"): _bucket,
    ("iam", "Roles"): _role,
    ("iam", "InstanceProfiles"): _aws("iam", "delete-instance-profile", "--instance-profile-name"),
    ("iam", "Policies"): _policy,
    ("iam", "OpenIDConnectProviderList"): _aws(
        "iam", "delete-open-id-connect-provider", "--open-id-connect-provider-arn"
    ),
    ("kms", "Aliases"): _aws("kms", "delete-alias", "--alias-name"),
    ("kms", "Keys"): _key,
}
