"""The cost of an idle stack: each resource has a price, is billed by use, or is reported as unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports import idle
from reports.idle import cost_of, described
from reports.resources import Resource

CREATE = Path(__file__).parent / "previews" / "create.jsonl"


def resource(type_: str, **inputs: Any) -> Resource:
    return Resource(urn=f"urn:pulumi:dev::gpulab::{type_}::one", type=type_, parent="", inputs=inputs)


def test_the_dearest_comes_first_and_the_total_is_by_the_hour_and_the_month(capsys: Any) -> None:
    assert idle.main(["dev", "--from", str(CREATE)]) == 0
    said = capsys.readouterr().out.splitlines()
    total = float(said[0].split()[2])
    rows = [float(line.split()[0]) for line in said if line.startswith("  ")]
    assert rows == sorted(rows, reverse=True)
    assert sum(rows) == pytest.approx(total, abs=0.001)
    assert " a month" in said[0]
    assert not any(line.startswith("price not known") for line in said)
    assert any(line.startswith("billed by use") and "gpulab-dev-storage" in line for line in said)


@pytest.mark.parametrize(
    ("given", "usd_a_month"),
    [
        (
            resource("aws:efs/fileSystem:FileSystem", throughputMode="provisioned", provisionedThroughputInMibps=100),
            600,
        ),
        (resource("aws:efs/fileSystem:FileSystem", throughputMode="elastic"), 0),
        (resource("aws:ebs/volume:Volume", type="gp3", size=100, iops=4000, throughput=225), 8 + 5 + 4),
        (resource("aws:ebs/volume:Volume", type="gp3", size=100, iops=3000, throughput=125), 8),
    ],
)
def test_what_is_provisioned_costs_whether_it_is_used_or_not(given: Resource, usd_a_month: float) -> None:
    assert cost_of([given]).after * 730 == pytest.approx(usd_a_month)


@pytest.mark.parametrize("type_", ["aws:redshift/cluster:Cluster", "aws:brandnew/thing:Thing"])
def test_a_type_that_nobody_looked_up_is_not_free(type_: str) -> None:
    assert f"price not known: one ({type_})" in described(cost_of([resource(type_)]), "dev")


def test_a_free_type_is_not_named() -> None:
    cost = cost_of([resource("aws:iam/role:Role"), resource("kubernetes:core/v1:ConfigMap")])
    assert (cost.priced, cost.by_use, cost.unknown) == ([], [], [])


def test_a_state_whose_resource_has_no_type_is_an_error(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"deployment": {"resources": [{"urn": "urn:pulumi:dev::gpulab::a:b:C::one"}]}}))
    assert idle.main(["dev", "--from", str(path)]) == 2
    assert "resource 0 of the state lacks its type" in capsys.readouterr().err


def test_what_is_no_stack_is_an_error(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"a": 1}), encoding="utf-8")
    assert idle.main(["dev", "--from", str(path)]) == 2
    assert capsys.readouterr().err.startswith("dev: ")
