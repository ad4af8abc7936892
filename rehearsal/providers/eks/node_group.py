"""`eks:index:ManagedNodeGroup`: a managed node group, with a launch template if its options need one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi

from rehearsal.providers.eks import contract
from rehearsal.providers.eks.cluster import Cluster
from rehearsal.providers.eks.resources import EksCluster, LaunchTemplate, NodeGroup

# Inputs of custom user data and of EFA.
_UNMODELLED = frozenset(
    {
        "amiId",
        "bootstrapExtraArgs",
        "bottlerocketSettings",
        "enableEfaSupport",
        "kubeletExtraArgs",
        "nodeadmExtraOptions",
        "placementGroupAvailabilityZone",
        "userData",
    }
)

# The inputs that the node group gets unchanged.
_PASSED_ON = frozenset(
    {
        "amiType",
        "capacityType",
        "diskSize",
        "forceUpdateVersion",
        "instanceTypes",
        "labels",
        "launchTemplate",
        "nodeGroupName",
        "nodeGroupNamePrefix",
        "releaseVersion",
        "remoteAccess",
        "tags",
        "taints",
        "version",
    }
)

# AMI type by operating system, GPU support and architecture.
_AMI_TYPES = {
    ("AL2", False, "x86_64"): "AL2_x86_64",
    ("AL2", True, "x86_64"): "AL2_x86_64_GPU",
    ("AL2", False, "arm64"): "AL2_ARM_64",
    ("AL2023", False, "x86_64"): "AL2023_x86_64_STANDARD",
    ("AL2023", False, "arm64"): "AL2023_ARM_64_STANDARD",
    ("AL2023", True, "x86_64"): "AL2023_x86_64_NVIDIA",
    ("Bottlerocket", False, "arm64"): "BOTTLEROCKET_ARM_64",
    ("Bottlerocket", False, "x86_64"): "BOTTLEROCKET_x86_64",
    ("Bottlerocket", True, "arm64"): "BOTTLEROCKET_ARM_64_NVIDIA",
    ("Bottlerocket", True, "x86_64"): "BOTTLEROCKET_x86_64_NVIDIA",
}
_OPERATING_SYSTEMS = {ami_type: system for (system, _, _), ami_type in _AMI_TYPES.items()}

# Family, generation, processor, further capabilities, size: a processor `g` is a Graviton.
_INSTANCE_TYPE = re.compile(r"([a-z]+)([0-9]+)([a-z])?-?([a-z]+)?\.([a-zA-Z0-9-]+)")


class ManagedNodeGroup(pulumi.ComponentResource):
    """The component; `state` holds its outputs."""

    pulumi_type: ClassVar[str] = "eks:index:ManagedNodeGroup"
    state: dict[str, Any]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = contract.checked(self.pulumi_type, args, _UNMODELLED)
        _refuse_combinations(inputs)
        super().__init__(self.pulumi_type, name, None, opts)
        core = pulumi.Output.from_input(inputs["cluster"]).apply(
            lambda cluster: cluster.core if isinstance(cluster, Cluster) else cluster
        )
        cluster: pulumi.Output[EksCluster] = core.apply(lambda data: data["cluster"])
        if "nodeRoleArn" in inputs:
            role_arn = inputs["nodeRoleArn"]
        else:
            role_arn = pulumi.Output.from_input(inputs["nodeRole"]).apply(lambda role: role.arn)

        group = {key: value for key, value in inputs.items() if key in _PASSED_ON}
        # The image of a launch template decides the version, so it is set only without one.
        if "launchTemplate" not in inputs:
            group.setdefault("version", cluster.apply(lambda found: found.version))
        if "enableIMDSv2" in inputs:
            template = self._launch_template(name, inputs)
            group.pop("diskSize", None)
            group["launchTemplate"] = {"id": template.id, "version": template.latestVersion.apply(str)}
        if "amiType" not in inputs and "operatingSystem" in inputs:
            group["amiType"] = pulumi.Output.all(
                inputs["operatingSystem"], inputs.get("gpu", False), inputs.get("instanceTypes", [])
            ).apply(lambda given: ami_type(*given))

        ignored = ["scalingConfig.desiredSize"] if inputs.get("ignoreScalingChanges") else None
        node_group = NodeGroup(
            name,
            {
                **group,
                "clusterName": inputs.get("clusterName", cluster.apply(lambda found: found.name)),
                "nodeRoleArn": role_arn,
                "scalingConfig": pulumi.Output.from_input(inputs.get("scalingConfig", {})).apply(
                    lambda given: {"desiredSize": 2, "minSize": 1, "maxSize": 2, **given}
                ),
                "subnetIds": inputs.get("subnetIds", core.apply(lambda data: data["subnetIds"])),
            },
            pulumi.ResourceOptions(parent=self, ignore_changes=ignored),
        )
        self.state = {"nodeGroup": node_group, "placementGroupName": ""}
        self.register_outputs(self.state)

    def _launch_template(self, name: str, inputs: Mapping[str, Any]) -> LaunchTemplate:
        """The launch template with the settings of the metadata service and, if given, the size of the disk."""
        system = pulumi.Output.all(inputs.get("amiType"), inputs.get("operatingSystem")).apply(
            lambda given: operating_system(*given)
        )
        # Bottlerocket keeps its data on a second volume.
        device = system.apply(lambda found: "/dev/xvdb" if found == "Bottlerocket" else "/dev/xvda")
        disk = [{"deviceName": device, "ebs": {"volumeSize": inputs["diskSize"]}}] if inputs.get("diskSize") else None
        return LaunchTemplate(
            f"{name}-launchTemplate",
            {
                "blockDeviceMappings": disk,
                "metadataOptions": {
                    "httpTokens": "required" if inputs["enableIMDSv2"] else "optional",
                    "httpPutResponseHopLimit": 2,
                    "httpEndpoint": "enabled",
                },
            },
            pulumi.ResourceOptions(parent=self),
        )


def ami_type(system: str, gpu: bool, instance_types: list[str]) -> str:
    """The AMI type for an operating system, GPU support, and the architecture that the instance types share."""
    architectures = {_architecture(instance_type) for instance_type in instance_types} or {"x86_64"}
    if len(architectures) > 1:
        raise pulumi.InputPropertyError("instanceTypes", "the instance types do not share one architecture")
    (architecture,) = architectures
    if (system, gpu, architecture) not in _AMI_TYPES:
        gpus = "with" if gpu else "without"
        raise pulumi.InputPropertyError("operatingSystem", f"no AMI type of {system} for {architecture} {gpus} GPUs")
    return _AMI_TYPES[system, gpu, architecture]


def operating_system(ami_type: str | None, system: str | None) -> str:
    """The operating system of an AMI type, or the given one, or the default."""
    if not ami_type:
        return system or "AL2023"
    if ami_type not in _OPERATING_SYSTEMS:
        raise pulumi.InputPropertyError("amiType", f"{ami_type} is not an AMI type that the component knows")
    found = _OPERATING_SYSTEMS[ami_type]
    if system not in (None, found):
        raise pulumi.InputPropertyError("operatingSystem", f"{system} does not match {found}, that of {ami_type}")
    return found


def _architecture(instance_type: str) -> str:
    match = _INSTANCE_TYPE.match(instance_type)
    if not match:
        raise pulumi.InputPropertyError("instanceTypes", f"{instance_type} is not an EC2 instance type")
    return "arm64" if match[3] == "g" else "x86_64"


def _refuse_combinations(inputs: Mapping[str, Any]) -> None:
    """Raises InputPropertiesError for inputs that the real component refuses."""
    errors: list[pulumi.InputPropertyErrorDetails] = []
    if "nodeRole" in inputs and "nodeRoleArn" in inputs:
        errors.append({"property_path": "nodeRole", "reason": "nodeRole and nodeRoleArn are mutually exclusive"})
    if "nodeRole" not in inputs and "nodeRoleArn" not in inputs:
        errors.append({"property_path": "nodeRole", "reason": "give the nodes a role: nodeRole or nodeRoleArn"})
    if "launchTemplate" in inputs and "enableIMDSv2" in inputs:
        errors.append(
            {
                "property_path": "launchTemplate",
                "reason": "excludes enableIMDSv2: put the metadata options into the launch template",
            }
        )
    if errors:
        raise pulumi.InputPropertiesError(f"{ManagedNodeGroup.pulumi_type} refuses its inputs", errors)
