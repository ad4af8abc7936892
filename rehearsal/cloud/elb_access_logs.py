"""A load balancer's access logs: ELB writes a test object into the bucket before it accepts the bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.elbv2.exceptions import ELBClientError
from moto.s3.models import s3_backends

LOG_DELIVERY = "logdelivery.elasticloadbalancing.amazonaws.com"


def write_test_object(account: str, partition: str, bucket_name: str, prefix: str) -> None:
    """Writes the test object. Raises ELBClientError if the bucket's policy does not let load balancers write."""
    folder = f"{prefix}/AWSLogs/{account}" if prefix else f"AWSLogs/{account}"
    bucket = next((found for found in _buckets(account) if found.name == bucket_name), None)
    if bucket is None:
        raise ELBClientError("InvalidConfigurationRequest", f"S3 bucket '{bucket_name}' does not exist")
    if not _may_write(bucket.policy, f":{bucket_name}/{folder}/"):
        raise ELBClientError(
            "InvalidConfigurationRequest", f"Access Denied for bucket: {bucket_name}. Please check S3bucket permission"
        )
    s3_backends[account][partition].put_object(bucket_name, f"{folder}/ELBAccessLogTestFile", b"Enable AccessLog")


def _buckets(account: str) -> Iterator[Any]:
    for partition in s3_backends[account].values():
        yield from partition.buckets.values()


def _may_write(policy: Any, place: str) -> bool:
    """Whether a bucket's policy lets ELB's log delivery write below `place`."""
    if not policy:
        return False
    for statement in json.loads(policy)["Statement"]:
        principal = statement.get("Principal")
        services = principal.get("Service", []) if isinstance(principal, dict) else []
        actions = statement.get("Action", [])
        targets = statement.get("Resource", [])
        if (
            statement["Effect"] == "Allow"
            and LOG_DELIVERY in ([services] if isinstance(services, str) else services)
            and "s3:PutObject" in ([actions] if isinstance(actions, str) else actions)
            and any(place in f"{target}/" for target in ([targets] if isinstance(targets, str) else targets))
        ):
            return True
    return False
