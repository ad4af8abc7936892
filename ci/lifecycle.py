"""What a stack file says of how long its stack is meant to live, whatever the day."""

from __future__ import annotations

import datetime
from pathlib import Path

import settings
from ci.actions import StepFailed
from settings import Lifecycle, Settings, SettingsError, StackFileError


def is_expired(stack: str, today: datetime.date) -> bool:
    """Whether a stack is a lab whose last day is over. Raises StepFailed where the file can't tell."""
    found = lifecycle(stack)
    return found.kind == "lab" and found.expires is not None and today > found.expires


def lifecycle(stack: str) -> Lifecycle:
    """The section of the stack's file. Raises StepFailed where it is wrong."""
    return stack_of(stack).lifecycle


def stack_of(stack: str) -> Settings:
    """What the stack's file says, whatever else is wrong in it. Raises StepFailed where that can't be told."""
    try:
        return settings.read_what_goes(Path(f"Pulumi.{stack}.yaml"), stack)
    except (SettingsError, StackFileError) as error:
        raise StepFailed(str(error)) from None
