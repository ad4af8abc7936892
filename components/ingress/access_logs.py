"""The bucket of the load balancer's access logs: private, encrypted, with old logs deleted."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.iam import policy_document
from components.storage.bucket_access import blocked_public_access, deny_http

# "Enable access logs for your Application Load Balancer", Elastic Load Balancing user guide.
LOG_DELIVERY = "logdelivery.elasticloadbalancing.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class AccessLogsArgs:
    """`retention_days` is the age at which a log is deleted.

    `protect` keeps Pulumi from deleting the bucket; without it, the bucket is deleted with its logs.
    """

    account_id: pulumi.Input[str]
    retention_days: int
    protect: bool = False


class AccessLogs(pulumi.ComponentResource):
    """A bucket into which the account's load balancers may write. Encrypted with S3's keys: they support no others."""

    bucket_name: pulumi.Output[str]
    """The bucket's name, once load balancers may write to it."""

    def __init__(self, name: str, args: AccessLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:AccessLogs", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        bucket = aws.s3.Bucket(
            name,
            force_destroy=not args.protect,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        blocked = blocked_public_access(name, bucket, child)
        aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=bucket.id,
            rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=bucket.id,
            rules=[
                {
                    "id": "retention",
                    "status": "Enabled",
                    "filter": {},
                    "expiration": {"days": args.retention_days},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
                }
            ],
            opts=child,
        )
        policy = aws.s3.BucketPolicy(
            name,
            bucket=bucket.id,
            policy=pulumi.Output.all(bucket_arn=bucket.arn, account_id=args.account_id).apply(
                lambda known: access_logs_policy(**known)
            ),
            # S3 accepts only one change of a bucket's access at a time.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[blocked]),
        )

        self.bucket_name = policy.bucket
        self.register_outputs({"bucket_name": self.bucket_name})


def access_logs_policy(bucket_arn: str, account_id: str) -> str:
    """Who may use the bucket: the account's load balancers write logs, and every access needs TLS."""
    return policy_document(
        {
            "Sid": "AllowLogDelivery",
            "Effect": "Allow",
            "Principal": {"Service": LOG_DELIVERY},
            "Action": "s3:PutObject",
            "Resource": f"{bucket_arn}/AWSLogs/{account_id}/*",
        },
        deny_http(bucket_arn),
    )
