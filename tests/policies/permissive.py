"""A provider that accepts everything, for previews of programs whose cloud does not matter.

python -m tests.policies.permissive NAME
"""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from rehearsal.providers.protocol.model import UNKNOWN, Properties, Provider, Request, ResourceType
from rehearsal.providers.protocol.process import serve


class Anything(ResourceType):
    """A resource of any type: its outputs are its inputs, and what a cloud would compute is not known."""

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        return {**inputs, "arn": UNKNOWN}

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        raise NotImplementedError("nothing is deployed")


class Permissive(Provider):
    """Any provider. A function answers with its arguments, and with facts that programs often ask for."""

    name: ClassVar[str] = sys.argv[-1]
    version: ClassVar[str] = "1.0.0"

    def resource_type(self, token: str) -> ResourceType:
        return Anything()

    def invoke(self, token: str, args: Properties) -> Properties:
        facts: dict[str, Any] = {
            "id": "one",
            "ids": ["subnet-1", "subnet-2"],
            "names": [f"{region}{zone}" for region in ("us-east-1", "eu-west-1") for zone in "abc"],
            "zoneIds": [f"{region}-az{number}" for region in ("use1", "euw1") for number in (1, 2, 4)],
            "accountId": "123456789012",
            "arn": "arn:aws:iam::123456789012:role/administrator",
            "partition": "aws",
            "json": "{}",
            "version": "v1.20.0-eksbuild.1",
            "name": "us-east-1",
            "nameServers": ["ns-1.example.com"],
            "secretString": '{"password": "of-no-interest"}',
            "zoneId": "Z1",
        }
        return {**facts, **args}


if __name__ == "__main__":
    serve(Permissive())
