"""What a comment says about costs: idle, of pools at their limits, of old versions of Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reports import preview
from reports.comment import comment
from reports.idle_cost import idle_cost
from reports.pool_cost import AtLimits, pool_costs
from reports.preview_output import Step, read
from tests.reports.engine_output import END, events, resource, step, stored

pytestmark = pytest.mark.usefixtures("on_a_day")
HERE = Path(__file__).parent
CASES = HERE.parent / "cases"


def test_idle_cost_of_dev_is_what_the_readme_says() -> None:
    cost = idle_cost(read(stored("create.jsonl"), "dev").steps)
    assert f"**{cost.after:.2f} USD an hour**" in (HERE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert cost.before == 0
    assert cost.unknown == []


def test_a_price_that_is_not_known_is_said_and_not_taken_for_zero() -> None:
    text = events(
        resource("create", "aws:rds/instance:Instance", "huge", new={"inputs": {"instanceClass": "db.x9.huge"}}),
        resource("create", "aws:fsx/lustreFileSystem:LustreFileSystem", "scratch", new={"inputs": {}}),
        resource("create", "aws:efs/fileSystem:FileSystem", "homes", new={"inputs": {}}),
        END,
    )
    read_ = read(text, "dev")
    cost = idle_cost(read_.steps)
    assert len(cost.unknown) == 2
    assert cost.by_use == ["homes"]
    said = comment([read_])
    assert "2 not known" in said
    assert "no price of db.x9.huge for postgres is known" in said


def test_pools_cost_at_their_limits_what_their_machines_cost() -> None:
    costs = {one.name: one.after for one in pool_costs(read(stored("create.jsonl"), "dev").steps)}
    gpu, shared = costs["gpu"], costs["gpu-shared"]
    assert isinstance(gpu, AtLimits)
    assert isinstance(shared, AtLimits)
    # 16 GPUs: one g4dn.xlarge each, or one g6e.16xlarge each: nothing dearer than 15 USD an hour.
    assert gpu.cheapest == pytest.approx(16 * 0.526)
    assert gpu.dearest == pytest.approx(16 * 7.57719)
    # 32 shares are 8 GPUs.
    assert shared.cheapest == pytest.approx(8 * 0.8048, rel=0.001)


CLUSTER = "aws:eks/cluster:Cluster"


def cluster(op: str = "same", **inputs: Any) -> Step:
    urn = f"urn:pulumi:prod::gpulab::{CLUSTER}::gpulab-prod"
    return step(op, old=None if op == "create" else inputs, new=inputs, type=CLUSTER, urn=urn)


def test_a_control_plane_in_extended_support_costs_six_times_as_much_and_the_comment_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GPULAB_TODAY")
    assert preview.main([f"dev={CASES / 'r9-eks-1.32.json'}"]) == 0
    said = capsys.readouterr().out
    assert "0.00 → 0.60 USD an hour" in said
    assert "Kubernetes 1.32 left EKS's standard support on 2026-03-23" in said


@pytest.mark.parametrize(
    ("day", "inputs", "usd"),
    [
        ("2026-12-01", {"version": "1.34"}, 0.10),
        ("2026-12-02", {"version": "1.34"}, 0.60),
        ("2026-12-02", {"version": "1.34", "upgradePolicy": {"supportType": "STANDARD"}}, 0.10),
        ("2026-12-02", {"version": "1.36"}, 0.10),
        ("2026-12-02", {}, 0.10),
    ],
)
def test_a_control_plane_is_priced_by_its_version_and_the_day(
    day: str, inputs: dict[str, Any], usd: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPULAB_TODAY", day)
    assert idle_cost([cluster("create", **inputs)]).after == pytest.approx(usd)


def test_a_version_that_nobody_knows_has_no_price() -> None:
    assert idle_cost([cluster("create", version="1.99")]).unknown == [
        "gpulab-prod (EKS's support of Kubernetes 1.99 is not known)"
    ]


def test_90_days_before_the_end_a_comment_warns_of_clusters_that_do_not_change_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = events(
        resource(
            "same", CLUSTER, "gpulab-prod", old={"inputs": {"version": "1.34"}}, new={"inputs": {"version": "1.34"}}
        ),
        END,
    )
    warning = "`gpulab-prod`: Kubernetes 1.34 leaves EKS's standard support on 2026-12-02"
    for day, warns in (("2026-09-02", False), ("2026-09-03", True)):
        monkeypatch.setenv("GPULAB_TODAY", day)
        assert (warning in comment([read(text, "prod")])) is warns
    deleted = text.replace('"same"', '"delete"')
    assert warning not in comment([read(deleted, "prod")])
