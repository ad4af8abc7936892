"""The loaders of what upstream accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

import contracts

FOLDER = Path(contracts.__file__).parent


def test_every_instance_type_has_a_category_and_a_generation():
    types = contracts.instance_types()
    assert len(types) == 880
    for name, found in types.items():
        assert found.name == name == f"{found.family}.{found.size}"
        assert found.category
        assert found.generation > 0
        assert found.arch in {"x86_64", "arm64"}


@pytest.mark.parametrize(
    ("name", "category", "generation"),
    [("g5.xlarge", "g", 5), ("gr6.4xlarge", "gr", 6), ("p6-b200.48xlarge", "p", 6)],
)
def test_category_and_generation_are_karpenters(name, category, generation):
    found = contracts.instance_types()[name]
    assert (found.category, found.generation) == (category, generation)


def test_gpus():
    p4d = contracts.instance_types()["p4d.24xlarge"]
    assert (p4d.gpu_name, p4d.gpu_count, p4d.gpu_memory_mib, p4d.mig) == ("A100", 8, 40960, True)
    m7i = contracts.instance_types()["m7i.large"]
    assert (m7i.has_gpu, m7i.gpu_count, m7i.gpu_name) == (False, 0, None)
    fraction = contracts.instance_types()["g6f.large"]
    assert (fraction.has_gpu, fraction.gpu_count) == (True, 0)


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "charts").glob("*.json")))
def test_charts(name):
    chart = contracts.chart(name)
    assert chart.name == name
    assert chart.version
    assert chart.repository.startswith(("https://", "oci://"))


def test_karpenter_crd_is_published_beside_karpenter():
    crds, karpenter = contracts.chart("karpenter-crd"), contracts.chart("karpenter")
    assert (crds.version, crds.repository) == (karpenter.version, f"{karpenter.repository}-crd")
    assert {crd["metadata"]["name"] for crd in crds.crds} == {
        "ec2nodeclasses.karpenter.k8s.aws",
        "nodeclaims.karpenter.sh",
        "nodeoverlays.karpenter.sh",
        "nodepools.karpenter.sh",
    }


def test_crds_by_group():
    assert len(contracts.crds()) == len(list((FOLDER / "crds").glob("*.json")))
    groups = {crd["spec"]["group"] for crd in contracts.crds("cert-manager.io")}
    assert groups == {"cert-manager.io", "acme.cert-manager.io"}
    assert contracts.crds("io") != contracts.crds("example.com") == ()


def test_what_there_is_no_contract_of():
    with pytest.raises(KeyError, match="nginx"):
        contracts.chart("nginx")
    with pytest.raises(KeyError, match=r"widgets\.example\.com"):
        contracts.crd("widgets.example.com")


def test_aws_types():
    assert "aws_eks_cluster" in contracts.aws_terraform()["resources"]


def test_loaders_read_once():
    assert contracts.instance_types() is contracts.instance_types()
    assert contracts.crd("nodepools.karpenter.sh") is contracts.crd("nodepools.karpenter.sh")
