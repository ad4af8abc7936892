"""Changes of EKS clusters and node groups. Each is an update with its own id, which can be described."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.eks.exceptions import InvalidRequestException

from rehearsal.cloud.eks import checks
from rehearsal.cloud.eks.clusters import endpoint_access, log_types, make_network_interfaces
from rehearsal.cloud.eks.state import Cluster, Operations, invalid, missing
from rehearsal.cloud.versions import versions

_NODES_BEHIND = 3
_CONFIG_KINDS = (
    "resourcesVpcConfig",
    "logging",
    "accessConfig",
    "upgradePolicy",
    "deletionProtection",
    "zonalShiftConfig",
)


class UpdateOperations(Operations):
    """The operations that change a cluster, and those that describe changes."""

    def update_cluster_config(self) -> ActionResult:
        cluster = self.cluster("name")
        kinds = [kind for kind in _CONFIG_KINDS if self.parameter(kind) is not None]
        if len(kinds) != 1:
            raise invalid(f"Exactly one type of update is possible at a time, not {kinds}", clusterName=cluster.name)
        change = self.parameter(kinds[0])
        match kinds[0]:
            case "resourcesVpcConfig":
                update = self._update_network(cluster, change)
            case "logging":
                wanted = log_types(_merged_logging(cluster, change))
                if wanted == cluster.logging:
                    raise invalid("No changes needed for the logging config provided", clusterName=cluster.name)
                cluster.logging = wanted
                update = cluster.updated("LoggingUpdate", {"ClusterLogging": change})
            case "accessConfig":
                update = _update_access(cluster, change["authenticationMode"])
            case "upgradePolicy":
                checks.upgrade_policy(cluster.name, cluster.version, change)
                cluster.upgrade_policy = change
                update = cluster.updated("UpgradePolicyUpdate", {"UpgradePolicy": change})
            case "deletionProtection":
                cluster.deletion_protection = change
                update = cluster.updated("DeletionProtectionUpdate", {"DeletionProtection": change})
            case _:
                update = cluster.updated("ZonalShiftConfigUpdate", {"ZonalShiftConfig": change})
        return ActionResult({"update": update})

    def update_cluster_version(self) -> ActionResult:
        cluster, version = self.cluster("name"), self.parameter("version")
        if version not in versions() or _minor(version) - _minor(cluster.version) != 1:
            raise invalid(
                f"Unsupported Kubernetes minor version update from {cluster.version} to {version}",
                clusterName=cluster.name,
            )
        behind = [
            name
            for name, group in cluster.nodegroups.items()
            if _minor(version) - _minor(group.version) > _NODES_BEHIND
        ]
        if behind:
            raise InvalidRequestException(
                message=f"Nodegroups {', '.join(behind)} must be updated first: kubelet may be at most "
                f"{_NODES_BEHIND} minor versions older than the control plane",
                clusterName=cluster.name,
            )
        cluster.version = version
        return ActionResult({"update": cluster.updated("VersionUpdate", {"Version": version})})

    def associate_encryption_config(self) -> ActionResult:
        cluster, configs = self.cluster(), self.parameter("encryptionConfig")
        if cluster.encryption_config:
            raise invalid("Encryption is already enabled for the cluster", clusterName=cluster.name)
        checks.encryption(self, configs)
        cluster.encryption_config = configs
        update = cluster.updated("AssociateEncryptionConfig", {"EncryptionConfig": configs})
        return ActionResult({"update": update})

    def describe_update(self) -> ActionResult:
        cluster = self.cluster("name")
        if self.parameter("updateId") not in cluster.updates:
            raise missing(f"No update found for ID: {self.parameter('updateId')}", clusterName=cluster.name)
        return ActionResult({"update": cluster.updates[self.parameter("updateId")]})

    def list_updates(self) -> ActionResult:
        return ActionResult({"updateIds": list(self.cluster("name").updates)})

    def _update_network(self, cluster: Cluster, change: dict[str, Any]) -> dict[str, Any]:
        if "subnetIds" in change or "securityGroupIds" in change:
            ids = change.get("subnetIds", cluster.resources_vpc_config["subnetIds"])
            subnets = checks.control_plane_subnets(self, ids, cluster.name)
            if subnets[0].vpc_id != cluster.resources_vpc_config["vpcId"]:
                raise invalid("Provided subnets belong to another VPC than the cluster", clusterName=cluster.name)
            checks.security_groups(self, change.get("securityGroupIds", []), subnets[0].vpc_id)
            cluster.resources_vpc_config |= change
            for interface in cluster.network_interfaces:
                self.ec2.delete_network_interface(interface.id)
            cluster.network_interfaces.clear()
            make_network_interfaces(self.ec2, cluster, subnets)
            return cluster.updated("VpcConfigUpdate", change)
        # Unless the change has ranges, turning the public endpoint on opens it to everybody, and turning it off removes
        # them.
        before = {key: value for key, value in cluster.resources_vpc_config.items() if key != "publicAccessCidrs"}
        if change.get("endpointPublicAccess", before["endpointPublicAccess"]) == before["endpointPublicAccess"]:
            before = cluster.resources_vpc_config
        wanted = endpoint_access({**before, **change})
        if wanted == cluster.resources_vpc_config:
            raise invalid("Cluster is already at the desired configuration", clusterName=cluster.name)
        cluster.resources_vpc_config = wanted
        return cluster.updated("EndpointAccessUpdate", change)


def _update_access(cluster: Cluster, mode: str) -> dict[str, Any]:
    order = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")
    before = cluster.access_config["authenticationMode"]
    if mode not in order or order.index(mode) <= order.index(before):
        raise invalid(f"Unsupported authentication mode update from {before} to {mode}", clusterName=cluster.name)
    cluster.access_config["authenticationMode"] = mode
    return cluster.updated("AccessConfigUpdate", {"AuthenticationMode": mode})


def _merged_logging(cluster: Cluster, change: dict[str, Any]) -> dict[str, Any]:
    """The current logging setups, changed by `change`: types that it does not name keep their state."""
    states = {kind: setup["enabled"] for setup in cluster.logging["clusterLogging"] for kind in setup["types"]}
    for setup in change.get("clusterLogging", []):
        states |= dict.fromkeys(setup.get("types", []), setup.get("enabled", False))
    return {"clusterLogging": [{"types": [kind], "enabled": on} for kind, on in states.items()]}


def _minor(version: str) -> int:
    return int(version.split(".")[1])
