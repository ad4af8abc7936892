"""A chart comes from its publisher at the pinned version, from a mirror at the same version, or from a local path."""

from __future__ import annotations

import pytest

import contracts
from components.charts import release_args
from settings import ChartSource

MIRROR = ChartSource(repository="oci://registry.example.com/charts/")


def test_a_chart_in_a_registry_is_named_in_full() -> None:
    """helm.v3.Release accepts an OCI reference only in `chart`; its `repo` needs an HTTP index."""
    for name in ("karpenter", "karpenter-crd"):
        args = release_args(name, {})
        assert args["chart"].startswith("oci://")
        assert args["chart"].endswith(f"/{name}")
        assert "repository_opts" not in args


def test_the_crds_have_the_version_of_the_controller() -> None:
    assert release_args("karpenter-crd", {})["version"] == release_args("karpenter", {})["version"]


def test_a_chart_from_an_index_is_named_with_its_repository() -> None:
    args = release_args("jupyterhub", {})
    assert args["chart"] == "jupyterhub"
    assert args["repository_opts"].repo == contracts.chart("jupyterhub").repository


@pytest.mark.parametrize("name", ["karpenter", "karpenter-crd"])
def test_a_mirror_serves_the_pinned_version(name: str) -> None:
    args = release_args(name, {"karpenter": MIRROR})
    assert args["chart"] == f"oci://registry.example.com/charts/{name}"
    assert args["version"] == contracts.chart(name).version


def test_a_mirror_may_be_an_index() -> None:
    args = release_args("karpenter", {"karpenter": ChartSource(repository="https://charts.example.com")})
    assert args["chart"] == "karpenter"
    assert args["repository_opts"].repo == "https://charts.example.com"
    assert args["version"] == contracts.chart("karpenter").version


def test_a_mirror_of_one_chart_says_nothing_of_an_unrelated_one() -> None:
    assert release_args("kueue", {"karpenter": MIRROR}) == release_args("kueue", {})


def test_a_local_archive_is_taken_as_it_is() -> None:
    archive = "./charts/karpenter-1.14.1.tgz"
    assert release_args("karpenter", {"karpenter": ChartSource(path=archive)}) == {"chart": archive}


def test_an_unknown_chart_is_an_error() -> None:
    with pytest.raises(KeyError, match="no-such-chart"):
        release_args("no-such-chart", {})
