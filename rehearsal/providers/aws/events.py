"""EventBridge: rules and their targets."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, is_gone, refusal, tag_list, tag_map
from rehearsal.providers.serving import Properties, Refused, Request

_LONGEST_PATTERN = 4096
_SCHEDULE = re.compile(r"(rate|cron)\(.+\)")
_TARGET_ID = re.compile(r"[.\w-]{1,64}")
_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")


class EventRule(AwsResource):
    """A rule on an event bus: by pattern, by schedule, or both."""

    token = "aws:cloudwatch/eventRule:EventRule"
    force_new = frozenset({"name", "namePrefix", "eventBusName"})
    defaults = {"eventBusName": "default", "forceDestroy": False}
    choices = {"state": ("ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")}
    at_most_one = (("isEnabled", "state"),)
    longest_name = 64
    name_pattern = r"[.\w-]+"
    documents = frozenset({"eventPattern"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if not inputs.keys() & {"eventPattern", "scheduleExpression"}:
            yield Refused("one of eventPattern, scheduleExpression must be specified", "eventPattern")
        yield from _pattern_problems(known(inputs.get("eventPattern")))
        schedule = known(inputs.get("scheduleExpression"))
        if schedule is not None and not _SCHEDULE.fullmatch(schedule):
            yield Refused(f"{schedule} is no schedule: rate(...) or cron(...)", "scheduleExpression")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        self._put(cloud, name, inputs, Tags=tag_list(inputs.get("tagsAll")))
        return _joined(inputs["eventBusName"], name)

    @staticmethod
    def _put(cloud: Cloud, name: str, inputs: Properties, **more: Any) -> None:
        optional = {
            "EventPattern": inputs.get("eventPattern"),
            "ScheduleExpression": inputs.get("scheduleExpression"),
            "Description": inputs.get("description"),
            "RoleArn": inputs.get("roleArn"),
        }
        enabled = "ENABLED" if inputs.get("isEnabled", True) else "DISABLED"
        cloud.client("events").put_rule(
            Name=name,
            EventBusName=inputs["eventBusName"],
            State=inputs.get("state", enabled),
            **{key: value for key, value in optional.items() if value},
            **more,
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        bus, name = _split(id)
        rule = cloud.client("events").describe_rule(Name=name, EventBusName=bus)
        return {
            "arn": rule["Arn"],
            "name": name,
            "eventBusName": bus,
            "eventPattern": rule.get("EventPattern"),
            "scheduleExpression": rule.get("ScheduleExpression"),
            "description": rule.get("Description"),
            "roleArn": rule.get("RoleArn"),
            "state": rule["State"],
            "isEnabled": rule["State"] != "DISABLED",
            "tags": tag_map(cloud.client("events").list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self._put(cloud, _split(id)[1], inputs)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        events = cloud.client("events")
        if put:
            events.tag_resource(ResourceARN=olds["arn"], Tags=tag_list(put))
        if drop:
            events.untag_resource(ResourceARN=olds["arn"], TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        bus, name = _split(id)
        cloud.client("events").delete_rule(Name=name, EventBusName=bus, Force=bool(olds.get("forceDestroy")))


def _pattern_problems(text: str | None) -> Iterator[Refused]:
    """EventBridge's grammar: an object, not empty, whose leaves are lists of what matches, not empty."""
    if text is None:
        return
    try:
        pattern = json.loads(text)
    except ValueError as error:
        yield Refused(f"event pattern is not valid JSON: {error}", "eventPattern")
        return
    if len(text) > _LONGEST_PATTERN:
        yield Refused(f"an event pattern has {_LONGEST_PATTERN} characters at most", "eventPattern")
    if not isinstance(pattern, dict) or not pattern:
        yield Refused("event pattern is not valid: it must be an object with at least one field", "eventPattern")
        return
    yield from _field_problems(pattern, "")


def _field_problems(pattern: dict[str, Any], path: str) -> Iterator[Refused]:
    for key, value in pattern.items():
        where = f"{path}{key}"
        if isinstance(value, dict) and value:
            yield from _field_problems(value, f"{where}.")
        elif not isinstance(value, list) or not value:
            yield Refused(f"event pattern is not valid: {where} must be an object or a non-empty array", "eventPattern")


class EventTarget(AwsResource):
    """Where a rule's events go."""

    token = "aws:cloudwatch/eventTarget:EventTarget"
    force_new = frozenset({"rule", "eventBusName", "targetId"})
    defaults = {"eventBusName": "default", "forceDestroy": False}
    at_most_one = (("input", "inputPath", "inputTransformer"),)
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in inputs:
            if name.endswith(("Target", "Targets")) and name != "sqsTarget":
                yield Refused(f"the rehearsal's aws provider does not carry out {name}", name)
        target, arn = known(inputs.get("targetId")), known(inputs.get("arn"))
        if target is not None and not _TARGET_ID.fullmatch(target):
            yield Refused(f"targetId {target}: 1 to 64 letters, digits, dots, dashes and underscores", "targetId")
        if arn is not None and not _ARN.fullmatch(arn):
            yield Refused(f"arn ({arn}) is an invalid ARN", "arn")
        if arn is not None and arn.endswith(".fifo") and "sqsTarget" not in inputs:
            yield Refused("a FIFO queue needs sqsTarget with a messageGroupId", "sqsTarget")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        target = inputs.get("targetId") or f"pulumi-{uuid.uuid4().hex}"
        self._put(cloud, target, inputs)
        return f"{_joined(inputs['eventBusName'], inputs['rule'])}-{target}"

    @staticmethod
    def _put(cloud: Cloud, target: str, inputs: Properties) -> None:
        retry, dead = inputs.get("retryPolicy"), inputs.get("deadLetterConfig")
        transformer, sqs = inputs.get("inputTransformer"), inputs.get("sqsTarget")
        optional = {
            "RoleArn": inputs.get("roleArn"),
            "Input": inputs.get("input"),
            "InputPath": inputs.get("inputPath"),
            "DeadLetterConfig": {"Arn": dead["arn"]} if dead else None,
            "SqsParameters": {"MessageGroupId": sqs["messageGroupId"]} if sqs else None,
            "RetryPolicy": {f"{key[0].upper()}{key[1:]}": value for key, value in retry.items()} if retry else None,
            "InputTransformer": {
                "InputPathsMap": transformer.get("inputPaths", {}),
                "InputTemplate": transformer["inputTemplate"],
            }
            if transformer
            else None,
        }
        made = {"Id": target, "Arn": inputs["arn"], **{key: value for key, value in optional.items() if value}}
        answer = cloud.client("events").put_targets(
            Rule=inputs["rule"], EventBusName=inputs["eventBusName"], Targets=[made]
        )
        for failed in answer.get("FailedEntries", []):
            raise Refused(f"PutTargets: {failed['ErrorMessage']} ({failed['ErrorCode']})")

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        rule, bus = olds["rule"], olds["eventBusName"]
        target_id = id.removeprefix(f"{_joined(bus, rule)}-")
        targets = cloud.client("events").list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]
        target = next((one for one in targets if one["Id"] == target_id), None)
        if target is None:
            return None
        return {
            "rule": rule,
            "eventBusName": bus,
            "targetId": target_id,
            "arn": target["Arn"],
            "roleArn": target.get("RoleArn"),
            "input": target.get("Input"),
            "inputPath": target.get("InputPath"),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self._put(cloud, olds["targetId"], inputs)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        events = cloud.client("events")
        try:
            events.remove_targets(Rule=olds["rule"], EventBusName=olds["eventBusName"], Ids=[olds["targetId"]])
        except ClientError as error:
            if not is_gone(error):
                raise refusal(error) from error


def _joined(bus: str, rule: str) -> str:
    """A rule's id: its name, behind its bus's where that is not the default one."""
    return rule if bus == "default" else f"{bus}/{rule}"


def _split(id: str) -> tuple[str, str]:
    bus, slash, name = id.rpartition("/")
    return (bus, name) if slash else ("default", name)
