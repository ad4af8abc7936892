"""What a stack file says of how long its stack is meant to live, whatever the day."""

from __future__ import annotations

import datetime
from pathlib import Path

import settings
from ci.actions import StepFailed
from settings import Lifecycle, Settings, SettingsError, StackFileError


def is_expired(stack: str, today: datetime.date) -> bool:
    """Whether a stack is a lab whose last day is over. Raises StepFailed for a stack file that is wrong."""
    expires = lifecycle(stack).expires
    return expires is not None and today > expires


def today() -> datetime.date:
    """The day, as the stack files count it."""
    return datetime.datetime.now(datetime.UTC).date()


def lifecycle(stack: str) -> Lifecycle:
    """The section of the stack's file. Raises StepFailed for a file that is wrong."""
    return stack_of(stack).lifecycle


def stack_of(stack: str) -> Settings:
    """What the stack's file says. Raises StepFailed for a file that is wrong."""
    try:
        # Checked for the first of all days, on which no lab has expired: that alone is no mistake here.
        return settings.check_stack_file(Path(f"Pulumi.{stack}.yaml"), stack, datetime.date.min)
    except (SettingsError, StackFileError) as error:
        raise StepFailed(str(error)) from None
