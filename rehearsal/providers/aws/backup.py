"""AWS Backup: vaults, plans and selections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.cloud.storage_limits import lifecycle_problems
from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import Properties, Refused, Request

_LIFECYCLE = {"coldStorageAfter": "MoveToColdStorageAfterDays", "deleteAfter": "DeleteAfterDays"}
# What the real provider sends for a rule that leaves them out.
_START_WINDOW, _COMPLETION_WINDOW = 60, 180
_PLAN = {"BackupPlanName": "{name}", "Rules": "{rules}"}
_SCHEDULE = re.compile(r"cron\((\S+ ){5}\S+\)|rate\(\d+ \w+\)")
_LONGEST_RULE_NAME = 50


class _BackupResource(DescribedResource):
    """The types of AWS Backup. They are tagged by ARN."""

    service, tags_found = "backup", "Tags"
    read_tags_call = Call("list_tags", ResourceArn="{arn}")
    tag_call = Call("tag_resource", ResourceArn="{arn}", Tags="{tags}")
    untag_call = Call("untag_resource", ResourceArn="{arn}", TagKeyList="{tagKeys}")


class Vault(_BackupResource):
    """A vault. A vault with backups can be deleted only with `forceDestroy`, which deletes the backups first."""

    token = "aws:backup/vault:Vault"
    force_new = frozenset({"name", "kmsKeyArn"})
    longest_name = 50
    name_pattern = r"[a-zA-Z0-9_-]{2,50}"
    defaults = {"forceDestroy": False}
    id_form = "{name}"
    api_names = {"arn": "BackupVaultArn", "kmsKeyArn": "EncryptionKeyArn", "recoveryPoints": "NumberOfRecoveryPoints"}
    create_call = Call("create_backup_vault", "kmsKeyArn", BackupVaultName="{name}", BackupVaultTags="{tags}")
    read_call = Call("describe_backup_vault", BackupVaultName="{name}")
    outputs = fields("arn kmsKeyArn recoveryPoints")
    # Only `forceDestroy` can change, which AWS does not know.
    updates = {}
    delete_call = Call("delete_backup_vault", BackupVaultName="{name}")
    # Every backup changes it.
    shared = frozenset({"recoveryPoints"})

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        backup = cloud.client("backup")
        if olds.get("forceDestroy"):
            for page in backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=id):
                for point in page["RecoveryPoints"]:
                    backup.delete_recovery_point(BackupVaultName=id, RecoveryPointArn=point["RecoveryPointArn"])
        super().remove(cloud, id, olds, request)


class Plan(_BackupResource):
    """When the selected resources are backed up, to which vault, and how long the backups are kept."""

    token = "aws:backup/plan:Plan"
    force_new = frozenset({"name"})
    longest_name = 50
    recomputed = frozenset({"version"})
    made_id = "BackupPlanId"
    api_names = {
        "arn": "BackupPlanArn",
        "coldStorageAfter": "MoveToColdStorageAfterDays",
        "completionWindow": "CompletionWindowMinutes",
        "deleteAfter": "DeleteAfterDays",
        "schedule": "ScheduleExpression",
        "startWindow": "StartWindowMinutes",
        "targetVaultName": "TargetBackupVaultName",
        "version": "VersionId",
    }
    create_call = Call("create_backup_plan", BackupPlan=_PLAN, BackupPlanTags="{tags}")
    read_call = Call("get_backup_plan", BackupPlanId="{id}")
    outputs = fields("arn version", name="BackupPlan.BackupPlanName", rules="BackupPlan.Rules")
    updates = {"*": Call("update_backup_plan", BackupPlanId="{id}", BackupPlan=_PLAN)}
    delete_call = Call("delete_backup_plan", BackupPlanId="{id}")
    unmodelled = frozenset({"advancedBackupSettings", "scanSettings"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, rule in each(inputs, "rules[]"):
            for name in ("copyActions", "scanActions", "targetLogicallyAirGappedBackupVaultArn"):
                if name in rule:
                    yield Refused(f"the rehearsal's aws provider does not support {name} of {self.token}", where)
            schedule = known(rule.get("schedule"))
            if schedule is not None and not _SCHEDULE.fullmatch(schedule):
                yield Refused(f"{where}.schedule must be cron(…) of six fields, or rate(…), not {schedule}", where)
            name = known(rule.get("ruleName")) or "-"
            if not re.fullmatch(rf"[a-zA-Z0-9\-_.]{{1,{_LONGEST_RULE_NAME}}}", name):
                yield Refused(
                    f"{where}.ruleName must have 1 to {_LONGEST_RULE_NAME} characters: letters, digits, - _ .", where
                )
            if known(rule.get("startWindow", _START_WINDOW)) is not None:
                start, completion = rule.get("startWindow", _START_WINDOW), rule.get("completionWindow")
                if known(start) and start < 60:
                    yield Refused(f"{where}.startWindow must be at least 60 minutes, not {start}", where)
                if known(completion) and known(start) and completion < start + 60:
                    yield Refused(f"{where}.completionWindow must be at least 60 minutes more than startWindow", where)
            lifecycle = known(rule.get("lifecycle")) or {}
            days = {api: known(lifecycle.get(name)) for name, api in _LIFECYCLE.items()}
            for problem in lifecycle_problems(days):
                yield Refused(f"{where}.lifecycle: {problem}", where)

    def given(self, inputs: Properties) -> Properties:
        windows = {"startWindow": _START_WINDOW, "completionWindow": _COMPLETION_WINDOW}
        return {**super().given(inputs), "rules": [{**windows, **rule} for rule in inputs["rules"]]}


# The conditions on the tags of a resource: the provider's names, and those of AWS Backup.
_CONDITIONS = {
    "stringEquals": "StringEquals",
    "stringLikes": "StringLike",
    "stringNotEquals": "StringNotEquals",
    "stringNotLikes": "StringNotLike",
}


_SELECTED = ("name", "iamRoleArn", "resources", "notResources", "conditions")


def as_the_api_has_them(given: list[Properties]) -> dict[str, list[dict[str, str]]]:
    """The conditions of a selection as AWS Backup takes them."""
    return {
        _CONDITIONS[operator]: [{"ConditionKey": pair["key"], "ConditionValue": pair["value"]} for pair in pairs]
        for block in given
        for operator, pairs in block.items()
    }


def _conditions(selection: dict[str, Any]) -> Properties:
    found = selection.get("Conditions") or {}
    return {
        name: [{"key": pair["ConditionKey"], "value": pair["ConditionValue"]} for pair in found[operator]]
        for name, operator in _CONDITIONS.items()
        if found.get(operator)
    }


class Selection(DescribedResource):
    """The resources that a plan backs up, and the role that it uses. No input can change in place."""

    token = "aws:backup/selection:Selection"
    force_new = frozenset({"iamRoleArn", "name", "planId", "resources", "notResources", "conditions", "selectionTags"})
    longest_name = 50
    name_pattern = r"[a-zA-Z0-9._-]{1,50}"
    unmodelled = frozenset({"selectionTags"})
    service, made_id = "backup", "SelectionId"
    api_names = {"name": "SelectionName"}
    create_call = Call(
        "create_backup_selection",
        BackupPlanId="{planId}",
        BackupSelection={name: f"{{{name}}}" for name in _SELECTED},
    )
    read_call = Call("get_backup_selection", BackupPlanId="{planId}", SelectionId="{id}")
    found, outputs = "BackupSelection", fields("name iamRoleArn resources", notResources="NotResources || `[]`")
    delete_call = Call("delete_backup_selection", BackupPlanId="{planId}", SelectionId="{id}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, arn in each(inputs, "resources[]"):
            if arn != "*" and not arn.startswith("arn:"):
                yield Refused(f"{where} must be an ARN, not {arn}", where)

    def given(self, inputs: Properties) -> Properties:
        conditions = as_the_api_has_them(inputs.get("conditions") or [])
        return {**super().given(inputs), "conditions": conditions or None}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        shown = _conditions(found)
        return {"planId": known["planId"], **({"conditions": [shown]} if shown else {})}
