"""The list of policies and its page: what people read about a policy is what it does."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from policies import pack
from policies.pack import FAMILIES, POLICIES
from tests.policies.conftest import HERE

FIELD = re.compile(
    r"[a-z]+[A-Z][A-Za-z]+|[a-z]+\.[a-zA-Z]|[Ss]et |[Aa]dd |[Rr]emove |[Nn]ame |[a-z]+_[a-z]+|protect|uid|image|policy"
)


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own():
    names = [policy.name for policy in POLICIES]
    assert len(names) >= 40
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_says_what_it_is_and_what_to_do(policy):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", policy.name)
    assert "\n" not in policy.description
    assert policy.severity is not None
    assert policy.remediation_steps
    assert FIELD.search(policy.remediation_steps)
    assert policy.config_schema is not None
    for schema in policy.config_schema.properties.values():
        assert schema["description"]
        assert "default" in schema


def test_every_family_has_policies_and_most_of_them_a_reference():
    assert all(pack.of_module(family) for family in FAMILIES)
    assert sum(policy.framework is not None for policy in POLICIES) > len(POLICIES) / 2


def test_the_documentation_is_what_the_policies_say():
    assert pack.DOCUMENT.read_text(encoding="utf-8") == pack.document(), "run `make policies`"


def test_the_list_has_one_line_for_each_policy_with_its_name_first():
    command = [sys.executable, "-m", "policies.pack"]
    done = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == [policy.name for policy in POLICIES]
