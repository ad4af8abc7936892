"""Checks the grammar of IAM policy documents, as far as a preview can.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html and, for sizes,
reference_iam-quotas.html. Sizes are in characters without white space.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused

LONGEST_MANAGED_POLICY = 6144
LONGEST_INLINE_POLICIES = 10240
LONGEST_TRUST_POLICY = 2048
_VERSIONS = ("2012-10-17", "2008-10-17")
_DOCUMENT_KEYS = {"Version", "Id", "Statement"}
_STATEMENT_KEYS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+")


def identity_policy(inputs: Properties, key: str, longest: int) -> Iterator[Refused]:
    """The mistakes in the policy at `key` of a role, user or group. It must not name a principal."""
    for statement in _statements(inputs, key, longest):
        if isinstance(statement, Refused):
            yield statement
            continue
        if not statement.keys() & {"Resource", "NotResource"}:
            yield Refused("a policy statement must contain resources", key)
        if statement.keys() & {"Principal", "NotPrincipal"}:
            yield Refused("an identity-based policy must not specify a principal", key)


def trust_policy(inputs: Properties, key: str) -> Iterator[Refused]:
    """The mistakes in the trust policy at `key`. It names who can assume the role, and no resources."""
    for statement in _statements(inputs, key, LONGEST_TRUST_POLICY):
        if isinstance(statement, Refused):
            yield statement
            continue
        if not statement.keys() & {"Principal", "NotPrincipal"}:
            yield Refused("a trust policy statement must name a Principal", key)
        if statement.keys() & {"Resource", "NotResource"}:
            yield Refused("a trust policy must not have the field Resource", key)
        for action in _listed(statement.get("Action", [])):
            if not str(action).startswith("sts:"):
                yield Refused(f"a trust policy can have only actions of sts, not {action}", key)


def resource_policy(inputs: Properties, key: str) -> Iterator[Refused]:
    """The mistakes in the policy at `key` of a queue, a key or another resource. It must name a principal."""
    for statement in _statements(inputs, key, None):
        if isinstance(statement, Refused):
            yield statement
        elif not statement.keys() & {"Principal", "NotPrincipal"}:
            yield Refused("a resource-based policy statement must name a Principal", key)


def statements(document: str) -> list[dict[str, Any]]:
    """The statements of a valid policy document."""
    return _listed(json.loads(document)["Statement"])


def allows(statement: dict[str, Any], action: str) -> bool:
    """Whether the statement allows `action` (`kms:PutKeyPolicy`). Principal and conditions are not considered."""
    service = action.partition(":")[0]
    return statement["Effect"] == "Allow" and bool(
        {"*", f"{service}:*", action} & set(_listed(statement.get("Action")))
    )


def _statements(inputs: Properties, key: str, longest: int | None) -> Iterator[dict[str, Any] | Refused]:
    """The statements of the document that follow the rules of all kinds of policies, and the mistakes in the others."""
    text = known(inputs.get(key))
    if text is None:
        return
    try:
        document = json.loads(text)
    except ValueError as error:
        yield Refused(f"{key} contains an invalid JSON policy: {error}", key)
        return
    if not isinstance(document, dict) or not document.get("Statement"):
        yield Refused(f"{key} contains an invalid JSON policy: a policy is an object with statements", key)
        return
    if unknown := document.keys() - _DOCUMENT_KEYS:
        yield Refused(f"a policy has no element {', '.join(sorted(unknown))}", key)
    if document.get("Version", _VERSIONS[0]) not in _VERSIONS:
        yield Refused(f"the policy's Version must be one of {', '.join(_VERSIONS)}, not {document['Version']}", key)
    size = len("".join(text.split()))
    if longest and size > longest:
        yield Refused(f"the policy has {size} characters without white space; it can have {longest}", key)
    seen: set[str] = set()
    for statement in _listed(document["Statement"]):
        if not isinstance(statement, dict):
            yield Refused("a policy statement is an object", key)
            continue
        yield from _statement_problems(statement, key)
        sid = statement.get("Sid")
        if sid in seen:
            yield Refused(f"the statement id (Sid) {sid} is not unique in its policy", key)
        seen |= {sid} if sid else set()
        yield statement


def _statement_problems(statement: dict[str, Any], key: str) -> Iterator[Refused]:
    if unknown := statement.keys() - _STATEMENT_KEYS:
        yield Refused(f"a policy statement has no element {', '.join(sorted(unknown))}", key)
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield Refused(f"a statement's Effect is Allow or Deny, not {statement.get('Effect')}", key)
    if len(statement.keys() & {"Action", "NotAction"}) != 1:
        yield Refused("a policy statement must contain actions: either Action or NotAction", key)
    for action in _listed(statement.get("Action", statement.get("NotAction", []))):
        if not isinstance(action, str) or not _ACTION.fullmatch(action):
            yield Refused(f"{action!r} is not an action: write service:Name, or *", key)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
