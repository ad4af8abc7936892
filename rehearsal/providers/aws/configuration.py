"""The aws stand-in's configuration: its region, its default tags, and the clients of each region."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import boto3
from google.protobuf import struct_pb2

from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.protocol.model import UNKNOWN, Properties, Provider, Refused
from rehearsal.providers.protocol.wire import decode


class ConfiguredProvider(Provider):
    """The aws provider, without its resource types and functions."""

    def __init__(self) -> None:
        super().__init__()
        self.default_tags: dict[str, str] = {}
        self._region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        self._clouds: dict[str, Cloud] = {}
        self._lock = threading.Lock()

    def check_config(self, config: Properties) -> None:
        """Refuses a region that does not exist. Only the credentials of the environment are used."""
        region = config.get("region", self._region)
        if not region:
            raise Refused("the aws provider needs a region", "region")
        if region is not UNKNOWN:
            _check_region(region)

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """A change of the region replaces every resource."""
        return {"region"}

    def configure(self, config: Properties) -> None:
        """Takes the region and the default tags."""
        self._region = config.get("region", self._region)
        self.default_tags = _json_setting(config.get("defaultTags")).get("tags") or {}

    def cloud(self, region: str | None = None) -> Cloud:
        """The named region, or that of the provider. Raises Refused if the region does not exist."""
        wanted = region or self._region
        with self._lock:
            if wanted not in self._clouds:
                _check_region(wanted)
                self._clouds[wanted] = Cloud(wanted)
            return self._clouds[wanted]


def _json_setting(value: Any) -> dict[str, Any]:
    """A nested setting. It arrives as JSON text, which can contain secrets."""
    if not value:
        return {}
    struct = struct_pb2.Struct()
    struct.update(json.loads(value) if isinstance(value, str) else value)
    return decode(struct)[0]


def _check_region(region: str) -> None:
    session = boto3.Session()
    if not any(
        region in session.get_available_regions("ec2", partition) for partition in session.get_available_partitions()
    ):
        raise Refused(f"invalid AWS Region: {region}", "region")
