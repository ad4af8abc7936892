"""CloudWatch Logs: log groups."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.policies import statements
from rehearsal.providers.serving import Properties, Refused, Request

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html; 0 keeps for ever.
RETENTION_DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


class LogGroup(AwsResource):
    """A log group with its retention in days."""

    token = "aws:cloudwatch/logGroup:LogGroup"
    force_new = frozenset({"name", "namePrefix", "logGroupClass"})
    defaults = {"retentionInDays": 0, "skipDestroy": False}
    choices = {
        "retentionInDays": RETENTION_DAYS,
        "logGroupClass": ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY"),
    }
    longest_name = 512
    name_pattern = r"[-._/#A-Za-z0-9]+"

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        self._check_key(cloud, inputs)
        optional = {
            "kmsKeyId": inputs.get("kmsKeyId"),
            "tags": inputs.get("tagsAll"),
            "logGroupClass": inputs.get("logGroupClass"),
        }
        given = {key: value for key, value in optional.items() if value}
        cloud.client("logs").create_log_group(logGroupName=name, **given)
        return name

    @staticmethod
    def _check_key(cloud: Cloud, inputs: Properties) -> None:
        """Refuses, as CloudWatch Logs does and moto doesn't, a key whose policy leaves the service out."""
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

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        logs = cloud.client("logs")
        pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=id)
        group = next((one for page in pages for one in page["logGroups"] if one["logGroupName"] == id), None)
        if group is None:
            return None
        arn = group["arn"].removesuffix(":*")
        return {
            "arn": arn,
            "name": id,
            "retentionInDays": group.get("retentionInDays", 0),
            "kmsKeyId": group.get("kmsKeyId"),
            "logGroupClass": group.get("logGroupClass", "STANDARD"),
            "tags": logs.list_tags_for_resource(resourceArn=arn)["tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
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

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        logs = cloud.client("logs")
        if put:
            logs.tag_resource(resourceArn=olds["arn"], tags=put)
        if drop:
            logs.untag_resource(resourceArn=olds["arn"], tagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if not olds.get("skipDestroy"):
            cloud.client("logs").delete_log_group(logGroupName=id)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if inputs.get("deletionProtectionEnabled") is True:
            yield Refused("the simulated CloudWatch Logs has no deletion protection", "deletionProtectionEnabled")
