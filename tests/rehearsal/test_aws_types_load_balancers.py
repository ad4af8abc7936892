"""Load balancers, their rules, web ACLs and logs, of the aws stand-in: what ELB refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aws_site import (
    ASSOCIATION,
    BLOCK,
    BUCKET,
    BUCKET_POLICY,
    ENCRYPTION,
    LIFECYCLE,
    LISTENER,
    RECORD,
    REDIRECT,
    RULE,
    WEB_ACL,
    ZONE,
    Site,
    elb,
    refused,
    simulated_site,
)
from aws_support import Made, SimulatedAws, simulated_aws

from components.identity.keycloak import DISCOVERY_PATHS
from components.ingress.access_logs import access_logs_policy
from rehearsal.cloud.eks.issuer import access_problem as issuer_problem


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def site(server: SimulatedAws) -> Iterator[Site]:
    with simulated_site(server) as made:
        yield made


def test_load_balancer_holds_its_subnets_and_its_group(site: Site) -> None:
    site.balancer()
    ec2 = site.aws.ec2
    assert "DependencyViolation" in refused(lambda: ec2.delete_subnet(SubnetId=site.subnets[0]))
    assert "DependencyViolation" in refused(lambda: ec2.delete_security_group(GroupId=site.group))


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


def test_a_rule_sends_on_to_another_host_and_never_to_where_a_request_was(site: Site) -> None:
    https = site.https(site.balancer())
    wildcard = [{"hostHeader": {"values": ["*.a.example.com"]}}, {"pathPattern": {"values": ["/*"]}}]

    def redirect(priority: int, **to: str) -> Made:
        actions = [{"type": "redirect", "redirect": {"statusCode": "HTTP_302", **to}}]
        inputs = {"listenerArn": https.id, "priority": priority, "conditions": wildcard, "actions": actions}
        return site.aws.create(RULE, inputs)

    assert site.aws.drift(redirect(7, host="a.example.com")) == {}
    for nowhere in ({}, {"host": "#{host}"}, {"query": "x=y"}):
        assert "InvalidLoadBalancerAction" in refused(lambda to=nowhere: redirect(8, **to))


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
