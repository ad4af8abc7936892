"""Amazon CloudWatch Logs."""

from __future__ import annotations

from collections.abc import Mapping

from reports.account import Account, Held
from reports.aws_type import AwsType
from reports.aws_type.listing import listing
from reports.aws_type.pricing import by_use
from reports.aws_type.steps import by_command


def _tags(account: Account, held: Held) -> Mapping[str, str]:
    arn = held.raw["arn"].removesuffix(":*")
    return account.client("logs").list_tags_for_resource(resourceArn=arn)["tags"]


TYPES = (
    AwsType(
        type="aws:cloudwatch/logGroup:LogGroup",
        listing=listing("logs", "describe_log_groups", "logGroups", "logGroupName", _tags, "ListTagsForResource"),
        remove=by_command("logs", "delete-log-group", "--log-group-name"),
        # What writes to a log group makes it again.
        after=("ec2 FlowLogs", "eks clusters", "rds DBInstances"),
        id="{name}",
        bill=by_use("https://aws.amazon.com/cloudwatch/pricing/: by GB ingested and stored"),
    ),
)
