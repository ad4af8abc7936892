"""Whether EFS lets a node mount a volume: the EFS CSI driver comes by TLS to a mount target, and as nobody in IAM.

IAM's decision is taken for anybody ("Policy evaluation logic", IAM user guide): nothing is allowed without an Allow,
and a Deny goes before. Volume handles are the driver's: FILE_SYSTEM, FILE_SYSTEM:PATH, FILE_SYSTEM::ACCESS_POINT (its
examples/kubernetes/access_points).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

MOUNT, WRITE = "elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"
REFUSED = "mount.nfs4: access denied by server while mounting 127.0.0.1:/"

_ACCESS_POINT = "elasticfilesystem:AccessPointArn"
_OPERATORS: Mapping[str, Callable[[str | None, str], bool]] = {
    "Bool": lambda value, wanted: value == wanted.lower(),
    "Null": lambda value, wanted: (value is None) == (wanted.lower() == "true"),
    "StringEquals": lambda value, wanted: value == wanted,
    "StringLike": lambda value, wanted: value is not None and fnmatchcase(value, wanted),
    "StringNotEquals": lambda value, wanted: value != wanted,
    "StringNotLike": lambda value, wanted: value is None or not fnmatchcase(value, wanted),
}
# With several values: one has to hold of these, each of those that say "not".
_OF_ALL = ("StringNotEquals", "StringNotLike")


def refusal(policy: str | None, handle: str, access_points: Mapping[str, str], action: str = MOUNT) -> str | None:
    """What the NFS client prints when the mount of a volume is refused; None when it is admitted.

    `policy` is the file system's: None where it has none, which admits everybody. `access_points` has the ARN of each
    that is there, by its id.
    """
    if policy is None:
        return None
    _, _, place = handle.partition(":")
    arn = access_points.get(place.removeprefix(":")) if place.startswith(":") else None
    context = {
        "elasticfilesystem:AccessedViaMountTarget": "true",
        "aws:SecureTransport": "true",
        **({_ACCESS_POINT: arn} if arn else {}),
    }
    statements = json.loads(policy)["Statement"]
    effects = {
        one["Effect"]
        for one in (statements if isinstance(statements, list) else [statements])
        if _is_for_anybody(one)
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(one["Action"]))
        and _holds(one.get("Condition", {}), context)
    }
    return None if effects == {"Allow"} else REFUSED


def _is_for_anybody(statement: Mapping[str, Any]) -> bool:
    principal = statement["Principal"]
    return "*" in _listed(principal["AWS"] if isinstance(principal, Mapping) else principal)


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Whether all of a condition holds. Raises KeyError for an operator that is not modelled."""
    values = {key.lower(): value for key, value in context.items()}
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            said = [_OPERATORS[operator](values.get(key.lower()), str(one)) for one in _listed(wanted)]
            if not (all(said) if operator in _OF_ALL else any(said)):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
