"""The aws stand-in's resource types without the engine, against a simulated AWS in this process.

with simulated_aws() as aws:
    vpc = aws.create("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    assert aws.drift(vpc) == {}
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from rehearsal.cloud import server
from rehearsal.providers.aws.provider import AwsProvider
from rehearsal.providers.protocol.model import Properties, Refused, Request

REGION = "us-east-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAREHEARSAL",
    "AWS_SECRET_ACCESS_KEY": "rehearsal",
    "AWS_DEFAULT_REGION": REGION,
    "GPULAB_TODAY": "2026-11-30",
}
DEFAULT_TAGS = {"Owner": "tests"}


@dataclass
class Made:
    """A resource that exists: what its state holds."""

    token: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties


@dataclass
class SimulatedAws:
    """The stand-in, called as the engine calls it. `patience` is the seconds that deletions wait for what is in use."""

    provider: AwsProvider
    patience: float = 0.01
    made: list[Made] = field(default_factory=list)

    @property
    def ec2(self) -> Any:
        """A client, for changes that the stand-in does not make."""
        return self.provider.cloud().ec2

    def request(self, token: str, name: str) -> Request:
        """What the engine sends in addition to the properties."""
        urn = f"urn:pulumi:test::gpulab::{token}::{name}"
        return Request(urn=urn, provider=self.provider, timeout=self.patience, random_seed=name.encode())

    def check(self, token: str, inputs: Properties, olds: Properties | None = None, name: str = "lab") -> Properties:
        """The checked inputs. Raises Refused."""
        return self.provider.resource_type(token).check(inputs, olds or {}, self.request(token, name))

    def refusals(self, token: str, inputs: Properties) -> dict[str, str]:
        """What a check refuses: property -> reason."""
        try:
            self.check(token, inputs)
        except Refused as refused:
            return {one.property: one.reason for one in refused.failures}
        return {}

    def create(self, token: str, inputs: Properties, name: str = "lab") -> Made:
        """A resource, checked and made."""
        checked = self.check(token, inputs, name=name)
        id, outputs = self.provider.resource_type(token).create(checked, self.request(token, name))
        self.made.append(Made(token, name, id, checked, outputs))
        return self.made[-1]

    def read(self, made: Made) -> tuple[Properties, Properties] | None:
        """As a refresh reads it."""
        kind = self.provider.resource_type(made.token)
        return kind.read(made.id, made.inputs, made.outputs, self.request(made.token, made.name))

    def drift(self, made: Made) -> Properties:
        """The inputs and outputs that a refresh would change, with their live values; `gone` for a lost resource."""
        found = self.read(made)
        if found is None:
            return {"gone": True}
        inputs, outputs = found
        return {
            **{
                name: outputs.get(name)
                for name in outputs.keys() | made.outputs.keys()
                if outputs.get(name) != made.outputs.get(name)
            },
            **{
                name: inputs.get(name)
                for name in inputs.keys() | made.inputs.keys()
                if inputs.get(name) != made.inputs.get(name)
            },
        }

    def replaced_by(self, made: Made, inputs: Properties) -> set[str]:
        """The differing paths that would replace the resource."""
        checked = self.check(made.token, inputs, made.inputs, made.name)
        difference = self.provider.resource_type(made.token).difference(made.inputs, checked, made.outputs)
        return {
            ".".join(map(str, path))
            for path, _ in difference.changes
            if any(path[: len(one)] == one for one in difference.replacing)
        }

    def update(self, made: Made, inputs: Properties) -> Made:
        """The resource with new inputs; in place, or the test fails."""
        assert not self.replaced_by(made, inputs)
        checked = self.check(made.token, inputs, made.inputs, made.name)
        kind, asked = self.provider.resource_type(made.token), self.request(made.token, made.name)
        made.outputs = kind.update(made.id, checked, made.outputs, made.inputs, asked)
        made.inputs = checked
        return made

    def delete(self, made: Made) -> None:
        """Deletes the resource."""
        self.provider.resource_type(made.token).delete(made.id, made.outputs, self.request(made.token, made.name))

    def delete_all(self) -> None:
        """Deletes all that was made, the last first."""
        for made in reversed(self.made):
            self.delete(made)
        self.made.clear()


@contextmanager
def simulated_aws() -> Iterator[SimulatedAws]:
    """A stand-in with default tags, and an empty AWS behind it."""
    with server.running() as url, mock.patch.dict(os.environ, {**ENVIRONMENT, "AWS_ENDPOINT_URL": url}):
        provider = AwsProvider()
        provider.configure({"region": REGION, "defaultTags": '{"tags": {"Owner": "tests"}}'})
        yield SimulatedAws(provider)
