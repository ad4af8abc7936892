"""Launch templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rehearsal.providers.aws.base import each, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, only, tagged
from rehearsal.providers.serving import Properties, Refused, Request

# The properties of a template's data, by EC2's name. The rest of the inputs are about the template itself.
_DATA = {
    "blockDeviceMappings": "BlockDeviceMappings",
    "capacityReservationSpecification": "CapacityReservationSpecification",
    "creditSpecification": "CreditSpecification",
    "disableApiStop": "DisableApiStop",
    "disableApiTermination": "DisableApiTermination",
    "ebsOptimized": "EbsOptimized",
    "iamInstanceProfile": "IamInstanceProfile",
    "imageId": "ImageId",
    "instanceMarketOptions": "InstanceMarketOptions",
    "instanceType": "InstanceType",
    "keyName": "KeyName",
    "metadataOptions": "MetadataOptions",
    "monitoring": "Monitoring",
    "networkInterfaces": "NetworkInterfaces",
    "placement": "Placement",
    "tagSpecifications": "TagSpecifications",
    "userData": "UserData",
    "vpcSecurityGroupIds": "SecurityGroupIds",
}
_OWN = frozenset(
    {"defaultVersion", "description", "name", "namePrefix", "region", "tags", "tagsAll", "updateDefaultVersion"}
)
_SWITCHES = {"": None, "true": True, "false": False}
# What is text in Pulumi, since Terraform wants to tell `false` from left out, and a boolean in EC2.
_TEXT_SWITCHES = frozenset(
    {"associatePublicIpAddress", "deleteOnTermination", "ebsOptimized", "encrypted", "primaryIpv6"}
)
_RENAMED = {"securityGroups": "Groups"}
_SHORT_NAMES = {full: short for short, full in _RENAMED.items()}
# EBS's limits by volume type: IOPS and throughput (MiB/s); "Amazon EBS volume types", EBS user guide.
_VOLUME_TYPES = ("standard", "io1", "io2", "gp2", "gp3", "sc1", "st1")
_IOPS = {"gp3": (3000, 80000), "io1": (100, 64000), "io2": (100, 256000)}
_THROUGHPUT = (125, 2000)
_MIB_PER_IOPS = 0.25


def to_ec2(value: Any, name: str = "") -> Any:
    """A property value in EC2's spelling."""
    if isinstance(value, dict) and name != "tags":
        return {_RENAMED.get(key, key[0].upper() + key[1:]): to_ec2(item, key) for key, item in value.items()}
    if isinstance(value, dict):
        return tag_list(value)
    if isinstance(value, list):
        return [to_ec2(item, name) for item in value]
    return _SWITCHES[value] if name in _TEXT_SWITCHES else value


def from_ec2(value: Any, name: str = "") -> Any:
    """The reverse of `to_ec2`."""
    if name == "tags":
        return tag_map(value)
    if isinstance(value, dict):
        names = {key: _SHORT_NAMES.get(key) or key[0].lower() + key[1:] for key in value}
        return {names[key]: from_ec2(item, names[key]) for key, item in value.items()}
    if isinstance(value, list):
        return [from_ec2(item, name) for item in value]
    return str(value).lower() if name in _TEXT_SWITCHES else value


def _data(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: to_ec2(inputs[name], name) for name, key in _DATA.items() if name in inputs}


class LaunchTemplate(Ec2Resource):
    """A launch template; every change of its data makes a new version."""

    token = "aws:ec2/launchTemplate:LaunchTemplate"
    force_new = frozenset({"name", "namePrefix"})
    longest_name = 128
    name_pattern = r"[a-zA-Z0-9().\-/_]{3,}"
    recomputed = frozenset({"latestVersion"})
    choices = {
        "blockDeviceMappings[].ebs.deleteOnTermination": tuple(_SWITCHES),
        "blockDeviceMappings[].ebs.encrypted": tuple(_SWITCHES),
        "blockDeviceMappings[].ebs.volumeType": _VOLUME_TYPES,
        "ebsOptimized": tuple(_SWITCHES),
        "instanceMarketOptions.marketType": ("spot", "capacity-block"),
        "metadataOptions.httpEndpoint": ("enabled", "disabled"),
        "metadataOptions.httpProtocolIpv6": ("enabled", "disabled"),
        "metadataOptions.httpTokens": ("optional", "required"),
        "metadataOptions.instanceMetadataTags": ("enabled", "disabled"),
        "networkInterfaces[].associatePublicIpAddress": tuple(_SWITCHES),
        "networkInterfaces[].deleteOnTermination": tuple(_SWITCHES),
        "tagSpecifications[].resourceType": ("instance", "volume", "network-interface", "spot-instances-request"),
    }
    ranges = {
        "metadataOptions.httpPutResponseHopLimit": (1, 64),
        "blockDeviceMappings[].ebs.throughput": _THROUGHPUT,
        "blockDeviceMappings[].ebs.volumeSize": (1, 65536),
    }
    at_most_one = (("defaultVersion", "updateDefaultVersion"),)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in sorted(inputs.keys() - _DATA.keys() - _OWN):
            yield Refused(f"the rehearsal's aws provider does not carry out {name} of {self.token}", name)
        if "vpcSecurityGroupIds" in inputs and "networkInterfaces" in inputs:
            yield Refused("vpcSecurityGroupIds can't be given beside networkInterfaces", "vpcSecurityGroupIds")
        for at, volume in each(inputs, "blockDeviceMappings[].ebs"):
            yield from _volume_problems(volume, at)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.ec2.create_launch_template(
            LaunchTemplateName=self.chosen_name(inputs),
            VersionDescription=inputs.get("description", ""),
            LaunchTemplateData=_data(inputs),
            TagSpecifications=tagged("launch-template", inputs),
        )
        return made["LaunchTemplate"]["LaunchTemplateId"]

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        version = str(inputs.get("defaultVersion", ""))
        if changed & {*_DATA, "description"}:
            made = cloud.ec2.create_launch_template_version(
                LaunchTemplateId=id, VersionDescription=inputs.get("description", ""), LaunchTemplateData=_data(inputs)
            )
            if inputs.get("updateDefaultVersion"):
                version = str(made["LaunchTemplateVersion"]["VersionNumber"])
        if version:
            cloud.ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion=version)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        template = only(cloud.ec2.describe_launch_templates(LaunchTemplateIds=[id])["LaunchTemplates"])
        if template is None:
            return None
        versions = cloud.ec2.describe_launch_template_versions(LaunchTemplateId=id, Versions=["$Latest"])
        latest = versions["LaunchTemplateVersions"][0]
        data = latest["LaunchTemplateData"]
        # moto counts the template's own tags among those of what it launches.
        data["TagSpecifications"] = [
            one for one in data.get("TagSpecifications", []) if one["ResourceType"] != "launch-template"
        ]
        return {
            "arn": cloud.arn("ec2", f"launch-template/{id}"),
            "name": template["LaunchTemplateName"],
            "description": latest.get("VersionDescription", ""),
            "latestVersion": template["LatestVersionNumber"],
            "defaultVersion": template["DefaultVersionNumber"],
            **{name: from_ec2(data[key], name) for name, key in _DATA.items() if data.get(key)},
            "tags": tag_map(template.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.delete_launch_template(LaunchTemplateId=id)


def _volume_problems(volume: Properties, at: str) -> Iterator[Refused]:
    kind, iops, throughput = (known(volume.get(name)) for name in ("volumeType", "iops", "throughput"))
    if iops is not None and kind is not None:
        if kind not in _IOPS:
            yield Refused(f"iops can't be set for volumes of type {kind}", f"{at}.iops")
        elif not _IOPS[kind][0] <= iops <= _IOPS[kind][1]:
            yield Refused(f"iops of {kind} must be {_IOPS[kind][0]} to {_IOPS[kind][1]}, not {iops}", f"{at}.iops")
    if throughput is not None and kind not in ("gp3", None):
        yield Refused(f"throughput must not be set for volumes of type {kind}", f"{at}.throughput")
    elif throughput is not None and throughput > _MIB_PER_IOPS * (iops or _IOPS["gp3"][0]):
        most = int(_MIB_PER_IOPS * (iops or _IOPS["gp3"][0]))
        yield Refused(f"{throughput} MiB/s is more than {iops or 3000} IOPS allow ({most} MiB/s)", f"{at}.throughput")
