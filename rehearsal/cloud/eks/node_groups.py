"""Managed node groups: their instances run in moto's EC2, their nodes register with the rehearsal's API server."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.exceptions import InvalidRequestException
from moto.eks.models import Nodegroup, paginated_list

import contracts
from rehearsal.cloud import amis, nodes
from rehearsal.cloud.eks import access_entries, checks
from rehearsal.cloud.eks.state import Cluster, Node, Operations, in_use, invalid
from rehearsal.cloud.versions import TAINT_EFFECTS

_CAPACITY_TYPES = ("ON_DEMAND", "SPOT", "CAPACITY_BLOCK")
_DEFAULT_SCALING = {"minSize": 1, "maxSize": 2, "desiredSize": 2}
_DEFAULT_DISK_GIB = 20
_NAME_LENGTH = 63


class NodeGroupOperations(Operations):
    """The operations on managed node groups."""

    def create_nodegroup(self) -> ActionResult:
        cluster, name = self.cluster(), self.parameter("nodegroupName")
        if name in cluster.nodegroups:
            raise in_use(
                f"NodeGroup already exists with name {name} and cluster name {cluster.name}",
                clusterName=cluster.name,
                nodegroupName=name,
            )
        if len(name) > _NAME_LENGTH:
            raise invalid(f"nodegroupName can't be longer than {_NAME_LENGTH} characters", clusterName=cluster.name)
        template = self._template(self.parameter("launchTemplate"))
        instance_types = self.parameter("instanceTypes", [])
        if template and template.data.get("InstanceType"):
            if instance_types:
                raise invalid("You cannot specify an instance type in the request and the launch template")
            instance_types = [template.data["InstanceType"]]
        ami_type = self.parameter("amiType", "CUSTOM" if template and template.image_id else "AL2023_x86_64_STANDARD")
        version = self.parameter("version", cluster.version)
        self._check(cluster, template, instance_types or ["t3.medium"], ami_type, version)
        group = Nodegroup(
            cluster_name=cluster.name,
            node_role=self.parameter("nodeRole"),
            nodegroup_name=name,
            subnets=self.parameter("subnets"),
            scaling_config={**_DEFAULT_SCALING, **self.parameter("scalingConfig", {})},
            disk_size=None if template else self.parameter("diskSize", _DEFAULT_DISK_GIB),
            instance_types=instance_types or ["t3.medium"],
            ami_type=ami_type,
            remote_access=self.parameter("remoteAccess"),
            labels=dict(self.parameter("labels", {})),
            taints=list(self.parameter("taints", [])),
            tags=dict(self.parameter("tags", {})),
            client_request_token=self.parameter("clientRequestToken"),
            launch_template=_described(template),
            capacity_type=self.parameter("capacityType", "ON_DEMAND"),
            version=version,
            release_version=self._release(ami_type, version),
            update_config=self.parameter("updateConfig", {"maxUnavailable": 1}),
            node_repair_config=self.parameter("nodeRepairConfig"),
            account_id=self.current_account,
            region_name=self.region,
            aws_partition=self.eks_backend.partition,
        )
        # moto sets defaults for these, which EKS leaves out if the nodes use a launch template.
        group.remote_access = self.parameter("remoteAccess")
        group.disk_size = group.disk_size if not template else None  # type: ignore[assignment]
        group.health = {"issues": []}
        group.resources = {"autoScalingGroups": [{"name": f"eks-{name}-{group.uuid}"}]}
        cluster.nodegroups[name] = group
        cluster.nodes[name] = []
        if cluster.access_config["authenticationMode"] != "CONFIG_MAP":
            access_entries.admit_nodes(self, cluster, group.node_role)
        self._scale(cluster, group)
        return ActionResult({"nodegroup": group})

    def describe_nodegroup(self) -> ActionResult:
        return ActionResult({"nodegroup": self.node_group(self.cluster())})

    def list_nodegroups(self) -> ActionResult:
        names, token = paginated_list(
            list(self.cluster().nodegroups), self.parameter("maxResults", 100), self.parameter("nextToken")
        )
        return ActionResult({"nodegroups": names, "nextToken": token})

    def delete_nodegroup(self) -> ActionResult:
        cluster = self.cluster()
        group = self.node_group(cluster)
        for node in cluster.nodes.pop(group.nodegroup_name):
            self._remove(node)
        del cluster.nodegroups[group.nodegroup_name]
        group.status = "DELETING"
        return ActionResult({"nodegroup": group})

    def update_nodegroup_config(self) -> ActionResult:
        cluster = self.cluster()
        group = self.node_group(cluster)
        labels, taints = self.parameter("labels", {}), self.parameter("taints", {})
        scaling = {**group.scaling_config, **self.parameter("scalingConfig", {})}
        _check_taints(taints.get("addOrUpdateTaints", []))
        _check_scaling(scaling)
        gone = {(taint["key"], taint["effect"]) for kind in taints.values() for taint in kind}
        group.scaling_config = scaling
        group.taints = [
            *(taint for taint in group.taints if (taint["key"], taint["effect"]) not in gone),
            *taints.get("addOrUpdateTaints", []),
        ]
        removed = labels.get("removeLabels", [])
        group.labels = {key: value for key, value in group.labels.items() if key not in removed}
        group.labels |= labels.get("addOrUpdateLabels", {})
        group.update_config = self.parameter("updateConfig", group.update_config)
        group.node_repair_config = self.parameter("nodeRepairConfig", group.node_repair_config)
        group.modified_at = utcnow()
        for node in cluster.nodes[group.nodegroup_name]:
            nodes.update(node.name, {**dict.fromkeys(removed), **group.labels}, group.taints if taints else None)
        self._scale(cluster, group)
        return ActionResult({"update": cluster.updated("ConfigUpdate", {"ScalingConfig": scaling, "Labels": labels})})

    def update_nodegroup_version(self) -> ActionResult:
        """Replaces every node, like a rolling update; if a node cannot be drained, it replaces none."""
        cluster = self.cluster()
        group = self.node_group(cluster)
        template = self.parameter("launchTemplate")
        version = self.parameter("version", cluster.version if template is None else group.version)
        if version not in {cluster.version, group.version}:
            raise InvalidRequestException(message=f"Requested version {version} is not the cluster's {cluster.version}")
        described = group.launch_template
        if template:
            if not described:
                raise invalid("You cannot specify a launch template: the node group was made without one")
            described = _described(self._template(template))
        release = self._release(group.ami_type, version)
        # EKS gives up after 15 minutes ("Managed node update behavior", EKS user guide).
        kept = [node.name for node in cluster.nodes[group.nodegroup_name] if nodes.kept_by_budgets(node.name)]
        if kept and not self.parameter("force"):
            message = f"Reached max retries while trying to evict pods from nodes in node group {group.nodegroup_name}"
            error = {"errorCode": "PodEvictionFailure", "errorMessage": message, "resourceIds": kept}
            return ActionResult({"update": cluster.updated("VersionUpdate", {"Version": version}, [error])})
        group.launch_template, group.release_version, group.version = described, release, version
        group.modified_at = utcnow()
        before, cluster.nodes[group.nodegroup_name] = cluster.nodes[group.nodegroup_name], []
        self._scale(cluster, group)
        for node in before:
            self._remove(node)
        return ActionResult({"update": cluster.updated("VersionUpdate", {"Version": version})})

    def _check(self, cluster: Cluster, template: Any, instance_types: list[str], ami_type: str, version: str) -> None:
        if template and (self.parameter("diskSize") or self.parameter("remoteAccess")):
            raise invalid("Disk size and remote access must be specified within the launch template.")
        if ami_type not in amis.AMI_TYPES:
            raise invalid(f"[{ami_type}] is not an AMI type that can be used with Kubernetes {version}")
        for name in instance_types:
            if name not in contracts.instance_types():
                raise invalid(f"The following supplied instance types do not exist: [{name}]")
            needed = contracts.instance_types()[name].arch
            if ami_type != "CUSTOM" and amis.architecture_of(ami_type) != needed:
                raise invalid(f"[{name}] is not a valid instance type for requested amiType {ami_type}")
        if self.parameter("capacityType", "ON_DEMAND") not in _CAPACITY_TYPES:
            raise invalid(f"unknown capacity type {self.parameter('capacityType')}")
        if version != cluster.version and int(version.split(".")[1]) > int(cluster.version.split(".")[1]):
            raise invalid(
                f"Requested Nodegroup version {version} is not the cluster's {cluster.version} or an older one"
            )
        _check_taints(self.parameter("taints", []))
        _check_scaling({**_DEFAULT_SCALING, **self.parameter("scalingConfig", {})})
        checks.node_role(self, self.parameter("nodeRole"))
        for subnet in checks.subnets(self, self.parameter("subnets", [])):
            if subnet.vpc_id != cluster.resources_vpc_config["vpcId"]:
                raise invalid(f"Subnet {subnet.id} belongs to another VPC than the cluster")

    def _release(self, ami_type: str, version: str) -> str:
        """The requested release of the image, else the recommended one. Refuses a release that does not exist."""
        wanted = self.parameter("releaseVersion")
        if ami_type == "CUSTOM":
            if wanted:
                raise invalid("You cannot specify the field releaseVersion when using custom AMIs.")
            return ""
        if wanted and not amis.is_release(ami_type, version, wanted):
            raise invalid(f"Requested release version {wanted} is not valid for kubernetes version {version}.")
        return wanted or amis.image(ami_type, version).release

    def _template(self, named: dict[str, str] | None) -> Any | None:
        """The version of a launch template, named by id or name. Refuses one that does not exist."""
        if not named:
            return None
        ids = [named["id"]] if "id" in named else None
        try:
            found = self.ec2.describe_launch_templates(template_ids=ids, template_names=[named.get("name")])
            return found[0].get_version(named.get("version", found[0].default_version_number))
        except (ServiceException, IndexError) as error:
            raise invalid(f"Launch template {named} does not exist") from error

    def _scale(self, cluster: Cluster, group: Nodegroup) -> None:
        """Runs or terminates instances until the group has the desired number, spread over its subnets."""
        current = cluster.nodes[group.nodegroup_name]
        while len(current) > group.scaling_config["desiredSize"]:
            self._remove(current.pop())
        while len(current) < group.scaling_config["desiredSize"]:
            current.append(self._run(cluster, group, group.subnets[len(current) % len(group.subnets)]))

    def _run(self, cluster: Cluster, group: Nodegroup, subnet_id: str) -> Node:
        template = self._template(group.launch_template)
        data: dict[str, Any] = template.data if template else {}
        image_id = data.get("ImageId") or amis.register(
            self.current_account,
            self.region,
            amis.image(group.ami_type, group.version, group.release_version or None),
        )
        disks = copy.deepcopy(data.get("BlockDeviceMappings", []))
        disks = disks or [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": group.disk_size or _DEFAULT_DISK_GIB}}]
        for disk in disks:
            disk["Ebs"].setdefault("DeleteOnTermination", True)
        interfaces = data.get("NetworkInterfaces", [])
        groups = data.get("SecurityGroupIds") or [id for interface in interfaces for id in interface.get("Groups", [])]
        tags = {spec["ResourceType"]: _tags(spec) for spec in data.get("TagSpecifications", [])}
        own = {
            "eks:cluster-name": cluster.name,
            "eks:nodegroup-name": group.nodegroup_name,
            f"kubernetes.io/cluster/{cluster.name}": "owned",
        }
        reservation = self.ec2.run_instances(
            image_id,
            1,
            None,
            [],
            instance_type=group.instance_types[0],
            is_instance_type_default=False,
            region_name=self.region,
            subnet_id=subnet_id,
            security_group_ids=groups or [cluster.security_group_id],
            block_device_mappings=disks,
            tags={"instance": {**tags.get("instance", {}), **own}, "volume": {**tags.get("volume", {}), **own}},
            metadata_options=data.get("MetadataOptions", {}),
            lifecycle="spot" if group.capacity_type == "SPOT" else None,
        )
        (instance,) = reservation.instances
        for interface in instance.nics.values():  # moto would keep them
            interface.delete_on_termination = True
        node = nodes.NodeSpec(
            name=instance.private_dns_name,
            instance_id=instance.id,
            instance_type=contracts.instance_types()[group.instance_types[0]],
            zone=instance.placement.zone,
            private_ip=instance.private_ip,
            version=group.version,
            group=group.nodegroup_name,
            image_id=image_id,
            capacity_type=group.capacity_type,
            disk_size=int(disks[0]["Ebs"].get("VolumeSize", _DEFAULT_DISK_GIB)),
            labels=group.labels,
            taints=group.taints,
        )
        try:
            nodes.create(node)
        except OSError as error:
            group.status = "CREATE_FAILED"
            message = f"Instances failed to join the kubernetes cluster: {error}"
            issue = {"code": "NodeCreationFailure", "message": message, "resourceIds": [instance.id]}
            group.health["issues"].append(issue)
        return Node(instance_id=instance.id, name=node.name)

    def _remove(self, node: Node) -> None:
        """Deletes the node from Kubernetes, then terminates its instance, which may be gone already."""
        with contextlib.suppress(OSError):  # EKS terminates instances even if the cluster's API does not answer
            nodes.delete(node.name)
        if any(instance.id == node.instance_id for instance in self.ec2.all_running_instances()):
            self.ec2.terminate_instances([node.instance_id])


def _described(template: Any | None) -> dict[str, str] | None:
    if template is None:
        return None
    return {"id": template.template.id, "name": template.template.name, "version": str(template.number)}


def _tags(spec: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in spec.get("Tags", spec.get("Tag", []))}


def _check_taints(taints: list[dict[str, str]]) -> None:
    for taint in taints:
        if taint.get("effect") not in TAINT_EFFECTS:
            raise invalid(
                f"taint effect {taint.get('effect')} of {taint['key']} is not one of {', '.join(TAINT_EFFECTS)}"
            )


def _check_scaling(scaling: dict[str, int]) -> None:
    low, desired, high = scaling["minSize"], scaling["desiredSize"], scaling["maxSize"]
    if high < 1:
        raise invalid(f"maxSize {high} can't be less than 1")
    if low > desired:
        raise invalid(f"Minimum capacity {low} can't be greater than desired size {desired}")
    if desired > high:
        raise invalid(f"desired capacity {desired} can't be greater than max size {high}")
