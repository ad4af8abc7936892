"""Where CloudNativePG keeps backups of a database: a bucket, and a role for the servers alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components import pod_identity
from components.bucket_access import blocked_public_access, deny_http
from components.keycloak import NAMESPACE
from settings.identity import BACKUPS_TAG
from settings.schedules import longest_gap

if TYPE_CHECKING:
    from components.cluster import Cluster
    from components.storage import Storage
    from settings import Settings

# Days that what was deleted or written over can still be had: the servers may delete objects, but no version of them.
DELETED_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class DatabaseBackupsArgs:
    """Whose servers there are backups of, how long these are kept, and what encrypts them.

    `schedule` is a cron expression of five fields in UTC, for whole backups; the log of changes (WAL) is kept all the
    time, so that any second of the last `retention_days` can be restored. `key_arn` is a KMS key. With `retain` a
    destroy keeps the bucket with all that is set on it; else it goes with what is in it, but for `protect`, which keeps
    it from being deleted.
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
    """A private, encrypted bucket with versions, and the role of one service account that reads and writes there.

    `ready` is what a server needs before it starts: EKS gives the role's credentials to pods that come later.
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
        child = pulumi.ResourceOptions(parent=self)
        # A bucket that a destroy keeps stays private, encrypted, and emptied by age.
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=args.retain)
        bucket = aws.s3.Bucket(
            name,
            force_destroy=not args.protect,
            tags={"Name": name, BACKUPS_TAG: database},
            opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(protect=args.protect)),
        )
        settings = self._settings(name, args, bucket, kept)
        role = aws.iam.Role(
            name,
            description=f"Servers of the database {database}, for its backups",
            assume_role_policy=pulumi.Output.from_input(args.cluster_arn).apply(
                lambda cluster_arn: pod_identity.trust_policy(cluster_arn, args.namespace, service_account)
            ),
            opts=child,
        )
        permission = aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=pulumi.Output.all(bucket_arn=bucket.arn, key_arn=args.key_arn).apply(
                lambda known: backups_policy(**known)
            ),
            opts=child,
        )
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster_name,
            namespace=args.namespace,
            service_account=service_account,
            role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
        self.bucket_name = bucket.id
        self.ready = [*settings, association]
        self.register_outputs({"bucket_name": self.bucket_name})

    @staticmethod
    def _settings(
        name: str, args: DatabaseBackupsArgs, bucket: aws.s3.Bucket, opts: pulumi.ResourceOptions
    ) -> Sequence[pulumi.Resource]:
        """All that is set on the bucket."""
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
                # Rules about versions come after these, as the provider's documentation asks.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[versions])),
            ),
            aws.s3.BucketPolicy(
                name,
                bucket=bucket.id,
                policy=bucket.arn.apply(tls_policy),
                # S3 carries out one change of a bucket's access at a time.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[blocked])),
            ),
        ]


def database_backups(settings: Settings, cluster: Cluster, storage: Storage) -> DatabaseBackupsArgs | None:
    """Backups of Keycloak's database where it is in the cluster; RDS has its own."""
    in_cluster = settings.identity and settings.identity.database.kind == "cloudnative-pg"
    if not (in_cluster and settings.storage.backup.enabled):
        return None
    return DatabaseBackupsArgs(
        cluster_name=cluster.cluster_name,
        cluster_arn=cluster.cluster_arn,
        namespace=NAMESPACE,
        region=settings.region,
        key_arn=storage.key_arn,
        schedule=settings.storage.backup.schedule,
        retention_days=settings.storage.backup.retention_days,
        retain=settings.storage.retain,
        protect=settings.lifecycle.protects,
    )


def lifecycle_rule(retention_days: int, schedule: str) -> aws.s3.BucketLifecycleConfigurationRuleArgsDict:
    """When S3 deletes what CloudNativePG did not: after all that a restore in the last `retention_days` could need.

    CloudNativePG deletes by its own retention policy, after each backup. A restore begins with a backup that may be as
    old as the schedule's longest gap. Source: "S3 lifecycle policy" in its docs (appendixes/object_stores.md).
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
    """What the servers may do: read, write and delete objects of the bucket, with its key. No version can be deleted.

    The encryption context of a bucket that uses its key for all objects is its ARN ("Reducing the cost of SSE-KMS with
    Amazon S3 Bucket Keys", S3 user guide).
    """
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
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
            ],
        }
    )


def tls_policy(bucket_arn: str) -> str:
    """The bucket's policy: its role says who reaches it, and this that nobody does without TLS."""
    return json.dumps({"Version": "2012-10-17", "Statement": [deny_http(bucket_arn)]})
