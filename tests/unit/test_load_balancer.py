"""The load balancer and its certificate: who reaches it, what it logs, and which names it answers to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ingress_mocks
import pytest
from ingress_mocks import BALANCER, BALANCER_ARGS, SETTINGS, VALIDATION_VALUE

from components.ingress.access_logs import access_logs_policy
from components.ingress.certificate import Certificate, CertificateArgs
from components.ingress.load_balancer import LONGEST_NAME, LoadBalancer, balancer_name
from settings.cluster import NAME_LIMIT
from settings.ingress import AccessLogs

ADMITTED = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
BUCKET = "aws:s3/bucket:Bucket"
RECORD = "aws:route53/record:Record"
LOGGED = {"access_logs": AccessLogs.model_validate({"enabled": True, "retentionDays": 30})}


@pytest.fixture(autouse=True)
def answers(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS computes."""
    ingress_mocks.answer(mocks, monkeypatch)


@pytest.fixture
def balance(mocks: Any) -> Callable[..., LoadBalancer]:
    def made(*, deletion_protection: bool = False, **changes: Any) -> LoadBalancer:
        """With other values in `gpulab:ingress`."""
        settings = SETTINGS.model_copy(update=changes)
        args = replace(BALANCER_ARGS, settings=settings, deletion_protection=deletion_protection)
        return mocks.deploy(lambda: LoadBalancer("lab", args))

    return made


def test_only_the_ranges_given_reach_the_load_balancer_by_http_and_https(mocks, balance):
    balance()
    rules = {(rule.inputs["cidrIpv4"], rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in mocks.all(ADMITTED)}
    assert rules == {(cidr, port, port) for cidr in SETTINGS.cidrs for port in (80, 443)}
    (group,) = mocks.all("aws:ec2/securityGroup:SecurityGroup")
    assert not group.inputs.keys() & {"ingress", "egress"}
    assert mocks.one(BALANCER).inputs["securityGroups"] == [group.id]


def test_load_balancer_drops_invalid_headers_and_keeps_silent_connections(mocks, balance):
    balance(access="internal", idle_timeout=900)
    inputs = mocks.one(BALANCER).inputs
    assert inputs["dropInvalidHeaderFields"] is True
    assert inputs["idleTimeout"] == 900
    assert inputs["internal"] is True
    assert "accessLogs" not in inputs


def test_logs_go_to_a_private_bucket_that_is_there_before_and_after_the_load_balancer(mocks, balance):
    balance(**LOGGED)
    bucket, balancer = mocks.one(BUCKET), mocks.one(BALANCER)
    policy = mocks.one("aws:s3/bucketPolicy:BucketPolicy")
    blocked = mocks.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").inputs
    assert all(blocked[key] is True for key in blocked if key != "bucket")
    assert mocks.needs(balancer, policy)
    assert mocks.needs(balancer, bucket)
    (rule,) = mocks.one(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    (rule,) = mocks.one("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration").inputs["rules"]
    assert rule["expiration"] == {"days": 30}
    assert rule["status"] == "Enabled"


def test_logs_are_writable_for_load_balancers_of_the_account_alone_and_never_without_tls():
    statements = json.loads(access_logs_policy("arn:aws:s3:::logs", "123456789012"))["Statement"]
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert allowed["Action"] == "s3:PutObject"
    assert allowed["Resource"] == "arn:aws:s3:::logs/AWSLogs/123456789012/*"
    (denied,) = [one for one in statements if one["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(denied["Resource"]) == {"arn:aws:s3:::logs", "arn:aws:s3:::logs/*"}


@pytest.mark.parametrize("protected", [True, False])
def test_production_keeps_the_load_balancer_and_its_logs(mocks, balance, protected: bool):
    balance(**LOGGED, deletion_protection=protected)
    assert mocks.one(BALANCER).inputs["enableDeletionProtection"] is protected
    assert mocks.one(BUCKET).protect is protected
    assert mocks.one(BUCKET).inputs["forceDestroy"] is not protected


def test_web_acl_is_put_in_front_where_one_is_named(mocks, balance):
    arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/lab/0123"
    balance(waf_acl_arn=arn)
    association = mocks.one("aws:wafv2/webAclAssociation:WebAclAssociation").inputs
    assert association == {"webAclArn": arn, "resourceArn": mocks.one(BALANCER).outputs["arn"]}


def test_names_of_load_balancers_fit_and_stay_apart():
    assert balancer_name("gpulab-dev") == "gpulab-dev"
    long = ["a" * NAME_LIMIT, "a" * (NAME_LIMIT - 1) + "b", "a-" * 17]
    names = {balancer_name(name) for name in long}
    assert len(names) == len(long)
    assert all(len(name) <= LONGEST_NAME and "--" not in name for name in names)


def test_certificate_covers_domain_and_wildcard_with_one_record(mocks):
    mocks.deploy(lambda: Certificate("lab", CertificateArgs(domain="lab.example.com", zone_id="Z1")))
    certificate = mocks.one("aws:acm/certificate:Certificate").inputs
    assert certificate["domainName"] == "lab.example.com"
    assert certificate["subjectAlternativeNames"] == ["*.lab.example.com"]
    assert certificate["validationMethod"] == "DNS"
    record = mocks.one(RECORD)
    assert record.inputs["records"] == [VALIDATION_VALUE]
    validation = mocks.one("aws:acm/certificateValidation:CertificateValidation")
    assert validation.inputs["validationRecordFqdns"] == [record.outputs["fqdn"]]
    assert validation.custom_timeouts


def test_certificate_covers_the_names_below_a_host_with_a_record_of_their_own(mocks):
    args = CertificateArgs(domain="lab.example.com", zone_id="Z1", wildcards=["*.platform.lab.example.com"])
    mocks.deploy(lambda: Certificate("lab", args))
    names = mocks.one("aws:acm/certificate:Certificate").inputs["subjectAlternativeNames"]
    assert names == ["*.lab.example.com", "*.platform.lab.example.com"]
    records = {one.inputs["name"]: one.outputs["fqdn"] for one in mocks.all(RECORD)}
    assert records.keys() == {"_1.lab.example.com.", "_1.platform.lab.example.com."}
    validation = mocks.one("aws:acm/certificateValidation:CertificateValidation")
    assert set(validation.inputs["validationRecordFqdns"]) == set(records.values())
