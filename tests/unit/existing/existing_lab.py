"""A stack on a cluster that exists, and clusters from the fixtures, each with changes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from typing import Any

import settings
from components.ground.existing.found import FoundCluster
from components.ground.existing.makes import made_by
from components.ground.existing.preflight import findings
from contracts import clusters

TODAY = datetime.date(2026, 6, 1)
STACK = "lab"

FILE: dict[str, Any] = {
    "gpulab:owner": "ml@example.com",
    "gpulab:costCenter": "lab",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2027-06-30"},
    "gpulab:ground": {"kind": "existing", "context": "k3s", "distribution": "k3s"},
    "gpulab:nodePools": {"gpu": {"selector": {"role": "gpu"}, "gpus": {"count": 1}}},
    "gpulab:storage": {"homes": "per-person", "homeSize": 20},
}

PEOPLE: dict[str, Any] = {
    "identity": {"administrators": ["ada@example.com"], "database": {"kind": "cloudnative-pg"}},
    "hub": {"database": {"kind": "volume"}},
    "profiles": {
        "gpu": {
            "displayName": "GPU",
            "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-05-04",
            "cpu": 1,
            "memory": 2,
            "gpu": {"pool": "gpu"},
        }
    },
    "teams": {
        "vision": {
            "description": "Vision",
            "quota": {"cpu": 8, "memory": 32, "notebooks": 4, "storage": 100, "gpus": 1},
            "profiles": ["gpu"],
        }
    },
}
"""Sections with which a stack has Keycloak, a hub and a team."""

PRESENT = {"plugin": "present"}
FILER = {"filer": "filer.example.com:8888"}
PUBLISHED: dict[str, Any] = {
    "access": "ingress",
    "domain": "lab.example.com",
    "certificate": {"secret": "lab-tls", "namespace": "default"},
}


def load(distribution: str = "k3s", /, **sections: Any) -> settings.ExistingSettings:
    """The settings of FILE on a distribution, with sections (`nodePools=…`) replaced or added."""
    ground = {"kind": "existing", "context": distribution, "distribution": distribution}
    stack = {**FILE, "gpulab:ground": ground, **{f"gpulab:{name}": value for name, value in sections.items()}}
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()}
    loaded = settings.load(config, stack=STACK, today=TODAY)
    assert isinstance(loaded, settings.ExistingSettings)
    return loaded


def find(distribution: str = "k3s", *more: Mapping[str, Any], version: str | None = None) -> FoundCluster:
    """The cluster of a fixture, with more objects."""
    return FoundCluster.of([*clusters.cluster(distribution), *more], version=version)


def changed(distribution: str, change: Callable[[dict[str, Any]], object], kind: str) -> FoundCluster:
    """The cluster of a fixture, with `change` made to every object of a kind; a change that is False leaves it out."""
    return FoundCluster.of(
        [one for one in clusters.cluster(distribution) if one["kind"] != kind or change(one) is not False]
    )


def manifest(kind: str, name: str, namespace: str | None = None, /, **metadata: Any) -> dict[str, Any]:
    """An object of which only metadata matters."""
    return {"kind": kind, "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), **metadata}}


def errors(found: FoundCluster, distribution: str = "k3s", /, **sections: Any) -> list[str]:
    settings = load(distribution, **sections)
    found_errors, _ = findings(settings, found, made_by(settings, found))
    return list(map(str, found_errors))


def warnings(found: FoundCluster, distribution: str = "k3s", /, **sections: Any) -> list[str]:
    settings = load(distribution, **sections)
    _, found_warnings = findings(settings, found, made_by(settings, found))
    return list(map(str, found_warnings))
