"""EKS clusters: made, described and deleted, with the security group and network interfaces that EKS makes for each."""

from __future__ import annotations

import base64
import datetime
import re
import zlib
from ipaddress import IPv4Network, ip_network
from typing import Any

from moto.core.responses import ActionResult
from moto.eks.exceptions import InvalidRequestException
from moto.eks.models import paginated_list

from contracts import eks
from rehearsal.cloud import api_server, caller_identity
from rehearsal.cloud.eks import access_entries, checks, in_cluster
from rehearsal.cloud.eks.state import Cluster, Operations, in_use, invalid
from rehearsal.cloud.versions import DEFAULT_VERSION, versions

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")
_LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_AUTHENTICATION_MODES = ("API", "API_AND_CONFIG_MAP", "CONFIG_MAP")
_CONTROL_PLANE_INTERFACES = 2


class ClusterOperations(Operations):
    """The operations on clusters themselves."""

    def create_cluster(self) -> ActionResult:
        name, version = self.parameter("name"), self.parameter("version", DEFAULT_VERSION)
        network, access = dict(self.parameter("resourcesVpcConfig")), self.parameter("accessConfig", {})
        encryption = self.parameter("encryptionConfig", [])
        if not _NAME.fullmatch(name):
            raise invalid(
                "The name must be 1 to 100 letters, digits, '-' or '_', a letter or digit first", clusterName=name
            )
        if name in self.eks_backend.clusters:
            raise in_use(f"Cluster already exists with name: {name}", clusterName=name)
        if version not in versions():
            raise invalid(f"unsupported Kubernetes version {version}", clusterName=name)
        upgrade_policy = self.parameter("upgradePolicy", {"supportType": eks.EXTENDED})
        checks.upgrade_policy(name, version, upgrade_policy)
        if access.get("authenticationMode", "CONFIG_MAP") not in _AUTHENTICATION_MODES:
            raise invalid(f"unknown authentication mode {access['authenticationMode']}", clusterName=name)
        checks.cluster_role(self, self.parameter("roleArn"))
        subnets = checks.control_plane_subnets(self, network.get("subnetIds", []), name)
        checks.security_groups(self, network.get("securityGroupIds", []), subnets[0].vpc_id)
        checks.encryption(self, encryption)
        cluster = Cluster(
            name=name,
            role_arn=self.parameter("roleArn"),
            version=version,
            resources_vpc_config=endpoint_access(
                {"endpointPublicAccess": True, "endpointPrivateAccess": False, **network}
            ),
            kubernetes_network_config=self._service_network(subnets[0].vpc_id),
            logging=log_types(self.parameter("logging", {})),
            client_request_token=self.parameter("clientRequestToken"),
            tags=self.parameter("tags", {}),
            encryption_config=encryption,
            account_id=self.current_account,
            region_name=self.region,
            aws_partition=self.eks_backend.partition,
        )
        cluster.access_config = {
            "authenticationMode": access.get("authenticationMode", "CONFIG_MAP"),
            "bootstrapClusterCreatorAdminPermissions": access.get("bootstrapClusterCreatorAdminPermissions", True),
        }
        cluster.upgrade_policy = upgrade_policy
        cluster.deletion_protection = self.parameter("deletionProtection", False)
        if server := api_server.known():
            cluster.endpoint = server.url
            cluster.certificate_authority = {"data": base64.b64encode(server.ca.encode()).decode()}
        self._make_network(cluster, subnets)
        if cluster.access_config["bootstrapClusterCreatorAdminPermissions"]:
            access_entries.admit_creator(
                cluster, caller_identity.iam_arn(caller_identity.principal(self.get_access_key()))
            )
        in_cluster.begin(cluster.version)
        self.eks_backend.clusters[name] = cluster
        self.eks_backend.cluster_count += 1
        return ActionResult({"cluster": cluster})

    def describe_cluster(self) -> ActionResult:
        return ActionResult({"cluster": self.cluster("name")})

    def list_clusters(self) -> ActionResult:
        names, token = paginated_list(
            list(self.eks_backend.clusters), self.parameter("maxResults", 100), self.parameter("nextToken")
        )
        return ActionResult({"clusters": names, "nextToken": token})

    def delete_cluster(self) -> ActionResult:
        cluster = self.cluster("name")
        if cluster.deletion_protection:
            raise InvalidRequestException(
                message=f"Cluster {cluster.name} has deletion protection enabled: disable it first",
                clusterName=cluster.name,
            )
        if cluster.nodegroups:
            raise in_use("Cluster has nodegroups attached", clusterName=cluster.name)
        self._free_network(cluster)
        in_cluster.end()
        del self.eks_backend.clusters[cluster.name]
        self.eks_backend.cluster_count -= 1
        cluster.status = "DELETING"
        return ActionResult({"cluster": cluster})

    def describe_cluster_versions(self) -> ActionResult:
        wanted = self.parameter("clusterVersions") or versions()
        found = [_described(eks.versions()[version]) for version in reversed(versions()) if version in wanted]
        return ActionResult({"clusterVersions": found})

    def _service_network(self, vpc_id: str) -> dict[str, Any]:
        """The range of Services: the requested one, else that of EKS's two ranges that does not overlap the VPC."""
        config = self.parameter("kubernetesNetworkConfig", {})
        vpc = IPv4Network(self.ec2.get_vpc(vpc_id).cidr_block)
        free = "172.20.0.0/16" if vpc.subnet_of(IPv4Network("10.0.0.0/8")) else "10.100.0.0/16"
        services = config.get("serviceIpv4Cidr", free)
        if IPv4Network(services).overlaps(vpc):
            raise invalid(f"serviceIpv4Cidr {services} overlaps the VPC's {vpc}")
        return {"ipFamily": "ipv4", **config, "serviceIpv4Cidr": services}

    def _make_network(self, cluster: Cluster, subnets: list[Any]) -> None:
        vpc_id = subnets[0].vpc_id
        group = self.ec2.create_security_group(
            f"eks-cluster-sg-{cluster.name}-{zlib.crc32(cluster.arn.encode())}",
            "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as "
            "any managed workloads.",
            vpc_id,
        )
        group.add_tags(
            {
                "Name": group.name,
                "aws:eks:cluster-name": cluster.name,
                f"kubernetes.io/cluster/{cluster.name}": "owned",
            }
        )
        self.ec2.authorize_security_group_ingress(group.id, "-1", None, None, [], source_groups=[{"GroupId": group.id}])
        cluster.resources_vpc_config |= {"clusterSecurityGroupId": group.id, "vpcId": vpc_id}
        make_network_interfaces(self.ec2, cluster, subnets)

    def _free_network(self, cluster: Cluster) -> None:
        """Deletes what EKS made. As in EKS, a security group that something else still uses stays."""
        for interface in cluster.network_interfaces:
            self.ec2.delete_network_interface(interface.id)
        group = cluster.security_group_id
        if not any(group in (used.id for used in interface.group_set) for interface in self.ec2.enis.values()):
            self.ec2.delete_security_group(group_id=group)


def _described(version: eks.Version) -> dict[str, Any]:
    support = "standard" if version.is_standard(eks.today()) else "extended"
    return {
        "clusterVersion": version.name,
        "clusterType": "eks",
        "defaultVersion": version.name == DEFAULT_VERSION,
        "releaseDate": _midnight(version.released),
        "endOfStandardSupportDate": _midnight(version.standard_until),
        "endOfExtendedSupportDate": _midnight(version.extended_until),
        "status": f"{support}-support",
        "versionStatus": f"{support.upper()}_SUPPORT",
        "kubernetesPatchVersion": eks.node_releases(version.name)[0].partition("-")[0],
    }


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def make_network_interfaces(ec2: Any, cluster: Cluster, subnets: list[Any]) -> None:
    """Makes the control plane's network interfaces, each in another zone. Their subnets cannot be deleted."""
    groups = [cluster.security_group_id, *cluster.resources_vpc_config.get("securityGroupIds", [])]
    by_zone = {subnet.availability_zone: subnet for subnet in reversed(subnets)}
    for zone in sorted(by_zone)[:_CONTROL_PLANE_INTERFACES]:
        interface = ec2.create_network_interface(
            by_zone[zone], None, group_ids=groups, description=f"Amazon EKS {cluster.name}"
        )
        interface.requester_managed = True
        interface.status = "in-use"
        cluster.network_interfaces.append(interface)


def endpoint_access(network: dict[str, Any]) -> dict[str, Any]:
    """`network` with the ranges that may reach the public endpoint. Refuses a cluster without any endpoint."""
    if not network["endpointPublicAccess"] and not network["endpointPrivateAccess"]:
        raise invalid("Private and public endpoint access cannot both be disabled")
    cidrs = network.get("publicAccessCidrs") or (["0.0.0.0/0"] if network["endpointPublicAccess"] else [])
    for cidr in cidrs:
        try:
            ip_network(cidr)
        except ValueError as error:
            raise invalid(f"The following CIDRs are invalid in publicAccessCidrs: [{cidr}]") from error
    return {"securityGroupIds": [], **network, "publicAccessCidrs": cidrs}


def log_types(logging: dict[str, Any]) -> dict[str, Any]:
    """The control plane's logs in EKS's form: the types that are on, and those that are off."""
    on: set[str] = set()
    for setup in logging.get("clusterLogging", []):
        for kind in setup.get("types", []):
            if kind not in _LOG_TYPES:
                raise invalid(f"unknown control plane log type {kind}")
        if setup.get("enabled"):
            on.update(setup.get("types", []))
    setups = [
        {"types": [kind for kind in _LOG_TYPES if kind in on], "enabled": True},
        {"types": [kind for kind in _LOG_TYPES if kind not in on], "enabled": False},
    ]
    return {"clusterLogging": [setup for setup in setups if setup["types"]]}
