"""S3: buckets, and what is set on a bucket by a resource of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.aws.policies import resource_policy
from rehearsal.providers.serving import Properties, Refused, Request, autoname

_NAME = re.compile(r"(?!xn--)(?!.*(\.\.|-s3alias$|--ol-s3$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_NAME = 63
_FIRST_REGION = "us-east-1"
# What S3 calls each thing that is not set on a bucket.
_NOT_SET = frozenset(
    {
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "ServerSideEncryptionConfigurationNotFoundError",
        "404",
    }
)


def _missing(error: ClientError) -> bool:
    return error.response["Error"]["Code"] in _NOT_SET


class Bucket(AwsResource):
    """A bucket; what is in it goes with it where `forceDestroy` says so."""

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
            yield Refused(f"{name} is no name of a bucket: 3 to 63 lower-case letters, digits, hyphens, dots", "bucket")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        s3, name = cloud.client("s3"), inputs["bucket"]
        try:
            s3.head_bucket(Bucket=name)
        except ClientError as error:
            if not _missing(error):
                raise
        else:  # S3 in us-east-1 would say yes to its owner, and the provider asks first
            raise Refused(f"creating S3 Bucket ({name}): BucketAlreadyExists", "bucket")
        place = {"CreateBucketConfiguration": {"LocationConstraint": cloud.region}}
        s3.create_bucket(Bucket=name, **(place if cloud.region != _FIRST_REGION else {}))
        return name

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if inputs.get("tagsAll"):
            cloud.client("s3").put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(inputs["tagsAll"])})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        s3 = cloud.client("s3")
        try:
            s3.head_bucket(Bucket=id)
        except ClientError as error:
            if _missing(error):
                return None
            raise
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
        """`forceDestroy` is the provider's own, and all that can change."""

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        tags = {key: value for key, value in {**self._tags(cloud, id), **put}.items() if key not in drop}
        cloud.client("s3").put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(tags)})

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        s3 = cloud.client("s3")
        try:
            if olds.get("forceDestroy"):
                for page in s3.get_paginator("list_object_versions").paginate(Bucket=id):
                    for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                        s3.delete_object(Bucket=id, Key=item["Key"], VersionId=item["VersionId"])
            s3.delete_bucket(Bucket=id)
        except ClientError as error:
            if not _missing(error):
                raise


class _OnBucket(AwsResource):
    """What is set on a bucket: its id is the bucket's name, and there is one of it."""

    force_new = frozenset({"bucket"})
    longest_name = None

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        self.put(cloud, inputs["bucket"], inputs)
        return inputs["bucket"]

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        """Sets it, in the place of what there is."""
        raise NotImplementedError

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        """What is set."""
        raise NotImplementedError

    def clear(self, cloud: Cloud, bucket: str) -> None:
        """Takes it off."""
        raise NotImplementedError

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        try:
            found = self.found(cloud, id, olds)
        except ClientError as error:
            if _missing(error):
                return None
            raise
        return None if found is None else {"bucket": id, **found}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        self.put(cloud, id, inputs)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        try:
            self.clear(cloud, id)
        except ClientError as error:
            if not _missing(error):
                raise


class BucketPolicy(_OnBucket):
    """Who may do what with a bucket."""

    token = "aws:s3/bucketPolicy:BucketPolicy"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from resource_policy(inputs, "policy")

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        cloud.client("s3").put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        return {"policy": cloud.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]}

    def clear(self, cloud: Cloud, bucket: str) -> None:
        cloud.client("s3").delete_bucket_policy(Bucket=bucket)


class BucketPublicAccessBlock(_OnBucket):
    """What keeps a bucket from being opened to everybody."""

    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    defaults = dict.fromkeys(
        ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"), False
    )
    unmodelled = frozenset({"skipDestroy"})

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        blocks = {name[0].upper() + name[1:]: inputs[name] for name in self.defaults}
        cloud.client("s3").put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocks)

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        live = cloud.client("s3").get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        return {name: live.get(name[0].upper() + name[1:], False) for name in self.defaults}

    def clear(self, cloud: Cloud, bucket: str) -> None:
        cloud.client("s3").delete_public_access_block(Bucket=bucket)


class BucketServerSideEncryptionConfiguration(_OnBucket):
    """How what is written to a bucket is encrypted."""

    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    choices = {"rules[].applyServerSideEncryptionByDefault.sseAlgorithm": ("AES256", "aws:kms", "aws:kms:dsse")}
    unmodelled = frozenset({"expectedBucketOwner"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        rules = inputs.get("rules")
        if not isinstance(rules, list):
            return
        if len(rules) != 1:
            yield Refused(f"a bucket has exactly one rule of encryption, not {len(rules)}", "rules")
        for index, rule in enumerate(rules):
            where = f"rules[{index}]"
            default = rule.get("applyServerSideEncryptionByDefault")
            if rule.keys() - {"applyServerSideEncryptionByDefault", "bucketKeyEnabled"}:
                yield Refused(
                    "the rehearsal's aws provider carries out applyServerSideEncryptionByDefault and bucketKeyEnabled"
                    " alone",
                    where,
                )
            if default is None:
                yield Refused("applyServerSideEncryptionByDefault is required here", where)
            elif known(default) and default.get("sseAlgorithm") == "AES256" and default.get("kmsMasterKeyId"):
                yield Refused("a key of KMS needs the algorithm aws:kms", f"{where}.applyServerSideEncryptionByDefault")

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        (rule,) = inputs["rules"]
        default = rule["applyServerSideEncryptionByDefault"]
        names = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}
        encryption = {names[name]: value for name, value in default.items() if value}
        set_rule = {"ApplyServerSideEncryptionByDefault": encryption}
        if "bucketKeyEnabled" in rule:
            set_rule["BucketKeyEnabled"] = rule["bucketKeyEnabled"]
        cloud.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [set_rule]})

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        live = cloud.client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        default = live["Rules"][0]["ApplyServerSideEncryptionByDefault"]
        names = {"SSEAlgorithm": "sseAlgorithm", "KMSMasterKeyID": "kmsMasterKeyId"}
        rule: Properties = {"applyServerSideEncryptionByDefault": {names[name]: default[name] for name in default}}
        # The provider shows it where it was given, as S3 says false of a bucket that was never asked.
        (given,) = olds.get("rules") or [{}]
        if "bucketKeyEnabled" in given or live["Rules"][0].get("BucketKeyEnabled"):
            rule["bucketKeyEnabled"] = live["Rules"][0].get("BucketKeyEnabled", False)
        return {"rules": [rule]}

    def clear(self, cloud: Cloud, bucket: str) -> None:
        cloud.client("s3").delete_bucket_encryption(Bucket=bucket)


class BucketVersioning(_OnBucket):
    """Whether a bucket keeps what is overwritten or deleted. What is set once can be suspended, and never taken off."""

    token = "aws:s3/bucketVersioning:BucketVersioning"
    choices = {"versioningConfiguration.status": ("Enabled", "Suspended", "Disabled")}
    unmodelled = frozenset({"expectedBucketOwner", "mfa"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if "mfaDelete" in (known(inputs.get("versioningConfiguration")) or {}):
            yield Refused("the rehearsal's aws provider carries out status alone", "versioningConfiguration.mfaDelete")

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        status = inputs["versioningConfiguration"]["status"]
        if status != "Disabled":  # the provider's word for a bucket that was never versioned
            cloud.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        live = cloud.client("s3").get_bucket_versioning(Bucket=bucket)
        return {"versioningConfiguration": {"status": live.get("Status", "Disabled")}}

    def clear(self, cloud: Cloud, bucket: str) -> None:
        if cloud.client("s3").get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled":
            cloud.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


# What a rule of a bucket's life does.
_DONE_BY_AGE = frozenset({"expiration", "abortIncompleteMultipartUpload", "noncurrentVersionExpiration"})


class BucketLifecycleConfiguration(_OnBucket):
    """When what is in a bucket expires; in days."""

    token = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
    choices = {"rules[].status": ("Enabled", "Disabled")}
    ranges = {
        "rules[].expiration.days": (1, 2147483647),
        "rules[].noncurrentVersionExpiration.noncurrentDays": (1, 2147483647),
        "rules[].abortIncompleteMultipartUpload.daysAfterInitiation": (1, 2147483647),
    }
    unmodelled = frozenset({"expectedBucketOwner", "timeouts", "transitionDefaultMinimumObjectSize"})

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        rules = inputs.get("rules")
        if not rules:
            yield Refused("at least one rule is needed", "rules")
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            where = f"rules[{index}]"
            if rule.keys() - {"id", "status", "filter", *_DONE_BY_AGE}:
                yield Refused("the rehearsal's aws provider carries out expiration alone", where)
            if rule.get("noncurrentVersionExpiration", {}).keys() - {"noncurrentDays"}:
                path = f"{where}.noncurrentVersionExpiration"
                yield Refused("the rehearsal's aws provider carries out noncurrentDays alone", path)
            if not rule.keys() & _DONE_BY_AGE:
                yield Refused("a rule must do something", where)
            if known(rule.get("filter")) and rule["filter"].keys() - {"prefix"}:
                yield Refused("the rehearsal's aws provider carries out filters by prefix alone", f"{where}.filter")

    def put(self, cloud: Cloud, bucket: str, inputs: Properties) -> None:
        rules = [_to_rule(rule) for rule in inputs["rules"]]
        cloud.client("s3").put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})

    def found(self, cloud: Cloud, bucket: str, olds: Properties) -> Properties | None:
        live = cloud.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return {"rules": [_from_rule(rule) for rule in live]}

    def clear(self, cloud: Cloud, bucket: str) -> None:
        cloud.client("s3").delete_bucket_lifecycle(Bucket=bucket)


def _to_rule(rule: Properties) -> dict[str, Any]:
    made: dict[str, Any] = {
        "ID": rule["id"],
        "Status": rule["status"],
        "Filter": {"Prefix": (rule.get("filter") or {}).get("prefix", "")},
    }
    if "expiration" in rule:
        made["Expiration"] = {"Days": rule["expiration"]["days"]}
    if "noncurrentVersionExpiration" in rule:
        days = rule["noncurrentVersionExpiration"]["noncurrentDays"]
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    if "abortIncompleteMultipartUpload" in rule:
        days = rule["abortIncompleteMultipartUpload"]["daysAfterInitiation"]
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return made


def _from_rule(rule: dict[str, Any]) -> Properties:
    prefix = rule.get("Filter", {}).get("Prefix", "")
    shown: Properties = {"id": rule["ID"], "status": rule["Status"], "filter": {"prefix": prefix} if prefix else {}}
    if "Days" in rule.get("Expiration", {}):
        shown["expiration"] = {"days": rule["Expiration"]["Days"]}
    if "NoncurrentDays" in rule.get("NoncurrentVersionExpiration", {}):
        days = rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
        shown["noncurrentVersionExpiration"] = {"noncurrentDays": days}
    if "AbortIncompleteMultipartUpload" in rule:
        days = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]
        shown["abortIncompleteMultipartUpload"] = {"daysAfterInitiation": days}
    return shown
