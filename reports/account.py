"""Reads an AWS account with boto3. `Held` is one thing that the account holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3

Raw = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Held:
    """A thing that the account holds. `id` is what AWS takes to delete it, `raw` is what AWS returned for it."""

    service: str
    kind: str
    id: str
    raw: Raw = field(compare=False, repr=False, default_factory=dict)
    name_key: str = field(compare=False, repr=False, default="")
    """The key in `raw` of the name that people gave it, if that is not the id."""

    def __str__(self) -> str:
        return f"{self.service} {self.kind} {self.id}"

    @property
    def type(self) -> tuple[str, str]:
        """The service and the kind."""
        return self.service, self.kind

    @property
    def vpc(self) -> str | None:
        """The VPC that it is in."""
        return self.raw.get("VpcId") or self.raw.get("VPCId")

    @property
    def name(self) -> str:
        """What people call it, beside its id and its tag Name."""
        return self.raw.get(self.name_key) or self.id

    @property
    def state(self) -> str:
        """The state that AWS reports, in lower case."""
        raw = self.raw
        status = raw.get("LifeCycleState") or raw.get("DBInstanceStatus") or raw.get("Status") or ""
        state = raw.get("State") or raw.get("KeyState") or raw.get("status") or status
        return str(state.get("Name") or state.get("Code") if isinstance(state, Mapping) else state).lower()

    @property
    def is_gone(self) -> bool:
        """Whether it is deleted: AWS lists some things for a while after that."""
        return self.state in ("terminated", "deleted")

    @property
    def is_scheduled(self) -> bool:
        """Whether AWS deletes it at a set date: a key or a secret in its deletion window."""
        return self.state == "pendingdeletion" or bool(self.raw.get("DeletedDate"))

    @property
    def is_going(self) -> bool:
        """Whether AWS is deleting it now."""
        return self.state in ("deleting", "shutting-down")


class Account:
    """An account in one region, read with boto3."""

    def __init__(self, session: boto3.Session, url: str | None = None) -> None:
        """`url` is the endpoint of something that replaces AWS, such as a rehearsal."""
        self._session = session
        self._url = url
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """The region's name."""
        return str(self._session.region_name)

    @property
    def credentials(self) -> Any:
        """The credentials that sign requests."""
        return self._session.get_credentials()

    def client(self, service: str) -> Any:
        """A boto3 client of `service`, made once."""
        if service not in self._clients:
            self._clients[service] = self._session.client(service, endpoint_url=self._url)
        return self._clients[service]

    def pages(self, service: str, call: str, key: str, **arguments: Any) -> Iterator[Any]:
        """The items under `key` of all pages of a call's answer."""
        client = self.client(service)
        if client.can_paginate(call):
            for page in client.get_paginator(call).paginate(**arguments):
                yield from page.get(key) or []
        else:
            yield from getattr(client, call)(**arguments).get(key) or []


def tag_map(listed: Iterable[Raw] | None) -> dict[str, str]:
    """Tags by key. AWS services list them in three ways."""
    found = {}
    for tag in listed or ():
        key = tag.get("Key", tag.get("TagKey"))
        if key is not None:
            found[key] = tag.get("Value", tag.get("TagValue", ""))
    return found
