"""The aws stand-in as a provider: its configuration, and where its resource types and functions are."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import threading
from typing import Any

import boto3
from google.protobuf import struct_pb2

from rehearsal.providers.aws import __path__, base, contract, functions
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.serving import UNKNOWN, Properties, Provider, Refused, ResourceType, decode


class AwsProvider(Provider):
    """pulumi-resource-aws, against the AWS at `AWS_ENDPOINT_URL`."""

    name = "aws"
    version = contract.VERSION

    def __init__(self) -> None:
        super().__init__()
        self.default_tags: dict[str, str] = {}
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        self._clouds: dict[str, Cloud] = {}
        self._lock = threading.Lock()
        for module in pkgutil.iter_modules(__path__):
            if module.name not in ("__main__", "distill"):
                importlib.import_module(f"{__package__}.{module.name}")

    def check_config(self, config: Properties) -> None:
        """Refuses a region that doesn't exist. The credentials used are the environment's, whatever is set."""
        region = config.get("region", self._region)
        if not region:
            raise Refused("the aws provider needs a region", "region")
        if region is not UNKNOWN:
            _check_region(region)

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """Another region means other resources."""
        return {"region"}

    def configure(self, config: Properties) -> None:
        """Takes region and default tags; the credentials are the environment's."""
        self._region = config.get("region", self._region)
        self.default_tags = _json_setting(config.get("defaultTags")).get("tags") or {}

    def cloud(self, region: str | None = None) -> Cloud:
        """The region named, or the provider's own. Raises Refused when there is no such region."""
        wanted = region or self._region
        with self._lock:
            if wanted not in self._clouds:
                _check_region(wanted)
                self._clouds[wanted] = Cloud(wanted)
            return self._clouds[wanted]

    def resource_type(self, token: str) -> ResourceType:
        """The resource type of `token`. Raises Refused with where to add it."""
        if token in base.TYPES:
            return base.TYPES[token]
        contract.shape(token)
        raise Refused(
            f"the rehearsal's aws provider does not carry out {token}: add a subclass of AwsResource to a module of "
            "rehearsal/providers/aws"
        )

    def invoke(self, token: str, args: Properties) -> Properties:
        """The result of the function `token`."""
        return functions.call(self, token, args)


def _json_setting(value: Any) -> dict[str, Any]:
    """A nested setting, which arrives as JSON text that may hold secrets."""
    if not value:
        return {}
    struct = struct_pb2.Struct()
    struct.update(json.loads(value) if isinstance(value, str) else value)
    return decode(struct)[0]


def _check_region(region: str) -> None:
    session = boto3.Session()
    if not any(region in session.get_available_regions("ec2", one) for one in session.get_available_partitions()):
        raise Refused(f"invalid AWS Region: {region}", "region")
