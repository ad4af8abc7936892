"""What all buckets of the platform share: they are private, and every access needs TLS."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_aws as aws


def blocked_public_access(
    name: str, bucket: aws.s3.Bucket, opts: pulumi.ResourceOptions
) -> aws.s3.BucketPublicAccessBlock:
    """Keeps a bucket private, whatever its policy or access lists say."""
    return aws.s3.BucketPublicAccessBlock(
        name,
        bucket=bucket.id,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=opts,
    )


def deny_http(bucket_arn: str) -> dict[str, Any]:
    """The policy statement that refuses every access to a bucket without TLS."""
    return {
        "Sid": "DenyHTTP",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, f"{bucket_arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
