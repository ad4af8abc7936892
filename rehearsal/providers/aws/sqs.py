"""SQS: queues and their policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.policies import resource_policy
from rehearsal.providers.serving import Properties, Refused, Request

_ATTRIBUTES: dict[str, str] = {
    "delaySeconds": "DelaySeconds",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "fifoQueue": "FifoQueue",
    "contentBasedDeduplication": "ContentBasedDeduplication",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "deduplicationScope": "DeduplicationScope",
    "fifoThroughputLimit": "FifoThroughputLimit",
    "policy": "Policy",
    "redrivePolicy": "RedrivePolicy",
    "redriveAllowPolicy": "RedriveAllowPolicy",
}
# What SQS says of a queue of the other kind, where it says nothing.
_ABSENT: Properties = {"fifoQueue": False, "contentBasedDeduplication": False, "kmsDataKeyReusePeriodSeconds": 300}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | int) else value


class Queue(AwsResource):
    """A queue. Times are in seconds, sizes in bytes."""

    token = "aws:sqs/queue:Queue"
    force_new = frozenset({"name", "namePrefix", "fifoQueue"})
    defaults = {
        "delaySeconds": 0,
        "maxMessageSize": 262144,
        "messageRetentionSeconds": 345600,
        "receiveWaitTimeSeconds": 0,
        "visibilityTimeoutSeconds": 30,
        "fifoQueue": False,
        "contentBasedDeduplication": False,
    }
    ranges = {
        "delaySeconds": (0, 900),
        "maxMessageSize": (1024, 1048576),
        "messageRetentionSeconds": (60, 1209600),
        "receiveWaitTimeSeconds": (0, 20),
        "visibilityTimeoutSeconds": (0, 43200),
        "kmsDataKeyReusePeriodSeconds": (60, 86400),
    }
    at_most_one = (("kmsMasterKeyId", "sqsManagedSseEnabled"),)
    longest_name = 80
    name_pattern = r"[A-Za-z0-9_-]+(\.fifo)?"
    documents = frozenset({"policy", "redrivePolicy", "redriveAllowPolicy"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")
        name, fifo = known(inputs.get("name")), known(inputs.get("fifoQueue"))
        if name is not None and fifo is not None and name.endswith(".fifo") != fifo:
            yield Refused(
                f"invalid queue name: {name}: the name of a FIFO queue, and of no other, ends with .fifo", "name"
            )
        if fifo is False and known(inputs.get("contentBasedDeduplication")):
            yield Refused("content-based deduplication can only be set for a FIFO queue", "contentBasedDeduplication")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        attributes = {_ATTRIBUTES[key]: _text(value) for key, value in inputs.items() if key in _ATTRIBUTES}
        if not inputs["fifoQueue"]:  # SQS refuses these attributes on a standard queue, even as false
            attributes = {key: value for key, value in attributes.items() if key not in _fifo_only()}
        made = cloud.client("sqs").create_queue(
            QueueName=self.chosen_name(inputs), Attributes=attributes, tags=inputs.get("tagsAll") or {}
        )
        return made["QueueUrl"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        sqs = cloud.client("sqs")
        attributes = sqs.get_queue_attributes(QueueUrl=id, AttributeNames=["All"])["Attributes"]
        found: Properties = dict(_ABSENT)
        for key, attribute in _ATTRIBUTES.items():
            if (text := attributes.get(attribute)) is not None:
                found[key] = json.loads(text) if text in ("true", "false") or text.isdigit() else text
        return {
            **found,
            "arn": attributes["QueueArn"],
            "url": id,
            "name": id.rpartition("/")[2],
            "tags": sqs.list_queue_tags(QueueUrl=id).get("Tags", {}),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        attributes = {_ATTRIBUTES[key]: _text(inputs.get(key, "")) for key in changed if key in _ATTRIBUTES}
        if attributes:
            cloud.client("sqs").set_queue_attributes(QueueUrl=id, Attributes=attributes)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        sqs = cloud.client("sqs")
        if put:
            sqs.tag_queue(QueueUrl=id, Tags=put)
        if drop:
            sqs.untag_queue(QueueUrl=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("sqs").delete_queue(QueueUrl=id)


def _fifo_only() -> set[str]:
    return {"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"}


class QueuePolicy(AwsResource):
    """Who may use a queue."""

    token = "aws:sqs/queuePolicy:QueuePolicy"
    force_new = frozenset({"queueUrl"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        url = inputs["queueUrl"]
        cloud.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": inputs["policy"]})
        return url

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        found = cloud.client("sqs").get_queue_attributes(QueueUrl=id, AttributeNames=["Policy"])
        policy = found.get("Attributes", {}).get("Policy")
        return {"queueUrl": id, "policy": policy} if policy else None

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("sqs").set_queue_attributes(QueueUrl=id, Attributes={"Policy": ""})
