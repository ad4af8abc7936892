"""What the resource types of EC2 share: tags, CIDR rules, lookups by id."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.providers.aws.base import AwsResource, each, known
from rehearsal.providers.aws.cloud import Cloud, tag_list
from rehearsal.providers.serving import Properties, Refused, Request

_PATIENCE = 20
"""Seconds that a deletion waits for what still uses the object; the real provider is more patient."""


class Ec2Resource(AwsResource):
    """A resource whose id is EC2's and whose tags go through CreateTags and DeleteTags."""

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        """Sets and removes tags of the object `id`."""
        if put:
            cloud.ec2.create_tags(Resources=[id], Tags=tag_list(put))
        if drop:
            cloud.ec2.delete_tags(Resources=[id], Tags=[{"Key": key} for key in drop])


def when_free(request: Request, call: Callable[[], Any]) -> Any:
    """Calls until nothing uses the object any more, as the real provider does. Raises ClientError when something stays.

    What was asked to go a moment ago (a node's network interface, a load balancer) may need a little longer.
    """
    deadline = time.monotonic() + (request.timeout or _PATIENCE)
    while True:
        try:
            return call()
        except ClientError as error:
            busy = error.response["Error"]["Code"] in ("DependencyViolation", "InvalidIPAddress.InUse")
            if not busy or time.monotonic() > deadline or request.provider.cancelled.wait(0.5):
                raise


def tagged(kind: str, inputs: Properties) -> list[dict[str, Any]]:
    """The `TagSpecifications` of a creation; EC2 refuses an empty list of tags, so none is given then."""
    tags = inputs.get("tagsAll")
    return [{"ResourceType": kind, "Tags": tag_list(tags)}] if tags else []


def cidr_problems(
    inputs: Properties, path: str, *, version: int = 4, lengths: tuple[int, int] | None = None
) -> Iterator[Refused]:
    """Refuses what is no network address at `path`, has host bits, or a prefix length outside of `lengths`."""
    for where, text in each(inputs, path):
        try:
            network = ipaddress.ip_network(text, strict=False)
            if network.version != version or "/" not in text:
                raise ValueError
        except ValueError:
            yield Refused(f'"{text}" is not a valid IPv{version} CIDR block', where)
            continue
        if str(network) != text.lower():
            yield Refused(f'"{text}" is not a valid CIDR block; did you mean "{network}"?', where)
        elif lengths and not lengths[0] <= network.prefixlen <= lengths[1]:
            shortest, longest = lengths
            yield Refused(f"the prefix length of {text} must be between /{shortest} and /{longest}", where)


def zone_problems(inputs: Properties, cloud: Cloud, key: str = "availabilityZone") -> Iterator[Refused]:
    """Refuses a zone that is none of the region's by its name. Whether the region has that letter, EC2 says on `up`."""
    zone = known(inputs.get(key))
    if zone is not None and not re.fullmatch(rf"{re.escape(cloud.region)}[a-z]", zone):
        yield Refused(f"{cloud.region} has no availability zone {zone}; its zones are {cloud.region}a and so on", key)


def only(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The one object of a describe call, None when there is none."""
    return found[0] if found else None
