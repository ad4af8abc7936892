"""EFS: file systems, mount targets, access points, and the policies of file systems."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from rehearsal.aws.storage_limits import (
    LEAST_MIBPS,
    LONGEST_PATH,
    MODES,
    MOST_MIBPS,
    PERFORMANCE_MODES,
    STATES,
    TRANSITIONS,
)
from rehearsal.providers.aws.base import AwsResource, each, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.aws.policies import resource_policy
from rehearsal.providers.serving import Properties, Refused, Request

_WAIT_SECONDS = 30
_TRANSITION_NAMES = {
    "transitionToIa": "TransitionToIA",
    "transitionToArchive": "TransitionToArchive",
    "transitionToPrimaryStorageClass": "TransitionToPrimaryStorageClass",
}


class _EfsResource(AwsResource):
    """What the types of EFS share: their tags, by the id of what has them."""

    longest_name = None

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        efs = cloud.client("efs")
        if put:
            efs.tag_resource(ResourceId=id, Tags=tag_list(put))
        if drop:
            efs.untag_resource(ResourceId=id, TagKeys=drop)


class FileSystem(_EfsResource):
    """A file system. One that still has mount targets can't be deleted."""

    token = "aws:efs/fileSystem:FileSystem"
    force_new = frozenset({"availabilityZoneName", "creationToken", "encrypted", "kmsKeyId", "performanceMode"})
    choices = {
        "throughputMode": MODES,
        "performanceMode": PERFORMANCE_MODES,
        **{f"lifecyclePolicies[].{name}": TRANSITIONS[api] for name, api in _TRANSITION_NAMES.items()},
    }
    ranges = {"provisionedThroughputInMibps": (LEAST_MIBPS, MOST_MIBPS)}
    # Its mount targets and its users change these.
    shared = frozenset({"numberOfMountTargets", "sizeInBytes"})
    unmodelled = frozenset({"protection", "availabilityZoneName"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        mode = inputs.get("throughputMode", MODES[0])
        if known(mode) and (mode == "provisioned") != ("provisionedThroughputInMibps" in inputs):
            yield Refused(
                "provisionedThroughputInMibps is needed with throughputMode provisioned, and with no other",
                "provisionedThroughputInMibps",
            )
        if "kmsKeyId" in inputs and not known(inputs.get("encrypted", False)):
            yield Refused("encrypted must be true where kmsKeyId is given", "encrypted")
        for where, policy in each(inputs, "lifecyclePolicies[]"):
            if len(policy) != 1:
                yield Refused(f"{where} must have one transition, and has {len(policy)}", where)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        optional = {
            "KmsKeyId": inputs.get("kmsKeyId"),
            "PerformanceMode": inputs.get("performanceMode"),
            "ThroughputMode": inputs.get("throughputMode"),
            "ProvisionedThroughputInMibps": inputs.get("provisionedThroughputInMibps"),
        }
        made = cloud.client("efs").create_file_system(
            CreationToken=inputs.get("creationToken") or f"terraform-{uuid.uuid4().hex}",
            Encrypted=inputs.get("encrypted", False),
            Tags=tag_list(inputs.get("tagsAll")),
            **{key: value for key, value in optional.items() if value is not None},
        )
        return made["FileSystemId"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("lifecyclePolicies"):
            self._put_lifecycle(cloud, id, inputs)

    @staticmethod
    def _put_lifecycle(cloud: Cloud, id: str, inputs: Properties) -> None:
        policies = [
            {_TRANSITION_NAMES[name]: after for name, after in policy.items()}
            for policy in inputs.get("lifecyclePolicies") or []
        ]
        cloud.client("efs").put_lifecycle_configuration(FileSystemId=id, LifecyclePolicies=policies)

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        efs = cloud.client("efs")
        (found,) = efs.describe_file_systems(FileSystemId=id)["FileSystems"]
        policies = efs.describe_lifecycle_configuration(FileSystemId=id)["LifecyclePolicies"]
        names = {api: name for name, api in _TRANSITION_NAMES.items()}
        size = found["SizeInBytes"]
        return {
            "arn": found["FileSystemArn"],
            "creationToken": found["CreationToken"],
            "encrypted": found["Encrypted"],
            "kmsKeyId": found.get("KmsKeyId"),
            "performanceMode": found["PerformanceMode"],
            "throughputMode": found["ThroughputMode"],
            "provisionedThroughputInMibps": found.get("ProvisionedThroughputInMibps"),
            "lifecyclePolicies": [{names[api]: after for api, after in policy.items()} for policy in policies],
            "availabilityZoneName": found.get("AvailabilityZoneName"),
            "availabilityZoneId": found.get("AvailabilityZoneId"),
            "dnsName": _dns_name(cloud, id),
            "name": found.get("Name", ""),
            "numberOfMountTargets": found["NumberOfMountTargets"],
            "ownerId": found["OwnerId"],
            "sizeInBytes": [
                {"value": size["Value"], "valueInIa": size["ValueInIA"], "valueInStandard": size["ValueInStandard"]}
            ],
            "tags": tag_map(found["Tags"]),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        if changed & {"throughputMode", "provisionedThroughputInMibps"}:
            given = inputs.get("provisionedThroughputInMibps")
            cloud.client("efs").update_file_system(
                FileSystemId=id,
                ThroughputMode=inputs.get("throughputMode", MODES[0]),
                **({} if given is None else {"ProvisionedThroughputInMibps": given}),
            )
        if "lifecyclePolicies" in changed:
            self._put_lifecycle(cloud, id, inputs)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("efs").delete_file_system(FileSystemId=id)


class FileSystemPolicy(_EfsResource):
    """Who may use a file system; without one, whoever reaches it."""

    token = "aws:efs/fileSystemPolicy:FileSystemPolicy"
    force_new = frozenset({"fileSystemId"})
    documents = frozenset({"policy"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        id = inputs["fileSystemId"]
        cloud.client("efs").put_file_system_policy(FileSystemId=id, Policy=inputs["policy"])
        return id

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("efs").describe_file_system_policy(FileSystemId=id)
        return {"fileSystemId": id, "policy": found["Policy"]}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("efs").delete_file_system_policy(FileSystemId=id)


class BackupPolicy(_EfsResource):
    """Whether EFS has a file system backed up by itself. Deleting it turns that off."""

    token = "aws:efs/backupPolicy:BackupPolicy"
    force_new = frozenset({"fileSystemId"})
    choices = {"backupPolicy.status": STATES}

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        id = inputs["fileSystemId"]
        self._put(cloud, id, inputs["backupPolicy"]["status"])
        return id

    @staticmethod
    def _put(cloud: Cloud, id: str, status: str) -> None:
        cloud.client("efs").put_backup_policy(FileSystemId=id, BackupPolicy={"Status": status})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        policy = cloud.client("efs").describe_backup_policy(FileSystemId=id)["BackupPolicy"]
        return {"fileSystemId": id, "backupPolicy": {"status": policy["Status"]}}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        self._put(cloud, id, "DISABLED")


class MountTarget(_EfsResource):
    """A network interface through which a subnet's zone reaches a file system: one in each zone, all in one VPC."""

    token = "aws:efs/mountTarget:MountTarget"
    force_new = frozenset({"fileSystemId", "subnetId", "ipAddress", "ipAddressType", "ipv6Address"})
    unmodelled = frozenset({"ipAddressType", "ipv6Address"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        optional = {"IpAddress": inputs.get("ipAddress"), "SecurityGroups": inputs.get("securityGroups")}
        made = cloud.client("efs").create_mount_target(
            FileSystemId=inputs["fileSystemId"],
            SubnetId=inputs["subnetId"],
            **{key: value for key, value in optional.items() if value},
        )
        return made["MountTargetId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        efs = cloud.client("efs")
        (found,) = efs.describe_mount_targets(MountTargetId=id)["MountTargets"]
        file_system = found["FileSystemId"]
        dns_name = _dns_name(cloud, file_system)
        return {
            "fileSystemId": file_system,
            "fileSystemArn": _arn(cloud, f"file-system/{file_system}"),
            "subnetId": found["SubnetId"],
            "ipAddress": found["IpAddress"],
            "securityGroups": efs.describe_mount_target_security_groups(MountTargetId=id)["SecurityGroups"],
            "availabilityZoneId": found["AvailabilityZoneId"],
            "availabilityZoneName": found["AvailabilityZoneName"],
            "dnsName": dns_name,
            "mountTargetDnsName": f"{found['AvailabilityZoneName']}.{dns_name}",
            "networkInterfaceId": found["NetworkInterfaceId"],
            "ownerId": found["OwnerId"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("efs").modify_mount_target_security_groups(
            MountTargetId=id, SecurityGroups=inputs["securityGroups"]
        )

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        efs = cloud.client("efs")
        efs.delete_mount_target(MountTargetId=id)
        file_system = olds["fileSystemId"]

        def gone() -> bool:
            left = efs.describe_mount_targets(FileSystemId=file_system)["MountTargets"]
            return all(one["MountTargetId"] != id for one in left)

        request.wait(gone, seconds=_WAIT_SECONDS, what=f"the deletion of {id}")


class AccessPoint(_EfsResource):
    """A way into a file system that begins at a directory and acts as a user. Only its tags can be changed."""

    token = "aws:efs/accessPoint:AccessPoint"
    force_new = frozenset({"fileSystemId", "posixUser", "rootDirectory"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, path in each(inputs, "rootDirectory.path"):
            if not path.startswith("/") or len(path) > LONGEST_PATH:
                yield Refused(
                    f"{where} must be an absolute path of {LONGEST_PATH} characters at most, not {path}", where
                )
        for where, mode in each(inputs, "rootDirectory.creationInfo.permissions"):
            if not 3 <= len(mode) <= 4 or not set(mode) <= set("01234567"):
                yield Refused(f"{where} must be an octal mode of 3 or 4 digits, not {mode}", where)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        user, root = inputs.get("posixUser"), inputs.get("rootDirectory")
        given: dict[str, Any] = {}
        if user:
            given["PosixUser"] = {"Uid": user["uid"], "Gid": user["gid"]}
            if "secondaryGids" in user:
                given["PosixUser"]["SecondaryGids"] = user["secondaryGids"]
        if root:
            given["RootDirectory"] = {"Path": root.get("path", "/")}
            if info := root.get("creationInfo"):
                given["RootDirectory"]["CreationInfo"] = {
                    "OwnerUid": info["ownerUid"],
                    "OwnerGid": info["ownerGid"],
                    "Permissions": info["permissions"],
                }
        made = cloud.client("efs").create_access_point(
            ClientToken=uuid.uuid4().hex,
            FileSystemId=inputs["fileSystemId"],
            Tags=tag_list(inputs.get("tagsAll")),
            **given,
        )
        return made["AccessPointId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        (found,) = cloud.client("efs").describe_access_points(AccessPointId=id)["AccessPoints"]
        user: dict[str, Any] = found.get("PosixUser") or {}
        root: dict[str, Any] = found.get("RootDirectory") or {"Path": "/"}
        shown_user = {"uid": user.get("Uid"), "gid": user.get("Gid")}
        if user.get("SecondaryGids"):
            shown_user["secondaryGids"] = user["SecondaryGids"]
        directory: dict[str, Any] = {"path": root["Path"]}
        if info := root.get("CreationInfo"):
            names = {"ownerUid": "OwnerUid", "ownerGid": "OwnerGid", "permissions": "Permissions"}
            directory["creationInfo"] = {name: info[api] for name, api in names.items()}
        return {
            "arn": found["AccessPointArn"],
            "fileSystemId": found["FileSystemId"],
            "fileSystemArn": _arn(cloud, f"file-system/{found['FileSystemId']}"),
            "ownerId": found["OwnerId"],
            "posixUser": shown_user if user else None,
            "rootDirectory": directory,
            "tags": tag_map(found["Tags"]),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("efs").delete_access_point(AccessPointId=id)


def _arn(cloud: Cloud, resource: str) -> str:
    return cloud.arn("elasticfilesystem", resource)


def _dns_name(cloud: Cloud, file_system: str) -> str:
    suffix = "amazonaws.com.cn" if cloud.partition == "aws-cn" else "amazonaws.com"
    return f"{file_system}.efs.{cloud.region}.{suffix}"
