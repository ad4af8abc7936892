"""CloudWatch Logs: log groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.policy_grammar import statements
from rehearsal.providers.protocol.model import Properties, Refused, Request

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html; 0 keeps forever.
RETENTION_DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


class LogGroup(DescribedResource):
    """A log group. Its retention is in days."""

    token = "aws:cloudwatch/logGroup:LogGroup"
    force_new = frozenset({"name", "namePrefix", "logGroupClass"})
    defaults = {"retentionInDays": 0, "skipDestroy": False}
    choices = {
        "retentionInDays": RETENTION_DAYS,
        "logGroupClass": ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"),
    }
    longest_name = 512
    name_pattern = r"[-._/#A-Za-z0-9]+"
    service, id_form = "logs", "{name}"
    create_call = Call("create_log_group", "kmsKeyId logGroupClass tags", logGroupName="{name}")
    read_call = Call("describe_log_groups", logGroupNamePrefix="{name}")
    found = "logGroups[?logGroupName=='{name}'] | [0]"
    outputs = fields("kmsKeyId", retentionInDays="retentionInDays || `0`", logGroupClass="logGroupClass || 'STANDARD'")
    read_tags_call = Call("list_tags_for_resource", resourceArn="{arn}")
    tags_found = "tags"
    delete_call = Call("delete_log_group", logGroupName="{name}")
    tag_call = Call("tag_resource", resourceArn="{arn}", tags="{tags}")
    untag_call = Call("untag_resource", resourceArn="{arn}", tagKeys="{tagKeys}")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        self._check_key(cloud, inputs)
        return super().make(cloud, inputs, request)

    @staticmethod
    def _check_key(cloud: Cloud, inputs: Properties) -> None:
        """Refuses a key whose policy does not allow the service. CloudWatch Logs does so, moto does not."""
        arn = inputs.get("kmsKeyId")
        if not arn:
            return
        policy = cloud.client("kms").get_key_policy(KeyId=arn, PolicyName="default")["Policy"]
        services = {f"logs.{cloud.region}.amazonaws.com", "logs.amazonaws.com"}
        for statement in statements(policy):
            principal = statement.get("Principal", {})
            named = principal.get("Service", []) if isinstance(principal, dict) else []
            if services & set([named] if isinstance(named, str) else named):
                return
        raise Refused(f"the specified KMS key does not exist or is not allowed to be used with the log group: {arn}")

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs["retentionInDays"]:
            cloud.client("logs").put_retention_policy(logGroupName=id, retentionInDays=inputs["retentionInDays"])

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        return {"arn": found["arn"].removesuffix(":*")}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        logs = cloud.client("logs")
        if "retentionInDays" in changed:
            if inputs["retentionInDays"]:
                self.complete(cloud, id, inputs, request)
            else:
                logs.delete_retention_policy(logGroupName=id)
        if "kmsKeyId" in changed:
            self._check_key(cloud, inputs)
            if inputs.get("kmsKeyId"):
                logs.associate_kms_key(logGroupName=id, kmsKeyId=inputs["kmsKeyId"])
            else:
                logs.disassociate_kms_key(logGroupName=id)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if not olds.get("skipDestroy"):
            super().remove(cloud, id, olds, request)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if inputs.get("deletionProtectionEnabled") is True:
            yield Refused(
                "the simulated CloudWatch Logs does not support deletion protection", "deletionProtectionEnabled"
            )
