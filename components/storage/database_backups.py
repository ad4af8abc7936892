"""Where CloudNativePG keeps backups of a database: a bucket, and a role that only the servers have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.ground.pod_identity import PodRoleArgs, pod_role
from components.iam import policy_document
from components.storage.bucket_access import blocked_public_access, deny_http
from settings.language.schedules import longest_gap
from settings.people.identity import BACKUPS_TAG

# Days that deleted or overwritten objects can be restored: the servers may delete objects, but not their versions.
DELETED_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class DatabaseBackupsArgs:
    """Which database servers are backed up, how long backups are kept, and with which key they are encrypted.

    `schedule` is a cron expression of five fields in UTC, for full backups. The log of changes (WAL) is saved
    continuously, so any second of the last `retention_days` can be restored. `key_arn` is a KMS key. With `retain`, a
    destroy keeps the bucket with its settings; otherwise it deletes the bucket with its content. `protect` keeps Pulumi
    from deleting it.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    namespace: str
    region: str
    key_arn: pulumi.Input[str]
    schedule: str
    retention_days: int
    retain: bool = False
    protect: bool = False


class DatabaseBackups(pulumi.ComponentResource):
    """A private, encrypted bucket with versions, and the role with which one service account reads and writes there.

    `ready` is what must exist before a server starts: EKS gives the role's credentials only to pods that start later.
    """

    bucket_name: pulumi.Output[str]
    ready: list[pulumi.Resource]

    def __init__(
        self,
        name: str,
        args: DatabaseBackupsArgs,
        opts: pulumi.ResourceOptions | None = None,
        *,
        database: str,
        service_account: str,
    ) -> None:
        super().__init__("gpulab:index:DatabaseBackups", name, None, opts)
        # A bucket that a destroy keeps must stay private and encrypted, and keep its expiry rules.
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=args.retain)
        bucket = aws.s3.Bucket(
            name,
            force_destroy=not args.protect,
            tags={"Name": name, BACKUPS_TAG: database},
            opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(protect=args.protect)),
        )
        settings = self._settings(name, args, bucket, kept)
        servers = pod_role(
            name,
            PodRoleArgs(
                cluster_name=args.cluster_name,
                cluster_arn=args.cluster_arn,
                namespace=args.namespace,
                service_account=service_account,
                description=f"Servers of the database {database}, for its backups",
                policy=pulumi.Output.all(bucket_arn=bucket.arn, key_arn=args.key_arn).apply(
                    lambda known: backups_policy(**known)
                ),
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket_name = bucket.id
        self.ready = [*settings, servers.association]
        self.register_outputs({"bucket_name": self.bucket_name})

    @staticmethod
    def _settings(
        name: str, args: DatabaseBackupsArgs, bucket: aws.s3.Bucket, opts: pulumi.ResourceOptions
    ) -> Sequence[pulumi.Resource]:
        """Makes all settings of the bucket."""
        blocked = blocked_public_access(name, bucket, opts)
        versions = aws.s3.BucketVersioning(
            name, bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=opts
        )
        return [
            versions,
            aws.s3.BucketServerSideEncryptionConfiguration(
                name,
                bucket=bucket.id,
                rules=[
                    {
                        "apply_server_side_encryption_by_default": {
                            "sse_algorithm": "aws:kms",
                            "kms_master_key_id": args.key_arn,
                        },
                        "bucket_key_enabled": True,
                    }
                ],
                opts=opts,
            ),
            aws.s3.BucketLifecycleConfiguration(
                name,
                bucket=bucket.id,
                rules=[lifecycle_rule(args.retention_days, args.schedule)],
                # The provider's documentation asks for versioning before rules about versions.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[versions])),
            ),
            aws.s3.BucketPolicy(
                name,
                bucket=bucket.id,
                policy=bucket.arn.apply(tls_policy),
                # S3 accepts only one change of a bucket's access at a time.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[blocked])),
            ),
        ]


def lifecycle_rule(retention_days: int, schedule: str) -> aws.s3.BucketLifecycleConfigurationRuleArgsDict:
    """When S3 deletes what CloudNativePG did not delete: once no restore in the last `retention_days` can need it.

    CloudNativePG applies its own retention policy after each backup. A restore begins with a full backup, which may be
    older by the schedule's longest gap. Source: "S3 lifecycle policy" in its docs (appendixes/object_stores.md).
    """
    return {
        "id": "retention",
        "status": "Enabled",
        "filter": {},
        "expiration": {"days": retention_days + longest_gap(schedule) + DELETED_DAYS},
        "noncurrent_version_expiration": {"noncurrent_days": DELETED_DAYS},
        "abort_incomplete_multipart_upload": {"days_after_initiation": 1},
    }


def backups_policy(bucket_arn: str, key_arn: str) -> str:
    """What the servers may do: read, write and delete objects of the bucket, with its key. They cannot delete versions.

    A bucket with a bucket key has its own ARN as the encryption context ("Reducing the cost of SSE-KMS with Amazon S3
    Bucket Keys", S3 user guide).
    """
    return policy_document(
        {
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": bucket_arn,
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            "Resource": f"{bucket_arn}/*",
        },
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": key_arn,
            "Condition": {"StringEquals": {"kms:EncryptionContext:aws:s3:arn": bucket_arn}},
        },
    )


def tls_policy(bucket_arn: str) -> str:
    """The bucket's policy, which only requires TLS: the servers' role decides who has access."""
    return policy_document(deny_http(bucket_arn))
