"""Images through the account's registry: which ones, from where, and that each has a repository that nodes may fill."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine_mocks import EngineMocks
from platform_lab import answering_eks, deploy, deployed
from test_jupyterhub import SECTIONS, answer, hub_release
from test_notebook_catalogue import of_dev

from components.hub.values import image_names
from components.images import mirror_of, mirrored
from components.nodes.image_cache import WrongAccountError, require_account
from settings.images import ImageCache, cache_namespace, image_line, without_version

RULE, REPOSITORY = "aws:ecr/pullThroughCacheRule:PullThroughCacheRule", "aws:ecr/repository:Repository"
CACHED: dict[str, Any] = {**SECTIONS, "gpulab:images": {"cache": True}}
REGISTRY = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    return deployed(**CACHED)


def images_of(values: Any) -> set[str]:
    """Every image's name in Helm values."""
    if isinstance(values, list):
        return set().union(*map(images_of, values))
    if not isinstance(values, dict):
        return set()
    found = set().union(*map(images_of, values.values()))
    return found | ({values["name"]} if isinstance(values.get("name"), str) and "/" in values["name"] else set())


def test_each_image_of_hub_and_notebooks_has_a_repository_that_a_rule_fills(lab: EngineMocks) -> None:
    rules = {one.inputs["ecrRepositoryPrefix"]: one.inputs["upstreamRegistryUrl"] for one in lab.all(RULE)}
    held = {one.inputs["name"] for one in lab.all(REPOSITORY)}
    named = images_of(hub_release(lab).inputs["values"])
    assert f"{REGISTRY}/gpulab-dev/quay/jupyter/base-notebook" in named
    for image in named:
        registry, _, repository = image.partition("/")
        assert (registry, repository in held) == (REGISTRY, True), image
        assert [upstream for prefix, upstream in rules.items() if repository.startswith(f"{prefix}/")], image


def test_every_node_may_have_the_cache_filled_and_none_may_make_a_repository(lab: EngineMocks) -> None:
    policies = [one for one in lab.all("aws:iam/rolePolicy:RolePolicy") if "-images-" in one.name]
    roles = {one.outputs["name"] for one in lab.all("aws:iam/role:Role") if one.name.endswith(("-system", "-node"))}
    assert {one.inputs["role"] for one in policies} == roles
    for one in policies:
        (statement,) = json.loads(one.inputs["policy"])["Statement"]
        assert statement["Action"] == "ecr:BatchImportUpstreamImage"
        assert statement["Resource"] == "arn:aws:ecr:us-east-1:123456789012:repository/gpulab-dev/*"


def test_the_hub_comes_after_its_images_and_a_destroy_takes_them_along(lab: EngineMocks) -> None:
    for one in (*lab.all(RULE), *lab.all(REPOSITORY)):
        assert lab.needs(hub_release(lab), one)
    assert all(one.inputs["forceDelete"] is True for one in lab.all(REPOSITORY))


def test_images_of_another_account_are_refused(mocks: EngineMocks, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(mocks)
    other = {**CACHED, "gpulab:images": {"cache": True, "account": "210987654321"}}
    with answering_eks(mocks, monkeypatch), pytest.raises(WrongAccountError, match=r'images\.account: "123456789012"'):
        deploy(mocks, **other)
    cache = ImageCache(account="123456789012", region="us-east-1", namespace="lab")
    require_account("123456789012", cache)


def test_an_image_of_a_registry_that_ecr_does_not_cache_stays_as_it_is() -> None:
    cache = ImageCache(account="1", region="cn-north-1", namespace="lab")
    assert mirrored("nvcr.io/nvidia/pytorch:26.07-py3", cache.mirror) == "nvcr.io/nvidia/pytorch:26.07-py3"
    assert (
        mirrored("quay.io/a/b@sha256:0", cache.mirror) == "1.dkr.ecr.cn-north-1.amazonaws.com.cn/lab/quay/a/b@sha256:0"
    )
    assert cache.repositories(["nvcr.io/a/b:1", "quay.io/a/b:1", "quay.io/a/b:2"]) == ["lab/quay/a/b"]


def test_without_a_cache_images_come_from_their_publishers() -> None:
    settings = of_dev()
    assert mirror_of(settings) is None
    assert {name.partition("/")[0] for name in image_names(settings)} <= {"quay.io", "registry.k8s.io"}


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("quay.io/a/b:1", "quay.io/a/b"),
        ("quay.io:443/a/b", "quay.io:443/a/b"),
        ("quay.io/a/b:1@sha256:0", "quay.io/a/b"),
        ("quay.io/a/b@sha256:0", "quay.io/a/b"),
        ("quay.io/a/b", "quay.io/a/b"),
    ],
)
def test_a_name_is_told_from_its_tag_and_digest(image: str, name: str) -> None:
    assert without_version(image) == name


@pytest.mark.parametrize("cluster", ["lab", "a-name-of-thirty-five-characters-ok", "a--b", "a-name-of-just-20-chr"])
def test_a_namespace_leaves_room_for_the_rest_of_a_prefix(cluster: str) -> None:
    cache = ImageCache(account="1", region="us-east-1", namespace=cache_namespace(cluster))
    assert all(len(cache.prefix(upstream)) <= 30 for upstream in cache.mirror)
    assert "--" not in cache.namespace
    assert cache_namespace(cluster) != cache_namespace(f"{cluster}-b")


@pytest.mark.parametrize(
    ("builds", "line"),
    [
        (
            ("quay.io/jupyter/scipy-notebook:2026-08-03", "quay.io/jupyter/scipy-notebook:2026-11-02"),
            "quay.io/jupyter/scipy-notebook",
        ),
        (("quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03",), "quay.io/jupyter/pytorch-notebook-cuda12"),
        (("nvcr.io/nvidia/pytorch:25.10-py3", "nvcr.io/nvidia/pytorch:26.01-py3"), "nvcr.io/nvidia/pytorch-py3"),
        (("registry.example.com:5000/lab:v1.2.3",), "registry.example.com-5000/lab"),
        (("lab:1.0-gpu", f"lab:1.1-0a1b2c3-gpu@sha256:{'0' * 64}"), "lab-gpu"),
        ((f"lab@sha256:{'0' * 64}",), "lab"),
        (("lab:build7", "lab:build8", "lab:r20", "lab:b1234", "lab:2.0rc1-rev3"), "lab"),
        (("lab:b200-build7",), "lab-b200"),
    ],
)
def test_builds_of_an_image_are_of_one_line(builds: tuple[str, ...], line: str) -> None:
    assert {image_line(build) for build in builds} == {line}
