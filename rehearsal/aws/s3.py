"""What moto gets wrong of buckets: conditions of their policies, and the end of a name whose last version is deleted.

It reads no conditions, and so takes a denial of plain HTTP for one of everything. Here there is no TLS to ask for.
Statements that deny on the condition `aws:SecureTransport` alone are left out; all others count as moto counts them.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket, FakeDeleteMarker


def permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    """What the bucket's policy says of an action on a resource."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    said = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    counting = [one for one in said if not _asks_for_tls(one)]
    if not counting:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps({**policy, "Statement": counting})).is_action_permitted(action, resource)


def _asks_for_tls(statement: dict[str, Any]) -> bool:
    return statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}


def install() -> None:
    """Puts this in the place of moto's."""
    FakeBucket.get_permission = permission  # type: ignore[method-assign]
    # moto frees what a version holds in memory; a delete marker, which may be a name's last version, holds nothing.
    FakeDeleteMarker.dispose = lambda self, garbage=False: None  # type: ignore[attr-defined]
