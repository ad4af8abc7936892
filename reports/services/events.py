"""Amazon EventBridge. Pulumi has its types under `aws:cloudwatch`."""

from __future__ import annotations

from collections.abc import Iterator

from reports.account import Account, Held
from reports.aws_type import AwsType, Inputs
from reports.aws_type.listing import listing, tags_by_call
from reports.aws_type.pricing import free
from reports.aws_type.steps import Steps

_FREE = free("https://aws.amazon.com/eventbridge/pricing/: events of AWS services")


def _remove_rule(account: Account, held: Held) -> Steps:
    targets = [target["Id"] for target in account.pages("events", "list_targets_by_rule", "Targets", Rule=held.id)]
    force = ["--force"] if held.raw.get("ManagedBy") else []
    if targets:
        yield ["aws", "events", "remove-targets", "--rule", held.id, "--ids", *targets, *force]
    yield ["aws", "events", "delete-rule", "--name", held.id, *force]


def _targets(account: Account, inputs: Inputs) -> Iterator[str]:
    for target in account.client("events").list_targets_by_rule(Rule=inputs["rule"])["Targets"]:
        if target["Arn"] == inputs["arn"]:
            yield f"{inputs['rule']}-{target['Id']}"


TYPES = (
    AwsType(
        type="aws:cloudwatch/eventRule:EventRule",
        listing=listing(
            "events",
            "list_rules",
            "Rules",
            "Name",
            tags_by_call("list_tags_for_resource", "Tags", ResourceARN="Arn"),
            "ListTagsForResource",
        ),
        remove=_remove_rule,
        actions=("events:ListTargetsByRule",),
        id="{name}",
        bill=_FREE,
    ),
    AwsType(type="aws:cloudwatch/eventTarget:EventTarget", lookup=_targets, bill=_FREE),
)
