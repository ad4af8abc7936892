"""IAM policy documents, and trust policies for AWS services."""

from __future__ import annotations

import json
from typing import Any

Statement = dict[str, Any]


def policy_document(*statements: Statement) -> str:
    """An IAM policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def service_trust_policy(service: str, **condition: Any) -> str:
    """Lets an AWS service assume a role; `condition` maps operators to their keys and values."""
    allowed: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return policy_document({**allowed, "Condition": condition} if condition else allowed)
