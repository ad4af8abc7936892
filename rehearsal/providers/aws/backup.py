"""AWS Backup: vaults, plans and what they select."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.aws.storage_limits import lifecycle_problems
from rehearsal.providers.aws.base import AwsResource, each, known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.serving import Properties, Refused, Request

_LIFECYCLE = {"coldStorageAfter": "MoveToColdStorageAfterDays", "deleteAfter": "DeleteAfterDays"}
_RULE = {
    "ruleName": "RuleName",
    "targetVaultName": "TargetBackupVaultName",
    "schedule": "ScheduleExpression",
    "scheduleExpressionTimezone": "ScheduleExpressionTimezone",
    "startWindow": "StartWindowMinutes",
    "completionWindow": "CompletionWindowMinutes",
    "enableContinuousBackup": "EnableContinuousBackup",
    "recoveryPointTags": "RecoveryPointTags",
}
# What the real provider sends for a rule that leaves them out.
_START_WINDOW, _COMPLETION_WINDOW = 60, 180
_SCHEDULE = re.compile(r"cron\((\S+ ){5}\S+\)|rate\(\d+ \w+\)")
_LONGEST_RULE_NAME = 50


class _BackupResource(AwsResource):
    """What the types of AWS Backup share: their tags, by ARN."""

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        backup = cloud.client("backup")
        if put:
            backup.tag_resource(ResourceArn=olds["arn"], Tags=put)
        if drop:
            backup.untag_resource(ResourceArn=olds["arn"], TagKeyList=drop)


class Vault(_BackupResource):
    """A vault. One that holds backups is deleted with `forceDestroy` only, which deletes them first."""

    token = "aws:backup/vault:Vault"
    force_new = frozenset({"name", "kmsKeyArn"})
    longest_name = 50
    name_pattern = r"[a-zA-Z0-9_-]{2,50}"
    defaults = {"forceDestroy": False}
    # Every backup changes it.
    shared = frozenset({"recoveryPoints"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        key = inputs.get("kmsKeyArn")
        cloud.client("backup").create_backup_vault(
            BackupVaultName=inputs["name"],
            BackupVaultTags=inputs.get("tagsAll") or {},
            **({"EncryptionKeyArn": key} if key else {}),
        )
        return inputs["name"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        backup = cloud.client("backup")
        found = backup.describe_backup_vault(BackupVaultName=id)
        return {
            "arn": found["BackupVaultArn"],
            "name": id,
            "kmsKeyArn": found.get("EncryptionKeyArn"),
            "forceDestroy": olds.get("forceDestroy", False),
            "recoveryPoints": found["NumberOfRecoveryPoints"],
            "tags": backup.list_tags(ResourceArn=found["BackupVaultArn"])["Tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """Only `forceDestroy` can change, which is the provider's own affair."""

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        backup = cloud.client("backup")
        if olds.get("forceDestroy"):
            for page in backup.get_paginator("list_recovery_points_by_backup_vault").paginate(BackupVaultName=id):
                for point in page["RecoveryPoints"]:
                    backup.delete_recovery_point(BackupVaultName=id, RecoveryPointArn=point["RecoveryPointArn"])
        backup.delete_backup_vault(BackupVaultName=id)


class Plan(_BackupResource):
    """When what is selected is backed up, where to, and for how long."""

    token = "aws:backup/plan:Plan"
    force_new = frozenset({"name"})
    longest_name = 50
    recomputed = frozenset({"version"})
    unmodelled = frozenset({"advancedBackupSettings", "scanSettings"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, rule in each(inputs, "rules[]"):
            for name in ("copyActions", "scanActions", "targetLogicallyAirGappedBackupVaultArn"):
                if name in rule:
                    yield Refused(f"the rehearsal's aws provider does not carry out {name} of {self.token}", where)
            schedule = known(rule.get("schedule"))
            if schedule is not None and not _SCHEDULE.fullmatch(schedule):
                yield Refused(f"{where}.schedule must be cron(…) of six fields, or rate(…), not {schedule}", where)
            name = known(rule.get("ruleName")) or "-"
            if not re.fullmatch(rf"[a-zA-Z0-9\-_.]{{1,{_LONGEST_RULE_NAME}}}", name):
                yield Refused(f"{where}.ruleName must have 1 to {_LONGEST_RULE_NAME} letters, digits or -_.", where)
            if known(rule.get("startWindow", _START_WINDOW)) is not None:
                start, completion = rule.get("startWindow", _START_WINDOW), rule.get("completionWindow")
                if known(start) and start < 60:
                    yield Refused(f"{where}.startWindow must be 60 minutes at least, not {start}", where)
                if known(completion) and known(start) and completion < start + 60:
                    yield Refused(f"{where}.completionWindow must be 60 minutes more than startWindow", where)
            lifecycle = known(rule.get("lifecycle")) or {}
            days = {api: known(lifecycle.get(name)) for name, api in _LIFECYCLE.items()}
            for problem in lifecycle_problems(days):
                yield Refused(f"{where}.lifecycle: {problem}", where)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("backup").create_backup_plan(
            BackupPlan=self._document(inputs), BackupPlanTags=inputs.get("tagsAll") or {}
        )
        return made["BackupPlanId"]

    @staticmethod
    def _document(inputs: Properties) -> dict[str, Any]:
        """The plan as AWS Backup takes it."""
        rules = []
        for given in inputs["rules"]:
            windows = {"startWindow": _START_WINDOW, "completionWindow": _COMPLETION_WINDOW}
            rule = {api: value for name, api in _RULE.items() if (value := {**windows, **given}.get(name)) is not None}
            if lifecycle := given.get("lifecycle"):
                rule["Lifecycle"] = {api: lifecycle[name] for name, api in _LIFECYCLE.items() if name in lifecycle}
            rules.append(rule)
        return {"BackupPlanName": inputs["name"], "Rules": rules}

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        backup = cloud.client("backup")
        found = backup.get_backup_plan(BackupPlanId=id)
        rules = []
        for rule in found["BackupPlan"]["Rules"]:
            shown = {name: rule[api] for name, api in _RULE.items() if api in rule}
            if lifecycle := rule.get("Lifecycle"):
                shown["lifecycle"] = {name: lifecycle[api] for name, api in _LIFECYCLE.items() if api in lifecycle}
            rules.append(shown)
        return {
            "arn": found["BackupPlanArn"],
            "name": found["BackupPlan"]["BackupPlanName"],
            "rules": rules,
            "version": found["VersionId"],
            "tags": backup.list_tags(ResourceArn=found["BackupPlanArn"])["Tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("backup").update_backup_plan(BackupPlanId=id, BackupPlan=self._document(inputs))

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("backup").delete_backup_plan(BackupPlanId=id)


# The provider's names of what has to hold of a resource's tags, and AWS Backup's.
_CONDITIONS = {
    "stringEquals": "StringEquals",
    "stringLikes": "StringLike",
    "stringNotEquals": "StringNotEquals",
    "stringNotLikes": "StringNotLike",
}


def as_the_api_has_them(given: list[Properties]) -> dict[str, list[dict[str, str]]]:
    """The conditions of a selection as AWS Backup takes them."""
    return {
        _CONDITIONS[operator]: [{"ConditionKey": one["key"], "ConditionValue": one["value"]} for one in pairs]
        for block in given
        for operator, pairs in block.items()
    }


def _conditions(selection: dict[str, Any]) -> Properties:
    found = selection.get("Conditions") or {}
    return {
        name: [{"key": one["ConditionKey"], "value": one["ConditionValue"]} for one in found[operator]]
        for name, operator in _CONDITIONS.items()
        if found.get(operator)
    }


class Selection(AwsResource):
    """What a plan backs up, and the role that it does so with. Its id is the selection's; nothing of it can change."""

    token = "aws:backup/selection:Selection"
    force_new = frozenset({"iamRoleArn", "name", "planId", "resources", "notResources", "conditions", "selectionTags"})
    longest_name = 50
    name_pattern = r"[a-zA-Z0-9._-]{1,50}"
    unmodelled = frozenset({"selectionTags"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for where, arn in each(inputs, "resources[]"):
            if arn != "*" and not arn.startswith("arn:"):
                yield Refused(f"{where} must be an ARN, not {arn}", where)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        optional = {
            "Resources": inputs.get("resources"),
            "NotResources": inputs.get("notResources"),
            "Conditions": as_the_api_has_them(inputs.get("conditions") or []),
        }
        made = cloud.client("backup").create_backup_selection(
            BackupPlanId=inputs["planId"],
            BackupSelection={
                "SelectionName": inputs["name"],
                "IamRoleArn": inputs["iamRoleArn"],
                **{key: value for key, value in optional.items() if value},
            },
        )
        return made["SelectionId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("backup").get_backup_selection(BackupPlanId=olds["planId"], SelectionId=id)
        selection = found["BackupSelection"]
        return {
            "planId": olds["planId"],
            "name": selection["SelectionName"],
            "iamRoleArn": selection["IamRoleArn"],
            "resources": selection.get("Resources"),
            "notResources": selection.get("NotResources") or [],
            **({"conditions": [conditions]} if (conditions := _conditions(selection)) else {}),
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("backup").delete_backup_selection(BackupPlanId=olds["planId"], SelectionId=id)
