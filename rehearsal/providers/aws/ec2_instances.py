"""Instances that the program itself starts. Those of node groups and of Karpenter are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.aws.ec2 import Ec2Resource, only, tagged
from rehearsal.providers.aws.ec2_launch_templates import from_ec2, to_ec2
from rehearsal.providers.serving import Properties, Refused, Request

_SECONDS = 600
_ROOT = "/dev/xvda"
_CARRIED_OUT = frozenset(
    {
        "ami", "instanceType", "maintenanceOptions", "metadataOptions", "region", "rootBlockDevice", "sourceDestCheck",
        "subnetId", "tags", "tagsAll", "userData", "userDataReplaceOnChange", "volumeTags", "vpcSecurityGroupIds",
    }
)  # fmt: skip
_VOLUME = {
    "encrypted": "Encrypted",
    "iops": "Iops",
    "kmsKeyId": "KmsKeyId",
    "throughput": "Throughput",
    "volumeSize": "Size",
    "volumeType": "VolumeType",
}


class Instance(Ec2Resource):
    """An instance in a subnet, with one volume."""

    token = "aws:ec2/instance:Instance"
    defaults = {"sourceDestCheck": True}
    force_new = frozenset({"ami", "subnetId", "rootBlockDevice.encrypted", "rootBlockDevice.kmsKeyId"})
    choices = {
        "maintenanceOptions.autoRecovery": ("default", "disabled"),
        "metadataOptions.httpEndpoint": ("enabled", "disabled"),
        "metadataOptions.httpTokens": ("optional", "required"),
        "rootBlockDevice.volumeType": ("standard", "gp2", "gp3", "io1", "io2", "sc1", "st1"),
    }
    ranges = {"metadataOptions.httpPutResponseHopLimit": (1, 64), "rootBlockDevice.volumeSize": (1, 65536)}
    # An address that is given to it later.
    shared = frozenset({"publicIp", "publicDns"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in sorted(inputs.keys() - _CARRIED_OUT):
            yield Refused(f"the rehearsal's aws provider does not carry out {name} of {self.token}", name)
        for name in ("ami", "instanceType", "subnetId"):
            if name not in inputs:
                yield Refused(f"{name} is needed", name)

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        """The script of the first boot is never run again; whether a new one makes a new instance, the program says."""
        again = {"userData"} & changed if news.get("userDataReplaceOnChange") else set()
        return super().replaces(olds, news, changed) | again

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        volume = {name: value for name, value in inputs.get("rootBlockDevice", {}).items() if name in _VOLUME}
        given: dict[str, Any] = {
            "ImageId": inputs["ami"],
            "InstanceType": inputs["instanceType"],
            "SubnetId": inputs["subnetId"],
            "MetadataOptions": to_ec2(inputs.get("metadataOptions", {})),
            "BlockDeviceMappings": [{"DeviceName": _ROOT, "Ebs": {"DeleteOnTermination": True, **_ebs(volume)}}],
            "TagSpecifications": tagged("instance", inputs),
        }
        if inputs.get("volumeTags"):
            given["TagSpecifications"].append({"ResourceType": "volume", "Tags": tag_list(inputs["volumeTags"])})
        if "vpcSecurityGroupIds" in inputs:
            given["SecurityGroupIds"] = inputs["vpcSecurityGroupIds"]
        if "userData" in inputs:
            given["UserData"] = inputs["userData"]
        made = cloud.ec2.run_instances(MinCount=1, MaxCount=1, **given)
        return made["Instances"][0]["InstanceId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        request.wait(lambda: _state(cloud, id) == "running", seconds=_SECONDS, what=f"instance {id}")
        self.change(cloud, id, inputs, {}, changed={"sourceDestCheck"}, request=request)

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

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = _described(cloud, id)
        if found is None or found["State"]["Name"] in ("shutting-down", "terminated"):
            return None
        volume, interface = _volume(cloud, id), found["NetworkInterfaces"][0]
        # EC2 tells neither what the first boot ran, nor in moto how the instance is recovered.
        untold = {name: olds[name] for name in ("userData", "maintenanceOptions") if name in olds}
        return {
            **untold,
            "arn": cloud.arn("ec2", f"instance/{id}"),
            "ami": found["ImageId"],
            "availabilityZone": found["Placement"]["AvailabilityZone"],
            "instanceState": found["State"]["Name"],
            "instanceType": found["InstanceType"],
            "metadataOptions": from_ec2(found.get("MetadataOptions", {})),
            "primaryNetworkInterfaceId": interface["NetworkInterfaceId"],
            "privateDns": found.get("PrivateDnsName", ""),
            "privateIp": found.get("PrivateIpAddress", ""),
            "publicDns": found.get("PublicDnsName", ""),
            "publicIp": found.get("PublicIpAddress", ""),
            "rootBlockDevice": {
                "deviceName": _ROOT,
                "deleteOnTermination": True,
                "volumeId": volume.get("VolumeId", ""),
                **{name: volume[key] for name, key in _VOLUME.items() if volume.get(key) is not None},
            },
            "sourceDestCheck": found.get("SourceDestCheck", True),
            "subnetId": found["SubnetId"],
            "vpcSecurityGroupIds": [group["GroupId"] for group in found["SecurityGroups"]],
            "volumeTags": tag_map(volume.get("Tags")),
            "tags": tag_map(found.get("Tags")),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.ec2.terminate_instances(InstanceIds=[id])
        request.wait(lambda: _state(cloud, id) == "terminated", seconds=_SECONDS, what=f"the end of instance {id}")


def _ebs(volume: Properties) -> Properties:
    """What a block device mapping says of a volume; EC2 calls its size otherwise than the volume's listing does."""
    names = {**_VOLUME, "volumeSize": "VolumeSize"}
    return {names[name]: value for name, value in volume.items()}


def _described(cloud: Cloud, id: str) -> Any:
    groups = cloud.ec2.describe_instances(InstanceIds=[id])["Reservations"]
    return only([one for group in groups for one in group["Instances"]])


def _state(cloud: Cloud, id: str) -> str:
    found = _described(cloud, id)
    return found["State"]["Name"] if found else "terminated"


def _volume(cloud: Cloud, id: str) -> Any:
    attached = [{"Name": "attachment.instance-id", "Values": [id]}]
    return only(cloud.ec2.describe_volumes(Filters=attached)["Volumes"]) or {}
