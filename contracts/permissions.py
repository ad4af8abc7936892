"""IAM: the policies that upstream projects publish, and the resources of each action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.files import FOLDER, read
from contracts.helm import chart


@cache
def iam_policy(name: str) -> Mapping[str, Any]:
    """The IAM policy that is published with a chart, at the chart's version.

    Raises KeyError if there is no contract.
    """
    version = chart(name).app_version
    try:
        return read(f"iam/{name}-{version}.json")
    except FileNotFoundError:
        raise KeyError(f"there is no contract of an IAM policy of {name} {version}") from None


@dataclass(frozen=True, kw_only=True)
class IamResources:
    """The resources of an IAM action: ARNs with variables such as `${ClusterName}`.

    All are `required`, or one of them.
    """

    templates: tuple[str, ...] = ()
    required: bool = False


@cache
def iam_resource_types(action: str) -> IamResources:
    """The resources of an action that changes something (`eks:CreateAddon`); empty if the contract lacks the action."""
    facts = _iam_actions()
    types = facts["actions"].get(action, [])
    known = facts["resources"].get(action.partition(":")[0], {})
    return IamResources(
        templates=tuple(known[name.rstrip("*")] for name in types),
        required=any(name.endswith("*") for name in types),
    )


@cache
def _iam_actions() -> Mapping[str, Any]:
    return read("aws/iam-actions.json")


@cache
def published_statements() -> tuple[Mapping[str, Any], ...]:
    """The statements of the IAM policies that upstream projects publish for their controllers."""
    documents = [read(f"iam/{path.name}") for path in sorted((FOLDER / "iam").glob("*.json"))]
    return tuple(statement for document in documents for statement in document["Statement"])
