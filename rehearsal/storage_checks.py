"""What has to hold of a running stack's storage: the classes, the file system and its doors, backups, and claims."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from components.node_pools import uses_own_disks
from components.volumes import CLAIM_TAG, HOME_CLAIM

from .checks import NotTried, Subject, require
from .controllers.twins import is_twin
from .file_mounts import refusal

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_EFS_DRIVER, _EBS_DRIVER = "efs.csi.aws.com", "ebs.csi.aws.com"
_NFS = 2049
_FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
_DATABASE, _SCHEDULE = (f"kubernetes:postgresql.cnpg.io/v1:{kind}" for kind in ("Cluster", "ScheduledBackup"))
_NAMESPACE_TAG = "kubernetes.io/created-for/pvc/namespace"
_DRIVERS = {"aws-ebs-csi-driver": _EBS_DRIVER, "aws-efs-csi-driver": _EFS_DRIVER}


def drivers_run(subject: Subject) -> str:
    """The CSI drivers and the snapshot controller are active addons, and what they serve is known to the cluster."""
    eks, cluster = subject.account.client("eks"), subject.settings.cluster.name
    for addon in (*_DRIVERS, "snapshot-controller"):
        found = eks.describe_addon(clusterName=cluster, addonName=addon)["addon"]
        require(found["status"] == "ACTIVE", f"addon {addon} is {found['status']}")
    drivers = _names(subject, "/apis/storage.k8s.io/v1/csidrivers")
    require(set(_DRIVERS.values()) <= drivers, f"the cluster knows the drivers {sorted(drivers)}")
    classes = subject.plane.request("GET", "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses")["items"]
    require([one["driver"] for one in classes] == [_EBS_DRIVER], f"classes of snapshots: {classes}")
    return f"{', '.join(sorted(_DRIVERS))} and snapshot-controller are active"


def one_default_class(subject: Subject) -> str:
    """There is one default StorageClass; ours make volumes where pods run, encrypted with a key that is on."""
    classes = {one["metadata"]["name"]: one for one in _items(subject, "/apis/storage.k8s.io/v1/storageclasses")}
    defaults = [
        name
        for name, one in classes.items()
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    ]
    require(defaults == ["gp3"], f"default classes: {', '.join(defaults) or 'none'}")
    ours = {name: one for name, one in classes.items() if one["provisioner"] == _EBS_DRIVER}
    require(set(ours) == {"gp3", "gp3-retain"}, f"classes of the EBS driver: {sorted(ours)}")
    for name, one in ours.items():
        parameters = one["parameters"]
        require(one["volumeBindingMode"] == "WaitForFirstConsumer", f"{name} binds {one['volumeBindingMode']}")
        require(parameters.get("encrypted") == "true", f"{name} makes volumes that are not encrypted")
        key = subject.account.client("kms").describe_key(KeyId=parameters["kmsKeyId"])["KeyMetadata"]
        require(key["KeyState"] == "Enabled", f"the key of {name} is {key['KeyState']}")
    others = sorted(set(classes) - set(ours))
    return f"gp3 is the default, gp3-retain keeps its volumes{f', {others[0]} is no default' if others else ''}"


def file_system_is_reachable(subject: Subject) -> str:
    """A node in any zone reaches the file system, and nobody but nodes does; it is encrypted and refuses root."""
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
            for one in subject.account.client("ec2").describe_security_groups(GroupIds=groups)["SecurityGroups"]
            for rule in one["IpPermissions"]
        ]
        require(bool(rules), f"{target['MountTargetId']} admits nobody")
        for rule in rules:
            admitted = {pair["GroupId"] for pair in rule["UserIdGroupPairs"]}
            ports = (rule.get("FromPort"), rule.get("ToPort"))
            require(ports == (_NFS, _NFS), f"{target['MountTargetId']} admits the ports {ports}")
            require(admitted == {group} and not rule["IpRanges"], f"{target['MountTargetId']} admits {rule}")
    policy = efs.describe_file_system_policy(FileSystemId=id)["Policy"]
    denied = json.dumps([one for one in json.loads(policy)["Statement"] if one["Effect"] == "Deny"])
    for word in ("aws:SecureTransport", "elasticfilesystem:ClientRootAccess"):
        require(word in denied, f"the policy of {id} denies nothing about {word}")
    require(refusal(policy, id, {}) is not None, f"the policy of {id} admits a mount of / without an access point")
    zones_told = ", ".join(sorted(zones))
    return f"{id}: encrypted, mounted by TLS and access points alone, in {zones_told}, from the nodes"


def backups_are_taken(subject: Subject) -> str:
    """The plan backs up the file system and every home that is a volume, into our vault, for as long as asked.

    A database in the cluster has backups of its own. Or there is no plan, as asked.
    """
    backup, wanted = subject.account.client("backup"), subject.settings.storage.backup
    plans = backup.list_backup_plans()["BackupPlansList"]
    if not wanted.enabled:
        require(not plans, f"there are {len(plans)} plans, and backups are off")
        return "off, as the stack file says"
    require(len(plans) == 1, f"there are {len(plans)} backup plans")
    plan = backup.get_backup_plan(BackupPlanId=plans[0]["BackupPlanId"])
    (rule,) = plan["BackupPlan"]["Rules"]
    days = rule["Lifecycle"]["DeleteAfterDays"]
    require(days == wanted.retention_days, f"backups are kept for {days} days, {wanted.retention_days} are asked for")
    backup.describe_backup_vault(BackupVaultName=rule["TargetBackupVaultName"])
    selections = [
        backup.get_backup_selection(BackupPlanId=plan["BackupPlanId"], SelectionId=one["SelectionId"])[
            "BackupSelection"
        ]
        for one in backup.list_backup_selections(BackupPlanId=plan["BackupPlanId"])["BackupSelectionsList"]
    ]
    id = _file_system(subject)
    (system,) = subject.account.client("efs").describe_file_systems(FileSystemId=id)["FileSystems"]
    require(any(selects(one, system["FileSystemArn"], {}) for one in selections), f"no selection of the plan has {id}")
    homes = _homes(subject, system["FileSystemArn"].split(":")[1])
    for name, (arn, tags) in homes.items():
        require(any(selects(one, arn, tags) for one in selections), f"no selection of the plan has {arn}, {name}")
    database = _database_backups(subject)
    what = ", ".join([id, *([f"{len(homes)} homes on volumes"] if homes else []), *database])
    return f"{what}: {rule['ScheduleExpression']} into {rule['TargetBackupVaultName']}, kept for {days} days"


def selects(selection: Mapping[str, Any], arn: str, tags: Mapping[str, str]) -> bool:
    """Whether AWS Backup backs a resource up by a selection: one of its resources matches, and each condition holds.

    Source: "Assign resources with AWS CLI", AWS Backup developer guide.
    """
    named = any(fnmatchcase(arn, pattern) for pattern in selection.get("Resources") or ["*"])
    left_out = any(fnmatchcase(arn, pattern) for pattern in selection.get("NotResources") or [])
    conditions = selection.get("Conditions") or {}
    return (
        named
        and not left_out
        and all(
            (fnmatchcase(value, one["ConditionValue"]) if "Like" in operator else value == one["ConditionValue"])
            != ("Not" in operator)
            for operator, listed in conditions.items()
            for one in listed
            for value in [tags.get(one["ConditionKey"].removeprefix("aws:ResourceTag/"), "")]
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
    """The buckets into which databases in the cluster are backed up, each of them there and scheduled."""
    clusters = [one for one in subject.resources if one["type"] == _DATABASE]
    scheduled = {one["inputs"]["spec"]["cluster"]["name"] for one in subject.resources if one["type"] == _SCHEDULE}
    found = []
    for one in clusters:
        name, spec = one["inputs"]["metadata"]["name"], one["inputs"]["spec"]
        place = spec.get("backup", {}).get("barmanObjectStore", {}).get("destinationPath", "")
        require(name in scheduled and place.startswith("s3://"), f"the database {name} has no backups")
        bucket = place.removeprefix("s3://").partition("/")[0]
        status = subject.account.client("s3").get_bucket_versioning(Bucket=bucket).get("Status")
        require(status == "Enabled", f"the bucket {bucket} of {name} keeps no versions")
        found.append(f"{name} to {bucket}")
    return found


def volumes_lead_somewhere(subject: Subject) -> str:
    """Each volume on EFS is bound, its handle names an access point that is there, and EFS lets nodes mount it."""
    efs = subject.account.client("efs")
    points = {
        point["AccessPointId"]: point
        for page in efs.get_paginator("describe_access_points").paginate()
        for point in page["AccessPoints"]
    }
    volumes = [
        one
        for one in _items(subject, "/api/v1/persistentvolumes")
        if one["spec"].get("csi", {}).get("driver") == _EFS_DRIVER
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
        require(point in points, f"PersistentVolume {name} names the access point {point}, which is not there")
        require(points[point]["FileSystemId"] == file_system, f"{point} of {name} is of another file system")
        # The driver mounts no other ("Volume capability not supported").
        require(volume["spec"]["accessModes"] == ["ReadWriteMany"], f"{name} has {volume['spec']['accessModes']}")
        refused = refusal(policies[file_system], handle, arns)
        require(refused is None, f"PersistentVolume {name} can't be mounted: {refused}")
        user = points[point]["PosixUser"]
        require(user["Uid"] != 0, f"{point} of {name} acts as root")
    if not volumes:
        raise NotTried("no team has volumes yet")
    return f"{len(volumes)} volumes on EFS, each with its access point"


def scratch_is_on_own_disks(subject: Subject) -> str:
    """A pool whose instances can have disks of their own uses them for scratch."""
    classes = {
        one["metadata"]["name"]: one["spec"].get("instanceStorePolicy")
        for one in _items(subject, "/apis/karpenter.k8s.aws/v1/ec2nodeclasses")
        if not is_twin(one)
    }
    pools = subject.settings.node_pools.items()
    wanted = {name: "RAID0" if uses_own_disks(pool) else None for name, pool in pools}
    require(classes == wanted, f"instanceStorePolicy by pool: {classes}, wanted: {wanted}")
    using = sorted(name for name, policy in wanted.items() if policy)
    return f"RAID0 in {', '.join(using)}" if using else "no pool has instances with disks of their own"


STORAGE_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "CSI drivers run": drivers_run,
    "one default storage class": one_default_class,
    "every zone reaches the files": file_system_is_reachable,
    "backups are taken": backups_are_taken,
    "volumes lead to a directory": volumes_lead_somewhere,
    "scratch is on the nodes' disks": scratch_is_on_own_disks,
}


def _file_system(subject: Subject) -> str:
    found = [one["id"] for one in subject.resources if one["type"] == _FILE_SYSTEM]
    require(len(found) == 1, f"the stack has {len(found)} file systems")
    return found[0]


def _items(subject: Subject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]


def _names(subject: Subject, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in _items(subject, path)}
