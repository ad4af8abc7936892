"""The buckets of the aws stand-in that keep states: versions, keys, policies that ask for TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from aws_support import SimulatedAws, simulated_aws
from botocore.exceptions import ClientError

from bootstrap.state_store import bucket_policy

BUCKET, POLICY = "aws:s3/bucket:Bucket", "aws:s3/bucketPolicy:BucketPolicy"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
NAME = "lab-states"


@pytest.fixture
def aws() -> Iterator[SimulatedAws]:
    with simulated_aws() as made:
        yield made


def client(aws: SimulatedAws):
    return aws.provider.cloud().client("s3")


def versioned(aws: SimulatedAws, status: str = "Enabled"):
    return aws.create(VERSIONING, {"bucket": NAME, "versioningConfiguration": {"status": status}})


def test_versioning_is_seen_and_can_be_suspended_and_not_taken_back(aws: SimulatedAws) -> None:
    aws.create(BUCKET, {"bucket": NAME})
    versioning = versioned(aws)
    assert aws.drift(versioning) == {}
    client(aws).put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Suspended"})
    assert aws.drift(versioning)["versioningConfiguration"] == {"status": "Suspended"}
    aws.update(versioning, {"bucket": NAME, "versioningConfiguration": {"status": "Enabled"}})
    aws.delete(versioning)
    assert client(aws).get_bucket_versioning(Bucket=NAME)["Status"] == "Suspended"


def test_a_bucket_that_was_never_versioned_is_disabled(aws: SimulatedAws) -> None:
    aws.create(BUCKET, {"bucket": NAME})
    assert aws.drift(versioned(aws, "Disabled")) == {}


def test_versioning_refuses_what_is_no_status(aws: SimulatedAws) -> None:
    refusals = aws.refusals(VERSIONING, {"bucket": NAME, "versioningConfiguration": {"status": "On"}})
    assert "versioningConfiguration.status" in refusals


def test_old_versions_and_bucket_keys_are_carried_out_and_seen(aws: SimulatedAws) -> None:
    aws.create(BUCKET, {"bucket": NAME})
    rule = {"id": "old", "status": "Enabled", "filter": {}, "noncurrentVersionExpiration": {"noncurrentDays": 365}}
    lifecycle = aws.create(LIFECYCLE, {"bucket": NAME, "rules": [rule]})
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "arn:aws:kms:us-east-1:123456789012:key/1"}
    by_key = {"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True}
    encryption = aws.create(ENCRYPTION, {"bucket": NAME, "rules": [by_key]})
    assert aws.drift(lifecycle) == {}
    assert aws.drift(encryption) == {}
    live = client(aws).get_bucket_encryption(Bucket=NAME)["ServerSideEncryptionConfiguration"]["Rules"]
    assert live[0]["BucketKeyEnabled"] is True
    client(aws).put_bucket_lifecycle_configuration(
        Bucket=NAME,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "old",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
                }
            ]
        },
    )
    assert aws.drift(lifecycle)["rules"][0]["noncurrentVersionExpiration"] == {"noncurrentDays": 1}
    unknown = {**rule, "noncurrentVersionExpiration": {"noncurrentDays": 1, "newerNoncurrentVersions": 2}}
    assert "rules[0].noncurrentVersionExpiration" in aws.refusals(LIFECYCLE, {"bucket": NAME, "rules": [unknown]})


def test_a_versioned_bucket_goes_by_force_with_all_versions_and_markers(aws: SimulatedAws) -> None:
    bucket = aws.create(BUCKET, {"bucket": NAME, "forceDestroy": True})
    versioned(aws)
    s3 = client(aws)
    for body in (b"1", b"2"):
        s3.put_object(Bucket=NAME, Key="state", Body=body)
    s3.delete_object(Bucket=NAME, Key="state")  # leaves two versions, and a marker over them
    aws.delete(bucket)
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == []


def test_a_policy_that_asks_for_tls_shuts_nobody_out_and_another_one_does(aws: SimulatedAws) -> None:
    made = aws.create(BUCKET, {"bucket": NAME})
    s3 = client(aws)
    s3.put_object(Bucket=NAME, Key="state", Body=b"x")
    policy = aws.create(POLICY, {"bucket": NAME, "policy": bucket_policy(made.outputs["arn"])})
    assert s3.get_object(Bucket=NAME, Key="state")["Body"].read() == b"x"
    aws.delete(policy)
    denied = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{NAME}/*"}
        ],
    }
    aws.create(POLICY, {"bucket": NAME, "policy": json.dumps(denied)})
    with pytest.raises(ClientError, match=r"403|Forbidden"):
        s3.get_object(Bucket=NAME, Key="state")
