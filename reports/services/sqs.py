"""Amazon SQS."""

from __future__ import annotations

from collections.abc import Mapping

from reports.account import Account, Held
from reports.aws_type import AwsType, ByTags
from reports.aws_type.listing import listing
from reports.aws_type.pricing import by_use, free
from reports.aws_type.steps import by_command


def _tags(account: Account, held: Held) -> Mapping[str, str]:
    return account.client("sqs").list_queue_tags(QueueUrl=held.id).get("Tags", {})


TYPES = (
    AwsType(
        type="aws:sqs/queue:Queue",
        listing=listing("sqs", "list_queues", "QueueUrls", "", _tags, "ListQueueTags"),
        remove=by_command("sqs", "delete-queue", "--queue-url"),
        after=("eks clusters", "events Rules"),
        lookup=ByTags(input="name"),
        bill=by_use("https://aws.amazon.com/sqs/pricing/: by request"),
    ),
    AwsType(
        type="aws:sqs/queuePolicy:QueuePolicy",
        id="{queueUrl}",
        bill=free("https://aws.amazon.com/sqs/pricing/: a part of the queue"),
    ),
)
