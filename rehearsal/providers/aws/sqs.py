"""SQS: queues and their policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.aws.policy_grammar import resource_policy
from rehearsal.providers.protocol.model import Properties, Refused, Request

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
_ONLY_FIFO = {"fifoQueue", "contentBasedDeduplication", "deduplicationScope", "fifoThroughputLimit"}
# The values of attributes that SQS does not report for the other kind of queue.
_ABSENT: Properties = {"fifoQueue": False, "contentBasedDeduplication": False, "kmsDataKeyReusePeriodSeconds": 300}


class Queue(DescribedResource):
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
    service, made_id = "sqs", "QueueUrl"
    create_call = Call("create_queue", "attributes tags", QueueName="{name}")
    read_call, found = Call("get_queue_attributes", QueueUrl="{id}", AttributeNames=["All"]), "Attributes"
    outputs = fields(arn="QueueArn")
    read_tags_call = Call("list_queue_tags", QueueUrl="{id}")
    delete_call = Call("delete_queue", QueueUrl="{id}")
    tag_call = Call("tag_queue", QueueUrl="{id}", Tags="{tags}")
    untag_call = Call("untag_queue", QueueUrl="{id}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")
        name, fifo = known(inputs.get("name")), known(inputs.get("fifoQueue"))
        if name is not None and fifo is not None and name.endswith(".fifo") != fifo:
            yield Refused(
                f"invalid queue name: {name}: a FIFO queue's name must end with .fifo, and no other queue's name may",
                "name",
            )
        if fifo is False and known(inputs.get("contentBasedDeduplication")):
            yield Refused("content-based deduplication can only be set for a FIFO queue", "contentBasedDeduplication")

    def given(self, inputs: Properties) -> Properties:
        # SQS refuses the attributes of a FIFO queue for a standard queue, even if they are false.
        skipped = set() if inputs["fifoQueue"] else _ONLY_FIFO
        attributes = {_ATTRIBUTES[key]: value for key, value in inputs.items() if key in _ATTRIBUTES.keys() - skipped}
        return {**super().given(inputs), "attributes": attributes}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        attributes = {key: self.output(key, api, found) for key, api in _ATTRIBUTES.items() if api in found}
        return {**_ABSENT, **attributes, "url": known["id"], "name": known["id"].rpartition("/")[2]}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        attributes = {_ATTRIBUTES[key]: inputs.get(key, "") for key in changed if key in _ATTRIBUTES}
        if attributes:
            call = Call("set_queue_attributes", "attributes", QueueUrl=id)
            self.answer(call, cloud, {"attributes": attributes})


class QueuePolicy(DescribedResource):
    """The policy of a queue."""

    token = "aws:sqs/queuePolicy:QueuePolicy"
    force_new = frozenset({"queueUrl"})
    service, id_form = "sqs", "{queueUrl}"
    create_call = Call("set_queue_attributes", "queueUrl", Attributes={"Policy": "{policy}"})
    read_call = Call("get_queue_attributes", "queueUrl", AttributeNames=["Policy"])
    found, outputs = "Attributes", fields("policy")
    delete_call = Call("set_queue_attributes", "queueUrl", Attributes={"Policy": ""})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")
