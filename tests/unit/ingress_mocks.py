"""The answers of AWS and public DNS for a stack with a domain: `answer(...)` comes before `mocks.deploy(...)`.

`HUB` and `SIGN_IN` are services that it publishes.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.ingress import delegation
from components.ingress.hosted_zone import HostedZone
from components.ingress.load_balancer import LoadBalancerArgs
from components.ingress.published_service import PublishedService
from settings import Ingress as IngressSettings

GET_ZONE = "aws:route53/getZone:getZone"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
VALIDATION_VALUE = "_2.acm-validations.aws."

HUB = PublishedService(
    name="platform",
    host="platform.lab.example.com",
    priority=200,
    namespace="hub",
    service="proxy-public",
    port=80,
    target_port=8000,
    health_check_path="/hub/health",
)
SIGN_IN = PublishedService(
    name="auth",
    host="auth.lab.example.com",
    priority=100,
    namespace="identity",
    service="keycloak-http",
    port=80,
    target_port=8080,
    paths=("/realms/gpulab/*", "/resources/*"),
    health_check_path="/health/ready",
    health_check_port=9000,
)
SETTINGS = IngressSettings.model_validate(
    {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24", "198.51.100.0/24"]}
)
BALANCER_ARGS = LoadBalancerArgs(
    cluster_name="gpulab-lab",
    settings=SETTINGS,
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b"],
    account_id="123456789012",
)


def answer(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> list[HostedZone]:
    """Makes `mocks` compute the outputs of ELB, ACM and Route 53; yields the zones whose delegation was checked."""

    def option(name: str) -> dict[str, str]:
        return {
            "domainName": name,
            "resourceRecordName": f"_1.{name.removeprefix('*.')}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": VALIDATION_VALUE,
        }

    # ACM lists them in no order.
    mocks.outputs["aws:acm/certificate:Certificate"] = lambda one: {
        "domainValidationOptions": [
            *map(option, reversed(one.inputs["subjectAlternativeNames"])),
            option(one.inputs["domainName"]),
        ]
    }
    mocks.outputs[BALANCER] = lambda _: {"dnsName": "lab-1.us-east-1.elb.amazonaws.com", "zoneId": "Z2P70J7EXAMPLE"}
    mocks.outputs["aws:route53/record:Record"] = lambda record: {"fqdn": record.inputs["name"]}
    mocks.invokes[GET_ZONE] = lambda args: {
        "zoneId": args.get("zoneId", "Z1"),
        "name": args.get("name", "example.com"),
        "nameServers": ["ns-1.awsdns-01.com"],
        "privateZone": False,
    }
    asked: list[HostedZone] = []
    monkeypatch.setattr(delegation, "require_delegation", asked.append)
    return asked
