"""Launch templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import Properties, Refused, Request

# The inputs that are the data of a template. The others are about the template.
_DATA = (
    "blockDeviceMappings", "capacityReservationSpecification", "creditSpecification", "disableApiStop",
    "disableApiTermination", "ebsOptimized", "iamInstanceProfile", "imageId", "instanceMarketOptions", "instanceType",
    "keyName", "metadataOptions", "monitoring", "networkInterfaces", "placement", "tagSpecifications", "userData",
    "vpcSecurityGroupIds",
)  # fmt: skip
_OWN = frozenset(
    {"defaultVersion", "description", "name", "namePrefix", "region", "tags", "tagsAll", "updateDefaultVersion"}
)
# A boolean in EC2. It is text in Pulumi, because Terraform distinguishes `false` from no value.
_SWITCHES = ("", "true", "false")
# EBS's limits by volume type: IOPS and throughput (MiB/s); "Amazon EBS volume types", EBS user guide.
_VOLUME_TYPES = ("standard", "io1", "io2", "gp2", "gp3", "sc1", "st1")
_IOPS = {"gp3": (3000, 80000), "io1": (100, 64000), "io2": (100, 256000)}
_THROUGHPUT = (125, 2000)
_MIB_PER_IOPS = 0.25
_VERSION = Call("create_launch_template_version", "description launchTemplateData", LaunchTemplateId="{id}")


class LaunchTemplate(Ec2Resource):
    """A launch template. Every change of its data makes a new version."""

    token = "aws:ec2/launchTemplate:LaunchTemplate"
    force_new = frozenset({"name", "namePrefix"})
    longest_name = 128
    name_pattern = r"[a-zA-Z0-9().\-/_]{3,}"
    recomputed = frozenset({"latestVersion"})
    kind, made_id = "launch-template", "LaunchTemplate.LaunchTemplateId"
    api_names = {
        "name": "LaunchTemplateName",
        "description": "VersionDescription",
        "securityGroups": "Groups",
        "vpcSecurityGroupIds": "SecurityGroupIds",
    }
    create_call = Call("create_launch_template", "name description launchTemplateData tagSpecifications")
    read_call, found = Call("describe_launch_templates", LaunchTemplateIds=["{id}"]), "LaunchTemplates[0]"
    outputs = fields("name tags", latestVersion="LatestVersionNumber", defaultVersion="DefaultVersionNumber")
    delete_call = Call("delete_launch_template", LaunchTemplateId="{id}")
    choices = {
        "blockDeviceMappings[].ebs.deleteOnTermination": _SWITCHES,
        "blockDeviceMappings[].ebs.encrypted": _SWITCHES,
        "blockDeviceMappings[].ebs.volumeType": _VOLUME_TYPES,
        "ebsOptimized": _SWITCHES,
        "instanceMarketOptions.marketType": ("spot", "capacity-block"),
        "metadataOptions.httpEndpoint": ("enabled", "disabled"),
        "metadataOptions.httpProtocolIpv6": ("enabled", "disabled"),
        "metadataOptions.httpTokens": ("optional", "required"),
        "metadataOptions.instanceMetadataTags": ("enabled", "disabled"),
        "networkInterfaces[].associatePublicIpAddress": _SWITCHES,
        "networkInterfaces[].deleteOnTermination": _SWITCHES,
        "tagSpecifications[].resourceType": ("instance", "volume", "network-interface", "spot-instances-request"),
    }
    ranges = {
        "metadataOptions.httpPutResponseHopLimit": (1, 64),
        "blockDeviceMappings[].ebs.throughput": _THROUGHPUT,
        "blockDeviceMappings[].ebs.volumeSize": (1, 65536),
    }
    at_most_one = (("defaultVersion", "updateDefaultVersion"),)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in sorted(inputs.keys() - {*_DATA} - _OWN):
            yield Refused(f"the rehearsal's aws provider does not support {name} of {self.token}", name)
        if "vpcSecurityGroupIds" in inputs and "networkInterfaces" in inputs:
            yield Refused("vpcSecurityGroupIds can't be given beside networkInterfaces", "vpcSecurityGroupIds")
        for at, volume in each(inputs, "blockDeviceMappings[].ebs"):
            yield from _volume_problems(volume, at)

    def given(self, inputs: Properties) -> Properties:
        data = {name: inputs[name] for name in _DATA if name in inputs}
        return {**super().given(inputs), "launchTemplateData": data, "description": inputs.get("description", "")}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        version = str(inputs.get("defaultVersion", ""))
        if changed & {*_DATA, "description"}:
            made = self.answer(_VERSION, cloud, {**self.given(inputs), "id": id})
            if inputs.get("updateDefaultVersion"):
                version = str(made["LaunchTemplateVersion"]["VersionNumber"])
        if version:
            cloud.ec2.modify_launch_template(LaunchTemplateId=id, DefaultVersion=version)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        versions = cloud.ec2.describe_launch_template_versions(LaunchTemplateId=known["id"], Versions=["$Latest"])
        latest = versions["LaunchTemplateVersions"][0]
        data = latest["LaunchTemplateData"]
        # moto also reports the tags of the template here.
        data["TagSpecifications"] = [
            tags for tags in data.get("TagSpecifications", []) if tags["ResourceType"] != "launch-template"
        ]
        return {
            **super().more_outputs(cloud, found, known),
            "description": latest.get("VersionDescription", ""),
            **{name: shown for name in _DATA if (shown := self.output(name, "", data))},
        }


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
