"""Administrators who sign in with IAM Identity Center: the stack file needs their role's ARN in EKS's form."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from platform_lab import LAB, config

import settings

CASES = Path(__file__).parents[1] / "cases"
TODAY = datetime.date(2026, 11, 30)
ROLE = "AWSReservedSSO_AdministratorAccess_0123456789abcdef"


@pytest.mark.parametrize("case", ["sso-session", "sso-advice-followed"])
def test_an_sso_role_without_its_path_is_refused_with_the_command_that_prints_it(case: str) -> None:
    with pytest.raises(settings.SettingsError) as refusal:
        settings.check_stack_file(CASES / f"Pulumi.{case}.yaml", "lab", TODAY)
    (mistake,) = refusal.value.mistakes
    assert mistake.key == "gpulab:cluster.administrators[0]"
    advice = mistake.message.partition(" (given ")[0]
    assert "aws iam list-roles --path-prefix /aws-reserved/sso.amazonaws.com/" in advice
    assert ROLE in advice
    # Whatever ARN were built here would lack the region that only IAM knows.
    assert "arn:" not in advice


@pytest.mark.parametrize("path", ["", "eu-west-1/"])
def test_an_sso_role_with_its_path_is_taken(path: str) -> None:
    arn = f"arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/{path}{ROLE}"
    given = config(**{"gpulab:cluster": {**LAB["gpulab:cluster"], "administrators": [arn]}})
    assert settings.on_eks(settings.load(given, stack="dev", today=TODAY)).cluster.administrators == (arn,)
