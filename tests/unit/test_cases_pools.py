"""Stack files of public bug reports about node pools, profiles and databases: what each is told."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import settings

CASES = Path(__file__).parents[1] / "cases"
TODAY = datetime.date(2026, 11, 30)


def mistakes(name: str) -> dict[str, str]:
    """What is wrong with the stack file of a case, by key."""
    with pytest.raises(settings.SettingsError) as refusal:
        settings.check_stack_file(CASES / f"Pulumi.{name}.yaml", name, TODAY)
    return {one.key: one.message for one in refusal.value.mistakes}


def test_a_mistyped_class_of_rds_is_refused_with_the_nearest():
    assert mistakes("rds-class") == {
        "gpulab:identity.database.instanceClass": 'is no class that RDS has for PostgreSQL: did you mean "db.m7g.large"? '
        '(given "db.m7g.larg")'
    }
