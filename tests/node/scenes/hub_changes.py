"""The hub with a mistake in its program: it starts again with the changed text, and afterwards with the right one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import requests

from components.hub.values import PACKAGE
from components.teams.names import HUB_NAMESPACE
from rehearsal.controllers.world import place

from .site import HUB_URL, Site
from .waiting import until

_DEPLOYMENT = place("/apis/apps/v1/deployments", "hub", HUB_NAMESPACE)
_BROKEN = "broken-modules"


@contextlib.contextmanager
def changed(site: Site, file: str, pattern: str, replacement: str) -> Iterator[None]:
    """The hub runs with another text in one of its modules during the block."""
    deployment = site.kubernetes.request("GET", _DEPLOYMENT)
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    modules = _modules(volumes)
    found = site.kubernetes.request("GET", place("/api/v1/configmaps", modules, HUB_NAMESPACE))
    text, times = re.subn(pattern, replacement, found["data"][file])
    assert times == 1, f"{pattern} is {times} times in {file}"
    broken = place("/api/v1/configmaps", _BROKEN, HUB_NAMESPACE)
    metadata = {"name": _BROKEN, "namespace": HUB_NAMESPACE}
    site.kubernetes.create(broken, {"metadata": metadata, "data": {**found["data"], file: text}})
    try:
        _mount(site, _with_modules(volumes, modules, _BROKEN))
        yield
    finally:
        _mount(site, volumes)
        site.kubernetes.delete(broken)


def wait_for_answer() -> None:
    """Waits until the hub answers people."""

    def answers() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{HUB_URL}/hub/health", verify=False, timeout=5).status_code == 200
        return False

    until(answers, "the hub answers")


def _mount(site: Site, volumes: list[dict[str, Any]]) -> None:
    site.kubernetes.patch(_DEPLOYMENT, {"spec": {"template": {"spec": {"volumes": volumes}}}})
    site.wait_for_rollout("deployments", "hub", HUB_NAMESPACE)
    wait_for_answer()


def _modules(volumes: list[dict[str, Any]]) -> str:
    """The name of the ConfigMap with the hub's modules."""
    (volume,) = [one for one in volumes if one["name"] == PACKAGE]
    return volume["projected"]["sources"][0]["configMap"]["name"]


def _with_modules(volumes: list[dict[str, Any]], before: str, after: str) -> list[dict[str, Any]]:
    def source(one: dict[str, Any]) -> dict[str, Any]:
        return {"configMap": {**one["configMap"], "name": after}} if one["configMap"]["name"] == before else one

    return [
        {**volume, "projected": {**volume["projected"], "sources": [*map(source, volume["projected"]["sources"])]}}
        if volume["name"] == PACKAGE
        else volume
        for volume in volumes
    ]
