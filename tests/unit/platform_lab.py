"""A lab's stack file and its whole platform, deployed to the mocks, for the tests of the platform."""

from __future__ import annotations

import datetime
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import eks_mocks
import ingress_mocks
import pytest
from engine_mocks import EngineMocks

import settings
from components.ingress.published_service import PublishedService
from components.platform import Platform

LAB: dict[str, Any] = {
    "aws:region": "us-east-1",
    "gpulab:owner": "ml@example.com",
    "gpulab:costCenter": "research-042",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2027-06-30"},
    "gpulab:network": {"cidr": "10.40.0.0/16", "zones": ["us-east-1a", "us-east-1b"]},
    "gpulab:cluster": {"version": "1.36", "administrators": ["arn:aws:iam::123456789012:role/platform-admin"]},
    "gpulab:nodePools": {"cpu": {"categories": ["m"], "limits": {"cpu": 64}}},
}


def directory(mappings: Mapping[str, str]) -> dict[str, Any]:
    """The section `ldap` of `gpulab:identity`, with groups of a directory by their name: /TEAM/ROLE of each."""
    return {
        "url": "ldaps://ldap.example.com",
        "vendor": "other",
        "bindDn": "cn=keycloak,dc=x",
        "bindPassword": {"kubernetesSecret": "ldap", "key": "password"},
        "users": "ou=people,dc=x",
        "groups": {"base": "ou=groups,dc=x", "mappings": dict(mappings)},
    }


def config(**changed: Any) -> dict[str, str]:
    """The lab's configuration as Pulumi gives it to a program: text, with objects as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in {**LAB, **changed}.items()}


@contextmanager
def answering_eks(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[eks_mocks.Eks]:
    """An EKS whose API can be reached, until the block ends."""
    for proxy in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield eks_mocks.answer(mocks, monkeypatch, f"https://127.0.0.1:{server.getsockname()[1]}")


def deploy(mocks: Any, *published: PublishedService, **changed: Any) -> Platform:
    """The platform of the lab with other sections in its stack file; see `answering_eks`."""
    loaded = settings.on_eks(settings.load(config(**changed), stack="dev", today=datetime.date(2027, 1, 1)))
    return mocks.deploy(lambda: Platform(loaded.cluster.name, loaded, published=published))


def deployed(*published: PublishedService, **changed: Any) -> EngineMocks:
    """The mocks after `deploy`, with EKS and the services of a domain answering: for tests that only read the graph."""
    mocks = EngineMocks()
    with pytest.MonkeyPatch.context() as patch, answering_eks(mocks, patch):
        ingress_mocks.answer(mocks, patch)
        deploy(mocks, *published, **changed)
    return mocks
