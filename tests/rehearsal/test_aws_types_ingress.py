"""Certificates and records of the aws stand-in, and the round trips and refusals of all types of an ingress."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_site import (
    ASSOCIATION,
    BALANCER,
    BUCKET,
    BUCKET_POLICY,
    CERTIFICATE,
    GROUP,
    HTTP,
    LIFECYCLE,
    LISTENER,
    NOT_FOUND,
    RECORD,
    REDIRECT,
    RULE,
    VALIDATION,
    WEB_ACL,
    ZONE,
    Site,
    elb,
    refused,
    simulated_site,
)
from aws_support import SimulatedAws, simulated_aws

from rehearsal.cloud import prerequisites, public_dns
from rehearsal.providers.protocol.model import UNKNOWN, Properties


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def site(server: SimulatedAws) -> Iterator[Site]:
    with simulated_site(server) as made:
        yield made


def test_round_trips_find_no_difference_and_changes_find_one(site: Site) -> None:
    aws = site.aws
    balancer = site.balancer(idleTimeout=3600, dropInvalidHeaderFields=True, tags={"Name": "lab"})
    assert aws.drift(balancer) == {}
    group = site.target_group(healthCheck={"path": "/hub/health", "interval": 10, "timeout": 5}, deregistrationDelay=30)
    assert aws.drift(group) == {}
    https = site.https(balancer)
    assert aws.drift(https) == {}
    http = aws.create(
        LISTENER, {"loadBalancerArn": balancer.id, "port": 80, "protocol": "HTTP", "defaultActions": [REDIRECT]}
    )
    assert aws.drift(http) == {}
    rule = site.rule(https, group)
    assert aws.drift(rule) == {}
    assert all(aws.drift(made) == {} for made in aws.made)

    client = elb(site)
    attribute = {"Key": "idle_timeout.timeout_seconds", "Value": "60"}
    client.modify_load_balancer_attributes(LoadBalancerArn=balancer.id, Attributes=[attribute])
    assert aws.drift(balancer) == {"idleTimeout": 60}
    client.set_rule_priorities(RulePriorities=[{"RuleArn": rule.id, "Priority": 9}])
    assert aws.drift(rule) == {"priority": 9}
    client.modify_target_group(TargetGroupArn=group.id, HealthCheckPath="/")
    assert aws.drift(group)["healthCheck"]["path"] == "/"
    client.add_tags(ResourceArns=[https.id], Tags=[{"Key": "Owner", "Value": "somebody"}])
    assert aws.drift(https)["tagsAll"] == {"Owner": "somebody"}
    client.delete_rule(RuleArn=rule.id)
    assert aws.drift(rule) == {"gone": True}


def test_changes_are_made_in_place_and_identities_are_replaced(site: Site) -> None:
    aws = site.aws
    balancer = site.balancer()
    given = {"name": "lab", "subnets": site.subnets, "securityGroups": [site.group]}
    aws.update(balancer, {**given, "idleTimeout": 1800, "tags": {"a": "b"}})
    assert aws.drift(balancer) == {}
    assert balancer.outputs["idleTimeout"] == 1800
    assert aws.replaced_by(balancer, {**given, "internal": True}) == {"internal"}
    group = site.target_group()
    base = {"namePrefix": "hub-", "port": 8000, "protocol": "HTTP", "targetType": "ip", "vpcId": site.vpc}
    aws.update(group, {**base, "healthCheck": {"path": "/healthz"}, "deregistrationDelay": 10})
    assert aws.drift(group) == {}
    assert aws.replaced_by(group, {**base, "port": 8001}) == {"port"}


@pytest.mark.parametrize(
    ("token", "inputs", "at"),
    [
        (BALANCER, {"subnets": ["subnet-1"]}, "subnets"),
        (BALANCER, {"subnets": ["subnet-1", "subnet-1"]}, "subnets"),
        (BALANCER, {}, "subnets"),
        (BALANCER, {"subnets": ["a", "b"], "idleTimeout": 4001}, "idleTimeout"),
        (BALANCER, {"subnets": ["a", "b"], "name": "internal-lab"}, "name"),
        (BALANCER, {"subnets": ["a", "b"], "name": "x" * 33}, "name"),
        (BALANCER, {"subnets": ["a", "b"], "accessLogs": {"bucket": "b", "prefix": "/x"}}, "accessLogs.prefix"),
        (BALANCER, {"subnets": ["a", "b"], "zonalShift": True}, "zonalShift"),
        (GROUP, {"protocol": "HTTP", "vpcId": "v"}, "port"),
        (GROUP, {"port": 1, "protocol": "HTTP", "vpcId": "v", "healthCheck": {"interval": 4}}, "healthCheck.interval"),
        (
            GROUP,
            {"port": 1, "protocol": "HTTP", "vpcId": "v", "healthCheck": {"interval": 10, "timeout": 10}},
            "healthCheck.timeout",
        ),
        (GROUP, {"port": 1, "protocol": "HTTP", "vpcId": "v", "healthCheck": {"path": "health"}}, "healthCheck.path"),
        (GROUP, {"port": 1, "protocol": "HTTP", "vpcId": "v", "healthCheck": {"matcher": "ok"}}, "healthCheck.matcher"),
        (GROUP, {"port": 1, "protocol": "HTTP", "vpcId": "v", "healthCheck": {"port": "http"}}, "healthCheck.port"),
        (GROUP, {"port": 1, "protocol": "HTTP", "vpcId": "v", "namePrefix": "notebooks-"}, "namePrefix"),
        (GROUP, {"port": 0, "protocol": "HTTP", "vpcId": "v"}, "port"),
        (LISTENER, {**HTTP, "port": 443, "protocol": "HTTPS"}, "certificateArn"),
        (LISTENER, {**HTTP, "defaultActions": []}, "defaultActions"),
        (LISTENER, {**HTTP, "defaultActions": [{"type": "forward"}]}, "defaultActions[0].targetGroupArn"),
        (
            LISTENER,
            {**HTTP, "defaultActions": [{**NOT_FOUND, "fixedResponse": {"contentType": "x", "statusCode": "404"}}]},
            "defaultActions[0].fixedResponse.contentType",
        ),
        (RULE, {"listenerArn": "a", "priority": 50001, "conditions": [], "actions": [NOT_FOUND]}, "conditions"),
        (
            RULE,
            {
                "listenerArn": "a",
                "actions": [NOT_FOUND],
                "conditions": [{"pathPattern": {"values": [f"/{number}" for number in range(6)]}}],
            },
            "conditions",
        ),
        (CERTIFICATE, {"domainName": "x" * 70 + ".example.com"}, "domainName"),
        (CERTIFICATE, {"domainName": "lab example.com"}, "domainName"),
        (CERTIFICATE, {"domainName": "example.com", "subjectAlternativeNames": ["*"]}, "subjectAlternativeNames"),
        (RECORD, {"zoneId": "Z", "name": "a.example.com", "type": "A"}, "records"),
        (RECORD, {"zoneId": "Z", "name": "a.example.com", "type": "A", "ttl": 60, "records": ["x"]}, "records"),
        (RECORD, {"zoneId": "Z", "name": "a.example.com", "type": "B", "ttl": 60, "records": ["x"]}, "type"),
        (ASSOCIATION, {"resourceArn": "a", "webAclArn": "lab"}, "webAclArn"),
        (ASSOCIATION, {"resourceArn": "a", "webAclArn": WEB_ACL.replace("us-east-1", "eu-west-1")}, "webAclArn"),
        (ASSOCIATION, {"resourceArn": "a", "webAclArn": WEB_ACL.replace("regional", "global")}, "webAclArn"),
        (BUCKET, {"bucket": "My_Bucket"}, "bucket"),
        (BUCKET_POLICY, {"bucket": "b", "policy": "{}"}, "policy"),
        (LIFECYCLE, {"bucket": "b", "rules": []}, "rules"),
        (LIFECYCLE, {"bucket": "b", "rules": [{"id": "x", "status": "On", "expiration": {}}]}, "rules[0].status"),
        (LIFECYCLE, {"bucket": "b", "rules": [{"id": "x", "status": "Enabled"}]}, "rules[0]"),
    ],
)
def test_preview_refuses(server: SimulatedAws, token: str, inputs: Properties, at: str) -> None:
    assert at in server.refusals(token, inputs)


@pytest.mark.parametrize(
    ("token", "inputs"),
    [
        (BALANCER, {"subnets": UNKNOWN, "securityGroups": [UNKNOWN], "accessLogs": {"bucket": UNKNOWN}}),
        (GROUP, {"port": UNKNOWN, "protocol": "HTTP", "vpcId": UNKNOWN, "healthCheck": UNKNOWN}),
        (LISTENER, {**HTTP, "loadBalancerArn": UNKNOWN, "protocol": UNKNOWN, "certificateArn": UNKNOWN}),
        (LISTENER, {**HTTP, "defaultActions": UNKNOWN}),
        (
            RULE,
            {
                "listenerArn": UNKNOWN,
                "conditions": [{"hostHeader": {"values": [UNKNOWN]}}],
                "actions": [{"type": "forward", "targetGroupArn": UNKNOWN}],
            },
        ),
        (RECORD, {"zoneId": UNKNOWN, "name": UNKNOWN, "type": UNKNOWN, "records": [UNKNOWN], "ttl": 300}),
        (VALIDATION, {"certificateArn": UNKNOWN, "validationRecordFqdns": [UNKNOWN]}),
        (ASSOCIATION, {"resourceArn": UNKNOWN, "webAclArn": UNKNOWN}),
        (BUCKET_POLICY, {"bucket": UNKNOWN, "policy": UNKNOWN}),
    ],
)
def test_preview_bears_what_it_cannot_know(server: SimulatedAws, token: str, inputs: Properties) -> None:
    assert server.refusals(token, inputs) == {}


def test_certificate_is_issued_once_public_dns_has_its_record(site: Site) -> None:
    made = site.certificate()
    options = made.outputs["domainValidationOptions"]
    assert len({one["domainName"] for one in options}) == 2
    # The domain and its wildcard share a record.
    assert len({(one["resourceRecordName"], one["resourceRecordValue"]) for one in options}) == 1
    acm = site.aws.provider.cloud().client("acm")

    def status() -> str:
        return acm.describe_certificate(CertificateArn=made.id)["Certificate"]["Status"]

    assert status() == "PENDING_VALIDATION"
    servers = public_dns.referral("example.com")
    public_dns.delegate("example.com", ())
    site.record(options[0]["resourceRecordName"], "CNAME", options[0]["resourceRecordValue"])
    assert status() == "PENDING_VALIDATION"
    public_dns.delegate("example.com", servers)
    assert status() == "ISSUED"
    assert site.aws.drift(made) == {}


def test_validation_does_not_wait_for_what_can_not_come(site: Site) -> None:
    made = site.certificate()
    said = refused(lambda: site.aws.create(VALIDATION, {"certificateArn": made.id, "validationRecordFqdns": ["a.b.c"]}))
    assert "missing _" in said
    said = refused(lambda: site.aws.create(VALIDATION, {"certificateArn": made.id}))
    assert "PENDING_VALIDATION" in said


def test_a_wildcard_below_a_name_is_validated_by_a_record_of_its_own(site: Site) -> None:
    others = ["*.lab.example.com", "*.a.lab.example.com"]
    made = site.aws.create(CERTIFICATE, {"domainName": "lab.example.com", "subjectAlternativeNames": others})
    assert site.aws.drift(made) == {}
    options = {one["domainName"]: one for one in made.outputs["domainValidationOptions"]}
    assert options.keys() == {"lab.example.com", *others}
    records = {
        name: site.record(options[name]["resourceRecordName"], "CNAME", options[name]["resourceRecordValue"])
        for name in ("lab.example.com", "*.a.lab.example.com")
    }
    fqdns = [one.outputs["fqdn"] for one in records.values()]
    assert "missing _" in refused(
        lambda: site.aws.create(VALIDATION, {"certificateArn": made.id, "validationRecordFqdns": fqdns[:1]})
    )
    site.aws.create(VALIDATION, {"certificateArn": made.id, "validationRecordFqdns": fqdns})


def test_a_certificate_in_use_stays(site: Site) -> None:
    https = site.https(site.balancer())
    acm = site.aws.provider.cloud().client("acm")
    arn = https.outputs["certificateArn"]
    assert "ResourceInUse" in refused(lambda: acm.delete_certificate(CertificateArn=arn))


def test_records_are_found_and_stand_in_each_others_way(site: Site) -> None:
    balancer = site.balancer()
    alias = {"name": balancer.outputs["dnsName"], "zoneId": balancer.outputs["zoneId"], "evaluateTargetHealth": False}
    given = {"zoneId": ZONE, "name": "platform.lab.example.com", "type": "A", "aliases": [alias]}
    record = site.aws.create(RECORD, given)
    assert site.aws.drift(record) == {}
    assert public_dns.lookup("platform.lab.example.com", "A") == public_dns.lookup(balancer.outputs["dnsName"], "A")
    assert public_dns.lookup("platform.lab.example.com", "A").records
    assert "already exists" in refused(lambda: site.aws.create(RECORD, given))
    assert "conflicts with other records" in refused(lambda: site.record("platform.lab.example.com", "CNAME", "x.y."))
    assert "not permitted at apex" in refused(
        lambda: site.record("example.com", "CNAME", "x.y.")
    ) or "conflicts" in refused(lambda: site.record("example.com", "CNAME", "x.y."))
    elsewhere = {**given, "name": "b", "aliases": [{**alias, "name": "nowhere.example.com", "zoneId": ZONE}]}
    assert "target was not found" in refused(lambda: site.aws.create(RECORD, elsewhere))
    below = site.aws.create(RECORD, {"zoneId": ZONE, "name": "www", "type": "A", "records": ["192.0.2.1"], "ttl": 60})
    assert below.outputs["fqdn"] == "www.example.com"
    assert site.aws.drift(below) == {}
    site.aws.update(below, {"zoneId": ZONE, "name": "www", "type": "A", "records": ["192.0.2.2"], "ttl": 60})
    assert public_dns.lookup("www.example.com", "A").records == ("192.0.2.2",)
    # What was deleted can be made again.
    site.aws.delete(record)
    assert site.aws.drift(record) == {"gone": True}
    site.aws.create(RECORD, given)


def test_a_wildcard_answers_for_names_that_are_not_there_themselves(site: Site) -> None:
    def resolved(name: str) -> tuple[str, ...]:
        return public_dns.lookup(f"{name}.example.com", "A").records

    site.record("a", "A", "192.0.2.1")
    wildcard = site.record("*.a", "A", "192.0.2.2")
    site.record("b.a", "TXT", '"x"')
    site.record("d.c.a", "A", "192.0.2.3")
    assert site.aws.drift(wildcard) == {}
    assert wildcard.outputs["fqdn"] == "*.a.example.com"
    assert resolved("a") == ("192.0.2.1",)
    assert resolved("ada.a") == resolved("x.ada.a") == ("192.0.2.2",)
    # RFC 4592, 2.2.1: of a name that has other records, or names below it, it says nothing.
    assert resolved("b.a") == resolved("c.a") == resolved("x.c.a") == ()
    assert not public_dns.lookup("x.c.a.example.com", "A").exists


def test_zones_are_found_by_name_and_by_id(site: Site) -> None:
    by_name = site.aws.provider.invoke("aws:route53/getZone:getZone", {"name": "example.com", "privateZone": False})
    by_id = site.aws.provider.invoke("aws:route53/getZone:getZone", {"zoneId": ZONE})
    assert by_name["zoneId"] == ZONE
    assert by_id["name"] == "example.com"
    assert set(by_id["nameServers"]) == set(public_dns.referral("example.com"))
    assert "no matching" in refused(lambda: site.aws.provider.invoke("aws:route53/getZone:getZone", {"name": "x.org"}))
    second = prerequisites.hosted_zone("example.com", "us-east-1")
    try:
        ask = {"name": "example.com", "privateZone": False}
        assert "multiple" in refused(lambda: site.aws.provider.invoke("aws:route53/getZone:getZone", ask))
    finally:
        site.aws.provider.cloud().client("route53").delete_hosted_zone(Id=second)
