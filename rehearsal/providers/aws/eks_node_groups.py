"""EKS: managed node groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import contracts
from rehearsal.cloud.versions import TAINT_EFFECTS
from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.eks import EksResource, finished
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import Properties, Refused, Request, autoname

_AMI_TYPES = (
    *(f"AL2023_{variant}" for variant in ("x86_64_STANDARD", "ARM_64_STANDARD", "x86_64_NVIDIA", "ARM_64_NVIDIA")),
    "AL2023_x86_64_NEURON",
    *(f"AL2_{variant}" for variant in ("x86_64", "x86_64_GPU", "ARM_64")),
    *(
        f"BOTTLEROCKET_{arch}{kind}"
        for arch in ("x86_64", "ARM_64")
        for kind in ("", "_FIPS", "_NVIDIA", "_NVIDIA_FIPS")
    ),
    *(f"WINDOWS_{kind}_{year}_x86_64" for kind in ("CORE", "FULL") for year in (2019, 2022, 2025)),
    "CUSTOM",
)
_LONGEST_NAME = 63
_MOST_TAINTS = 50
# Optional inputs that have the same name in EKS.
_SETTINGS = (
    "amiType capacityType diskSize instanceTypes labels launchTemplate nodeRepairConfig releaseVersion remoteAccess"
    " taints updateConfig version"
)


class NodeGroup(EksResource):
    """A managed node group."""

    token = "aws:eks/nodeGroup:NodeGroup"
    force_new = frozenset(
        {
            "amiType",
            "capacityType",
            "clusterName",
            "diskSize",
            "instanceTypes",
            "launchTemplate.id",
            "launchTemplate.name",
            "nodeGroupName",
            "nodeGroupNamePrefix",
            "nodeRoleArn",
            "remoteAccess",
            "subnetIds",
        }
    )
    choices = {
        "amiType": _AMI_TYPES,
        "capacityType": ("ON_DEMAND", "SPOT", "CAPACITY_BLOCK"),
        "taints[].effect": TAINT_EFFECTS,
    }
    ranges = {
        "scalingConfig.minSize": (0, 10**6),
        "scalingConfig.maxSize": (1, 10**6),
        "scalingConfig.desiredSize": (0, 10**6),
        "updateConfig.maxUnavailable": (1, 100),
        "updateConfig.maxUnavailablePercentage": (1, 100),
    }
    at_most_one = (("nodeGroupName", "nodeGroupNamePrefix"), ("launchTemplate", "remoteAccess"))
    id_form = "{clusterName}:{nodeGroupName}"
    api_names = {"arn": "nodegroupArn", "nodeRoleArn": "nodeRole", "subnetIds": "subnets"}
    create_call = Call(
        "create_nodegroup", f"clusterName nodeGroupName nodeRoleArn subnetIds scalingConfig tags {_SETTINGS}"
    )
    read_call, found = Call("describe_nodegroup", "clusterName nodeGroupName"), "nodegroup"
    outputs = fields(
        f"arn nodeRoleArn subnetIds status scalingConfig tags {_SETTINGS}",
        resources="[{autoscalingGroups: resources.autoScalingGroups || `[]`, remoteAccessSecurityGroupId: ''}]",
    )
    ready, waits_until_gone, wait_seconds = "status=='ACTIVE'", True, 120
    delete_call = Call("delete_nodegroup", "clusterName nodeGroupName")

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """As in the base. The name has another property."""
        if not inputs.keys() & {"nodeGroupName", "nodeGroupNamePrefix"}:
            inputs = {**inputs, "nodeGroupName": autoname(request, olds, "nodeGroupName", _LONGEST_NAME)}
        return super().check(inputs, olds, request)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        name = known(inputs.get("nodeGroupName"))
        if name is not None and len(name) > _LONGEST_NAME:
            reason = f"expected length of nodeGroupName to be in the range (1 - {_LONGEST_NAME}), got {len(name)}"
            yield Refused(reason, "nodeGroupName")
        yield from _scaling_problems(known(inputs.get("scalingConfig")) or {})
        if len(known(inputs.get("taints")) or []) > _MOST_TAINTS:
            yield Refused(f"a node group can have at most {_MOST_TAINTS} taints", "taints")
        version, release = known(inputs.get("version")), known(inputs.get("releaseVersion"))
        if version and release and "BOTTLEROCKET" not in str(inputs.get("amiType")) and not release.startswith(version):
            why = f"Requested release version {release} is not valid for kubernetes version {version}"
            yield Refused(why, "releaseVersion")
        if "launchTemplate" in inputs and "diskSize" in inputs:
            yield Refused("the disk size must be specified within the launch template", "diskSize")
        ami = known(inputs.get("amiType")) or ""
        wanted = "arm64" if "ARM_64" in ami else "x86_64" if "x86_64" in ami else None
        for where, instance_type in each(inputs, "instanceTypes[]"):
            found = contracts.instance_types().get(instance_type)
            if found is None:
                yield Refused(f"there is no instance type {instance_type}", where)
            elif wanted and found.arch != wanted:
                yield Refused(f"{instance_type} ({found.arch}) does not fit the AMI type {ami}", where)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        prefixed = {"namePrefix": inputs.get("nodeGroupNamePrefix"), "name": inputs.get("nodeGroupName")}
        return super().make(cloud, {**inputs, "nodeGroupName": self.chosen_name(prefixed)}, request)

    def is_ready(self, cloud: Cloud, id: str, inputs: Properties) -> bool:
        cluster, _, name = id.partition(":")
        group = self.look(cloud, {"clusterName": cluster, "nodeGroupName": name})
        if group["status"].endswith("_FAILED"):
            issues = "; ".join(f"{issue['code']}: {issue['message']}" for issue in group["health"]["issues"])
            raise Refused(f"node group {name} is {group['status']}: {issues}")
        return group["status"] == "ACTIVE"

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """First the versions, then the rest, as in the real provider."""
        cluster, _, name = id.partition(":")
        eks = cloud.client("eks")
        if changed & {"version", "releaseVersion", "launchTemplate"}:
            wanted = {key: inputs[key] for key in ("version", "releaseVersion") if key in changed and inputs.get(key)}
            if "launchTemplate" in changed:
                wanted["launchTemplate"] = inputs["launchTemplate"]
            update = eks.update_nodegroup_version(clusterName=cluster, nodegroupName=name, **wanted)["update"]
            finished(cloud, request, cluster, update)
        config: dict[str, Any] = {}
        if "labels" in changed:
            before, after = olds.get("labels") or {}, inputs.get("labels") or {}
            config["labels"] = {"addOrUpdateLabels": after, "removeLabels": sorted(before.keys() - after.keys())}
        if "taints" in changed:
            after_taints = inputs.get("taints") or []
            kept = {(taint["key"], taint["effect"]) for taint in after_taints}
            gone = [taint for taint in olds.get("taints") or [] if (taint["key"], taint["effect"]) not in kept]
            config["taints"] = {"addOrUpdateTaints": after_taints, "removeTaints": gone}
        for key in ("scalingConfig", "updateConfig", "nodeRepairConfig"):
            if key in changed and key in inputs:
                config[key] = inputs[key]
        if config:
            update = eks.update_nodegroup_config(clusterName=cluster, nodegroupName=name, **config)["update"]
            finished(cloud, request, cluster, update)


def _scaling_problems(scaling: Properties) -> Iterator[Refused]:
    low, desired, high = (known(scaling.get(key)) for key in ("minSize", "desiredSize", "maxSize"))
    if low is not None and desired is not None and low > desired:
        yield Refused(f"minSize {low} can't be greater than desiredSize {desired}", "scalingConfig.minSize")
    if high is not None and desired is not None and desired > high:
        yield Refused(f"desiredSize {desired} can't be greater than maxSize {high}", "scalingConfig.desiredSize")
