"""A site on the internet for tests of the aws stand-in: network, hosted zone, web ACL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aws_support import Made, SimulatedAws
from botocore.exceptions import ClientError

from rehearsal.cloud import prerequisites, public_dns
from rehearsal.providers.protocol.model import InitFailed, Refused

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


@contextmanager
def simulated_site(server: SimulatedAws) -> Iterator[Site]:
    """A site in `server`; what was made in it is deleted at the end."""
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
    prerequisites.furnish(
        {"region": "us-east-1", "hostedZone": "example.com", "hostedZoneId": ZONE, "webAclArn": WEB_ACL}
    )
    made = Site(server, vpc, subnets, group)
    yield made
    server.delete_all()
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
