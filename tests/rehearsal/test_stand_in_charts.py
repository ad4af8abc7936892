"""Charts made of their contracts, rendered by the real Helm without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import contracts
from rehearsal.machine.toolchain import Toolchain
from rehearsal.providers.kubernetes import chart_lookup

NAMES = sorted([*(path.stem for path in (Path(contracts.__path__[0]) / "charts").glob("*.json")), "karpenter-crd"])
# In C it takes a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KEEP = "helm.sh/resource-policy"

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def render(toolchain: Toolchain, tmp_path: Path) -> Render:
    """Renders a chart that is not at hand."""

    def rendered(name: str, values: Mapping[str, Any] | None = None, *flags: str) -> list[dict[str, Any]]:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values or {}), encoding="utf-8")
        with chart_lookup.find(name, None).path() as chart:
            command = [toolchain.path("helm"), "template", "release", chart, "--values", file, *flags]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [one for one in yaml.load_all(done.stdout, LOADER) if one]

    return rendered


def identity(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def names(rendered: list[dict[str, Any]]) -> set[str]:
    return {one["metadata"]["name"] for one in rendered}


@pytest.mark.parametrize("name", NAMES)
def test_each_contract_makes_a_chart_that_installs_its_definitions_and_rights_alone(name: str, render: Render) -> None:
    contract = contracts.chart(name)
    definitions = {crd["metadata"]["name"]: crd for crd in contract.crds}
    values = {"cert-manager": {"crds": {"enabled": True}}}.get(name)
    rendered = render(name, values, "--include-crds")
    found = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "CustomResourceDefinition"}
    assert found.keys() == definitions.keys()
    others = [one for one in rendered if one["kind"] != "CustomResourceDefinition"]
    assert sorted(map(identity, others)) == sorted(map(identity, contract.rbac))
    for crd, printed in found.items():
        # What Helm prints has to be what the contract says, numbers too.
        assert printed["spec"] == definitions[crd]["spec"]


def test_definitions_are_templates_where_the_real_chart_has_them_there(render: Render) -> None:
    assert names(render("karpenter-crd")) >= {"nodepools.karpenter.sh", "ec2nodeclasses.karpenter.k8s.aws"}
    assert not names(render("karpenter")) & names(render("karpenter-crd"))


def test_a_chart_of_definitions_writes_the_annotations_that_it_is_given(render: Render) -> None:
    for one in render("karpenter-crd", {"additionalAnnotations": {"a": "b"}}):
        assert one["metadata"]["annotations"]["a"] == "b"


def test_cert_manager_installs_its_definitions_where_a_value_says_so_and_keeps_them(render: Render) -> None:
    assert render("cert-manager") == []
    rendered = render("cert-manager", {"crds": {"enabled": True}})
    assert rendered
    assert all(one["metadata"]["annotations"][KEEP] == "keep" for one in rendered)
    for one in render("cert-manager", {"crds": {"enabled": True, "keep": False}}):
        assert KEEP not in one["metadata"].get("annotations", {})


def test_helm_holds_values_against_the_schema_of_the_real_chart(render: Render) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        render("jupyterhub", {"cull": {"every": "often"}})
    assert "values don't meet the specifications" in failed.value.stderr
