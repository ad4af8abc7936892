"""What the policies of all buckets of the platform say."""

from __future__ import annotations

from typing import Any


def deny_http(bucket_arn: str) -> dict[str, Any]:
    """The statement by which nobody reaches a bucket without TLS."""
    return {
        "Sid": "DenyHTTP",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
