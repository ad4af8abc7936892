"""What must hold of a running stack's storage: classes, the file system and who can reach it, backups and claims."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from components.nodes.node_pools import uses_own_disks
from components.storage.volumes import CLAIM_TAG, HOME_CLAIM

from .checking import NotTried, Subject, require
from .file_mounts import refusal

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_EFS_DRIVER, _EBS_DRIVER = "efs.csi.aws.com", "ebs.csi.aws.com"
_NFS = 2049
_FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
_DATABASE, _SCHEDULE = (f"kubernetes:postgresql.cnpg.io/v1:{kind}" for kind in ("Cluster", "ScheduledBackup"))
_NAMESPACE_TAG = "kubernetes.io/created-for/pvc/namespace"
_DRIVERS = {"aws-ebs-csi-driver": _EBS_DRIVER, "aws-efs-csi-driver": _EFS_DRIVER}


def drivers_run(subject: Subject) -> str:
    """The CSI drivers and the snapshot controller are active addons, and the cluster has their objects."""
    eks, cluster = subject.account.client("eks"), subject.settings.cluster.name
    for addon in (*_DRIVERS, "snapshot-controller"):
        found = eks.describe_addon(clusterName=cluster, addonName=addon)["addon"]
        require(found["status"] == "ACTIVE", f"addon {addon} is {found['status']}")
    drivers = _names(subject, "/apis/storage.k8s.io/v1/csidrivers")
    require(set(_DRIVERS.values()) <= drivers, f"the cluster has only the CSI drivers {sorted(drivers)}")
    classes = subject.plane.request("GET", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses")["items"]
    require(
        [snapshot_class["driver"] for snapshot_class in classes] == [_EBS_DRIVER],
        f"unexpected VolumeSnapshotClasses: {classes}",
    )
    return f"{', '.join(sorted(_DRIVERS))} and snapshot-controller are active"


def one_default_class(subject: Subject) -> str:
    """There is one default StorageClass. Ours create volumes in the pod's zone, encrypted with an enabled key."""
    classes = {item["metadata"]["name"]: item for item in _items(subject, "/apis/storage.k8s.io/v1/storageclasses")}
    defaults = [
        name
        for name, storage_class in classes.items()
        if (storage_class["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    require(defaults == ["gp3"], f"default classes: {', '.join(defaults) or 'none'}")
    ours = {
        name: storage_class for name, storage_class in classes.items() if storage_class["provisioner"] == _EBS_DRIVER
    }
    require(set(ours) == {"gp3", "gp3-retain"}, f"classes of the EBS driver: {sorted(ours)}")
    for name, storage_class in ours.items():
        parameters = storage_class["parameters"]
        require(
            storage_class["volumeBindingMode"] == "WaitForFirstConsumer",
            f"{name} binds {storage_class['volumeBindingMode']}",
        )
        require(parameters.get("encrypted") == "true", f"the volumes of {name} are not encrypted")
        key = subject.account.client("kms").describe_key(KeyId=parameters["kmsKeyId"])["KeyMetadata"]
        require(key["KeyState"] == "Enabled", f"the key of {name} is {key['KeyState']}")
    others = sorted(set(classes) - set(ours))
    return f"gp3 is the default, gp3-retain keeps its volumes{f', {others[0]} is not a default' if others else ''}"


def file_system_is_reachable(subject: Subject) -> str:
    """Nodes in each zone, and only nodes, can reach the file system. It is encrypted and refuses root."""
    efs = subject.account.client("efs")
    id = _file_system(subject)
    (found,) = efs.describe_file_systems(FileSystemId=id)["FileSystems"]
    require(found["Encrypted"], f"{id} is not encrypted")
    targets = efs.describe_mount_targets(FileSystemId=id)["MountTargets"]
    zones = {target["AvailabilityZoneName"] for target in targets}
    wanted = set(subject.settings.network.zones)
    require(zones == wanted, f"mount targets are in {sorted(zones)}, the network's zones are {sorted(wanted)}")
    nodes = subject.account.client("eks").describe_cluster(name=subject.settings.cluster.name)["cluster"]
    group = nodes["resourcesVpcConfig"]["clusterSecurityGroupId"]
    for target in targets:
        groups = efs.describe_mount_target_security_groups(MountTargetId=target["MountTargetId"])["SecurityGroups"]
        rules = [
            rule
            for security_group in subject.account.client("ec2").describe_security_groups(GroupIds=groups)[
                "SecurityGroups"
            ]
            for rule in security_group["IpPermissions"]
        ]
        require(bool(rules), f"the security groups of {target['MountTargetId']} admit nobody")
        for rule in rules:
            admitted = {pair["GroupId"] for pair in rule["UserIdGroupPairs"]}
            ports = (rule.get("FromPort"), rule.get("ToPort"))
            require(ports == (_NFS, _NFS), f"{target['MountTargetId']} admits the ports {ports}")
            require(admitted == {group} and not rule["IpRanges"], f"{target['MountTargetId']} admits {rule}")
    policy = efs.describe_file_system_policy(FileSystemId=id)["Policy"]
    denied = json.dumps([statement for statement in json.loads(policy)["Statement"] if statement["Effect"] == "Deny"])
    for word in ("aws:SecureTransport", "elasticfilesystem:ClientRootAccess"):
        require(word in denied, f"the policy of {id} denies nothing about {word}")
    require(refusal(policy, id, {}) is not None, f"the policy of {id} admits a mount of / without an access point")
    return f"{id}: encrypted, mounted only by TLS and access points, in {', '.join(sorted(zones))}, from the nodes"


def backups_are_taken(subject: Subject) -> str:
    """The plan backs up the file system and every home that is a volume, into our vault, for as long as configured.

    A database in the cluster has its own backups. If backups are off, there is no plan.
    """
    backup, wanted = subject.account.client("backup"), subject.settings.storage.backup
    plans = backup.list_backup_plans()["BackupPlansList"]
    if not wanted.enabled:
        require(not plans, f"backups are off, but there are {len(plans)} plans")
        return "off, as the stack file says"
    require(len(plans) == 1, f"there are {len(plans)} backup plans")
    plan = backup.get_backup_plan(BackupPlanId=plans[0]["BackupPlanId"])
    (rule,) = plan["BackupPlan"]["Rules"]
    days = rule["Lifecycle"]["DeleteAfterDays"]
    require(days == wanted.retention_days, f"backups are kept for {days} days instead of {wanted.retention_days}")
    backup.describe_backup_vault(BackupVaultName=rule["TargetBackupVaultName"])
    selections = [
        backup.get_backup_selection(BackupPlanId=plan["BackupPlanId"], SelectionId=selection["SelectionId"])[
            "BackupSelection"
        ]
        for selection in backup.list_backup_selections(BackupPlanId=plan["BackupPlanId"])["BackupSelectionsList"]
    ]
    id = _file_system(subject)
    (system,) = subject.account.client("efs").describe_file_systems(FileSystemId=id)["FileSystems"]
    require(
        any(selects(selection, system["FileSystemArn"], {}) for selection in selections),
        f"no selection of the plan includes {id}",
    )
    homes = _homes(subject, system["FileSystemArn"].split(":")[1])
    for name, (arn, tags) in homes.items():
        require(
            any(selects(selection, arn, tags) for selection in selections),
            f"no selection of the plan includes {arn} ({name})",
        )
    database = _database_backups(subject)
    what = ", ".join([id, *([f"{len(homes)} homes on volumes"] if homes else []), *database])
    return f"{what}: {rule['ScheduleExpression']} into {rule['TargetBackupVaultName']}, kept for {days} days"


def selects(selection: Mapping[str, Any], arn: str, tags: Mapping[str, str]) -> bool:
    """Whether AWS Backup selects a resource: one pattern of the selection matches, and every condition holds.

    Source: "Assign resources with AWS CLI", AWS Backup developer guide.
    """
    named = any(fnmatchcase(arn, pattern) for pattern in selection.get("Resources") or ["*"])
    left_out = any(fnmatchcase(arn, pattern) for pattern in selection.get("NotResources") or [])
    conditions = selection.get("Conditions") or {}
    return (
        named
        and not left_out
        and all(
            (
                fnmatchcase(value, condition["ConditionValue"])
                if "Like" in operator
                else value == condition["ConditionValue"]
            )
            != ("Not" in operator)
            for operator, listed in conditions.items()
            for condition in listed
            for value in [tags.get(condition["ConditionKey"].removeprefix("aws:ResourceTag/"), "")]
        )
    )


def _homes(subject: Subject, partition: str) -> dict[str, tuple[str, dict[str, str]]]:
    """The ARN and the tags of the volume of each home that is a claim, by the claim's name."""
    ec2, settings = subject.account.client("ec2"), subject.settings
    if settings.storage.homes != "per-person":
        return {}
    owner = subject.account.client("sts").get_caller_identity()["Account"]
    found = {}
    for page in ec2.get_paginator("describe_volumes").paginate():
        for volume in page["Volumes"]:
            tags = {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
            name = tags.get(CLAIM_TAG, "")
            if name.startswith(HOME_CLAIM):
                arn = f"arn:{partition}:ec2:{settings.region}:{owner}:volume/{volume['VolumeId']}"
                found[f"{tags.get(_NAMESPACE_TAG)}/{name}"] = (arn, tags)
    return found


def _database_backups(subject: Subject) -> list[str]:
    """The buckets with the backups of databases in the cluster. Each backup is scheduled and keeps versions."""
    clusters = [resource for resource in subject.resources if resource["type"] == _DATABASE]
    scheduled = {
        resource["inputs"]["spec"]["cluster"]["name"] for resource in subject.resources if resource["type"] == _SCHEDULE
    }
    found = []
    for cluster in clusters:
        name, spec = cluster["inputs"]["metadata"]["name"], cluster["inputs"]["spec"]
        place = spec.get("backup", {}).get("barmanObjectStore", {}).get("destinationPath", "")
        require(name in scheduled and place.startswith("s3://"), f"the database {name} has no backups")
        bucket = place.removeprefix("s3://").partition("/")[0]
        status = subject.account.client("s3").get_bucket_versioning(Bucket=bucket).get("Status")
        require(status == "Enabled", f"the bucket {bucket} of {name} keeps no versions")
        found.append(f"{name} to {bucket}")
    return found


def volumes_lead_somewhere(subject: Subject) -> str:
    """Each volume on EFS is bound, its handle names an existing access point, and EFS lets nodes mount it."""
    efs = subject.account.client("efs")
    points = {
        point["AccessPointId"]: point
        for page in efs.get_paginator("describe_access_points").paginate()
        for point in page["AccessPoints"]
    }
    volumes = [
        volume
        for volume in _items(subject, "/api/v1/persistentvolumes")
        if volume["spec"].get("csi", {}).get("driver") == _EFS_DRIVER
    ]
    arns = {id: point["AccessPointArn"] for id, point in points.items()}
    policies = {
        id: efs.describe_file_system_policy(FileSystemId=id)["Policy"]
        for id in {point["FileSystemId"] for point in points.values()}
    }
    for volume in volumes:
        name, handle = volume["metadata"]["name"], volume["spec"]["csi"]["volumeHandle"]
        require(volume["status"]["phase"] == "Bound", f"PersistentVolume {name} is {volume['status']['phase']}")
        file_system, _, point = handle.partition("::")
        require(point in points, f"PersistentVolume {name} names the access point {point}, which does not exist")
        require(points[point]["FileSystemId"] == file_system, f"{point} of {name} belongs to another file system")
        # The driver supports only this mode ("Volume capability not supported").
        require(volume["spec"]["accessModes"] == ["ReadWriteMany"], f"{name} has {volume['spec']['accessModes']}")
        refused = refusal(policies[file_system], handle, arns)
        require(refused is None, f"PersistentVolume {name} can't be mounted: {refused}")
        user = points[point]["PosixUser"]
        require(user["Uid"] != 0, f"{point} of {name} acts as root")
    if not volumes:
        raise NotTried("no team has volumes yet")
    return f"{len(volumes)} volumes on EFS, each with its access point"


def scratch_is_on_own_disks(subject: Subject) -> str:
    """A pool whose instances can have local disks uses them for scratch."""
    classes = {
        node_class["metadata"]["name"]: node_class["spec"].get("instanceStorePolicy")
        for node_class in _items(subject, "/apis/karpenter.k8s.aws/v1/ec2nodeclasses")
    }
    pools = subject.settings.node_pools.items()
    wanted = {name: "RAID0" if uses_own_disks(pool) else None for name, pool in pools}
    require(classes == wanted, f"instanceStorePolicy by pool: {classes}, wanted: {wanted}")
    using = sorted(name for name, policy in wanted.items() if policy)
    return f"RAID0 in {', '.join(using)}" if using else "no pool has instances with local disks"


STORAGE_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "CSI drivers run": drivers_run,
    "one default storage class": one_default_class,
    "every zone reaches the files": file_system_is_reachable,
    "backups are taken": backups_are_taken,
    "volumes lead to a directory": volumes_lead_somewhere,
    "scratch is on the nodes' disks": scratch_is_on_own_disks,
}


def _file_system(subject: Subject) -> str:
    found = [resource["id"] for resource in subject.resources if resource["type"] == _FILE_SYSTEM]
    require(len(found) == 1, f"the stack has {len(found)} file systems")
    return found[0]


def _items(subject: Subject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]


def _names(subject: Subject, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in _items(subject, path)}
