"""Whether EFS lets a node mount a volume: the EFS CSI driver uses TLS and a mount target, and no IAM identity.

IAM decides for an anonymous principal ("Policy evaluation logic", IAM user guide): nothing is allowed without an Allow,
and a Deny wins. The driver's volume handles are FILE_SYSTEM, FILE_SYSTEM:PATH and FILE_SYSTEM::ACCESS_POINT (its
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
# With several values, one must hold; of the operators with "Not", all must hold.
_OF_ALL = ("StringNotEquals", "StringNotLike")


def refusal(policy: str | None, handle: str, access_points: Mapping[str, str], action: str = MOUNT) -> str | None:
    """The NFS client's error when the mount of a volume is refused; None if it is admitted.

    `policy` is the file system's, or None if it has no policy, which admits everybody. `access_points` has the ARNs of
    the existing ones, by id.
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
        statement["Effect"]
        for statement in (statements if isinstance(statements, list) else [statements])
        if _is_for_anybody(statement)
        and any(fnmatchcase(action.lower(), pattern.lower()) for pattern in _listed(statement["Action"]))
        and _holds(statement.get("Condition", {}), context)
    }
    return None if effects == {"Allow"} else REFUSED


def _is_for_anybody(statement: Mapping[str, Any]) -> bool:
    principal = statement["Principal"]
    return "*" in _listed(principal["AWS"] if isinstance(principal, Mapping) else principal)


def _holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """Whether the whole condition holds. Raises KeyError for an operator that is not modelled."""
    values = {key.lower(): value for key, value in context.items()}
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            matches = [_OPERATORS[operator](values.get(key.lower()), str(item)) for item in _listed(wanted)]
            if not (all(matches) if operator in _OF_ALL else any(matches)):
                return False
    return True


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
