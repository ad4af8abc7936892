"""Target groups of application load balancers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud, tag_list
from rehearsal.providers.aws.lb import LONGEST_NAME, NAME_PATTERN, ElbResource, tags_of, value
from rehearsal.providers.serving import UNKNOWN, Properties, Refused, Request

_DELAY = "deregistration_delay.timeout_seconds"
# Of a health check: property -> parameter, and the default for HTTP.
_HEALTH_CHECK: dict[str, tuple[str, Any]] = {
    "enabled": ("HealthCheckEnabled", True),
    "healthyThreshold": ("HealthyThresholdCount", 3),
    "interval": ("HealthCheckIntervalSeconds", 30),
    "path": ("HealthCheckPath", "/"),
    "port": ("HealthCheckPort", "traffic-port"),
    "protocol": ("HealthCheckProtocol", "HTTP"),
    "timeout": ("HealthCheckTimeoutSeconds", 5),
    "unhealthyThreshold": ("UnhealthyThresholdCount", 3),
}
_CODES = re.compile(r"[2-4]\d\d(-[2-4]\d\d)?(,[2-4]\d\d(-[2-4]\d\d)?)*")


class TargetGroup(ElbResource):
    """A target group of HTTP or HTTPS. Times are in seconds."""

    token = "aws:lb/targetGroup:TargetGroup"
    force_new = frozenset({"name", "namePrefix", "port", "protocol", "protocolVersion", "targetType", "vpcId"})
    defaults = {"deregistrationDelay": 300, "targetType": "instance", "protocolVersion": "HTTP1"}
    choices = {
        "protocol": ("HTTP", "HTTPS"),
        "protocolVersion": ("HTTP1", "HTTP2", "GRPC"),
        "targetType": ("instance", "ip"),
        "healthCheck.protocol": ("HTTP", "HTTPS"),
    }
    ranges = {
        "port": (1, 65535),
        "deregistrationDelay": (0, 3600),
        "healthCheck.interval": (5, 300),
        "healthCheck.timeout": (2, 120),
        "healthCheck.healthyThreshold": (2, 10),
        "healthCheck.unhealthyThreshold": (2, 10),
    }
    longest_name = LONGEST_NAME
    name_pattern = NAME_PATTERN + "-?"
    unmodelled = frozenset(
        {
            "connectionTermination", "ipAddressType", "lambdaMultiValueHeadersEnabled", "loadBalancingAlgorithmType",
            "loadBalancingAnomalyMitigation", "loadBalancingCrossZoneEnabled", "preserveClientIp", "proxyProtocolV2",
            "slowStart", "stickiness", "targetControlPort", "targetFailovers", "targetGroupHealth",
            "targetHealthStates",
        }
    )  # fmt: skip

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        for name in ("port", "protocol", "vpcId"):
            if name not in inputs:
                yield Refused(f"{name} must be specified for the target type {inputs['targetType']}", name)
        check = inputs.get("healthCheck")
        if check is UNKNOWN or not check:
            return
        interval = known(check.get("interval", _HEALTH_CHECK["interval"][1]))
        timeout = known(check.get("timeout", _HEALTH_CHECK["timeout"][1]))
        if interval is not None and timeout is not None and timeout >= interval:
            yield Refused(
                f"health check timeout '{timeout}' must be smaller than the interval '{interval}'",
                "healthCheck.timeout",
            )
        path, port, codes = (known(check.get(name)) for name in ("path", "port", "matcher"))
        if path is not None and (not path.startswith("/") or len(path) > 1024):
            yield Refused(f"invalid health check path {path!r}: 1 to 1024 characters from a slash", "healthCheck.path")
        if port not in (None, "traffic-port") and not (port.isdigit() and 1 <= int(port) <= 65535):
            yield Refused(f"invalid health check port {port!r}: traffic-port or 1 to 65535", "healthCheck.port")
        if codes is not None and not _CODES.fullmatch(codes):
            yield Refused(
                f"invalid matcher {codes!r}: codes of 200 to 499, such as 200,302 or 200-399", "healthCheck.matcher"
            )

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        tags = {"Tags": tag_list(inputs["tagsAll"])} if inputs.get("tagsAll") else {}
        made = cloud.client("elbv2").create_target_group(
            Name=self.chosen_name(inputs),
            Port=inputs["port"],
            Protocol=inputs["protocol"],
            ProtocolVersion=inputs["protocolVersion"],
            TargetType=inputs["targetType"],
            VpcId=inputs["vpcId"],
            **_health_check(inputs),
            **tags,
        )
        return made["TargetGroups"][0]["TargetGroupArn"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        cloud.client("elbv2").modify_target_group_attributes(
            TargetGroupArn=id, Attributes=[{"Key": _DELAY, "Value": str(inputs["deregistrationDelay"])}]
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        elb = cloud.client("elbv2")
        found = elb.describe_target_groups(TargetGroupArns=[id])["TargetGroups"][0]
        listed = elb.describe_target_group_attributes(TargetGroupArn=id)["Attributes"]
        check = {name: found[parameter] for name, (parameter, _) in _HEALTH_CHECK.items() if parameter in found}
        return {
            "arn": id,
            "arnSuffix": id.rpartition(":")[2],
            "deregistrationDelay": next(value(str(one["Value"])) for one in listed if one["Key"] == _DELAY),
            "healthCheck": {**check, "matcher": found["Matcher"]["HttpCode"]},
            "ipAddressType": found.get("IpAddressType", "ipv4"),
            "name": found["TargetGroupName"],
            "port": found["Port"],
            "protocol": found["Protocol"],
            "protocolVersion": found["ProtocolVersion"],
            "tags": tags_of(cloud, id),
            "targetType": found["TargetType"],
            "vpcId": found["VpcId"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        if "healthCheck" in changed:
            cloud.client("elbv2").modify_target_group(TargetGroupArn=id, **_health_check(inputs))
        if "deregistrationDelay" in changed:
            self.complete(cloud, id, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("elbv2").delete_target_group(TargetGroupArn=id)


def _health_check(inputs: Properties) -> dict[str, Any]:
    given = inputs.get("healthCheck") or {}
    parameters = {parameter: given.get(name, default) for name, (parameter, default) in _HEALTH_CHECK.items()}
    return {**parameters, "Matcher": {"HttpCode": given.get("matcher", "200")}}
