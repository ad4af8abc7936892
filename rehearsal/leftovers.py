"""What is left after a destroy: in the state, in the simulated AWS, in Kubernetes, and among the processes.

AWS and Kubernetes are asked the way a person would, by listing; what was there before the stack (the default VPC, the
system namespaces) is taken as given. A KMS key in its deletion window is scheduled, and terminated instances are gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError

import boto3
import botocore.session

from .control_plane import ControlPlane
from .workspace import ACCESS_KEY, SECRET_KEY


@dataclass(frozen=True)
class Left:
    """The names of what is left, by where it is."""

    state: list[str] = field(default_factory=list)
    aws: list[str] = field(default_factory=list)
    kubernetes: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.state or self.aws or self.kubernetes or self.processes)

    def as_json(self) -> dict[str, Any]:
        """A number for each place, and the names beside."""
        names = {"state": self.state, "aws": self.aws, "kubernetes": self.kubernetes, "processes": self.processes}
        return {**{place: len(found) for place, found in names.items()}, "names": names}


@dataclass(frozen=True)
class _Listing:
    """How to list one kind of thing: a client's paginator or call, where the items are, and what names one."""

    service: str
    call: str
    items: str
    id: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    counts: Callable[[Any], bool] = lambda item: True


def _alive(item: Mapping[str, Any]) -> bool:
    return item["State"]["Name"] != "terminated"


def _undeleted(item: Mapping[str, Any]) -> bool:
    return item["State"] != "deleted"


# botocore's session variables, as (key in a profile, environment variable, default, conversion): this process runs in
# the user's environment, and must look neither there nor in the user's files.
_NOTHING_OF_THE_USERS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "ca_bundle": (None, None, None, None),
    "use_fips_endpoint": (None, None, False, None),
    "use_dualstack_endpoint": (None, None, False, None),
}
_AWS_ALIAS = "alias/aws/"
_CUSTOMER = {"Scope": "Local"}
_LISTINGS = (
    _Listing("acm", "list_certificates", "CertificateSummaryList", "CertificateArn"),
    _Listing("ec2", "describe_vpcs", "Vpcs", "VpcId"),
    _Listing("ec2", "describe_subnets", "Subnets", "SubnetId"),
    _Listing("ec2", "describe_route_tables", "RouteTables", "RouteTableId"),
    _Listing("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    _Listing("ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId", counts=_undeleted),
    _Listing("ec2", "describe_addresses", "Addresses", "AllocationId"),
    _Listing("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId", counts=_undeleted),
    _Listing("ec2", "describe_security_groups", "SecurityGroups", "GroupId"),
    _Listing("ec2", "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId"),
    _Listing("ec2", "describe_volumes", "Volumes", "VolumeId"),
    _Listing("ec2", "describe_launch_templates", "LaunchTemplates", "LaunchTemplateId"),
    _Listing("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
    _Listing("efs", "describe_file_systems", "FileSystems", "FileSystemId"),
    _Listing("efs", "describe_access_points", "AccessPoints", "AccessPointId"),
    _Listing("backup", "list_backup_vaults", "BackupVaultList", "BackupVaultName"),
    _Listing("backup", "list_backup_plans", "BackupPlansList", "BackupPlanId"),
    _Listing("ec2", "describe_fast_snapshot_restores", "FastSnapshotRestores", "SnapshotId"),
    _Listing("eks", "list_clusters", "clusters", ""),
    _Listing("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn"),
    _Listing("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn"),
    _Listing("events", "list_rules", "Rules", "Name"),
    _Listing("iam", "list_roles", "Roles", "RoleName"),
    _Listing("iam", "list_policies", "Policies", "Arn", _CUSTOMER),
    _Listing("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
    _Listing("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList", "Arn"),
    _Listing("kms", "list_aliases", "Aliases", "AliasName", counts=lambda a: not a["AliasName"].startswith(_AWS_ALIAS)),
    _Listing("logs", "describe_log_groups", "logGroups", "logGroupName"),
    _Listing("route53", "list_hosted_zones", "HostedZones", "Id"),
    _Listing("s3", "list_buckets", "Buckets", "Name"),
    _Listing("rds", "describe_db_instances", "DBInstances", "DBInstanceIdentifier"),
    _Listing("rds", "describe_db_parameter_groups", "DBParameterGroups", "DBParameterGroupName"),
    _Listing("rds", "describe_db_snapshots", "DBSnapshots", "DBSnapshotIdentifier"),
    _Listing("rds", "describe_db_subnet_groups", "DBSubnetGroups", "DBSubnetGroupName"),
    _Listing("secretsmanager", "list_secrets", "SecretList", "ARN"),
    _Listing("sqs", "list_queues", "QueueUrls", ""),
)


class Account:
    """The simulated AWS account, listed as a person would list a real one."""

    def __init__(self, url: str, region: str) -> None:
        self._session = boto3.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=region,
            botocore_session=botocore.session.Session(_NOTHING_OF_THE_USERS),
        )
        self._url = url
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A boto3 client of `service`, made once."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, endpoint_url=self._url)
        return self._clients[service]

    def holdings(self) -> set[str]:
        """Everything the account holds, as `service kind id`."""
        found = {f"{one.service} {one.items} {name}" for one in _LISTINGS for name in self._list(one)}
        return found | self._instances() | self._snapshots() | self._keys() | self._records()

    def _list(self, listing: _Listing) -> Iterable[str]:
        client = self.client(listing.service)
        if client.can_paginate(listing.call):
            pages = client.get_paginator(listing.call).paginate(**listing.arguments)
        else:
            pages = [getattr(client, listing.call)(**listing.arguments)]
        for page in pages:
            for item in page.get(listing.items, []):
                if not listing.id:
                    yield item
                elif listing.counts(item):
                    yield item[listing.id]

    def _instances(self) -> set[str]:
        pages = self.client("ec2").get_paginator("describe_instances").paginate()
        instances = (one for page in pages for group in page["Reservations"] for one in group["Instances"])
        return {f"ec2 Instances {one['InstanceId']}" for one in instances if _alive(one)}

    def _snapshots(self) -> set[str]:
        """The account's snapshots: moto lists those of Amazon's images too, whatever owner is asked for."""
        account = self.client("sts").get_caller_identity()["Account"]
        pages = self.client("ec2").get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
        snapshots = (one for page in pages for one in page["Snapshots"])
        return {f"ec2 Snapshots {one['SnapshotId']}" for one in snapshots if one["OwnerId"] == account}

    def _records(self) -> set[str]:
        """The records of every hosted zone, by zone, name and type."""
        route53 = self.client("route53")
        zones = (
            zone["Id"] for page in route53.get_paginator("list_hosted_zones").paginate() for zone in page["HostedZones"]
        )
        records = route53.get_paginator("list_resource_record_sets")
        return {
            f"route53 ResourceRecordSets {record['Name']} {record['Type']}"
            for zone in zones
            for page in records.paginate(HostedZoneId=zone)
            for record in page["ResourceRecordSets"]
        }

    def _keys(self) -> set[str]:
        """The customer's keys, those in their deletion window left out.

        AWS's own are told by their aliases: moto calls some of them the customer's.
        """
        kms = self.client("kms")
        aliases = (alias for page in kms.get_paginator("list_aliases").paginate() for alias in page["Aliases"])
        amazons = {alias.get("TargetKeyId") for alias in aliases if alias["AliasName"].startswith(_AWS_ALIAS)}
        keys = {key["KeyId"] for page in kms.get_paginator("list_keys").paginate() for key in page["Keys"]} - amazons
        states = {key: kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
        return {f"kms Keys {key}" for key, state in states.items() if state != "PendingDeletion"}


# What outlives a cluster as a cost or as a hang when it is not taken down in order, by its API path.
_KUBERNETES = {
    "Node": "/api/v1/nodes",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "Service": "/api/v1/services",
    "Namespace": "/api/v1/namespaces",
    "Secret": "/api/v1/secrets",
    "TargetGroupBinding": "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings",
    "NodePool": "/apis/karpenter.sh/v1/nodepools",
    "NodeClaim": "/apis/karpenter.sh/v1/nodeclaims",
    "NodeOverlay": "/apis/karpenter.sh/v1alpha1/nodeoverlays",
    "EC2NodeClass": "/apis/karpenter.k8s.aws/v1/ec2nodeclasses",
}


def kubernetes_objects(plane: ControlPlane) -> set[str]:
    """The objects in the cluster that a destroy has to take down one by one, as `Kind namespace/name`."""
    found = set()
    for kind, path in _KUBERNETES.items():
        try:
            items = plane.request("GET", path)["items"]
        except HTTPError as error:
            if error.code != 404:  # a kind whose CRD is gone has no objects
                raise
            continue
        for item in items:
            metadata = item["metadata"]
            place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
            found.add(f"{kind} {place}{metadata['name']}")
    return found


def state_names(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The resources of a state, by type and logical name."""
    return [f"{resource['type']} {resource['urn'].rpartition('::')[2]}" for resource in resources]
