"""Policies' fixes of custom resources are valid according to the CRDs in contracts/."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pulumi_policy import PolicyResource

from contracts.files import FOLDER
from policies.pack import POLICIES
from policies.rules import ResourcePolicy
from tests.policies.conftest import BY_NAME, examined, kubernetes
from tests.policies.fixes import FIXES, OVERLAY, STATIC_POOL, Fix, Manifest

# What a policy asks for of a resource's options is no field of the object.
NO_FIELD = {"stateful-unprotected"}
# Its fix is of the profile, or it moves a limit that is set already.
OF_SEVERAL = {
    "profile-beyond-node",
    "quotas-beyond-pool-limits",
    "daemonset-misses-pool-taint",
    "mps-pool-of-one-team",
}
IDS = [f"{number}-{fix.policy}" for number, fix in enumerate(FIXES)]


@cache
def definitions() -> dict[tuple[str, str], Any]:
    """The schema of each kind that contracts/ define, by apiVersion and kind."""
    found = {}
    for file in (FOLDER / "crds").glob("*.json"):
        spec = json.loads(file.read_text(encoding="utf-8"))["spec"]
        for version in spec["versions"]:
            kind = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            found[kind] = _strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))
    return found


def _strict(schema: Any) -> Any:
    """The schema, which here also refuses unknown fields: the API server drops or refuses them."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            _strict(value)
    elif isinstance(schema, list):
        for value in schema:
            _strict(value)
    return schema


def refusals(manifest: Manifest) -> list[str]:
    """The errors of an object in its kind's schema, without CEL rules, which need an API server."""
    schema = definitions()[manifest["apiVersion"], manifest["kind"]]
    schema["properties"]["metadata"] = {"type": "object"}
    return [error.message for error in Draft202012Validator(schema).iter_errors(manifest)]


def as_resource(manifest: Manifest) -> PolicyResource:
    return kubernetes(
        manifest["kind"], manifest["spec"], api=manifest["apiVersion"], metadata=dict(manifest["metadata"])
    )


def said(fix: Fix, manifest: Manifest) -> list[str]:
    return examined(fix.policy, as_resource(manifest), *fix.beside, **fix.limits).get("gpu", [])


def leaf_names(path: str, value: Any) -> Iterator[str]:
    """The fields that are set at a path, by their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaf_names(key, inner)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for inner in value:
            yield from leaf_names(path, inner)
    else:
        parent, _, name = path.rpartition("/")
        # Which resource is limited depends on the pool.
        yield "spec.limits" if parent == "spec/limits" else name


@pytest.mark.parametrize("fix", FIXES, ids=IDS)
def test_a_fix_is_admitted_and_satisfies_its_policy(fix):
    assert refusals(fix.refused) == []
    assert said(fix, fix.refused)
    assert refusals(fix.fixed) == []
    assert said(fix, fix.fixed) == []


@pytest.mark.parametrize("fix", FIXES, ids=IDS)
def test_a_fix_is_what_the_policy_says(fix):
    """The fix names everything that must be set, including what the definition also requires."""
    sentence = BY_NAME[fix.policy].remediation_steps or ""
    for path, value in fix.set.items():
        names = {name for name in leaf_names(path, value) if not name.isdigit()} - {"key", "operator", "values"}
        missing = [name for name in names if name not in sentence]
        assert missing == [], sentence


def test_each_policy_about_a_custom_resource_has_its_fix_tried():
    kinds = {f"kubernetes:{api_version}:{kind}" for api_version, kind in definitions()}
    concerned = {
        policy.name
        for policy in POLICIES
        if (isinstance(policy, ResourcePolicy) and any(map(policy.concerns, kinds)))
        or re.search(r"NodePool|NodeOverlay|pool", policy.remediation_steps or "")
    }
    assert concerned - NO_FIELD - OF_SEVERAL == {fix.policy for fix in FIXES}


@pytest.mark.parametrize("policy", ["node-pool-limits", "gpu-pool-gpu-limit", "shared-pool-limit-resource"])
def test_a_pool_with_a_fixed_number_of_nodes_is_asked_for_no_limit_that_its_definition_refuses(policy):
    assert examined(policy, as_resource(STATIC_POOL), OVERLAY) == {}
    assert examined("notebook-pool-consolidation", as_resource(STATIC_POOL)) == {}
