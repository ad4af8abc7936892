"""Access to the simulated AWS: boto3 clients of one region, and facts about the account and the region."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.providers.protocol.model import Refused

# Making a client isn't thread-safe in boto3, using one is.
_CLIENT_LOCK = threading.Lock()
# The server is on this machine, so a second attempt would not help.
_CONFIG = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, max_pool_connections=64)
_MOST_TAGS = 50
_LONGEST_TAG_KEY, _LONGEST_TAG_VALUE = 128, 256
_GONE_CODES = frozenset(
    {
        "NoSuchEntity",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        # S3 has a code for each setting that a bucket lacks, and only the status in the answer to HeadBucket.
        "NoSuchBucket",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
        "NoSuchPublicAccessBlockConfiguration",
        "404",
    }
)


class Cloud:
    """One region of the account of the credentials in the environment. `AWS_ENDPOINT_URL` is its address."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._session = boto3.Session(region_name=region)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The boto3 client of `service` (`ec2`, `eks`, ...), made once."""
        with _CLIENT_LOCK:
            if service not in self._clients:
                self._clients[service] = self._session.client(service, config=_CONFIG)
            return self._clients[service]

    @property
    def ec2(self) -> Any:
        """The client of EC2."""
        return self.client("ec2")

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """The caller by STS: `Account`, `Arn`, `UserId`."""
        return self.client("sts").get_caller_identity()

    @property
    def account(self) -> str:
        """The account's 12 digits."""
        return self.identity["Account"]

    @functools.cached_property
    def partition(self) -> str:
        """The partition of the region, such as `aws` or `aws-cn`."""
        return self._session.get_partition_for_region(self.region)

    @functools.cached_property
    def zones(self) -> dict[str, str]:
        """The region's availability zones: name -> zone id."""
        found = self.ec2.describe_availability_zones()["AvailabilityZones"]
        return {zone["ZoneName"]: zone["ZoneId"] for zone in found}

    @functools.cached_property
    def description(self) -> str:
        """The region's name for people, such as `US East (N. Virginia)`."""
        partitions = botocore.session.get_session().get_data("endpoints")["partitions"]
        return next(
            partition["regions"][self.region]["description"]
            for partition in partitions
            if self.region in partition["regions"]
        )

    def arn(self, service: str, resource: str) -> str:
        """The ARN of an object in this region and account. `resource` is the last part (`vpc/vpc-1`)."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def is_gone(error: ClientError) -> bool:
    """Whether AWS answered that the object does not exist."""
    code = error.response["Error"]["Code"]
    return "NotFound" in code or code in _GONE_CODES


def refusal(error: ClientError) -> Refused:
    """The refusal of AWS as one sentence: the API action, its message and its code."""
    detail = error.response["Error"]
    return Refused(f"{error.operation_name}: {detail.get('Message', '')} ({detail['Code']})")


def tag_list(tags: dict[str, str] | None) -> list[dict[str, str]]:
    """`tags` in the form of most APIs: a list of `Key` and `Value`."""
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def tag_map(tags: list[dict[str, str]] | None) -> dict[str, str]:
    """The reverse of `tag_list`; KMS has `TagKey` and `TagValue`."""
    return {tag.get("Key", tag.get("TagKey", "")): tag.get("Value", tag.get("TagValue", "")) for tag in tags or []}


def tag_problems(tags: Mapping[str, Any]) -> Iterator[Refused]:
    """Checks tags against the limits of AWS, https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html."""
    if len(tags) > _MOST_TAGS:
        yield Refused(f"a resource can have at most {_MOST_TAGS} tags; this one has {len(tags)}", "tags")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            yield Refused(f"the tag key {key} is reserved: keys may not start with aws:", "tags")
        if not 1 <= len(key) <= _LONGEST_TAG_KEY:
            yield Refused(f"the tag key {key!r} must have 1 to {_LONGEST_TAG_KEY} characters", "tags")
        if isinstance(value, str) and len(value) > _LONGEST_TAG_VALUE:
            yield Refused(f"the value of tag {key} must have at most {_LONGEST_TAG_VALUE} characters", "tags")
