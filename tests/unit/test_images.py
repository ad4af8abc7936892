"""Which images run: by tag in a lab, by digest in production if contracts has one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import platform_lab
import pytest
from engine_mocks import EngineMocks

import contracts
from components.images import CHART_IMAGES, chart_images, pinned, with_digests
from components.storage.local_path import HELPER_IMAGE, IMAGE
from settings import ChartSource
from settings.charts import CHART_NAMES

RELEASE = "kubernetes:helm.sh/v3:Release"
WORKLOADS = ("Job", "CronJob", "Deployment", "Cluster")
PINNED = re.compile(r"[a-z0-9.-]+(/[\w.-]+)+:v?[0-9][\w.-]*")
# What EKS has a driver of its own for.
CHARTS_ON_SITES_ONLY = {"traefik"}
ON_SITES_ONLY = {IMAGE, HELPER_IMAGE}
SECTIONS: dict[str, Any] = {
    "gpulab:nodePools": {
        "cpu": {"categories": ["m"], "limits": {"cpu": 64}},
        "gpu": {
            "categories": ["g"],
            "gpus": {"min": 1, "max": 1},
            "limits": {"gpus": 4},
            "gpu": {"warm": {"replicas": 1, "schedule": {"start": "0 7 * * 1-5", "end": "0 18 * * 1-5"}}},
        },
    },
    "gpulab:ingress": {
        "access": "internet-facing",
        "domain": "lab.example.com",
        "hostedZone": "example.com",
        "cidrs": ["203.0.113.0/24"],
    },
    "gpulab:profiles": {
        "python": {
            "displayName": "Python",
            "image": "quay.io/jupyter/base-notebook:2026-08-03",
            "cpu": 2,
            "memory": 4,
        }
    },
    "gpulab:teams": {
        "research": {
            "description": "Models",
            "quota": {"cpu": 8, "memory": 32, "notebooks": 4},
            "profiles": ["python"],
        }
    },
    "gpulab:identity": {"administrators": ["ada@example.com"], "database": {"kind": "cloudnative-pg"}},
}


def digest_of(reference: str) -> str:
    return f"sha256:{hashlib.sha256(reference.encode()).hexdigest()}"


@pytest.fixture
def all_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if contracts had the digest of every image."""
    monkeypatch.setattr(contracts, "image_digest", digest_of)


def at(values: Any, path: str) -> Any:
    for key in path.split("."):
        values = values.get(key) or {}
    return values


def workload_images(mocks: EngineMocks) -> Iterator[str]:
    """The images of the workloads that are the platform's own."""

    def found(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (value[key] for key in ("image", "imageName") if isinstance(value.get(key), str))
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                yield from found(one)

    for resource in mocks.resources:
        if resource.type.startswith("kubernetes:") and resource.type.rpartition(":")[2] in WORKLOADS:
            yield from found(resource.inputs)


def release_images(mocks: EngineMocks) -> Iterator[str]:
    """The images of the releases that the platform gives a tag, or could give one."""
    for release in mocks.all(RELEASE):
        chart = release.inputs["chart"].rpartition("/")[2]
        for image, reference in chart_images(chart).items():
            name, _, _ = reference.rpartition(":")
            yield f"{name}:{at(release.inputs['values'], f'{image.path}.{image.tag}') or reference.rpartition(':')[2]}"
        if chart == "keycloakx":
            yield ":".join(release.inputs["values"]["image"][key] for key in ("repository", "tag"))


@pytest.mark.parametrize("kind", ["lab", "production"])
@pytest.mark.usefixtures("all_digests")
def test_production_runs_every_image_by_its_digest_and_a_lab_by_its_tag(kind: str) -> None:
    lifecycle = {"kind": kind} if kind == "production" else {"kind": kind, "expires": "2027-06-30"}
    mocks = platform_lab.deployed(**{**SECTIONS, "gpulab:lifecycle": lifecycle})
    images = {*workload_images(mocks), *release_images(mocks)}
    own = {reference for name, reference in contracts.image_pins().items() if name not in ON_SITES_ONLY}
    tags = {
        *own,
        *(one for chart in CHART_IMAGES.keys() - CHARTS_ON_SITES_ONLY for one in chart_images(chart).values()),
    }
    assert images == ({f"{tag}@{digest_of(tag)}" for tag in tags} if kind == "production" else tags)


@pytest.mark.usefixtures("all_digests")
def test_a_chart_at_a_path_runs_what_it_names() -> None:
    """It may have another version, with other images than those of the digests."""
    for source in (ChartSource(path="charts/gpu-operator.tgz"), ChartSource(repository="oci://mirror.example.com")):
        values = with_digests("gpu-operator", {}, {"gpu-operator": source}, by_digest=True)
        assert bool(values) is (source.path is None)


@pytest.mark.usefixtures("all_digests")
def test_the_name_of_a_mirror_stays() -> None:
    given = {"hub": {"image": {"name": "mirror.example.com/k8s-hub"}, "labels": {"a": "b"}}}
    hub = with_digests("jupyterhub", given, {}, by_digest=True)["hub"]
    assert hub["image"]["name"] == "mirror.example.com/k8s-hub"
    assert "@sha256:" in hub["image"]["tag"]
    assert hub["labels"] == {"a": "b"}
    assert "tag" not in given["hub"]["image"]


def test_without_a_digest_the_tag_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "image_digest", lambda _reference: None)
    assert pinned("keycloak", by_digest=True) == contracts.image("keycloak")
    assert with_digests("gpu-operator", {"gfd": {"enabled": True}}, {}, by_digest=True) == {"gfd": {"enabled": True}}


@pytest.mark.parametrize("chart", sorted(CHART_IMAGES))
def test_the_images_of_charts_are_where_the_charts_have_them(chart: str) -> None:
    assert chart in CHART_NAMES
    for image, reference in chart_images(chart).items():
        assert PINNED.fullmatch(reference), reference
        # A chart that holds another shows none of its values.
        assert image.repository or at(contracts.chart(chart).values, image.path), image.path


def test_every_pin_has_a_version() -> None:
    for name, reference in contracts.image_pins().items():
        assert PINNED.fullmatch(reference), name


def test_digests_are_of_images_that_are_in_use() -> None:
    """A digest of an older tag would stay forever."""
    tags = {
        *contracts.image_pins().values(),
        *(one for chart in CHART_IMAGES.keys() - CHARTS_ON_SITES_ONLY for one in chart_images(chart).values()),
    }
    recorded = contracts.image_digests()
    assert set(recorded) <= tags
    assert [one for one in recorded.values() if not re.fullmatch(r"sha256:[0-9a-f]{64}", one)] == []
