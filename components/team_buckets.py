"""What a team's notebooks reach of Amazon S3: a role with the team's prefixes alone, by EKS Pod Identity."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components import pod_identity
from components.team_names import NOTEBOOK_SERVICE_ACCOUNT

if TYPE_CHECKING:
    from settings.teams import Buckets

# terraform-provider-aws, aws_iam_role: name_prefix has 38 characters at most, as 26 come on top.
_ROLE_PREFIX_LIMIT = 38

_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


@dataclass(frozen=True, kw_only=True)
class TeamBucketsArgs:
    """Whose notebooks, in which namespace of which cluster, reach which prefixes."""

    team: str
    namespace: str
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    cluster_label: str
    """The cluster's name as the stack file has it: the role's begins with it."""
    partition: pulumi.Input[str]
    buckets: Buckets


class TeamBuckets(pulumi.ComponentResource):
    """The role of the service account `notebook` of a team. Pods that come later have it; those before do not."""

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: TeamBucketsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamBuckets", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            name,
            name_prefix=f"{args.cluster_label}-{args.team}"[: _ROLE_PREFIX_LIMIT - 1] + "-",
            description=f"Notebooks of the team {args.team}",
            assume_role_policy=pulumi.Output.from_input(args.cluster_arn).apply(
                lambda cluster_arn: pod_identity.trust_policy(cluster_arn, args.namespace, NOTEBOOK_SERVICE_ACCOUNT)
            ),
            opts=child,
        )
        permission = aws.iam.RolePolicy(
            name,
            role=role.name,
            policy=pulumi.Output.from_input(args.partition).apply(
                lambda partition: buckets_policy(partition, args.buckets)
            ),
            opts=child,
        )
        aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster_name,
            namespace=args.namespace,
            service_account=NOTEBOOK_SERVICE_ACCOUNT,
            role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[permission]),
        )
        self.role_arn = role.arn
        self.register_outputs({"role_arn": self.role_arn})


def buckets_policy(partition: str, buckets: Buckets) -> str:
    """What the role may do: read the objects of all its prefixes, write those of some, list what begins with them.

    Objects that are encrypted with a KMS key of their owner need its key policy to name the role.
    """
    everything = [*dict.fromkeys((*buckets.read, *buckets.write))]
    statements: list[dict[str, Any]] = [
        {"Sid": "Read", "Effect": "Allow", "Action": [*_READ], "Resource": _objects(partition, everything)}
    ]
    if buckets.write:
        statements.append(
            {"Sid": "Write", "Effect": "Allow", "Action": [*_WRITE], "Resource": _objects(partition, buckets.write)}
        )
    buckets_of = {f"arn:{partition}:s3:::{bucket}": within for bucket, within in _by_bucket(everything).items()}
    statements.append(
        {"Sid": "Find", "Effect": "Allow", "Action": "s3:GetBucketLocation", "Resource": sorted(buckets_of)}
    )
    statements += [_listing(arn, within) for arn, within in sorted(buckets_of.items())]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _objects(partition: str, prefixes: Iterable[str]) -> list[str]:
    return [f"arn:{partition}:s3:::{prefix.removeprefix('s3://')}*" for prefix in prefixes]


def _by_bucket(prefixes: Iterable[str]) -> dict[str, list[str]]:
    """Prefixes without their bucket, by bucket."""
    found: dict[str, list[str]] = {}
    for prefix in prefixes:
        bucket, _, within = prefix.removeprefix("s3://").partition("/")
        found.setdefault(bucket, []).append(within)
    return found


def _listing(bucket_arn: str, prefixes: list[str]) -> dict[str, Any]:
    """What lies below the prefixes; all of a bucket that is named whole."""
    listing: dict[str, Any] = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn}
    if "" not in prefixes:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}}
    return listing
