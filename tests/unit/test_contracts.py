"""The loaders of what upstream accepts."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

import contracts
from components.nodes.karpenter import NAMESPACE, SERVICE_ACCOUNT
from contracts.stateful import verdict

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


def types_of(package: str) -> set[str]:
    """The types of an installed provider's package: it lists them for the engine."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    listed = Path(spec.origin).read_text(encoding="utf-8")
    return set(re.findall(r'"((?:aws|kubernetes|random):[\w.]+/[\w.]+:\w+)":', listed))


@pytest.mark.parametrize(("package", "least"), [("pulumi_aws", 1700), ("pulumi_kubernetes", 150), ("pulumi_random", 8)])
def test_each_type_of_a_provider_is_judged(package: str, least: int):
    """A new release has new types: add each to contracts/stateful.json, with what its deletion loses."""
    types = types_of(package)
    assert len(types) >= least
    # Of a release its chart decides, and a chart that nobody knows is unknown.
    assert {type_ for type_ in types if verdict(type_) == "unknown"} <= {"kubernetes:helm.sh/v3:Release"}


def test_each_kind_of_the_charts_is_judged():
    kinds = [(crd["spec"]["group"], crd["spec"]["names"]["kind"]) for crd in contracts.crds()]
    assert kinds
    assert [kind for kind in kinds if verdict(f"kubernetes:{kind[0]}/v1:{kind[1]}") == "unknown"] == []
    charts = [path.stem for path in (FOLDER / "charts").glob("*.json")] + ["karpenter-crd"]
    releases = {name: verdict("kubernetes:helm.sh/v3:Release", {"chart": name}) for name in charts}
    assert [name for name, said in releases.items() if said == "unknown"] == []


@pytest.mark.parametrize(
    ("type_", "inputs", "said"),
    [
        ("aws:ebs/volume:Volume", {}, "data"),
        ("aws:kms/key:Key", {}, "data"),
        ("aws:s3/bucketV2:BucketV2", {}, "data"),
        ("aws:cloudwatch/logGroup:LogGroup", {}, "records"),
        ("aws:rds/snapshot:Snapshot", {}, "records"),
        ("aws:eks/cluster:Cluster", {}, "takes"),
        ("aws:cloudformation/stack:Stack", {}, "takes"),
        ("aws:iam/role:Role", {}, "none"),
        ("kubernetes:core/v1:Namespace", {}, "takes"),
        ("kubernetes:core/v1:NamespacePatch", {}, "none"),
        ("kubernetes:core/v1:PersistentVolumeClaimList", {}, "data"),
        ("kubernetes:postgresql.cnpg.io/v1:Cluster", {}, "data"),
        ("kubernetes:apps/v1:StatefulSet", {}, "none"),
        (
            "kubernetes:apps/v1:StatefulSet",
            {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}},
            "takes",
        ),
        ("kubernetes:helm.sh/v3:Release", {"chart": "oci://public.ecr.aws/karpenter/karpenter-crd"}, "takes"),
        ("kubernetes:helm.sh/v3:Release", {"chart": "charts/karpenter-1.14.1.tgz"}, "none"),
        ("kubernetes:helm.sh/v3:Release", {"chart": "somebody-elses"}, "unknown"),
        ("kubernetes:example.com/v1:Shelf", {}, "unknown"),
        ("gcp:storage/bucket:Bucket", {}, "unknown"),
        ("pulumi:providers:aws", {}, "none"),
        ("pulumi-python:dynamic/gpulab:VolumeGate", {}, "none"),
        ("pulumi-python:dynamic:Resource", {}, "unknown"),
    ],
)
def test_what_the_destruction_of_a_resource_loses(type_: str, inputs: dict, said: str):
    assert verdict(type_, inputs) == said


def test_karpenters_roles_are_bound_to_the_service_account_of_its_release() -> None:
    manifests = contracts.chart("karpenter").rbac
    named = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    account = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}
    bindings = [one for one in manifests if one["kind"].endswith("Binding")]
    assert ("ServiceAccount", SERVICE_ACCOUNT) in named
    assert {(one["roleRef"]["kind"], one["roleRef"]["name"]) for one in bindings} < named
    assert all(one["subjects"] == [account] for one in bindings)
    assert contracts.chart("karpenter-crd").rbac == contracts.chart("kueue").rbac == ()
