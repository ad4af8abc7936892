"""What a team's notebooks reach in Amazon S3: a role for only the team's prefixes, through EKS Pod Identity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pulumi

from components.ground.pod_identity import PodRoleArgs, pod_role
from components.iam import policy_document
from components.teams.names import NOTEBOOK_SERVICE_ACCOUNT

if TYPE_CHECKING:
    from settings.people.teams import Buckets

# terraform-provider-aws, aws_iam_role: name_prefix has 38 characters at most, because the provider adds 26.
_ROLE_PREFIX_LIMIT = 38

_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


class BucketAccess(Protocol):
    """How a ground lets a team's notebooks reach buckets."""

    def open(self, name: str, team: str, namespace: str, buckets: Buckets, opts: pulumi.ResourceOptions) -> None:
        """Opens `buckets` to the service account `notebook` in `namespace`; `name` is that of what is made for it."""
        ...


@dataclass(frozen=True, kw_only=True)
class TeamBucketsArgs:
    """Whose notebooks, in which namespace of which cluster, reach which prefixes."""

    team: str
    namespace: str
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    cluster_label: str
    """The cluster's name in the stack file; the role's name begins with it."""
    partition: pulumi.Input[str]
    buckets: Buckets


class TeamBuckets(pulumi.ComponentResource):
    """The role of the service account `notebook` of a team. Only pods that start later get it."""

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: TeamBucketsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamBuckets", name, None, opts)
        notebooks = pod_role(
            name,
            PodRoleArgs(
                cluster_name=args.cluster_name,
                cluster_arn=args.cluster_arn,
                namespace=args.namespace,
                service_account=NOTEBOOK_SERVICE_ACCOUNT,
                description=f"Notebooks of the team {args.team}",
                policy=pulumi.Output.from_input(args.partition).apply(
                    lambda partition: buckets_policy(partition, args.buckets)
                ),
                name_prefix=f"{args.cluster_label}-{args.team}"[: _ROLE_PREFIX_LIMIT - 1] + "-",
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.role_arn = notebooks.role.arn
        self.register_outputs({"role_arn": self.role_arn})


@dataclass(frozen=True, kw_only=True)
class PodIdentityBuckets:
    """Access by a role for each team: Amazon S3 by EKS Pod Identity. Fields are those of `TeamBucketsArgs`."""

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    cluster_label: str
    partition: pulumi.Input[str]

    def open(self, name: str, team: str, namespace: str, buckets: Buckets, opts: pulumi.ResourceOptions) -> None:
        """Makes the team's role."""
        args = TeamBucketsArgs(
            team=team,
            namespace=namespace,
            cluster_name=self.cluster_name,
            cluster_arn=self.cluster_arn,
            cluster_label=self.cluster_label,
            partition=self.partition,
            buckets=buckets,
        )
        TeamBuckets(name, args, opts=opts)


def buckets_policy(partition: str, buckets: Buckets) -> str:
    """What the role may do: read the objects below all its prefixes, write below some of them, and list them.

    If objects are encrypted with their owner's KMS key, its key policy must name the role.
    """
    everything = prefixes(buckets)
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
    return policy_document(*statements)


def prefixes(buckets: Buckets) -> list[str]:
    """All prefixes that the role reaches, without duplicates: `s3://bucket/prefix/`."""
    return [*dict.fromkeys((*buckets.read, *buckets.write))]


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
    """The statement that lists what is below the prefixes; the whole bucket if one of them is empty."""
    listing: dict[str, Any] = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn}
    if "" not in prefixes:
        listing["Condition"] = {"StringLike": {"s3:prefix": [f"{prefix}*" for prefix in prefixes]}}
    return listing
