"""Target groups of application load balancers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.aws.lb import LONGEST_NAME, NAME_PATTERN, ElbResource
from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused

_DELAY = "deregistration_delay.timeout_seconds"
# Property of a health check -> its parameter, and its default for HTTP.
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
_CHECKS = " ".join(("Matcher", *(parameter for parameter, _ in _HEALTH_CHECK.values())))
_CODES = re.compile(r"[2-4]\d\d(-[2-4]\d\d)?(,[2-4]\d\d(-[2-4]\d\d)?)*")


class TargetGroup(ElbResource):
    """A target group for HTTP or HTTPS. Times are in seconds."""

    token = "aws:lb/targetGroup:TargetGroup"
    force_new = frozenset({"name", "namePrefix", "port", "protocol", "protocolVersion", "targetType", "vpcId"})
    required = ("port", "protocol", "vpcId")
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
    made_id = "TargetGroups[0].TargetGroupArn"
    api_names = {"name": "TargetGroupName"}
    create_call = Call(
        "create_target_group", f"port protocol protocolVersion targetType vpcId tags {_CHECKS}", Name="{name}"
    )
    read_call, found = Call("describe_target_groups", TargetGroupArns=["{id}"]), "TargetGroups[0]"
    outputs = fields("name port protocol protocolVersion targetType vpcId", ipAddressType="IpAddressType || 'ipv4'")
    updates = {
        "healthCheck": Call("modify_target_group", _CHECKS, TargetGroupArn="{id}"),
        "deregistrationDelay": Call("modify_target_group_attributes", "attributes", TargetGroupArn="{id}"),
    }
    set_later = frozenset({"deregistrationDelay"})
    delete_call = Call("delete_target_group", TargetGroupArn="{id}")
    unmodelled = frozenset(
        {
            "connectionTermination", "ipAddressType", "lambdaMultiValueHeadersEnabled", "loadBalancingAlgorithmType",
            "loadBalancingAnomalyMitigation", "loadBalancingCrossZoneEnabled", "preserveClientIp", "proxyProtocolV2",
            "slowStart", "stickiness", "targetControlPort", "targetFailovers", "targetGroupHealth",
            "targetHealthStates",
        }
    )  # fmt: skip

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
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
            yield Refused(
                f"invalid health check path {path!r}: it must begin with a slash and have at most 1024 characters",
                "healthCheck.path",
            )
        if port not in (None, "traffic-port") and not (port.isdigit() and 1 <= int(port) <= 65535):
            yield Refused(
                f"invalid health check port {port!r}: it must be traffic-port or 1 to 65535", "healthCheck.port"
            )
        if codes is not None and not _CODES.fullmatch(codes):
            yield Refused(
                f"invalid matcher {codes!r}: it must have codes from 200 to 499, such as 200,302 or 200-399",
                "healthCheck.matcher",
            )

    def given(self, inputs: Properties) -> Properties:
        delay = [{"key": _DELAY, "value": inputs["deregistrationDelay"]}]
        return {**super().given(inputs), **_health_check(inputs), "attributes": delay}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        listed = cloud.client("elbv2").describe_target_group_attributes(TargetGroupArn=known["id"])["Attributes"]
        delay = next(attribute["Value"] for attribute in listed if attribute["Key"] == _DELAY)
        check = {name: found[parameter] for name, (parameter, _) in _HEALTH_CHECK.items() if parameter in found}
        return {
            "arn": known["id"],
            "healthCheck": {**check, "matcher": found["Matcher"]["HttpCode"]},
            "arnSuffix": known["id"].rpartition(":")[2],
            "deregistrationDelay": self.output("deregistrationDelay", "@", str(delay)),
        }


def _health_check(inputs: Properties) -> dict[str, Any]:
    given = inputs.get("healthCheck") or {}
    parameters = {parameter: given.get(name, default) for name, (parameter, default) in _HEALTH_CHECK.items()}
    return {**parameters, "Matcher": {"HttpCode": given.get("matcher", "200")}}
