"""AWS Backup."""

from __future__ import annotations

from collections.abc import Iterator

from reports.account import Account, Held
from reports.aws_type import AwsType, ByTags, Inputs
from reports.aws_type.listing import listing, tags_by_call
from reports.aws_type.pricing import by_use, free
from reports.aws_type.steps import Gone, Steps

_PRICING = "https://aws.amazon.com/backup/pricing/"


def _remove_vault(account: Account, held: Held) -> Steps:
    vault = ["--backup-vault-name", held.id]
    call = "list_recovery_points_by_backup_vault"
    points = list(account.pages("backup", call, "RecoveryPoints", BackupVaultName=held.id))
    for point in points:
        yield ["aws", "backup", "delete-recovery-point", *vault, "--recovery-point-arn", point["RecoveryPointArn"]]
    if points:
        yield Gone(["aws", "backup", call.replace("_", "-"), *vault], "RecoveryPoints")
    yield ["aws", "backup", "delete-backup-vault", *vault]


def _remove_plan(account: Account, held: Held) -> Steps:
    plan = ["--backup-plan-id", held.id]
    for selection in account.pages("backup", "list_backup_selections", "BackupSelectionsList", BackupPlanId=held.id):
        yield ["aws", "backup", "delete-backup-selection", *plan, "--selection-id", selection["SelectionId"]]
    yield ["aws", "backup", "delete-backup-plan", *plan]


def _selections(account: Account, inputs: Inputs) -> Iterator[str]:
    plan = inputs["planId"]
    for selection in account.pages("backup", "list_backup_selections", "BackupSelectionsList", BackupPlanId=plan):
        if selection["SelectionName"] == inputs["name"]:
            yield selection["SelectionId"]


TYPES = (
    AwsType(
        type="aws:backup/plan:Plan",
        listing=listing(
            "backup",
            "list_backup_plans",
            "BackupPlansList",
            "BackupPlanId",
            tags_by_call("list_tags", "Tags", ResourceArn="BackupPlanArn"),
            "ListTags",
            name_key="BackupPlanName",
        ),
        remove=_remove_plan,
        actions=("backup:ListBackupSelections",),
        lookup=ByTags(input="name", key="BackupPlanName"),
        bill=free(f"{_PRICING}: what a plan stores is paid for"),
    ),
    AwsType(
        type="aws:backup/selection:Selection",
        lookup=_selections,
        bill=free(f"{_PRICING}: what a plan stores is paid for"),
    ),
    AwsType(
        type="aws:backup/vault:Vault",
        listing=listing(
            "backup",
            "list_backup_vaults",
            "BackupVaultList",
            "BackupVaultName",
            tags_by_call("list_tags", "Tags", ResourceArn="BackupVaultArn"),
            "ListTags",
        ),
        has_user_data=True,
        remove=_remove_vault,
        after=("backup BackupPlansList",),
        actions=("backup:ListRecoveryPointsByBackupVault",),
        id="{name}",
        bill=by_use(f"{_PRICING}: by GB-month of recovery points"),
    ),
)
