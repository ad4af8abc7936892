"""What AWS and public DNS answer to a stack with a domain: `answer(...)` comes before `mocks.deploy(...)`.

`HUB` is a service that it publishes.
"""

from __future__ import annotations

from typing import Any

import pytest

from components import delegation
from components.hosted_zone import HostedZone
from components.published_service import PublishedService

GET_ZONE = "aws:route53/getZone:getZone"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
VALIDATION_NAME, VALIDATION_VALUE = "_1.lab.example.com.", "_2.acm-validations.aws."

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


def answer(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> list[HostedZone]:
    """Has `mocks` compute what ELB, ACM and Route 53 do; gives the zones whose delegation was asked for, all of it."""
    option = {
        "resourceRecordName": VALIDATION_NAME,
        "resourceRecordType": "CNAME",
        "resourceRecordValue": VALIDATION_VALUE,
    }
    mocks.outputs["aws:acm/certificate:Certificate"] = lambda _: {"domainValidationOptions": [option, option]}
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
