"""Instances that the program starts. Node groups and Karpenter manage their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud, tag_list, tag_map
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.ec2 import Ec2Resource, only
from rehearsal.providers.protocol.model import Properties, Refused, Request

_ROOT = "/dev/xvda"
_CARRIED_OUT = frozenset(
    {
        "ami", "instanceType", "maintenanceOptions", "metadataOptions", "region", "rootBlockDevice", "sourceDestCheck",
        "subnetId", "tags", "tagsAll", "userData", "userDataReplaceOnChange", "volumeTags", "vpcSecurityGroupIds",
    }
)  # fmt: skip
_VOLUME = ("encrypted", "iops", "kmsKeyId", "throughput", "volumeSize", "volumeType")


class Instance(Ec2Resource):
    """An instance in a subnet, with one volume."""

    token = "aws:ec2/instance:Instance"
    defaults = {"sourceDestCheck": True}
    required = ("ami", "instanceType", "subnetId")
    force_new = frozenset({"ami", "subnetId", "rootBlockDevice.encrypted", "rootBlockDevice.kmsKeyId"})
    choices = {
        "maintenanceOptions.autoRecovery": ("default", "disabled"),
        "metadataOptions.httpEndpoint": ("enabled", "disabled"),
        "metadataOptions.httpTokens": ("optional", "required"),
        "rootBlockDevice.volumeType": ("standard", "gp2", "gp3", "io1", "io2", "sc1", "st1"),
    }
    ranges = {"metadataOptions.httpPutResponseHopLimit": (1, 64), "rootBlockDevice.volumeSize": (1, 65536)}
    kind, made_id = "instance", "Instances[0].InstanceId"
    api_names = {
        "ami": "ImageId",
        "privateDns": "PrivateDnsName",
        "privateIp": "PrivateIpAddress",
        "publicDns": "PublicDnsName",
        "publicIp": "PublicIpAddress",
        "volumeSize": "Size",
        "vpcSecurityGroupIds": "SecurityGroupIds",
    }
    create_call = Call(
        "run_instances",
        "ami instanceType subnetId metadataOptions userData vpcSecurityGroupIds blockDeviceMappings tagSpecifications",
        MinCount=1,
        MaxCount=1,
    )
    read_call = Call("describe_instances", InstanceIds=["{id}"])
    found = "Reservations[].Instances[?!contains(['shutting-down', 'terminated'], State.Name)][] | [0]"
    outputs = fields(
        "ami instanceType metadataOptions privateDns privateIp publicDns publicIp subnetId tags",
        availabilityZone="Placement.AvailabilityZone",
        instanceState="State.Name",
        primaryNetworkInterfaceId="NetworkInterfaces[0].NetworkInterfaceId",
        sourceDestCheck="SourceDestCheck",
        vpcSecurityGroupIds="SecurityGroups[].GroupId",
    )
    delete_call = Call("terminate_instances", InstanceIds=["{id}"])
    ready, wait_seconds = "State.Name=='running'", 600
    set_later = frozenset({"sourceDestCheck"})
    # Another resource can give it an address later.
    shared = frozenset({"publicIp", "publicDns"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in sorted(inputs.keys() - _CARRIED_OUT):
            yield Refused(f"the rehearsal's aws provider does not support {name} of {self.token}", name)

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        """The first boot runs the user data. Only with `userDataReplaceOnChange` does a change replace the instance."""
        again = {"userData"} & changed if news.get("userDataReplaceOnChange") else set()
        return super().replaces(olds, news, changed) | again

    def given(self, inputs: Properties) -> Properties:
        given, root = super().given(inputs), inputs.get("rootBlockDevice", {})
        volume = {name: root[name] for name in _VOLUME if name in root}
        tagged = {"resourceType": "volume", "tags": inputs.get("volumeTags")}
        return {
            **given,
            "blockDeviceMappings": {"deviceName": _ROOT, "ebs": {"deleteOnTermination": True, **volume}},
            "tagSpecifications": [*(given["tagSpecifications"] or []), *([tagged] if tagged["tags"] else [])] or None,
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        if "sourceDestCheck" in changed:
            check = {"Value": bool(inputs["sourceDestCheck"])}
            cloud.ec2.modify_instance_attribute(InstanceId=id, SourceDestCheck=check)
        if "vpcSecurityGroupIds" in changed:
            cloud.ec2.modify_instance_attribute(InstanceId=id, Groups=inputs["vpcSecurityGroupIds"])
        if "volumeTags" in changed:
            cloud.ec2.create_tags(Resources=[_volume(cloud, id)["VolumeId"]], Tags=tag_list(inputs["volumeTags"]))
        if rest := changed - {"sourceDestCheck", "vpcSecurityGroupIds", "volumeTags", "userDataReplaceOnChange"}:
            super().change(cloud, id, inputs, olds, changed=rest, request=request)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        volume = _volume(cloud, known["id"])
        # EC2 does not report what the first boot ran, and moto does not report how the instance is recovered.
        unreported = {name: known[name] for name in ("userData", "maintenanceOptions") if name in known}
        root = {"DeviceName": _ROOT, "DeleteOnTermination": True, **volume, "Tags": None}
        return {
            **unreported,
            **super().more_outputs(cloud, found, known),
            "rootBlockDevice": self.output("rootBlockDevice", "@", root),
            "volumeTags": tag_map(volume.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        super().remove(cloud, id, olds, request)
        request.wait(lambda: _terminated(cloud, id), seconds=self.wait_seconds, what=f"the end of instance {id}")


def _terminated(cloud: Cloud, id: str) -> bool:
    groups = cloud.ec2.describe_instances(InstanceIds=[id])["Reservations"]
    return all(instance["State"]["Name"] == "terminated" for group in groups for instance in group["Instances"])


def _volume(cloud: Cloud, id: str) -> Any:
    attached = [{"Name": "attachment.instance-id", "Values": [id]}]
    return only(cloud.ec2.describe_volumes(Filters=attached)["Volumes"]) or {}
