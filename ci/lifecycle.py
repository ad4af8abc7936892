"""Reads from a stack file how long its stack is meant to exist, also from the file of an expired stack."""

from __future__ import annotations

import datetime
from pathlib import Path

import settings
from ci.actions import StepFailed
from settings import ExistingSettings, Lifecycle, Settings, SettingsError, StackFileError


def is_expired(stack: str, today: datetime.date) -> bool:
    """Whether a stack is a lab whose last day has passed. Raises StepFailed if the file is wrong."""
    found = lifecycle(stack)
    return found.kind == "lab" and found.expires is not None and today > found.expires


def is_in_account(stack: str) -> bool:
    """Whether a stack is in AWS, where workflows reach it; also if its file is wrong, which the next job reports."""
    try:
        return not isinstance(stack_of(stack), ExistingSettings)
    except StepFailed:
        return True


def lifecycle(stack: str) -> Lifecycle:
    """The section `lifecycle` of the stack's file. Raises StepFailed if it is wrong."""
    return stack_of(stack).lifecycle


def stack_of(stack: str) -> Settings:
    """The settings in the stack's file, as far as they are right. Raises StepFailed if too much is wrong."""
    try:
        return settings.read_leniently(Path(f"Pulumi.{stack}.yaml"), stack)
    except (SettingsError, StackFileError) as error:
        raise StepFailed(str(error)) from None
