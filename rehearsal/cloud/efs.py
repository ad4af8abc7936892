"""What moto's EFS lacks: changing throughput, the backup policy, and EFS's refusals.

Modelled on the Amazon EFS API reference. Deleting a file system also deletes what is stored here for it.
"""

from __future__ import annotations

import json
from typing import Any

from moto.efs import urls
from moto.efs.exceptions import BadRequest, EFSError, FileSystemNotFound
from moto.efs.models import FileSystem, MountTarget
from moto.efs.responses import EFSResponse
from moto.kms.models import kms_backends

from rehearsal.cloud.storage_limits import (
    LEAST_MIBPS,
    LONGEST_PATH,
    MODES,
    MOST_MIBPS,
    PERFORMANCE_MODES,
    STATES,
    TRANSITIONS,
)

_JSON = {"Content-Type": "application/json"}


class _InvalidPolicy(EFSError):
    code = 400

    def __init__(self, why: str) -> None:
        super().__init__("InvalidPolicyException", why)


class Response(EFSResponse):
    """moto's EFS, with more checks and the missing operations."""

    def __init__(self) -> None:
        super().__init__()
        self.automated_parameter_parsing = True

    def create_file_system(self) -> Any:
        """Refuses a key that does not exist or is not enabled, and invalid throughput."""
        self._check_performance(self._get_param("ThroughputMode") or MODES[0])
        if key := self._get_param("KmsKeyId"):
            keys = kms_backends[self.current_account][self.region]
            found = keys.keys.get(key.rpartition("/")[2])
            if found is None or found.key_state != "Enabled":
                raise BadRequest(f"KMS key {key} does not exist, or is not enabled")
        return super().create_file_system()

    def update_file_system(self) -> Any:
        """Changes the throughput."""
        file_system = self._file_system()
        mode = self._get_param("ThroughputMode") or file_system.throughput_mode
        self._check_performance(mode)
        file_system.throughput_mode = mode
        mibps = self._get_param("ProvisionedThroughputInMibps")
        if mode != "provisioned":
            file_system.provisioned_throughput_in_mibps = None  # type: ignore[assignment]
        elif mibps is not None:
            file_system.provisioned_throughput_in_mibps = mibps
        return json.dumps(file_system.info_json()), {"status": 202, **_JSON}

    def delete_file_system(self) -> Any:
        """Also deletes the access points."""
        id = self._file_system().file_system_id
        answer = super().delete_file_system()
        points = self.efs_backend.access_points
        for point in [point for point in points.values() if point.file_system_id == id]:
            self.efs_backend.delete_access_point(point.access_point_id)
        return answer

    def create_mount_target(self) -> Any:
        """Describes the network interface as EFS does. Without security groups, it is in the VPC's default group."""
        answer = super().create_mount_target()
        made: MountTarget = list(self.efs_backend.mount_targets_by_id.values())[-1]
        ec2 = self.efs_backend.ec2_backend
        interface = ec2.enis[made.network_interface_id]
        if not made.security_groups:
            default = ec2.get_security_group_from_name("default", made.vpc_id)
            made.security_groups, interface._group_set = [default.id], [default]
        interface.description = f"EFS mount target for {made.file_system_id} ({made.mount_target_id})"
        interface.requester_managed, interface.status = True, "in-use"
        return answer

    def create_access_point(self) -> Any:
        """Refuses a file system that does not exist, and an invalid directory."""
        self._file_system()
        root = self._get_param("RootDirectory") or {}
        path = root.get("Path", "/")
        if not path.startswith("/") or len(path) > LONGEST_PATH:
            raise BadRequest(f"RootDirectory.Path {path} must be absolute, of {LONGEST_PATH} characters at most")
        return super().create_access_point()

    def put_lifecycle_configuration(self) -> Any:
        """Refuses unknown transitions, and two in one entry."""
        self._file_system()
        for policy in self._get_param("LifecyclePolicies") or []:
            if len(policy) != 1:
                raise BadRequest("One or more LifecyclePolicy objects specified are malformed: one transition in each")
            for transition, rule in policy.items():
                if rule not in TRANSITIONS.get(transition, ()):
                    raise BadRequest(f"{transition} can't be {rule}")
        return super().put_lifecycle_configuration()

    def put_backup_policy(self) -> Any:
        """Turns EFS's own backups on or off."""
        status = (self._get_param("BackupPolicy") or {}).get("Status")
        if status not in STATES:
            raise BadRequest(f"BackupPolicy.Status must be one of {', '.join(STATES)}")
        self._file_system()._backup = status == "ENABLED"
        return json.dumps({"BackupPolicy": {"Status": status}}), _JSON

    def describe_backup_policy(self) -> Any:
        """The status of EFS's own backups; moto answers with an error if they are off."""
        status = "ENABLED" if self._file_system()._backup else "DISABLED"
        return json.dumps({"BackupPolicy": {"Status": status}}), _JSON

    def describe_file_system_policy(self) -> Any:
        self._file_system()
        return super().describe_file_system_policy()

    def put_file_system_policy(self) -> Any:
        """Refuses an invalid policy, or one for another file system."""
        file_system = self._file_system()
        try:
            statements = json.loads(self._get_param("Policy"))["Statement"]
        except (ValueError, KeyError, TypeError) as error:
            raise _InvalidPolicy("The policy is malformed") from error
        for statement in statements if isinstance(statements, list) else [statements]:
            resources = statement.get("Resource", file_system.file_system_arn)
            if "Principal" not in statement:
                raise _InvalidPolicy("A statement of a file system policy must name its Principal")
            for resource in resources if isinstance(resources, list) else [resources]:
                if resource not in ("*", file_system.file_system_arn):
                    raise _InvalidPolicy(f"The policy is for {resource}, not for {file_system.file_system_arn}")
        return super().put_file_system_policy()

    def delete_file_system_policy(self) -> Any:
        self._file_system().file_system_policy = None
        return "{}", _JSON

    def _file_system(self) -> FileSystem:
        id = self._get_param("FileSystemId")
        if id not in self.efs_backend.file_systems_by_id:
            raise FileSystemNotFound(id)
        return self.efs_backend.file_systems_by_id[id]

    def _check_performance(self, mode: str) -> None:
        mibps = self._get_param("ProvisionedThroughputInMibps")
        if mode not in MODES:
            raise BadRequest(f"ThroughputMode must be one of {', '.join(MODES)}")
        if (self._get_param("PerformanceMode") or PERFORMANCE_MODES[0]) not in PERFORMANCE_MODES:
            raise BadRequest(f"PerformanceMode must be one of {', '.join(PERFORMANCE_MODES)}")
        if mode == "elastic" and self._get_param("PerformanceMode") == "maxIO":
            raise BadRequest("Elastic throughput needs the performance mode generalPurpose")
        if (mode == "provisioned") != (mibps is not None):
            raise BadRequest("ProvisionedThroughputInMibps belongs to the throughput mode provisioned")
        if mibps is not None and not LEAST_MIBPS <= mibps <= MOST_MIBPS:
            raise BadRequest(f"ProvisionedThroughputInMibps must be {LEAST_MIBPS} to {MOST_MIBPS}")


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/(?P<path>.+)$": Response.dispatch}
