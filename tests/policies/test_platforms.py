"""Every policy on two programs of one platform: one that does everything wrong, and one that does it right."""

from __future__ import annotations

import json

import pytest

from policies.pack import POLICIES
from tests.policies.conftest import HERE, examined

CONFIGURED = json.loads((HERE / "bad_platform" / "policies.json").read_text(encoding="utf-8"))
NAMES = [policy.name for policy in POLICIES]


def limits(policy: str) -> dict:
    return {key: value for key, value in CONFIGURED.get(policy, {}).items() if key != "enforcementLevel"}


@pytest.mark.parametrize("policy", NAMES)
def test_the_bad_platform_is_refused(policy, bad_platform):
    assert {name for name in examined(policy, *bad_platform, **limits(policy)) if name != "unknown"}


@pytest.mark.parametrize("policy", NAMES)
def test_the_good_platform_is_accepted(policy, good_platform, monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2026-11-30")
    assert examined(policy, *good_platform) == {}


def test_both_platforms_are_of_the_same_kinds(bad_platform, good_platform):
    bad = {one.resource_type for one in bad_platform}
    assert bad <= {one.resource_type for one in good_platform}
