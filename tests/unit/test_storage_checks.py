"""The rehearsal's checks of storage: they find what is not backed up although the stack file asks for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from rehearsal.checks import storage as storage_checks
from rehearsal.checks.checking import DoesNotHold

CLUSTER, SCHEDULE = (f"kubernetes:postgresql.cnpg.io/v1:{kind}" for kind in ("Cluster", "ScheduledBackup"))
DATABASE = {
    "type": CLUSTER,
    "inputs": {
        "metadata": {"name": "keycloak-db"},
        "spec": {"backup": {"barmanObjectStore": {"destinationPath": "s3://backups"}}},
    },
}
SCHEDULED = {"type": SCHEDULE, "inputs": {"spec": {"cluster": {"name": "keycloak-db"}}}}


def subject(resources: list[dict[str, Any]], versioning: str | None = "Enabled") -> Any:
    s3 = mock.Mock()
    s3.get_bucket_versioning.return_value = {"Status": versioning} if versioning else {}
    return SimpleNamespace(resources=resources, account=mock.Mock(client=lambda service: s3))


def test_a_database_with_a_bucket_and_a_schedule_is_backed_up() -> None:
    assert storage_checks._database_backups(subject([DATABASE, SCHEDULED])) == ["keycloak-db to backups"]


@pytest.mark.parametrize(
    ("resources", "versioning"),
    [
        ([{**DATABASE, "inputs": {**DATABASE["inputs"], "spec": {}}}, SCHEDULED], "Enabled"),
        ([DATABASE], "Enabled"),
        ([DATABASE, SCHEDULED], None),
    ],
)
def test_a_database_without_a_bucket_a_schedule_or_versions_is_a_finding(
    resources: list[dict[str, Any]], versioning: str | None
) -> None:
    with pytest.raises(DoesNotHold):
        storage_checks._database_backups(subject(resources, versioning))


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"Resources": ["arn:aws:ec2:*:*:volume/*"]}, True),
        ({"Resources": ["*"], "NotResources": ["arn:aws:ec2:*:*:volume/*"]}, False),
        ({"Resources": ["arn:aws:elasticfilesystem:*"]}, False),
        ({"Conditions": {"StringNotEquals": [{"ConditionKey": "aws:ResourceTag/a", "ConditionValue": "b"}]}}, False),
        ({"Conditions": {"StringNotLike": [{"ConditionKey": "aws:ResourceTag/a", "ConditionValue": "c*"}]}}, True),
        ({"Conditions": {"StringLike": [{"ConditionKey": "aws:ResourceTag/none", "ConditionValue": "b*"}]}}, False),
    ],
)
def test_a_selection_takes_what_matches_in_all_of_it(selection: dict[str, Any], expected: bool) -> None:
    arn = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1"
    assert storage_checks.selects(selection, arn, {"a": "b"}) is expected
