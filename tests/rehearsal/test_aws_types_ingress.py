"""Load balancers, certificates, records, web ACLs and log buckets of the aws stand-in: round trips and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aws_support import Made, SimulatedAws, simulated_aws
from botocore.exceptions import ClientError

from components.access_logs import access_logs_policy
from components.keycloak import DISCOVERY_PATHS
from rehearsal.aws import account, public_dns
from rehearsal.aws.eks.issuer import access_problem as issuer_problem
from rehearsal.providers.serving import UNKNOWN, InitFailed, Properties, Refused

BALANCER, GROUP = "aws:lb/loadBalancer:LoadBalancer", "aws:lb/targetGroup:TargetGroup"
LISTENER, RULE = "aws:lb/listener:Listener", "aws:lb/listenerRule:ListenerRule"
CERTIFICATE, VALIDATION = "aws:acm/certificate:Certificate", "aws:acm/certificateValidation:CertificateValidation"
RECORD, ASSOCIATION = "aws:route53/record:Record", "aws:wafv2/webAclAssociation:WebAclAssociation"
BUCKET, BUCKET_POLICY = "aws:s3/bucket:Bucket", "aws:s3/bucketPolicy:BucketPolicy"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"

ZONE, WEB_ACL = "Z0123456789", "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/lab/0123"
NOT_FOUND = {"type": "fixed-response", "fixedResponse": {"contentType": "text/plain", "statusCode": "404"}}
REDIRECT = {"type": "redirect", "redirect": {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"}}
HTTP = {"loadBalancerArn": "a", "port": 80, "protocol": "HTTP", "defaultActions": [NOT_FOUND]}


@dataclass
class Site:
    """A network on the internet with two zones, a delegated hosted zone, a web ACL."""

    aws: SimulatedAws
    vpc: str
    subnets: list[str]
    group: str

    def balancer(self, **more: Any) -> Made:
        inputs = {"name": "lab", "subnets": self.subnets, "securityGroups": [self.group], **more}
        return self.aws.create(BALANCER, inputs)

    def target_group(self, **more: Any) -> Made:
        inputs = {"namePrefix": "hub-", "port": 8000, "protocol": "HTTP", "targetType": "ip", "vpcId": self.vpc, **more}
        return self.aws.create(GROUP, inputs)

    def certificate(self) -> Made:
        """One for a domain and its wildcard, not issued yet."""
        names = {"domainName": "lab.example.com", "subjectAlternativeNames": ["*.lab.example.com"]}
        return self.aws.create(CERTIFICATE, names)

    def validated(self) -> Made:
        """One that is issued."""
        made = self.certificate()
        option = made.outputs["domainValidationOptions"][0]
        record = self.record(option["resourceRecordName"], "CNAME", option["resourceRecordValue"])
        inputs = {"certificateArn": made.id, "validationRecordFqdns": [record.outputs["fqdn"]]}
        return self.aws.create(VALIDATION, inputs)

    def record(self, name: str, kind: str, *values: str) -> Made:
        return self.aws.create(
            RECORD, {"zoneId": ZONE, "name": name, "type": kind, "records": list(values), "ttl": 300}, name=name
        )

    def https(self, balancer: Made, **more: Any) -> Made:
        inputs = {
            "loadBalancerArn": balancer.id,
            "port": 443,
            "protocol": "HTTPS",
            "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-2021-06",
            "defaultActions": [NOT_FOUND],
        }
        if "certificateArn" not in more:
            more["certificateArn"] = self.validated().outputs["certificateArn"]
        return self.aws.create(LISTENER, {**inputs, **more})

    def rule(self, listener: Made, group: Made, **more: Any) -> Made:
        conditions = [{"hostHeader": {"values": ["a.example.com"]}}, {"pathPattern": {"values": ["/*", "/x"]}}]
        forward = {"type": "forward", "targetGroupArn": group.id}
        return self.aws.create(
            RULE, {"listenerArn": listener.id, "priority": 7, "conditions": conditions, "actions": [forward], **more}
        )


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def site(server: SimulatedAws) -> Iterator[Site]:
    ec2 = server.ec2
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{index}.0/24", AvailabilityZone=f"us-east-1{letter}")["Subnet"][
            "SubnetId"
        ]
        for index, letter in enumerate("ab")
    ]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName="alb", Description="alb", VpcId=vpc)["GroupId"]
    account.furnish({"region": "us-east-1", "hostedZone": "example.com", "hostedZoneId": ZONE, "webAclArn": WEB_ACL})
    made = Site(server, vpc, subnets, group)
    yield made
    for one in reversed(server.made):
        server.delete(one)
    server.made.clear()
    for subnet in subnets:
        ec2.delete_subnet(SubnetId=subnet)  # refused while a load balancer has an interface in it
    ec2.delete_security_group(GroupId=group)
    server.provider.cloud().client("route53").delete_hosted_zone(Id=ZONE)
    public_dns.forget()


def elb(site: Site) -> Any:
    return site.aws.provider.cloud().client("elbv2")


def refused(call: Any) -> str:
    with pytest.raises((Refused, InitFailed, ClientError)) as error:
        call()
    return str(error.value)


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


def test_load_balancer_holds_its_subnets_and_its_group(site: Site) -> None:
    site.balancer()
    ec2 = site.aws.ec2
    assert "DependencyViolation" in refused(lambda: ec2.delete_subnet(SubnetId=site.subnets[0]))
    assert "DependencyViolation" in refused(lambda: ec2.delete_security_group(GroupId=site.group))


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


def test_subnets_have_to_go_together(site: Site) -> None:
    ec2 = site.aws.ec2
    second = _subnet(site, site.vpc, "10.9.9.0/24", "us-east-1a")
    other_vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    foreign = _subnet(site, other_vpc, "10.8.0.0/24", "us-east-1c")
    apart = ec2.create_security_group(GroupName="x", Description="x", VpcId=other_vpc)["GroupId"]
    try:
        assert "same Availability Zone" in refused(lambda: site.balancer(subnets=[site.subnets[0], second]))
        assert "same VPC" in refused(lambda: site.balancer(subnets=[site.subnets[0], foreign]))
        assert "SubnetNotFound" in refused(lambda: site.balancer(subnets=[site.subnets[0], "subnet-12345678"]))
        assert "does not belong to VPC" in refused(lambda: site.balancer(securityGroups=[apart]))
        assert "InvalidSecurityGroup" in refused(lambda: site.balancer(securityGroups=["sg-12345678"]))
    finally:
        for subnet in (second, foreign):
            ec2.delete_subnet(SubnetId=subnet)
        ec2.delete_security_group(GroupId=apart)
    only_inside = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    inside = [_subnet(site, only_inside, f"10.7.{index}.0/24", f"us-east-1{zone}") for index, zone in enumerate("ab")]
    said = refused(lambda: site.balancer(subnets=inside, securityGroups=[]))
    assert "has no internet gateway" in said
    internal = site.balancer(subnets=inside, securityGroups=[], internal=True)
    assert internal.outputs["dnsName"].startswith("internal-")
    site.aws.delete(site.aws.made.pop())
    for subnet in inside:
        ec2.delete_subnet(SubnetId=subnet)


def test_names_are_there_once_and_protection_holds(site: Site) -> None:
    protected = site.balancer(enableDeletionProtection=True)
    assert "DuplicateLoadBalancerName" in refused(site.balancer)
    assert "deletion protection is enabled" in refused(lambda: site.aws.delete(protected))
    site.aws.update(protected, {"name": "lab", "subnets": site.subnets, "securityGroups": [site.group]})


def test_https_needs_an_issued_certificate_and_a_known_policy(site: Site) -> None:
    balancer = site.balancer()
    pending = site.certificate()
    assert pending.outputs["status"] == "PENDING_VALIDATION"
    assert "UnsupportedCertificate" in refused(lambda: site.https(balancer, certificateArn=pending.id))
    missing = pending.id[:-4] + "beef"
    assert "CertificateNotFound" in refused(lambda: site.https(balancer, certificateArn=missing))


def test_a_policy_that_does_not_exist_is_refused(site: Site) -> None:
    assert "SSLPolicyNotFound" in refused(lambda: site.https(site.balancer(), sslPolicy="ELBSecurityPolicy-Best"))


def test_a_port_has_one_listener_and_a_priority_one_rule(site: Site) -> None:
    balancer, group = site.balancer(), site.target_group()
    https = site.https(balancer)
    redirect = {"loadBalancerArn": balancer.id, "port": 443, "protocol": "HTTP", "defaultActions": [REDIRECT]}
    assert "DuplicateListener" in refused(lambda: site.aws.create(LISTENER, redirect))
    site.rule(https, group)
    assert "PriorityInUse" in refused(lambda: site.rule(https, group))


def test_target_groups_are_held_by_rules_and_by_one_load_balancer(site: Site) -> None:
    group, https = site.target_group(), site.https(site.balancer())
    site.rule(https, group)
    assert "ResourceInUse" in refused(lambda: site.aws.delete(group))
    other = site.balancer(name="other")
    forward = [{"type": "forward", "targetGroupArn": group.id}]
    listener = {"loadBalancerArn": other.id, "port": 80, "protocol": "HTTP", "defaultActions": forward}
    assert "TargetGroupAssociationLimit" in refused(lambda: site.aws.create(LISTENER, listener))


def test_a_rule_is_for_ranges_and_a_load_balancer_has_a_hundred(site: Site) -> None:
    https, group = site.https(site.balancer()), site.target_group()
    ranged = [{"hostHeader": {"values": ["a.example.com"]}}, {"sourceIp": {"values": ["198.51.100.0/24"]}}]
    rule = site.rule(https, group, conditions=ranged)
    assert site.aws.drift(rule) == {}
    assert "must be a range" in refused(
        lambda: site.rule(https, group, priority=8, conditions=[{"sourceIp": {"values": ["198.51.100.1"]}}])
    )
    forward = [{"Type": "forward", "TargetGroupArn": group.id}]

    def direct(priority: int, cidr: str = "198.51.100.0/24") -> str:
        source = [{"Field": "source-ip", "SourceIpConfig": {"Values": [cidr]}}]
        made = elb(site).create_rule(ListenerArn=https.id, Priority=priority, Conditions=source, Actions=forward)
        return made["Rules"][0]["RuleArn"]

    assert "not a valid CIDR" in refused(lambda: direct(8, "198.51.100.1"))
    others = [direct(priority) for priority in range(100, 199)]
    assert "TooManyRules" in refused(lambda: direct(199))
    for arn in others:
        elb(site).delete_rule(RuleArn=arn)


def test_eks_reads_an_issuers_keys_only_where_the_internet_reaches_them(site: Site) -> None:
    host = "auth.lab.example.com"
    issuer = f"https://{host}/realms/gpulab"
    assert issuer_problem(issuer) is None, "what is elsewhere is for nobody here to say"
    balancer, group = site.balancer(), site.target_group()
    https = site.https(balancer)
    alias = {"name": balancer.outputs["dnsName"], "zoneId": balancer.outputs["zoneId"], "evaluateTargetHealth": False}
    site.aws.create(RECORD, {"zoneId": ZONE, "name": host, "type": "A", "aliases": [alias]})

    def admit(cidr: str) -> None:
        permission = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": cidr}]}
        site.aws.ec2.authorize_security_group_ingress(GroupId=site.group, IpPermissions=[permission])

    admit("198.51.100.0/24")
    assert "admit some addresses only" in (issuer_problem(issuer) or "")
    admit("0.0.0.0/0")
    assert "forwards /realms/gpulab/.well-known/openid-configuration" in (issuer_problem(issuer) or "")
    everything = [{"hostHeader": {"values": [host]}}, {"pathPattern": {"values": ["/realms/gpulab/*"]}}]
    ranged = [*everything, {"sourceIp": {"values": ["198.51.100.0/24"]}}]
    site.rule(https, group, conditions=ranged)
    assert "for any address" in (issuer_problem(issuer) or "")
    discovery = [everything[0], {"pathPattern": {"values": list(DISCOVERY_PATHS)}}]
    site.rule(https, group, priority=150, conditions=discovery)
    assert issuer_problem(issuer) is None


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


def test_zones_are_found_by_name_and_by_id(site: Site) -> None:
    by_name = site.aws.provider.invoke("aws:route53/getZone:getZone", {"name": "example.com", "privateZone": False})
    by_id = site.aws.provider.invoke("aws:route53/getZone:getZone", {"zoneId": ZONE})
    assert by_name["zoneId"] == ZONE
    assert by_id["name"] == "example.com"
    assert set(by_id["nameServers"]) == set(public_dns.referral("example.com"))
    assert "no matching" in refused(lambda: site.aws.provider.invoke("aws:route53/getZone:getZone", {"name": "x.org"}))
    second = account.hosted_zone("example.com", "us-east-1")
    try:
        ask = {"name": "example.com", "privateZone": False}
        assert "multiple" in refused(lambda: site.aws.provider.invoke("aws:route53/getZone:getZone", ask))
    finally:
        site.aws.provider.cloud().client("route53").delete_hosted_zone(Id=second)


def test_web_acl_is_associated_with_what_exists(site: Site) -> None:
    balancer = site.balancer()
    made = site.aws.create(ASSOCIATION, {"resourceArn": balancer.id, "webAclArn": WEB_ACL})
    assert site.aws.drift(made) == {}
    site.aws.provider.cloud().client("wafv2").disassociate_web_acl(ResourceArn=balancer.id)
    assert site.aws.drift(made) == {"gone": True}
    nobody = {"resourceArn": balancer.id[:-4] + "0000", "webAclArn": WEB_ACL}
    assert "WAFNonexistentItem" in refused(lambda: site.aws.create(ASSOCIATION, nobody))
    unknown = {"resourceArn": balancer.id, "webAclArn": WEB_ACL.replace("0123", "4567")}
    assert "WAFNonexistentItem" in refused(lambda: site.aws.create(ASSOCIATION, unknown))


def test_logs_need_a_bucket_into_which_load_balancers_may_write(site: Site) -> None:
    logs = {"bucket": "lab-logs", "enabled": True}
    assert "does not exist" in refused(lambda: site.balancer(accessLogs=logs))
    site.aws.provider.cloud().client("elbv2").delete_load_balancer(LoadBalancerArn=_left_over(site))
    bucket = site.aws.create(BUCKET, {"bucket": "lab-logs", "forceDestroy": True, "tags": {"a": "b"}})
    assert site.aws.drift(bucket) == {}
    assert "Access Denied for bucket: lab-logs" in refused(lambda: site.balancer(accessLogs=logs))
    site.aws.provider.cloud().client("elbv2").delete_load_balancer(LoadBalancerArn=_left_over(site))
    policy = site.aws.create(
        BUCKET_POLICY, {"bucket": "lab-logs", "policy": access_logs_policy(bucket.outputs["arn"], "123456789012")}
    )
    block = site.aws.create(BLOCK, {"bucket": "lab-logs", "blockPublicAcls": True})
    rule = {"id": "age", "status": "Enabled", "filter": {}, "expiration": {"days": 30}}
    lifecycle = site.aws.create(LIFECYCLE, {"bucket": "lab-logs", "rules": [rule]})
    default = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}
    encryption = site.aws.create(ENCRYPTION, {"bucket": "lab-logs", "rules": [default]})
    balancer = site.balancer(accessLogs=logs)
    assert all(site.aws.drift(made) == {} for made in (policy, block, encryption, lifecycle, balancer))
    s3 = site.aws.provider.cloud().client("s3")
    (written,) = s3.list_objects_v2(Bucket="lab-logs")["Contents"]
    assert written["Key"].endswith("ELBAccessLogTestFile")
    s3.delete_bucket_policy(Bucket="lab-logs")
    s3.delete_public_access_block(Bucket="lab-logs")
    s3.put_bucket_lifecycle_configuration(
        Bucket="lab-logs",
        LifecycleConfiguration={
            "Rules": [{"ID": "age", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
        },
    )
    assert site.aws.drift(policy) == {"gone": True}
    assert site.aws.drift(block) == {"gone": True}
    assert site.aws.drift(lifecycle)["rules"][0]["expiration"] == {"days": 1}


def test_a_bucket_with_logs_goes_only_by_force(site: Site) -> None:
    bucket = site.aws.create(BUCKET, {"bucket": "lab-logs"})
    s3 = site.aws.provider.cloud().client("s3")
    s3.put_object(Bucket="lab-logs", Key="log", Body=b"x")
    assert "BucketNotEmpty" in refused(lambda: site.aws.delete(bucket))
    site.aws.update(bucket, {"bucket": "lab-logs", "forceDestroy": True})
    assert "BucketAlreadyExists" in refused(lambda: site.aws.create(BUCKET, {"bucket": "lab-logs"}))


def _subnet(site: Site, vpc: str, cidr: str, zone: str) -> str:
    made = site.aws.ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)
    return made["Subnet"]["SubnetId"]


def _left_over(site: Site) -> str:
    """The load balancer whose creation failed half way, which the engine would have in its state."""
    (one,) = elb(site).describe_load_balancers()["LoadBalancers"]
    return one["LoadBalancerArn"]
