"""The settings of a small stack, with changes by path, and the mistakes that a change causes."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest

import settings

TODAY = datetime.date(2026, 6, 1)


OLD_IMAGE = {"family": "AL2023", "alias": "al2023@v20260501"}


STACK: dict[str, Any] = {
    "aws:region": "us-east-1",
    "gpulab:owner": "ml-platform@example.com",
    "gpulab:costCenter": "research-042",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2027-06-30"},
    "gpulab:network": {"cidr": "10.40.0.0/16", "zones": ["us-east-1a", "us-east-1b"]},
    "gpulab:cluster": {"version": "1.34", "administrators": ["arn:aws:iam::123456789012:role/admin"]},
    "gpulab:nodePools": {
        "cpu": {"categories": ["c", "m"], "limits": {"cpu": 64}},
        "gpu": {"categories": ["g"], "gpus": {"min": 1, "max": 4}, "limits": {"gpus": 8}},
    },
}


Changes = Mapping[Any, Any]
"""Values by their paths in STACK."""


def as_config(stack: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()}


def load(changes: Changes | None = None, *, stack: str = "dev") -> settings.EksSettings:
    """The settings of STACK with the value at each path of `changes` replaced."""
    changed = copy.deepcopy(STACK)
    for path, value in (changes or {}).items():
        at: Any = changed
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
    return settings.on_eks(settings.load(as_config(changed), stack=stack, today=TODAY))


def mistakes(changes: Changes, *, stack: str = "dev") -> dict[str, str]:
    with pytest.raises(settings.SettingsError) as refusal:
        load(changes, stack=stack)
    return {mistake.key: mistake.message for mistake in refusal.value.mistakes}
