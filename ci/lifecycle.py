"""What a stack file says of how long its stack is meant to live, whatever the day."""

from __future__ import annotations

import datetime
from pathlib import Path

import settings
from ci.actions import StepFailed
from settings import Lifecycle, SettingsError, StackFileError


def lifecycle(stack: str) -> Lifecycle:
    """The section of the stack's file. Raises StepFailed for a file that is wrong."""
    try:
        # Checked for the first of all days, on which no lab has expired: that alone is no mistake here.
        return settings.check_stack_file(Path(f"Pulumi.{stack}.yaml"), stack, datetime.date.min).lifecycle
    except (SettingsError, StackFileError) as error:
        raise StepFailed(str(error)) from None
