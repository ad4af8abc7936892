"""Amazon S3."""

from __future__ import annotations

from collections.abc import Mapping

from reports.account import Account, Held, tag_map
from reports.aws_type import AwsType
from reports.aws_type.listing import listing
from reports.aws_type.pricing import by_use, free
from reports.aws_type.steps import Emptied, Steps

_BY_USE = by_use("https://aws.amazon.com/s3/pricing/: by GB-month and request")
_PART = free("https://aws.amazon.com/s3/pricing/: a part of the bucket")


def _tags(account: Account, held: Held) -> Mapping[str, str]:
    client = account.client("s3")
    try:
        return tag_map(client.get_bucket_tagging(Bucket=held.id)["TagSet"])
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return {}
        raise


def _remove_bucket(account: Account, held: Held) -> Steps:
    if "Status" in account.client("s3").get_bucket_versioning(Bucket=held.id):
        yield Emptied(held.id)
    yield ["aws", "s3", "rb", f"s3://{held.id}", "--force"]


TYPES = (
    AwsType(
        type="aws:s3/bucket:Bucket",
        listing=listing("s3", "list_buckets", "Buckets", "Name", _tags, "GetBucketTagging"),
        remove=_remove_bucket,
        # These write to buckets.
        after=("ec2 FlowLogs", "eks clusters", "elbv2 LoadBalancers"),
        actions=("s3:GetBucketVersioning",),
        id="{bucket}",
        bill=_BY_USE,
    ),
    AwsType(type="aws:s3/bucketV2:BucketV2", bill=_BY_USE),
    AwsType(type="aws:s3/bucketOwnershipControls:BucketOwnershipControls", bill=_PART),
    AwsType(type="aws:s3/bucketPolicy:BucketPolicy", id="{bucket}", bill=_PART),
    *(
        AwsType(type=type_, if_made_again="accepted", bill=_PART)
        for type_ in (
            "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            "aws:s3/bucketVersioning:BucketVersioning",
        )
    ),
)
