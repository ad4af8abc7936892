"""What moto's AWS Backup lacks: selections, recovery points, changes of plans, and AWS Backup's refusals.

Modelled on the AWS Backup API reference. Jobs are complete at once, and plans do not run by themselves.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.backup import urls
from moto.backup.exceptions import InvalidParameterValueException, InvalidRequestException, ResourceNotFoundException
from moto.backup.models import Plan, Vault
from moto.backup.responses import BackupResponse
from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.efs.models import efs_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends

from rehearsal.cloud.snapshots import SOURCE_TAG
from rehearsal.cloud.storage_limits import lifecycle_problems


@dataclass
class _Store:
    """What a region's AWS Backup has in addition to moto's vaults and plans."""

    selections: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By the plan's id, then by their own id."""
    recovery_points: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """By the vault's name, then by their ARN."""


class Response(BackupResponse):
    """moto's AWS Backup, with more checks and the missing operations."""

    def __init__(self) -> None:
        super().__init__()
        self.automated_parameter_parsing = True

    def create_backup_vault(self) -> Any:
        """Refuses a key that does not exist or is not enabled."""
        key = self._get_param("EncryptionKeyArn")
        if key is not None:
            found = kms_backends[self.current_account][self.region].keys.get(key.rpartition("/")[2])
            if found is None or found.key_state != "Enabled":
                raise InvalidParameterValueException(f"Provided KMS key {key} does not exist, or is not enabled")
        return super().create_backup_vault()

    def describe_backup_vault(self) -> ActionResult:
        return ActionResult(self._vault().to_list_dict())

    def delete_backup_vault(self) -> Any:
        """Refuses a vault that holds backups."""
        name = self._vault().backup_vault_name
        if self._store.recovery_points.get(name):
            raise InvalidRequestException("Backup vault cannot be deleted because it contains recovery points.")
        return super().delete_backup_vault()

    def create_backup_plan(self) -> Any:
        """Refuses rules that AWS Backup would refuse."""
        self._check(self._get_param("BackupPlan"))
        return super().create_backup_plan()

    def update_backup_plan(self) -> ActionResult:
        """Replaces a plan's rules."""
        plan, wanted = self._plan(), self._get_param("BackupPlan")
        self._check(wanted)
        # moto fills in the defaults when it makes a plan.
        made: Any = Plan(wanted, plan.creator_request_id, self.backup_backend)
        plan.backup_plan, plan.version_id = made.backup_plan, made.version_id
        return ActionResult(plan.to_dict())

    def get_backup_plan(self) -> Any:
        self._plan()
        return super().get_backup_plan()

    def delete_backup_plan(self) -> Any:
        """Refuses a plan that still selects something."""
        plan = self._plan()
        if self._store.selections.get(plan.backup_plan_id):
            raise InvalidRequestException(
                "Related backup plan selections must be deleted prior to backup plan deletion"
            )
        return super().delete_backup_plan()

    def create_backup_selection(self) -> ActionResult:
        """Adds resources to a plan. Refuses a role that does not exist."""
        plan, selection = self._plan(), self._get_param("BackupSelection")
        partition = self.backup_backend.partition
        roles = iam_backends[self.current_account][partition].roles.values()
        if selection["IamRoleArn"] not in (role.arn for role in roles):
            raise InvalidParameterValueException(f"IAM role {selection['IamRoleArn']} does not exist")
        made = {
            "BackupPlanId": plan.backup_plan_id,
            "SelectionId": str(uuid.uuid4()),
            "CreationDate": utcnow(),
            "BackupSelection": selection,
        }
        self._store.selections.setdefault(plan.backup_plan_id, {})[made["SelectionId"]] = made
        return ActionResult(made)

    def get_backup_selection(self) -> ActionResult:
        return ActionResult(self._selection())

    def list_backup_selections(self) -> ActionResult:
        found = self._store.selections.get(self._plan().backup_plan_id, {}).values()
        names = {"SelectionName": "SelectionName", "IamRoleArn": "IamRoleArn"}
        listed = [{**item, **{name: item["BackupSelection"].get(key) for name, key in names.items()}} for item in found]
        return ActionResult({"BackupSelectionsList": listed})

    def delete_backup_selection(self) -> EmptyResult:
        selection = self._selection()
        del self._store.selections[selection["BackupPlanId"]][selection["SelectionId"]]
        return EmptyResult()

    def start_backup_job(self) -> ActionResult:
        """Makes a backup of a file system or of a volume; it is complete at once."""
        vault, resource = self._vault(), self._get_param("ResourceArn")
        job = str(uuid.uuid4())
        arn, kind = self._snapshot(resource) or (self._copy(resource, job), "EFS")
        self._store.recovery_points.setdefault(vault.backup_vault_name, {})[arn] = {
            "RecoveryPointArn": arn,
            "BackupVaultName": vault.backup_vault_name,
            "ResourceArn": resource,
            "ResourceType": kind,
            "Status": "COMPLETED",
            "CreationDate": utcnow(),
        }
        vault.num_of_recovery_points += 1
        return ActionResult({"BackupJobId": job, "RecoveryPointArn": arn, "CreationDate": utcnow()})

    def _copy(self, resource: str, job: str) -> str:
        """The ARN of a new recovery point of a file system, which is in the vault."""
        systems = efs_backends[self.current_account][self.region].file_systems_by_id.values()
        if resource not in (system.file_system_arn for system in systems):
            raise ResourceNotFoundException(f"Resource {resource} was not found")
        return f"arn:{self.backup_backend.partition}:backup:{self.region}:{self.current_account}:recovery-point:{job}"

    def _snapshot(self, resource: str) -> tuple[str, str] | None:
        """A new recovery point of a volume: an EC2 snapshot with the volume's tags. None for other resources."""
        if ":volume/" not in resource:
            return None
        ec2 = ec2_backends[self.current_account][self.region]
        id = resource.rpartition("/")[2]
        if id not in ec2.volumes:
            raise ResourceNotFoundException(f"Resource {resource} was not found")
        made = ec2.create_snapshot(id, "This snapshot is created by the AWS Backup service.")
        made.add_tags({**{tag["key"]: tag["value"] for tag in ec2.volumes[id].get_tags()}, SOURCE_TAG: resource})
        return f"arn:{self.backup_backend.partition}:ec2:{self.region}::snapshot/{made.id}", "EBS"

    def list_recovery_points_by_backup_vault(self) -> ActionResult:
        points = self._store.recovery_points.get(self._vault().backup_vault_name, {})
        return ActionResult({"RecoveryPoints": list(points.values())})

    def delete_recovery_point(self) -> EmptyResult:
        vault, arn = self._vault(), self._get_param("RecoveryPointArn")
        points = self._store.recovery_points.get(vault.backup_vault_name, {})
        if points.pop(arn, None) is None:
            raise ResourceNotFoundException(f"Recovery point {arn} was not found")
        if ":snapshot/" in arn:
            ec2_backends[self.current_account][self.region].delete_snapshot(arn.rpartition("/")[2])
        vault.num_of_recovery_points -= 1
        return EmptyResult()

    @property
    def _store(self) -> _Store:
        backend: Any = self.backup_backend
        if not hasattr(backend, "gpulab_store"):
            backend.gpulab_store = _Store()
        return backend.gpulab_store

    def _vault(self) -> Vault:
        name = self._get_param("BackupVaultName")
        if name not in self.backup_backend.vaults:
            raise ResourceNotFoundException(f"Backup vault {name} was not found")
        return self.backup_backend.vaults[name]

    def _plan(self) -> Plan:
        id = self._get_param("BackupPlanId")
        plan = self.backup_backend.plans.get(id)
        if plan is None or plan.deletion_date is not None:
            raise ResourceNotFoundException(f"Backup plan {id} was not found")
        return plan

    def _selection(self) -> dict[str, Any]:
        id = self._get_param("SelectionId")
        selections = self._store.selections.get(self._plan().backup_plan_id, {})
        if id not in selections:
            raise ResourceNotFoundException(f"Backup selection {id} was not found")
        return selections[id]

    def _check(self, plan: dict[str, Any]) -> None:
        rules = plan.get("Rules") or []
        if not rules:
            raise InvalidParameterValueException("A backup plan needs at least one rule")
        for rule in rules:
            if rule["TargetBackupVaultName"] not in self.backup_backend.vaults:
                raise InvalidParameterValueException(f"Backup vault {rule['TargetBackupVaultName']} does not exist")
            for problem in lifecycle_problems(rule.get("Lifecycle") or {}):
                raise InvalidParameterValueException(problem)


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/(?P<path>.+)$": Response.dispatch}
