"""Where the stacks' states lie: a bucket that nobody else reads, and the key of what is secret in them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

# A state that a mistake overwrote can be fetched back for so long.
OLD_VERSIONS_DAYS = 365
KEY_DELETION_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class StateStoreArgs:
    """With `protect` Pulumi deletes neither bucket nor key; without it the bucket goes with all states in it."""

    account_id: pulumi.Input[str]
    partition: pulumi.Input[str]
    protect: bool


class StateStore(pulumi.ComponentResource):
    """A versioned, encrypted, private bucket, reached by TLS alone, and a key that is rotated every year."""

    bucket_name: pulumi.Output[str]
    bucket_arn: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    alias: pulumi.Output[str]
    """The key's alias, `alias/NAME`."""

    def __init__(self, name: str, args: StateStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:StateStore", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        kept = pulumi.ResourceOptions(parent=self, protect=args.protect)

        key = aws.kms.Key(
            name,
            description="States of gpulab's stacks, and the secrets in them",
            enable_key_rotation=True,
            deletion_window_in_days=KEY_DELETION_DAYS,
            policy=pulumi.Output.all(partition=args.partition, account_id=args.account_id).apply(
                lambda known: key_policy(**known)
            ),
            tags={"Name": name},
            opts=kept,
        )
        alias = aws.kms.Alias(name, name=f"alias/{name}", target_key_id=key.key_id, opts=child)

        bucket = aws.s3.Bucket(name, force_destroy=not args.protect, tags={"Name": name}, opts=kept)
        blocked = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        versioning = aws.s3.BucketVersioning(
            name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=child
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {
                        "sse_algorithm": "aws:kms",
                        "kms_master_key_id": key.arn,
                    },
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {},
                    "noncurrent_version_expiration": {"noncurrent_days": OLD_VERSIONS_DAYS},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                }
            ],
            # What is told of old versions is refused where there are none.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        policy = aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=bucket.arn.apply(bucket_policy),
            # S3 carries out one change of a bucket's access at a time.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[blocked]),
        )

        self.bucket_name = policy.bucket
        self.bucket_arn = bucket.arn
        self.key_arn = key.arn
        self.alias = alias.name
        self.register_outputs(
            {
                "bucket_name": self.bucket_name,
                "bucket_arn": self.bucket_arn,
                "key_arn": self.key_arn,
                "alias": self.alias,
            }
        )


def key_policy(partition: str, account_id: str) -> str:
    """The account administers the key by IAM (AWS KMS, "Default key policy"): so roles get it by their policies."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "AllowAccount",
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:{partition}:iam::{account_id}:root"},
                    "Action": "kms:*",
                    "Resource": "*",
                }
            ],
        }
    )


def bucket_policy(bucket_arn: str) -> str:
    """Nobody does anything without TLS."""
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "DenyHTTP",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [bucket_arn, f"{bucket_arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
    )
