"""What moto gets wrong about buckets: conditions of their policies, and deleting a name's last version.

moto ignores conditions, so for it a denial of plain HTTP denies everything. A rehearsal has no TLS. So statements that
deny only on the condition `aws:SecureTransport` are left out; all others count as in moto.
"""

from __future__ import annotations

import json
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket, FakeDeleteMarker


def permission(bucket: FakeBucket, action: str, resource: str) -> Any:
    """Whether the bucket's policy permits an action on a resource."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    counting = [statement for statement in statements if not _only_requires_tls(statement)]
    if not counting:
        return PermissionResult.NEUTRAL
    return IAMPolicy(json.dumps({**policy, "Statement": counting})).is_action_permitted(action, resource)


def _only_requires_tls(statement: dict[str, Any]) -> bool:
    return statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}


def install() -> None:
    """Replaces moto's functions with these."""
    FakeBucket.get_permission = permission  # type: ignore[method-assign]
    # moto frees the content of a version, but a delete marker, which may be a name's last version, has none.
    FakeDeleteMarker.dispose = lambda self, garbage=False: None  # type: ignore[attr-defined]
