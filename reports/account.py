"""What an AWS account holds, listed the way a person would: a table of the kinds of things, and how to ask for each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

Raw = Mapping[str, Any]
_AWS_ALIAS = "alias/aws/"


@dataclass(frozen=True, kw_only=True)
class Held:
    """A thing that the account holds. `id` is what AWS takes to delete it, `raw` is what AWS said of it."""

    service: str
    kind: str
    id: str
    raw: Raw = field(compare=False, repr=False, default_factory=dict)

    def __str__(self) -> str:
        return f"{self.service} {self.kind} {self.id}"

    @property
    def type(self) -> tuple[str, str]:
        """The service and the kind."""
        return self.service, self.kind

    @property
    def vpc(self) -> str | None:
        """The VPC that it is in."""
        return self.raw.get("VpcId") or self.raw.get("VPCId")

    @property
    def name(self) -> str:
        """What people call it, beside its id and its tag Name."""
        for key in ("CreationToken", "LaunchTemplateName", "BackupPlanName", "DomainName", "GroupName", "Name"):
            if isinstance(found := self.raw.get(key), str):
                return found
        return self.id

    @property
    def state(self) -> str:
        """What AWS says of its life, in lower case."""
        raw = self.raw
        status = raw.get("LifeCycleState") or raw.get("DBInstanceStatus") or raw.get("Status") or ""
        state = raw.get("State") or raw.get("KeyState") or raw.get("status") or status
        return str(state.get("Name") or state.get("Code") if isinstance(state, Mapping) else state).lower()

    @property
    def is_gone(self) -> bool:
        """Whether AWS lists it for a while after its end."""
        return self.state in ("terminated", "deleted")

    @property
    def is_scheduled(self) -> bool:
        """Whether its end has a date: a key or a secret in its deletion window."""
        return self.state == "pendingdeletion" or bool(self.raw.get("DeletedDate"))

    @property
    def is_going(self) -> bool:
        """Whether its end is under way."""
        return self.state in ("deleting", "shutting-down")


Tags = Callable[["Account", Held], Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """How to list one kind of thing. `actions` are the IAM actions that it takes, of tags too."""

    service: str
    kind: str
    actions: tuple[str, ...]
    items: Callable[[Account], Iterable[tuple[str, Raw]]]
    tags: Tags


class Account:
    """An account in one region, by boto3."""

    def __init__(self, session: boto3.Session, url: str | None = None) -> None:
        """`url` is an endpoint in AWS's place."""
        self._session = session
        self._url = url
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """The region's name."""
        return str(self._session.region_name)

    @property
    def credentials(self) -> Any:
        """What requests are signed with."""
        return self._session.get_credentials()

    def client(self, service: str) -> Any:
        """A boto3 client of `service`, made once."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, endpoint_url=self._url)
        return self._clients[service]

    def listed(self, listing: Listing) -> Iterator[Held]:
        """What there is of a kind. Raises botocore's ClientError."""
        for id, raw in listing.items(self):
            yield Held(service=listing.service, kind=listing.kind, id=id, raw=raw)

    def pages(self, service: str, call: str, key: str, **arguments: Any) -> Iterator[Any]:
        """The items under `key` of all pages of a call's answer."""
        client = self.client(service)
        if client.can_paginate(call):
            for page in client.get_paginator(call).paginate(**arguments):
                yield from page.get(key) or []
        else:
            yield from getattr(client, call)(**arguments).get(key) or []


def tag_map(listed: Iterable[Raw] | None) -> dict[str, str]:
    """Tags as AWS lists them, in its three ways to write that."""
    found = {}
    for tag in listed or ():
        key = tag.get("Key", tag.get("TagKey"))
        if key is not None:
            found[key] = tag.get("Value", tag.get("TagValue", ""))
    return found


def _inline(*keys: str) -> Tags:
    """Tags that are in the listing itself."""

    def tags(account: Account, held: Held) -> Mapping[str, str]:
        found = next((held.raw[key] for key in keys if held.raw.get(key)), None)
        return found if isinstance(found, Mapping) else tag_map(found)

    return tags


def _asked(call: str, answer: str, **arguments: str) -> Tags:
    """Tags that a call of their own gives; `arguments` name the key of what is listed, or `id`."""

    def tags(account: Account, held: Held) -> Mapping[str, str]:
        given = {name: held.id if key == "id" else held.raw[key] for name, key in arguments.items()}
        found = getattr(account.client(held.service), call)(**given).get(answer)
        return found if isinstance(found, Mapping) else tag_map(found)

    return tags


def _none(account: Account, held: Held) -> Mapping[str, str]:
    return {}


def _elb_tags(account: Account, held: Held) -> Mapping[str, str]:
    one = {"LoadBalancerNames": [held.id]} if held.service == "elb" else {"ResourceArns": [held.id]}
    found = account.client(held.service).describe_tags(**one)["TagDescriptions"]
    return tag_map(found[0]["Tags"]) if found else {}


def _bucket_tags(account: Account, held: Held) -> Mapping[str, str]:
    client = account.client("s3")
    try:
        return tag_map(client.get_bucket_tagging(Bucket=held.id)["TagSet"])
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return {}
        raise


def _log_group_tags(account: Account, held: Held) -> Mapping[str, str]:
    arn = held.raw["arn"].removesuffix(":*")
    return account.client("logs").list_tags_for_resource(resourceArn=arn)["tags"]


def _profile_tags(account: Account, held: Held) -> Mapping[str, str]:
    found = account.client("iam").get_instance_profile(InstanceProfileName=held.id)["InstanceProfile"]
    return tag_map(found.get("Tags"))


def _queue_tags(account: Account, held: Held) -> Mapping[str, str]:
    return account.client("sqs").list_queue_tags(QueueUrl=held.id).get("Tags", {})


def _zone_tags(account: Account, held: Held) -> Mapping[str, str]:
    id = held.id.rpartition("/")[2]
    found = account.client("route53").list_tags_for_resource(ResourceType="hostedzone", ResourceId=id)
    return tag_map(found["ResourceTagSet"]["Tags"])


def _instances(account: Account) -> Iterator[tuple[str, Raw]]:
    for group in account.pages("ec2", "describe_instances", "Reservations"):
        for one in group["Instances"]:
            yield one["InstanceId"], one


def _keys(account: Account) -> Iterator[tuple[str, Raw]]:
    """The customer's keys. AWS's own are told by their aliases too: moto calls some of them the customer's."""
    aliases = account.pages("kms", "list_aliases", "Aliases")
    amazons = {one.get("TargetKeyId") for one in aliases if one["AliasName"].startswith(_AWS_ALIAS)}
    for key in account.pages("kms", "list_keys", "Keys"):
        if key["KeyId"] not in amazons:
            try:
                found = account.client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            except ClientError:
                # Its own policy refuses: its tags will tell, or be refused and reported in their turn.
                found = {}
            if found.get("KeyManager") != "AWS":
                yield key["KeyId"], found


def _aliases(account: Account) -> Iterator[tuple[str, Raw]]:
    for one in account.pages("kms", "list_aliases", "Aliases"):
        if not one["AliasName"].startswith(_AWS_ALIAS):
            yield one["AliasName"], one


def _records(account: Account) -> Iterator[tuple[str, Raw]]:
    """The records of every hosted zone, by name and type."""
    for zone in account.pages("route53", "list_hosted_zones", "HostedZones"):
        for one in account.pages("route53", "list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]):
            yield f"{one['Name']} {one['Type']}", {**one, "HostedZoneId": zone["Id"], "ZoneName": zone["Name"]}


def _clusters(account: Account) -> Iterator[tuple[str, Raw]]:
    for name in account.pages("eks", "list_clusters", "clusters"):
        yield name, account.client("eks").describe_cluster(name=name)["cluster"]


def _plain(
    service: str, call: str, kind: str, id: str, **arguments: Any
) -> Callable[[Account], Iterator[tuple[str, Raw]]]:
    """Items of a call's answer, each with its id; texts are ids themselves."""

    def items(account: Account) -> Iterator[tuple[str, Raw]]:
        for one in account.pages(service, call, kind, **arguments):
            yield (one, {}) if isinstance(one, str) else (one[id], one)

    return items


def _listing(service: str, call: str, kind: str, id: str, tags: Tags, *actions: str, **arguments: Any) -> Listing:
    prefix = _IAM_PREFIXES.get(service, service)
    wanted = (_action(prefix, call), *(f"{prefix}:{one}" for one in actions))
    return Listing(
        service=service, kind=kind, actions=wanted, items=_plain(service, call, kind, id, **arguments), tags=tags
    )


def _action(prefix: str, call: str) -> str:
    if call == "list_buckets":
        return f"{prefix}:ListAllMyBuckets"
    words = "".join(word.capitalize() for word in call.split("_"))
    return f"{prefix}:{words.replace('Db', 'DB').replace('OpenId', 'OpenID')}"


_IAM_PREFIXES = {"efs": "elasticfilesystem", "elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
_TAGGED = _inline("Tags", "TagSet", "TagList")
_EC2 = functools.partial(_listing, "ec2")

LISTINGS: tuple[Listing, ...] = (
    _listing(
        "acm",
        "list_certificates",
        "CertificateSummaryList",
        "CertificateArn",
        _asked("list_tags_for_certificate", "Tags", CertificateArn="id"),
        "ListTagsForCertificate",
    ),
    _listing(
        "backup",
        "list_backup_vaults",
        "BackupVaultList",
        "BackupVaultName",
        _asked("list_tags", "Tags", ResourceArn="BackupVaultArn"),
        "ListTags",
    ),
    _listing(
        "backup",
        "list_backup_plans",
        "BackupPlansList",
        "BackupPlanId",
        _asked("list_tags", "Tags", ResourceArn="BackupPlanArn"),
        "ListTags",
    ),
    Listing(service="ec2", kind="Instances", actions=("ec2:DescribeInstances",), items=_instances, tags=_TAGGED),
    _EC2("describe_vpcs", "Vpcs", "VpcId", _TAGGED),
    _EC2("describe_subnets", "Subnets", "SubnetId", _TAGGED),
    _EC2("describe_route_tables", "RouteTables", "RouteTableId", _TAGGED),
    _EC2("describe_internet_gateways", "InternetGateways", "InternetGatewayId", _TAGGED),
    _EC2("describe_nat_gateways", "NatGateways", "NatGatewayId", _TAGGED),
    _EC2("describe_addresses", "Addresses", "AllocationId", _TAGGED),
    _EC2("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", _TAGGED),
    _EC2("describe_security_groups", "SecurityGroups", "GroupId", _TAGGED),
    _EC2("describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", _TAGGED),
    _EC2("describe_volumes", "Volumes", "VolumeId", _TAGGED),
    _EC2("describe_launch_templates", "LaunchTemplates", "LaunchTemplateId", _TAGGED),
    _EC2("describe_flow_logs", "FlowLogs", "FlowLogId", _TAGGED),
    _EC2("describe_snapshots", "Snapshots", "SnapshotId", _TAGGED, OwnerIds=["self"]),
    _EC2("describe_fast_snapshot_restores", "FastSnapshotRestores", "SnapshotId", _none),
    _listing(
        "ecr",
        "describe_repositories",
        "repositories",
        "repositoryName",
        _asked("list_tags_for_resource", "tags", resourceArn="repositoryArn"),
        "ListTagsForResource",
    ),
    _listing("ecr", "describe_pull_through_cache_rules", "pullThroughCacheRules", "ecrRepositoryPrefix", _none),
    _listing("efs", "describe_file_systems", "FileSystems", "FileSystemId", _TAGGED),
    _listing("efs", "describe_access_points", "AccessPoints", "AccessPointId", _TAGGED),
    Listing(
        service="eks",
        kind="clusters",
        actions=("eks:ListClusters", "eks:DescribeCluster"),
        items=_clusters,
        tags=_inline("tags"),
    ),
    _listing(
        "elb", "describe_load_balancers", "LoadBalancerDescriptions", "LoadBalancerName", _elb_tags, "DescribeTags"
    ),
    _listing("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn", _elb_tags, "DescribeTags"),
    _listing("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn", _elb_tags, "DescribeTags"),
    _listing(
        "events",
        "list_rules",
        "Rules",
        "Name",
        _asked("list_tags_for_resource", "Tags", ResourceARN="Arn"),
        "ListTagsForResource",
    ),
    _listing(
        "iam",
        "list_roles",
        "Roles",
        "RoleName",
        _asked("list_role_tags", "Tags", RoleName="id"),
        "ListRoleTags",
    ),
    _listing(
        "iam",
        "list_policies",
        "Policies",
        "Arn",
        _asked("list_policy_tags", "Tags", PolicyArn="id"),
        "ListPolicyTags",
        Scope="Local",
    ),
    _listing(
        "iam",
        "list_instance_profiles",
        "InstanceProfiles",
        "InstanceProfileName",
        _profile_tags,
        "GetInstanceProfile",
    ),
    _listing(
        "iam",
        "list_open_id_connect_providers",
        "OpenIDConnectProviderList",
        "Arn",
        _asked("list_open_id_connect_provider_tags", "Tags", OpenIDConnectProviderArn="id"),
        "ListOpenIDConnectProviderTags",
    ),
    Listing(
        service="kms",
        kind="Keys",
        actions=("kms:ListKeys", "kms:ListAliases", "kms:DescribeKey", "kms:ListResourceTags"),
        items=_keys,
        tags=_asked("list_resource_tags", "Tags", KeyId="id"),
    ),
    Listing(service="kms", kind="Aliases", actions=("kms:ListAliases",), items=_aliases, tags=_none),
    _listing("logs", "describe_log_groups", "logGroups", "logGroupName", _log_group_tags, "ListTagsForResource"),
    _listing("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier", _TAGGED),
    _listing("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier", _TAGGED),
    _listing(
        "rds",
        "describe_db_parameter_groups",
        "DBParameterGroups",
        "DBParameterGroupName",
        _asked("list_tags_for_resource", "TagList", ResourceName="DBParameterGroupArn"),
        "ListTagsForResource",
    ),
    _listing(
        "rds",
        "describe_db_subnet_groups",
        "DBSubnetGroups",
        "DBSubnetGroupName",
        _asked("list_tags_for_resource", "TagList", ResourceName="DBSubnetGroupArn"),
        "ListTagsForResource",
    ),
    _listing("route53", "list_hosted_zones", "HostedZones", "Id", _zone_tags, "ListTagsForResource"),
    Listing(
        service="route53",
        kind="ResourceRecordSets",
        actions=("route53:ListHostedZones", "route53:ListResourceRecordSets"),
        items=_records,
        tags=_none,
    ),
    _listing("s3", "list_buckets", "Buckets", "Name", _bucket_tags, "GetBucketTagging"),
    _listing("secretsmanager", "list_secrets", "SecretList", "ARN", _TAGGED, IncludePlannedDeletion=True),
    _listing("sqs", "list_queues", "QueueUrls", "", _queue_tags, "ListQueueTags"),
)
"""Every kind of thing that the platform makes, or that its controllers may leave."""
