"""EFS: file systems, mount targets, access points, and the policies of file systems."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from rehearsal.cloud.storage_limits import (
    LEAST_MIBPS,
    LONGEST_PATH,
    MODES,
    MOST_MIBPS,
    PERFORMANCE_MODES,
    STATES,
    TRANSITIONS,
)
from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.aws.policy_grammar import resource_policy
from rehearsal.providers.protocol.model import Properties, Refused


class _EfsResource(DescribedResource):
    """The types of EFS. They are tagged by their id."""

    service = "efs"
    tag_call = Call("tag_resource", ResourceId="{id}", Tags="{tags}")
    untag_call = Call("untag_resource", ResourceId="{id}", TagKeys="{tagKeys}")


class FileSystem(_EfsResource):
    """A file system. It cannot be deleted while it has mount targets."""

    token = "aws:efs/fileSystem:FileSystem"
    force_new = frozenset({"availabilityZoneName", "creationToken", "encrypted", "kmsKeyId", "performanceMode"})
    choices = {
        "throughputMode": MODES,
        "performanceMode": PERFORMANCE_MODES,
        "lifecyclePolicies[].transitionToIa": TRANSITIONS["TransitionToIA"],
        "lifecyclePolicies[].transitionToArchive": TRANSITIONS["TransitionToArchive"],
        "lifecyclePolicies[].transitionToPrimaryStorageClass": TRANSITIONS["TransitionToPrimaryStorageClass"],
    }
    ranges = {"provisionedThroughputInMibps": (LEAST_MIBPS, MOST_MIBPS)}
    # Its mount targets and clients change these.
    shared = frozenset({"numberOfMountTargets", "sizeInBytes"})
    unmodelled = frozenset({"protection", "availabilityZoneName"})
    made_id = "FileSystemId"
    api_names = {"arn": "FileSystemArn"}
    create_call = Call(
        "create_file_system",
        "creationToken encrypted kmsKeyId performanceMode throughputMode provisionedThroughputInMibps tags",
    )
    read_call, found = Call("describe_file_systems", FileSystemId="{id}"), "FileSystems[0]"
    outputs = fields(
        "arn creationToken encrypted kmsKeyId performanceMode throughputMode provisionedThroughputInMibps"
        " availabilityZoneName availabilityZoneId numberOfMountTargets ownerId sizeInBytes tags",
        name="Name || ''",
    )
    updates = {
        "throughputMode provisionedThroughputInMibps": Call(
            "update_file_system", "throughputMode provisionedThroughputInMibps", FileSystemId="{id}"
        ),
        "lifecyclePolicies": Call("put_lifecycle_configuration", "lifecyclePolicies", FileSystemId="{id}"),
    }
    set_later = frozenset({"lifecyclePolicies"})
    delete_call = Call("delete_file_system", FileSystemId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        mode = inputs.get("throughputMode", MODES[0])
        if known(mode) and (mode == "provisioned") != ("provisionedThroughputInMibps" in inputs):
            yield Refused(
                "throughputMode provisioned needs provisionedThroughputInMibps; the other modes do not accept it",
                "provisionedThroughputInMibps",
            )
        if "kmsKeyId" in inputs and not known(inputs.get("encrypted", False)):
            yield Refused("encrypted must be true if kmsKeyId is given", "encrypted")
        for where, policy in each(inputs, "lifecyclePolicies[]"):
            if len(policy) != 1:
                yield Refused(f"{where} must have one transition, not {len(policy)}", where)

    def given(self, inputs: Properties) -> Properties:
        token = inputs.get("creationToken") or f"terraform-{uuid.uuid4().hex}"
        defaults = {"encrypted": False, "throughputMode": MODES[0], "lifecyclePolicies": []}
        return {**defaults, **super().given(inputs), "creationToken": token}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        policies = cloud.client("efs").describe_lifecycle_configuration(FileSystemId=known["id"])["LifecyclePolicies"]
        return {
            "dnsName": _dns_name(cloud, known["id"]),
            "lifecyclePolicies": self.output("lifecyclePolicies", "@", policies),
        }


class FileSystemPolicy(DescribedResource):
    """Who can use a file system. Without a policy, everybody who reaches it can."""

    token = "aws:efs/fileSystemPolicy:FileSystemPolicy"
    force_new = frozenset({"fileSystemId"})
    documents = frozenset({"policy"})
    service, id_form = "efs", "{fileSystemId}"
    create_call = Call("put_file_system_policy", "fileSystemId policy")
    read_call, outputs = Call("describe_file_system_policy", "fileSystemId"), fields("policy")
    delete_call = Call("delete_file_system_policy", "fileSystemId")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")


class BackupPolicy(DescribedResource):
    """Whether EFS backs up a file system automatically. Deleting the resource turns that off."""

    token = "aws:efs/backupPolicy:BackupPolicy"
    force_new = frozenset({"fileSystemId"})
    choices = {"backupPolicy.status": STATES}
    service, id_form = "efs", "{fileSystemId}"
    create_call = Call("put_backup_policy", "fileSystemId backupPolicy")
    read_call, outputs = Call("describe_backup_policy", "fileSystemId"), fields("backupPolicy")
    delete_call = Call("put_backup_policy", "fileSystemId", BackupPolicy={"Status": "DISABLED"})


class MountTarget(_EfsResource):
    """The network interface of a file system in a zone. A zone has at most one, and all are in one VPC."""

    token = "aws:efs/mountTarget:MountTarget"
    force_new = frozenset({"fileSystemId", "subnetId", "ipAddress", "ipAddressType", "ipv6Address"})
    unmodelled = frozenset({"ipAddressType", "ipv6Address"})

    made_id = "MountTargetId"
    create_call = Call("create_mount_target", "fileSystemId subnetId ipAddress securityGroups")
    read_call, found = Call("describe_mount_targets", MountTargetId="{id}"), "MountTargets[0]"
    outputs = fields(
        "fileSystemId subnetId ipAddress availabilityZoneId availabilityZoneName networkInterfaceId ownerId"
    )
    updates = {"*": Call("modify_mount_target_security_groups", "securityGroups", MountTargetId="{id}")}
    delete_call = Call("delete_mount_target", MountTargetId="{id}")
    waits_until_gone, wait_seconds = True, 30

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        dns_name, groups = _dns_name(cloud, found["FileSystemId"]), cloud.client("efs")
        return {
            "fileSystemArn": cloud.arn("elasticfilesystem", f"file-system/{found['FileSystemId']}"),
            "securityGroups": groups.describe_mount_target_security_groups(MountTargetId=known["id"])["SecurityGroups"],
            "dnsName": dns_name,
            "mountTargetDnsName": f"{found['AvailabilityZoneName']}.{dns_name}",
        }


class AccessPoint(_EfsResource):
    """An access point: a root directory and a user for its clients. Only its tags can change in place."""

    token = "aws:efs/accessPoint:AccessPoint"
    force_new = frozenset({"fileSystemId", "posixUser", "rootDirectory"})
    made_id = "AccessPointId"
    api_names = {"arn": "AccessPointArn"}
    create_call = Call("create_access_point", "fileSystemId posixUser rootDirectory tags")
    read_call, found = Call("describe_access_points", AccessPointId="{id}"), "AccessPoints[0]"
    outputs = fields("arn fileSystemId ownerId posixUser tags", rootDirectory='RootDirectory || `{"path": "/"}`')
    delete_call = Call("delete_access_point", AccessPointId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, path in each(inputs, "rootDirectory.path"):
            if not path.startswith("/") or len(path) > LONGEST_PATH:
                yield Refused(
                    f"{where} must be an absolute path of at most {LONGEST_PATH} characters, not {path}", where
                )
        for where, mode in each(inputs, "rootDirectory.creationInfo.permissions"):
            if not 3 <= len(mode) <= 4 or not set(mode) <= set("01234567"):
                yield Refused(f"{where} must be an octal mode of 3 or 4 digits, not {mode}", where)

    def given(self, inputs: Properties) -> Properties:
        root = {"path": "/", **inputs["rootDirectory"]} if inputs.get("rootDirectory") else None
        return {**super().given(inputs), "rootDirectory": root}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        return {"fileSystemArn": cloud.arn("elasticfilesystem", f"file-system/{found['FileSystemId']}")}


def _dns_name(cloud: Cloud, file_system: str) -> str:
    suffix = "amazonaws.com.cn" if cloud.partition == "aws-cn" else "amazonaws.com"
    return f"{file_system}.efs.{cloud.region}.{suffix}"
