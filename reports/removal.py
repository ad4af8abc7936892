"""How to remove a thing from an account: lines for the AWS CLI, and in which order kinds can go."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .account import Account, Held, tag_map

Command = list[str]


@dataclass(frozen=True)
class Gone:
    """Waits until a listing of the CLI's has nothing more under `path`, for what the CLI has no waiter for."""

    listing: Command
    path: str


@dataclass(frozen=True)
class Emptied:
    """Deletes every version of all objects in a bucket, some hundreds at a time: the CLI has no command for it."""

    bucket: str


Step = Command | Gone | Emptied
Steps = Iterator[Step]

ACTIONS = (
    "backup:ListBackupSelections",
    "backup:ListRecoveryPointsByBackupVault",
    "ec2:DescribeNetworkInterfaces",
    "eks:ListClusters",
    "eks:ListNodegroups",
    "elasticfilesystem:DescribeMountTargets",
    "elasticloadbalancing:DescribeLoadBalancerAttributes",
    "events:ListTargetsByRule",
    "iam:ListAttachedRolePolicies",
    "iam:ListInstanceProfilesForRole",
    "iam:ListPolicyVersions",
    "iam:ListRolePolicies",
    "s3:GetBucketVersioning",
)
"""The IAM actions that it takes to say what is in a thing; none of them removes anything."""
_DELETION_WINDOW_DAYS = 7  # the shortest that KMS takes
# As often, and as many seconds apart, as most waiters of the CLI try (botocore, data/ec2/…/waiters-2.json).
_TRIES, _SECONDS = 40, 15
_EMPTYING = (
    "(while objects=$(aws s3api list-object-versions --bucket {bucket} --max-items 500 --query "
    "'[Versions,DeleteMarkers][].{{Key:Key,VersionId:VersionId}}' --output json --region {region}) "
    '&& [ "$objects" != "[]" ]; do aws s3api delete-objects --bucket {bucket} --delete '
    '"{{\\"Objects\\":$objects,\\"Quiet\\":true}}" --region {region} || exit 1; done)'
)


def rank(held: Held) -> int:
    """A number by which things that go before others have a lower one."""
    return list(_REMOVALS).index(held.type)


def preparations(account: Account, held: Held) -> list[str]:
    """The lines that have to go before those of anything else of its kind."""
    lines = _references(account, held) if held.type == ("ec2", "SecurityGroups") else ()
    return [_line(account, line) for line in lines]


def commands(account: Account, held: Held, snapshot: str | None = None) -> list[str]:
    """The lines that remove it and what is in it; none for what goes with its owner. Raises botocore's ClientError.

    A database leaves a last `snapshot` of this name.
    """
    steps = _database(account, held, snapshot) if snapshot else _REMOVALS[held.type](account, held)
    return [_line(account, line) for line in steps]


def _line(account: Account, step: Step) -> str:
    """A line for any shell; one that waits fails like the CLI's waiters, and leaves no variable behind."""
    if isinstance(step, Emptied):
        return _EMPTYING.format(bucket=shlex.quote(step.bucket), region=account.region)
    if not isinstance(step, Gone):
        return shlex.join([*step, "--region", account.region])
    query = ["--query", f"length({step.path})", "--output", "text"]
    asked = _line(account, [*step.listing, *query])
    again = f"[ $tries -lt {_TRIES} ] || exit 1; tries=$((tries + 1)); sleep {_SECONDS}"
    return f'(tries=1; until [ "$({asked})" = 0 ]; do {again}; done)'


def _aws(service: str, operation: str, option: str) -> Callable[[Account, Held], Steps]:
    def one(account: Account, held: Held) -> Steps:
        yield ["aws", service, operation, option, held.id]

    return one


def _without_interfaces(operation: str, option: str, filter: str) -> Callable[[Account, Held], Steps]:
    """For what network interfaces are in: those of load balancers, endpoints and the like outlive them for a while."""

    def one(account: Account, held: Held) -> Steps:
        is_used = [{"Name": filter, "Values": [held.id]}]
        if any(account.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=is_used)):
            filters = ["--filters", f"Name={filter},Values={held.id}"]
            yield Gone(["aws", "ec2", "describe-network-interfaces", *filters], "NetworkInterfaces")
        yield ["aws", "ec2", operation, option, held.id]

    return one


def _certificate(account: Account, held: Held) -> Steps:
    named = ["--certificate-arn", held.id]
    if held.raw.get("InUse"):  # by a load balancer that goes before it
        yield Gone(["aws", "acm", "describe-certificate", *named], "Certificate.InUseBy")
    yield ["aws", "acm", "delete-certificate", *named]


def _instance(account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "terminate-instances", "--instance-ids", held.id]
    yield ["aws", "ec2", "wait", "instance-terminated", "--instance-ids", held.id]


def _load_balancer(account: Account, held: Held) -> Steps:
    asked = account.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=held.id)["Attributes"]
    if any(one["Key"] == "deletion_protection.enabled" and one["Value"] == "true" for one in asked):
        off = "Key=deletion_protection.enabled,Value=false"
        yield ["aws", "elbv2", "modify-load-balancer-attributes", "--load-balancer-arn", held.id, "--attributes", off]
    yield ["aws", "elbv2", "delete-load-balancer", "--load-balancer-arn", held.id]
    yield ["aws", "elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", held.id]


def _record(account: Account, held: Held) -> Steps:
    record = {key: value for key, value in held.raw.items() if key not in ("HostedZoneId", "ZoneName")}
    batch = json.dumps({"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]})
    zone = held.raw["HostedZoneId"]
    yield ["aws", "route53", "change-resource-record-sets", "--hosted-zone-id", zone, "--change-batch", batch]


def _cluster(account: Account, held: Held) -> Steps:
    for group in account.pages("eks", "list_nodegroups", "nodegroups", clusterName=held.id):
        named = ["--cluster-name", held.id, "--nodegroup-name", group]
        yield ["aws", "eks", "delete-nodegroup", *named]
        yield ["aws", "eks", "wait", "nodegroup-deleted", *named]
    if held.raw.get("deletionProtection"):
        yield ["aws", "eks", "update-cluster-config", "--name", held.id, "--no-deletion-protection"]
        yield ["aws", "eks", "wait", "cluster-active", "--name", held.id]
    yield ["aws", "eks", "delete-cluster", "--name", held.id]
    yield ["aws", "eks", "wait", "cluster-deleted", "--name", held.id]


def _database(account: Account, held: Held, snapshot: str | None = None) -> Steps:
    named = ["--db-instance-identifier", held.id]
    if held.raw.get("DeletionProtection"):
        yield ["aws", "rds", "modify-db-instance", *named, "--no-deletion-protection", "--apply-immediately"]
        yield ["aws", "rds", "wait", "db-instance-available", *named]
    last = ["--final-db-snapshot-identifier", snapshot] if snapshot else ["--skip-final-snapshot"]
    yield ["aws", "rds", "delete-db-instance", *named, *last, "--delete-automated-backups"]
    yield ["aws", "rds", "wait", "db-instance-deleted", *named]


def _file_system(account: Account, held: Held) -> Steps:
    named = ["--file-system-id", held.id]
    targets = list(account.pages("efs", "describe_mount_targets", "MountTargets", FileSystemId=held.id))
    for target in targets:
        yield ["aws", "efs", "delete-mount-target", "--mount-target-id", target["MountTargetId"]]
    if targets:
        yield Gone(["aws", "efs", "describe-mount-targets", *named], "MountTargets")
    yield ["aws", "efs", "delete-file-system", *named]


def _vault(account: Account, held: Held) -> Steps:
    vault = ["--backup-vault-name", held.id]
    call = "list_recovery_points_by_backup_vault"
    points = list(account.pages("backup", call, "RecoveryPoints", BackupVaultName=held.id))
    for point in points:
        yield ["aws", "backup", "delete-recovery-point", *vault, "--recovery-point-arn", point["RecoveryPointArn"]]
    if points:
        yield Gone(["aws", "backup", call.replace("_", "-"), *vault], "RecoveryPoints")
    yield ["aws", "backup", "delete-backup-vault", *vault]


def _plan(account: Account, held: Held) -> Steps:
    plan = ["--backup-plan-id", held.id]
    for one in account.pages("backup", "list_backup_selections", "BackupSelectionsList", BackupPlanId=held.id):
        yield ["aws", "backup", "delete-backup-selection", *plan, "--selection-id", one["SelectionId"]]
    yield ["aws", "backup", "delete-backup-plan", *plan]


def _repository(account: Account, held: Held) -> Steps:
    yield ["aws", "ecr", "delete-repository", "--repository-name", held.id, "--force"]


def _nat_gateway(account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "delete-nat-gateway", "--nat-gateway-id", held.id]
    yield ["aws", "ec2", "wait", "nat-gateway-deleted", "--nat-gateway-ids", held.id]


def _endpoint(account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "delete-vpc-endpoints", "--vpc-endpoint-ids", held.id]
    filters = [f"Name=vpc-id,Values={held.vpc}", "Name=vpc-endpoint-state,Values=deleting"]
    yield Gone(["aws", "ec2", "describe-vpc-endpoints", "--filters", *filters], "VpcEndpoints")


def _interface(account: Account, held: Held) -> Steps:
    attachment = held.raw.get("Attachment") or {}
    in_use_by_aws = held.raw.get("Status") == "in-use" and "InstanceId" not in attachment
    if held.raw.get("RequesterManaged") or in_use_by_aws:
        return  # it goes with what AWS made it for
    if attachment:
        yield ["aws", "ec2", "detach-network-interface", "--attachment-id", attachment["AttachmentId"], "--force"]
        yield ["aws", "ec2", "wait", "network-interface-available", "--network-interface-ids", held.id]
    yield ["aws", "ec2", "delete-network-interface", "--network-interface-id", held.id]


def _volume(account: Account, held: Held) -> Steps:
    if held.state == "in-use":  # by an instance that goes before it
        yield ["aws", "ec2", "wait", "volume-available", "--volume-ids", held.id]
    yield ["aws", "ec2", "delete-volume", "--volume-id", held.id]


def _fast_restore(account: Account, held: Held) -> Steps:
    zone = held.raw["AvailabilityZone"]
    named = ["--availability-zones", zone, "--source-snapshot-ids", held.id]
    yield ["aws", "ec2", "disable-fast-snapshot-restores", *named]


def _goes_with_its_cluster(account: Account, held: Held) -> bool:
    """Whether EKS made a security group, for a cluster that is still there."""
    cluster = tag_map(held.raw.get("Tags")).get("aws:eks:cluster-name")
    return cluster is not None and cluster in account.pages("eks", "list_clusters", "clusters")


def _security_group(account: Account, held: Held) -> Steps:
    if not _goes_with_its_cluster(account, held):
        yield from _without_interfaces("delete-security-group", "--group-id", "group-id")(account, held)


def _references(account: Account, held: Held) -> Steps:
    """A security group's rules that name another group keep that group from going."""
    if _goes_with_its_cluster(account, held):
        return
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


def _internet_gateway(account: Account, held: Held) -> Steps:
    gateway = ["--internet-gateway-id", held.id]
    for one in held.raw.get("Attachments", []):
        yield ["aws", "ec2", "detach-internet-gateway", *gateway, "--vpc-id", one["VpcId"]]
    yield ["aws", "ec2", "delete-internet-gateway", *gateway]


def _route_table(account: Account, held: Held) -> Steps:
    for one in held.raw.get("Associations", []):
        yield ["aws", "ec2", "disassociate-route-table", "--association-id", one["RouteTableAssociationId"]]
    yield ["aws", "ec2", "delete-route-table", "--route-table-id", held.id]


def _rule(account: Account, held: Held) -> Steps:
    targets = [one["Id"] for one in account.pages("events", "list_targets_by_rule", "Targets", Rule=held.id)]
    force = ["--force"] if held.raw.get("ManagedBy") else []
    if targets:
        yield ["aws", "events", "remove-targets", "--rule", held.id, "--ids", *targets, *force]
    yield ["aws", "events", "delete-rule", "--name", held.id, *force]


def _role(account: Account, held: Held) -> Steps:
    role = ["--role-name", held.id]
    for one in account.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=held.id):
        profile = ["--instance-profile-name", one["InstanceProfileName"]]
        yield ["aws", "iam", "remove-role-from-instance-profile", *profile, *role]
    for one in account.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=held.id):
        yield ["aws", "iam", "detach-role-policy", *role, "--policy-arn", one["PolicyArn"]]
    for name in account.pages("iam", "list_role_policies", "PolicyNames", RoleName=held.id):
        yield ["aws", "iam", "delete-role-policy", *role, "--policy-name", name]
    yield ["aws", "iam", "delete-role", *role]


def _policy(account: Account, held: Held) -> Steps:
    policy = ["--policy-arn", held.id]
    for one in account.pages("iam", "list_policy_versions", "Versions", PolicyArn=held.id):
        if not one["IsDefaultVersion"]:
            yield ["aws", "iam", "delete-policy-version", *policy, "--version-id", one["VersionId"]]
    yield ["aws", "iam", "delete-policy", *policy]


def _key(account: Account, held: Held) -> Steps:
    days = str(_DELETION_WINDOW_DAYS)
    yield ["aws", "kms", "schedule-key-deletion", "--key-id", held.id, "--pending-window-in-days", days]


def _zone(account: Account, held: Held) -> Steps:
    yield ["aws", "route53", "delete-hosted-zone", "--id", held.id.rpartition("/")[2]]


def _bucket(account: Account, held: Held) -> Steps:
    if "Status" in account.client("s3").get_bucket_versioning(Bucket=held.id):
        yield Emptied(held.id)
    yield ["aws", "s3", "rb", f"s3://{held.id}", "--force"]


def _secret(account: Account, held: Held) -> Steps:
    yield ["aws", "secretsmanager", "delete-secret", "--secret-id", held.id, "--recovery-window-in-days", "7"]


# In the order in which they can go: what uses before what is used.
_REMOVALS: Mapping[tuple[str, str], Callable[[Account, Held], Steps]] = {
    ("ec2", "Instances"): _instance,
    ("elb", "LoadBalancerDescriptions"): _aws("elb", "delete-load-balancer", "--load-balancer-name"),
    ("elbv2", "LoadBalancers"): _load_balancer,
    ("elbv2", "TargetGroups"): _aws("elbv2", "delete-target-group", "--target-group-arn"),
    ("route53", "ResourceRecordSets"): _record,
    ("route53", "HostedZones"): _zone,
    ("acm", "CertificateSummaryList"): _certificate,
    ("eks", "clusters"): _cluster,
    ("rds", "DBInstances"): _database,
    ("rds", "DBSnapshots"): _aws("rds", "delete-db-snapshot", "--db-snapshot-identifier"),
    ("rds", "DBSubnetGroups"): _aws("rds", "delete-db-subnet-group", "--db-subnet-group-name"),
    ("rds", "DBParameterGroups"): _aws("rds", "delete-db-parameter-group", "--db-parameter-group-name"),
    ("backup", "BackupPlansList"): _plan,
    ("backup", "BackupVaultList"): _vault,
    ("ecr", "repositories"): _repository,
    ("ecr", "pullThroughCacheRules"): _aws("ecr", "delete-pull-through-cache-rule", "--ecr-repository-prefix"),
    ("efs", "AccessPoints"): _aws("efs", "delete-access-point", "--access-point-id"),
    ("efs", "FileSystems"): _file_system,
    ("ec2", "FlowLogs"): _aws("ec2", "delete-flow-logs", "--flow-log-ids"),
    ("ec2", "VpcEndpoints"): _endpoint,
    ("ec2", "NatGateways"): _nat_gateway,
    ("ec2", "Addresses"): _aws("ec2", "release-address", "--allocation-id"),
    ("ec2", "NetworkInterfaces"): _interface,
    ("ec2", "Volumes"): _volume,
    ("ec2", "FastSnapshotRestores"): _fast_restore,
    ("ec2", "Snapshots"): _aws("ec2", "delete-snapshot", "--snapshot-id"),
    ("ec2", "LaunchTemplates"): _aws("ec2", "delete-launch-template", "--launch-template-id"),
    ("ec2", "SecurityGroups"): _security_group,
    ("ec2", "RouteTables"): _route_table,  # a subnet takes its associations with it, which could not be named then
    ("ec2", "Subnets"): _without_interfaces("delete-subnet", "--subnet-id", "subnet-id"),
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
