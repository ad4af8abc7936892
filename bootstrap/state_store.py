"""Where the stacks' states are stored: a private bucket, and the key that encrypts their secrets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import policy_document
from components.storage.bucket_access import deny_http

# Days in which a state that was overwritten by mistake can be restored.
OLD_VERSIONS_DAYS = 365
KEY_DELETION_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class StateStoreArgs:
    """With `protect`, Pulumi deletes neither bucket nor key. Without it, the bucket is deleted with all states."""

    account_id: pulumi.Input[str]
    partition: pulumi.Input[str]
    protect: bool


class StateStore(pulumi.ComponentResource):
    """A versioned, encrypted, private bucket that requires TLS, and a key that is rotated every year."""

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
            # S3 refuses rules about old versions before versioning is on.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        policy = aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=bucket.arn.apply(bucket_policy),
            # S3 accepts only one change of a bucket's access at a time.
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
    """Lets the account manage the key with IAM (AWS KMS, "Default key policy"), so roles' policies give access."""
    return policy_document(
        {
            "Sid": "AllowAccount",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account_id}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    )


def bucket_policy(bucket_arn: str) -> str:
    """The bucket's policy, which refuses every access without TLS."""
    return policy_document(deny_http(bucket_arn))
