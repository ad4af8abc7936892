"""Application load balancers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.serving import Properties, Refused, Request, autoname, contains_unknown

NAME_PATTERN = r"(?!internal-)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
LONGEST_NAME = 32
# An input -> the attribute that carries it.
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


def text(value: Any) -> str:
    """A value as ELB writes it in an attribute."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def value(given: str) -> Any:
    """The reverse of `text`."""
    return given == "true" if given in ("true", "false") else int(given) if given.isdigit() else given


def tags_of(cloud: Cloud, arn: str) -> dict[str, str]:
    """The tags of anything in ELB."""
    return tag_map(cloud.client("elbv2").describe_tags(ResourceArns=[arn])["TagDescriptions"][0]["Tags"])


class ElbResource(AwsResource):
    """What all types of ELB share: the ARN is the id, and tags are set by it."""

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        elb = cloud.client("elbv2")
        if put:
            elb.add_tags(ResourceArns=[id], Tags=tag_list(put))
        if drop:
            elb.remove_tags(ResourceArns=[id], TagKeys=drop)


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
                f"invalid access log prefix {prefix}: no slash at either end, no AWSLogs", "accessLogs.prefix"
            )

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        groups = {"SecurityGroups": inputs["securityGroups"]} if inputs.get("securityGroups") else {}
        tags = {"Tags": tag_list(inputs["tagsAll"])} if inputs.get("tagsAll") else {}
        made = cloud.client("elbv2").create_load_balancer(
            Name=inputs.get("name") or autoname(request, {}, longest=LONGEST_NAME),
            Subnets=inputs["subnets"],
            Scheme="internal" if inputs["internal"] else "internet-facing",
            Type="application",
            IpAddressType=inputs["ipAddressType"],
            **groups,
            **tags,
        )
        return made["LoadBalancers"][0]["LoadBalancerArn"]

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self._set(cloud, id, inputs)

    @staticmethod
    def _set(cloud: Cloud, id: str, inputs: Properties) -> None:
        attributes = {attribute: text(inputs[name]) for name, attribute in _ATTRIBUTES.items()}
        logs = inputs.get("accessLogs") or {}
        attributes[f"{_LOGS}.enabled"] = text(logs.get("enabled", False))
        if logs.get("enabled"):
            attributes |= {f"{_LOGS}.bucket": logs["bucket"], f"{_LOGS}.prefix": logs.get("prefix", "")}
        cloud.client("elbv2").modify_load_balancer_attributes(
            LoadBalancerArn=id, Attributes=[{"Key": key, "Value": given} for key, given in attributes.items()]
        )

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        elb = cloud.client("elbv2")
        found = elb.describe_load_balancers(LoadBalancerArns=[id])["LoadBalancers"][0]
        listed = elb.describe_load_balancer_attributes(LoadBalancerArn=id)["Attributes"]
        attributes = {one["Key"]: one.get("Value", "") for one in listed}
        logs = None
        if attributes.get(f"{_LOGS}.bucket"):
            logs = {
                "bucket": attributes[f"{_LOGS}.bucket"],
                "enabled": attributes.get(f"{_LOGS}.enabled") == "true",
                "prefix": attributes.get(f"{_LOGS}.prefix", ""),
            }
        return {
            **{name: value(attributes[key]) for name, key in _ATTRIBUTES.items() if key in attributes},
            "accessLogs": logs,
            "arn": id,
            "arnSuffix": id.partition(":loadbalancer/")[2],
            "dnsName": found["DNSName"],
            "internal": found["Scheme"] == "internal",
            "ipAddressType": found["IpAddressType"],
            "loadBalancerType": found["Type"],
            "name": found["LoadBalancerName"],
            "securityGroups": found.get("SecurityGroups", []),
            "subnets": [zone["SubnetId"] for zone in found["AvailabilityZones"]],
            "tags": tags_of(cloud, id),
            "vpcId": found["VpcId"],
            "zoneId": found["CanonicalHostedZoneId"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        elb = cloud.client("elbv2")
        if "subnets" in changed:
            elb.set_subnets(LoadBalancerArn=id, Subnets=inputs["subnets"])
        if "securityGroups" in changed:
            elb.set_security_groups(LoadBalancerArn=id, SecurityGroups=inputs.get("securityGroups") or [])
        self._set(cloud, id, inputs)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("elbv2").delete_load_balancer(LoadBalancerArn=id)

    def same(self, name: str, one: Any, other: Any) -> bool:
        """ELB has no order of subnets and groups."""
        if name in ("subnets", "securityGroups") and isinstance(one, list) and isinstance(other, list):
            return not contains_unknown([one, other]) and sorted(one) == sorted(other)
        return super().same(name, one, other)
