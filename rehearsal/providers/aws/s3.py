"""S3: buckets, and settings of buckets that are resources of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.clients import Cloud, is_gone, tag_list, tag_map
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.aws.policy_grammar import resource_policy
from rehearsal.providers.protocol.model import Properties, Refused, Request, autoname

_NAME = re.compile(r"(?!xn--)(?!.*(\.\.|-s3alias$|--ol-s3$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_NAME = 63
_FIRST_REGION = "us-east-1"


class Bucket(AwsResource):
    """A bucket. With `forceDestroy` its objects are deleted with it."""

    token = "aws:s3/bucket:Bucket"
    force_new = frozenset({"bucket", "bucketPrefix"})
    defaults = {"forceDestroy": False}
    longest_name = None
    unmodelled = frozenset(
        {
            "accelerationStatus", "acl", "bucketNamespace", "corsRules", "grants", "lifecycleRules", "logging",
            "objectLockConfiguration", "objectLockEnabled", "policy", "replicationConfiguration", "requestPayer",
            "serverSideEncryptionConfiguration", "versioning", "website",
        }
    )  # fmt: skip
    at_most_one = (("bucket", "bucketPrefix"),)

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        if not inputs.keys() & {"bucket", "bucketPrefix"}:
            named = {"name": olds["bucket"]} if "bucket" in olds else {}
            inputs = {**inputs, "bucket": autoname(request, named, longest=_LONGEST_NAME)}
        return super().check(inputs, olds, request)

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        name = known(inputs.get("bucket"))
        if name is not None and not _NAME.fullmatch(name):
            yield Refused(
                f"{name} is not a bucket name: it must have 3 to 63 lower-case letters, digits, hyphens and dots",
                "bucket",
            )

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        s3, name = cloud.client("s3"), inputs["bucket"]
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if not is_gone(error):
                raise
        else:  # in us-east-1 S3 would accept it from its owner, so the real provider checks first
            raise Refused(f"creating S3 Bucket ({name}): BucketAlreadyExists", "bucket")
        place = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        s3.create_bucket(Bucket=name, **(place if cloud.region != _FIRST_REGION else {}))
        return name

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("tagsAll"):
            cloud.client("s3").put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(inputs["tagsAll"])})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cloud.client("s3").head_bucket(Bucket=id)
        return {
            "arn": f"arn:{cloud.partition}:s3:::{id}",
            "bucket": id,
            "bucketDomainName": f"{id}.s3.amazonaws.com",
            "bucketRegion": cloud.region,
            "bucketRegionalDomainName": f"{id}.s3.{cloud.region}.amazonaws.com",
            "forceDestroy": olds.get("forceDestroy", False),
            "tags": self._tags(cloud, id),
        }

    @staticmethod
    def _tags(cloud: Cloud, id: str) -> dict[str, str]:
        try:
            return tag_map(cloud.client("s3").get_bucket_tagging(Bucket=id)["TagSet"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchTagSet":
                return {}
            raise

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """Changes nothing in AWS: only `forceDestroy` can change."""

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        tags = {key: value for key, value in {**self._tags(cloud, id), **put}.items() if key not in drop}
        cloud.client("s3").put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(tags)})

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        s3 = cloud.client("s3")
        if olds.get("forceDestroy"):
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=id):
                for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                    s3.delete_object(Bucket=id, Key=item["Key"], VersionId=item["VersionId"])
        s3.delete_bucket(Bucket=id)


class _OnBucket(DescribedResource):
    """A setting of a bucket. Its id is the name of the bucket."""

    force_new = frozenset({"bucket"})
    service, id_form = "s3", "{bucket}"


class BucketPolicy(_OnBucket):
    """The policy of a bucket."""

    token = "aws:s3/bucketPolicy:BucketPolicy"
    create_call = Call("put_bucket_policy", "bucket policy")
    read_call, outputs = Call("get_bucket_policy", "bucket"), fields("policy")
    delete_call = Call("delete_bucket_policy", "bucket")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")


_ACCESS_BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


class BucketPublicAccessBlock(_OnBucket):
    """The settings that prevent public access to a bucket."""

    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    defaults = dict.fromkeys(_ACCESS_BLOCKS, False)
    unmodelled = frozenset({"skipDestroy"})
    create_call = Call(
        "put_public_access_block",
        "bucket",
        PublicAccessBlockConfiguration={name: f"{{{name}}}" for name in _ACCESS_BLOCKS},
    )
    read_call, found = Call("get_public_access_block", "bucket"), "PublicAccessBlockConfiguration"
    outputs = dict.fromkeys(_ACCESS_BLOCKS, "")
    delete_call = Call("delete_public_access_block", "bucket")


class BucketServerSideEncryptionConfiguration(_OnBucket):
    """The encryption of new objects in a bucket."""

    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    choices = {"rules[].applyServerSideEncryptionByDefault.sseAlgorithm": ("AES256", "aws:kms", "aws:kms:dsse")}
    unmodelled = frozenset({"expectedBucketOwner"})
    create_call = Call("put_bucket_encryption", "bucket", ServerSideEncryptionConfiguration={"Rules": "{rules}"})
    read_call, found = Call("get_bucket_encryption", "bucket"), "ServerSideEncryptionConfiguration"
    delete_call = Call("delete_bucket_encryption", "bucket")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        rules = inputs.get("rules")
        if not isinstance(rules, list):
            return
        if len(rules) != 1:
            yield Refused(f"a bucket must have exactly one encryption rule, not {len(rules)}", "rules")
        for index, rule in enumerate(rules):
            where = f"rules[{index}]"
            default = rule.get("applyServerSideEncryptionByDefault")
            if rule.keys() - {"applyServerSideEncryptionByDefault", "bucketKeyEnabled"}:
                yield Refused(
                    "the rehearsal's aws provider supports only applyServerSideEncryptionByDefault, bucketKeyEnabled",
                    where,
                )
            if default is None:
                yield Refused("applyServerSideEncryptionByDefault is required", where)
            elif known(default) and default.get("sseAlgorithm") == "AES256" and default.get("kmsMasterKeyId"):
                yield Refused("a KMS key needs the algorithm aws:kms", f"{where}.applyServerSideEncryptionByDefault")

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        (rule,) = self.output("rules", "", found)
        # S3 reports false if it was never set. The real provider shows it only if it was given.
        (given,) = known.get("rules") or [{}]
        if "bucketKeyEnabled" not in given and not rule.get("bucketKeyEnabled"):
            rule.pop("bucketKeyEnabled", None)
        return {"rules": [rule]}


class BucketVersioning(_OnBucket):
    """Whether a bucket keeps old versions of objects. Versioning can be suspended, but never removed."""

    token = "aws:s3/bucketVersioning:BucketVersioning"
    choices = {"versioningConfiguration.status": ("Enabled", "Suspended", "Disabled")}
    unmodelled = frozenset({"expectedBucketOwner", "mfa"})
    create_call = Call("put_bucket_versioning", "bucket versioningConfiguration")
    read_call, found = Call("get_bucket_versioning", "bucket"), "@"
    outputs = fields(versioningConfiguration="{status: Status || 'Disabled'}")
    delete_call = Call("put_bucket_versioning", "bucket", VersioningConfiguration={"Status": "Suspended"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if "mfaDelete" in (known(inputs.get("versioningConfiguration")) or {}):
            yield Refused("the rehearsal's aws provider supports only status", "versioningConfiguration.mfaDelete")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        if inputs["versioningConfiguration"]["status"] == "Disabled":  # a bucket that was never versioned
            return inputs["bucket"]
        return super().make(cloud, inputs, request)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        self.make(cloud, inputs, request)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if (self.look(cloud, {"bucket": id}) or {}).get("Status") == "Enabled":
            super().remove(cloud, id, olds, request)


# What a lifecycle rule can do.
_DONE_BY_AGE = frozenset({"expiration", "abortIncompleteMultipartUpload", "noncurrentVersionExpiration"})


class BucketLifecycleConfiguration(_OnBucket):
    """When objects of a bucket expire, in days."""

    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    choices = {"rules[].status": ("Enabled", "Disabled")}
    ranges = {
        "rules[].expiration.days": (1, 2147483647),
        "rules[].noncurrentVersionExpiration.noncurrentDays": (1, 2147483647),
        "rules[].abortIncompleteMultipartUpload.daysAfterInitiation": (1, 2147483647),
    }
    unmodelled = frozenset({"expectedBucketOwner", "timeouts", "transitionDefaultMinimumObjectSize"})
    create_call = Call("put_bucket_lifecycle_configuration", "bucket", LifecycleConfiguration={"Rules": "{rules}"})
    read_call = Call("get_bucket_lifecycle_configuration", "bucket")
    delete_call = Call("delete_bucket_lifecycle", "bucket")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        rules = inputs.get("rules")
        if not rules:
            yield Refused("at least one rule is needed", "rules")
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            where = f"rules[{index}]"
            if rule.keys() - {"id", "status", "filter", *_DONE_BY_AGE}:
                yield Refused("the rehearsal's aws provider supports only expiration", where)
            if rule.get("noncurrentVersionExpiration", {}).keys() - {"noncurrentDays"}:
                path = f"{where}.noncurrentVersionExpiration"
                yield Refused("the rehearsal's aws provider supports only noncurrentDays", path)
            if not rule.keys() & _DONE_BY_AGE:
                yield Refused("a rule must have an expiration or another action", where)
            if known(rule.get("filter")) and rule["filter"].keys() - {"prefix"}:
                yield Refused("the rehearsal's aws provider supports only filters by prefix", f"{where}.filter")

    def given(self, inputs: Properties) -> Properties:
        rules = [{**rule, "filter": {"prefix": "", **(rule.get("filter") or {})}} for rule in inputs["rules"]]
        return {**super().given(inputs), "rules": rules}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        rules = self.output("rules", "", found)
        for rule in rules:
            rule["filter"] = {"prefix": prefix} if (prefix := rule.get("filter", {}).get("prefix")) else {}
        return {"rules": rules}
