"""EventBridge: rules and their targets."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request

_LONGEST_PATTERN = 4096
_SCHEDULE = re.compile(r"(rate|cron)\(.+\)")
_TARGET_ID = re.compile(r"[.\w-]{1,64}")
_ARN = re.compile(r"arn:[^:]+:[^:]+:[^:]*:[^:]*:.+")
_OF_TARGET = frozenset(
    {
        "arn", "deadLetterConfig", "input", "inputPath", "inputTransformer", "retryPolicy", "roleArn", "sqsTarget",
        "targetId",
    }
)  # fmt: skip


class EventRule(DescribedResource):
    """A rule on an event bus: by pattern, by schedule, or both."""

    token = "aws:cloudwatch/eventRule:EventRule"
    force_new = frozenset({"name", "namePrefix", "eventBusName"})
    defaults = {"eventBusName": "default", "forceDestroy": False}
    choices = {"state": ("ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS")}
    at_most_one = (("isEnabled", "state"),)
    longest_name = 64
    name_pattern = r"[.\w-]+"
    documents = frozenset({"eventPattern"})
    service, id_form = "events", "{name}"
    create_call = Call("put_rule", "name eventBusName eventPattern scheduleExpression description roleArn state tags")
    read_call = Call("describe_rule", "name eventBusName")
    outputs = fields(
        "arn eventPattern scheduleExpression description roleArn state",
        eventBusName="EventBusName || 'default'",
        isEnabled="State!='DISABLED'",
    )
    read_tags_call = Call("list_tags_for_resource", ResourceARN="{arn}")
    delete_call = Call("delete_rule", "name eventBusName", Force="{forceDestroy || `false`}")
    tag_call = Call("tag_resource", ResourceARN="{arn}", Tags="{tags}")
    untag_call = Call("untag_resource", ResourceARN="{arn}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if not inputs.keys() & {"eventPattern", "scheduleExpression"}:
            yield Refused("one of eventPattern, scheduleExpression must be specified", "eventPattern")
        yield from _pattern_problems(known(inputs.get("eventPattern")))
        schedule = known(inputs.get("scheduleExpression"))
        if schedule is not None and not _SCHEDULE.fullmatch(schedule):
            yield Refused(f"{schedule} is not a schedule: write rate(...) or cron(...)", "scheduleExpression")

    def given(self, inputs: Properties) -> Properties:
        enabled = "ENABLED" if inputs.get("isEnabled", True) else "DISABLED"
        return {"state": enabled, **super().given(inputs)}

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        return _joined(inputs["eventBusName"], super().make(cloud, inputs, request))

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        bus, name = _split(id)
        return super().live(cloud, name, {**olds, "eventBusName": bus})

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        super().change(cloud, _split(id)[1], {**inputs, "tagsAll": None}, olds, changed=changed, request=request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        bus, name = _split(id)
        super().remove(cloud, name, {**olds, "eventBusName": bus}, request)


def _pattern_problems(text: str | None) -> Iterator[Refused]:
    """Checks the grammar of EventBridge: a non-empty object whose leaves are non-empty lists."""
    if text is None:
        return
    try:
        pattern = json.loads(text)
    except ValueError as error:
        yield Refused(f"event pattern is not valid JSON: {error}", "eventPattern")
        return
    if len(text) > _LONGEST_PATTERN:
        yield Refused(f"an event pattern has at most {_LONGEST_PATTERN} characters", "eventPattern")
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


class EventTarget(DescribedResource):
    """Where a rule's events go."""

    token = "aws:cloudwatch/eventTarget:EventTarget"
    force_new = frozenset({"rule", "eventBusName", "targetId"})
    defaults = {"eventBusName": "default", "forceDestroy": False}
    at_most_one = (("input", "inputPath", "inputTransformer"),)
    service = "events"
    api_names = {"targetId": "Id", "sqsTarget": "SqsParameters", "inputPaths": "InputPathsMap"}
    read_call, found = Call("list_targets_by_rule", "rule eventBusName"), "Targets[?Id=='{targetId}'] | [0]"
    outputs = fields("targetId arn roleArn input inputPath")
    delete_call = Call("remove_targets", "rule eventBusName", Ids=["{targetId}"])

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in inputs:
            if name.endswith(("Target", "Targets")) and name != "sqsTarget":
                yield Refused(f"the rehearsal's aws provider does not support {name}", name)
        target, arn = known(inputs.get("targetId")), known(inputs.get("arn"))
        if target is not None and not _TARGET_ID.fullmatch(target):
            yield Refused(
                f"targetId {target} must have 1 to 64 letters, digits, dots, dashes and underscores", "targetId"
            )
        if arn is not None and not _ARN.fullmatch(arn):
            yield Refused(f"arn ({arn}) is an invalid ARN", "arn")
        if arn is not None and arn.endswith(".fifo") and "sqsTarget" not in inputs:
            yield Refused("a FIFO queue needs sqsTarget with a messageGroupId", "sqsTarget")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        target = inputs.get("targetId") or f"pulumi-{uuid.uuid4().hex}"
        self._put(cloud, {**inputs, "targetId": target})
        return f"{_joined(inputs['eventBusName'], inputs['rule'])}-{target}"

    def _put(self, cloud: Cloud, inputs: Properties) -> None:
        target = {name: value for name, value in inputs.items() if name in _OF_TARGET and value}
        answer = self.answer(Call("put_targets", "rule eventBusName targets"), cloud, {**inputs, "targets": [target]})
        for failed in answer.get("FailedEntries", []):
            raise Refused(f"PutTargets: {failed['ErrorMessage']} ({failed['ErrorCode']})")

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        target = id.removeprefix(f"{_joined(olds['eventBusName'], olds['rule'])}-")
        live = super().live(cloud, id, {**olds, "targetId": target})
        return live and {"rule": olds["rule"], "eventBusName": olds["eventBusName"], **live}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self._put(cloud, {**inputs, "targetId": olds["targetId"]})


def _joined(bus: str, rule: str) -> str:
    """The id of a rule: its name, after `BUS/` if the bus is not the default one."""
    return rule if bus == "default" else f"{bus}/{rule}"


def _split(id: str) -> tuple[str, str]:
    bus, slash, name = id.rpartition("/")
    return (bus, name) if slash else ("default", name)
