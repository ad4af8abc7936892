"""Application load balancers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused, Request, contains_unknown

NAME_PATTERN = r"(?!internal-)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
LONGEST_NAME = 32
# Input -> attribute.
_ATTRIBUTES = {
    "clientKeepAlive": "client_keep_alive.seconds",
    "desyncMitigationMode": "routing.http.desync_mitigation_mode",
    "dropInvalidHeaderFields": "routing.http.drop_invalid_header_fields.enabled",
    "enableDeletionProtection": "deletion_protection.enabled",
    "enableHttp2": "routing.http2.enabled",
    "enableWafFailOpen": "waf.fail_open.enabled",
    "idleTimeout": "idle_timeout.timeout_seconds",
    "preserveHostHeader": "routing.http.preserve_host_header.enabled",
}
_LOGS = "access_logs.s3"


class ElbResource(DescribedResource):
    """The types of ELB. Their id is the ARN, and they are tagged by it."""

    service = "elbv2"
    read_tags_call, tags_found = Call("describe_tags", ResourceArns=["{id}"]), "TagDescriptions[0].Tags"
    tag_call = Call("add_tags", ResourceArns=["{id}"], Tags="{tags}")
    untag_call = Call("remove_tags", ResourceArns=["{id}"], TagKeys="{tagKeys}")


class LoadBalancer(ElbResource):
    """An application load balancer. Times are in seconds."""

    token = "aws:lb/loadBalancer:LoadBalancer"
    force_new = frozenset({"name", "namePrefix", "internal", "loadBalancerType"})
    defaults = {
        "clientKeepAlive": 3600,
        "desyncMitigationMode": "defensive",
        "dropInvalidHeaderFields": False,
        "enableDeletionProtection": False,
        "enableHttp2": True,
        "enableWafFailOpen": False,
        "idleTimeout": 60,
        "internal": False,
        "ipAddressType": "ipv4",
        "loadBalancerType": "application",
        "preserveHostHeader": False,
    }
    choices = {
        "desyncMitigationMode": ("monitor", "defensive", "strictest"),
        "ipAddressType": ("ipv4",),
        "loadBalancerType": ("application",),
    }
    ranges = {"clientKeepAlive": (60, 604800), "idleTimeout": (1, 4000)}
    exactly_one = (("subnets", "subnetMappings"),)
    longest_name = LONGEST_NAME
    name_pattern = NAME_PATTERN
    made_id = "LoadBalancers[0].LoadBalancerArn"
    api_names = {"loadBalancerType": "Type", "name": "LoadBalancerName", "zoneId": "CanonicalHostedZoneId"}
    create_call = Call(
        "create_load_balancer", "subnets securityGroups scheme ipAddressType tags", Name="{name}", Type="application"
    )
    read_call, found = Call("describe_load_balancers", LoadBalancerArns=["{id}"]), "LoadBalancers[0]"
    outputs = fields(
        "dnsName ipAddressType loadBalancerType name vpcId zoneId",
        internal="Scheme=='internal'",
        securityGroups="SecurityGroups || `[]`",
        subnets="AvailabilityZones[].SubnetId",
    )
    updates = {
        "subnets": Call("set_subnets", "subnets", LoadBalancerArn="{id}"),
        "securityGroups": Call("set_security_groups", "securityGroups", LoadBalancerArn="{id}"),
        "*": Call("modify_load_balancer_attributes", "attributes", LoadBalancerArn="{id}"),
    }
    delete_call = Call("delete_load_balancer", LoadBalancerArn="{id}")
    unmodelled = frozenset(
        {
            "connectionLogs", "customerOwnedIpv4Pool", "dnsRecordClientRoutingPolicy", "enableZonalShift",
            "enableTlsVersionAndCipherSuiteHeaders", "enableXffClientPort", "healthCheckLogs", "ipamPools",
            "minimumLoadBalancerCapacity", "subnetMappings", "xffHeaderProcessingMode",
        }
    )  # fmt: skip

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        subnets = inputs.get("subnets")
        if isinstance(subnets, list) and len(subnets) < 2:
            yield Refused("at least two subnets in two different Availability Zones must be specified", "subnets")
        if isinstance(subnets, list) and not contains_unknown(subnets) and len(set(subnets)) < len(subnets):
            yield Refused("a subnet must not be specified twice", "subnets")
        prefix = known((known(inputs.get("accessLogs")) or {}).get("prefix"))
        if prefix and (prefix.startswith("/") or prefix.endswith("/") or "AWSLogs" in prefix):
            yield Refused(
                f"invalid access log prefix {prefix}: it must not begin or end with a slash, or contain AWSLogs",
                "accessLogs.prefix",
            )

    def given(self, inputs: Properties) -> Properties:
        attributes = {attribute: inputs[name] for name, attribute in _ATTRIBUTES.items()}
        logs = inputs.get("accessLogs") or {}
        attributes[f"{_LOGS}.enabled"] = logs.get("enabled", False)
        if logs.get("enabled"):
            attributes |= {f"{_LOGS}.bucket": logs["bucket"], f"{_LOGS}.prefix": logs.get("prefix", "")}
        return {
            **super().given(inputs),
            "scheme": "internal" if inputs["internal"] else "internet-facing",
            "securityGroups": inputs.get("securityGroups") or [],
            "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
        }

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self.change(cloud, id, inputs, {}, changed=set(), request=request)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        listed = cloud.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=known["id"])["Attributes"]
        attributes = {attribute["Key"]: attribute.get("Value", "") for attribute in listed}
        logs = {name: attributes.get(f"{_LOGS}.{name}", "") for name in ("bucket", "enabled", "prefix")}
        return {
            **{name: self.output(name, "@", attributes[key]) for name, key in _ATTRIBUTES.items() if key in attributes},
            "accessLogs": {**logs, "enabled": logs["enabled"] == "true"} if logs["bucket"] else None,
            "arn": known["id"],
            "arnSuffix": known["id"].partition(":loadbalancer/")[2],
        }

    def same(self, name: str, one: Any, other: Any) -> bool:
        """The order of subnets and security groups does not matter."""
        if name in ("subnets", "securityGroups") and isinstance(one, list) and isinstance(other, list):
            return not contains_unknown([one, other]) and sorted(one) == sorted(other)
        return super().same(name, one, other)
