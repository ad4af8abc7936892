"""The base of the resource types of EC2, and checks that several of them need."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud, tag_list
from rehearsal.providers.aws.described import DescribedResource
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import Properties, Refused, Request

_PATIENCE = 20
"""How long a deletion waits while something uses the object, in seconds. The real provider waits longer."""


class Ec2Resource(DescribedResource):
    """A resource whose id EC2 chooses. `kind` is its type in tag specifications and in its ARN."""

    service = "ec2"
    tag_call = Call("create_tags", "tags", Resources=["{id}"])
    untag_call = Call("delete_tags", Resources=["{id}"], Tags="{tagKeys}")
    kind: ClassVar[str] = ""

    def given(self, inputs: Properties) -> Properties:
        return {**super().given(inputs), "tagSpecifications": tagged(self.kind, inputs) or None}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        more = {"arn": cloud.arn("ec2", f"{self.kind}/{known['id']}"), "ownerId": cloud.account}
        return {name: value for name, value in more.items() if name in self.shape.outputs}

    def output(self, name: str, path: str, found: Any) -> Any:
        value = super().output(name, path, found)
        return "" if value is None and self.shape.kind(name) == "string" else value

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        when_free(request, lambda: super(Ec2Resource, self).remove(cloud, id, olds, request))


def when_free(request: Request, call: Callable[[], Any]) -> Any:
    """Repeats the call while something uses the object, as the real provider does. Raises ClientError if that lasts.

    A user of the object (the network interface of a node, a load balancer) can be in deletion already.
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
    """The `TagSpecifications` of a creation. Empty without tags, because EC2 refuses an empty list of tags."""
    tags = inputs.get("tagsAll")
    return [{"ResourceType": kind, "Tags": tag_list(tags)}] if tags else []


def cidr_problems(
    inputs: Properties, path: str, *, version: int = 4, lengths: tuple[int, int] | None = None
) -> Iterator[Refused]:
    """Refuses a value at `path` that is not a network, has host bits, or has a prefix length outside of `lengths`."""
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
    """Refuses a zone of another region. Only EC2 knows which letters the region has, so `up` finds a wrong one."""
    zone = known(inputs.get(key))
    if zone is not None and not re.fullmatch(rf"{re.escape(cloud.region)}[a-z]", zone):
        yield Refused(f"{cloud.region} has no availability zone {zone}; its zones are {cloud.region}a and so on", key)


def only(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The only object of a describe call, or None."""
    return found[0] if found else None
