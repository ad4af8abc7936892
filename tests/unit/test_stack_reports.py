"""The reports on dev and prod: each type is judged, priced and timed, and docs has the timelines.

GPULAB_WRITE_TIMELINES=1 draws the timelines again; read the difference.
"""

from __future__ import annotations

import os
import re

import pytest
from timeline_lab import graph, planned

from contracts.durations import duration
from contracts.stateful import verdict
from rehearsal.machine.workspace import PROJECT
from reports.idle import cost_of, described
from reports.preview_output import is_component
from reports.resources import Resource
from reports.services import service_of, type_named
from reports.timeline import drawing, minutes, timeline

STACKS = ("dev", "prod")
DOCS = PROJECT / "docs"


@pytest.fixture(scope="module")
def stacks() -> dict[str, list[Resource]]:
    """The resources of each stack, which tests only read."""
    return {stack: planned(graph(PROJECT / f"Pulumi.{stack}.yaml")) for stack in STACKS}


def types_of(stacks: dict[str, list[Resource]]) -> dict[str, Resource]:
    return {one.type: one for resources in stacks.values() for one in resources if not is_component(one.type)}


def test_of_each_type_it_is_known_whether_it_holds_data(stacks) -> None:
    types = types_of(stacks)
    assert [type_ for type_, one in types.items() if verdict(type_, one.inputs) == "unknown"] == []
    assert verdict("aws:efs/fileSystem:FileSystem") == "data"


def test_each_type_of_aws_is_priced_by_use_or_free(stacks) -> None:
    """A price that is missing would be an unexpected bill."""
    for stack, resources in stacks.items():
        assert cost_of(resources).unknown == [], stack
    types = {one.step.type for resources in stacks.values() for one in cost_of(resources).priced}
    assert len(types) >= 8
    for type_ in types_of(stacks):
        if type_.startswith("aws:") and type_ not in types:
            bill = type_named(type_).bill or service_of(type_).bill
            assert bill, f"{type_}: give it a price or a bill in reports/services/"


def test_provisioned_throughput_is_on_the_bill(stacks) -> None:
    """256 MiB/s cost about 1,500 USD a month, used or not."""
    said = described(cost_of(stacks["prod"]), "prod")
    (row,) = [line for line in said.splitlines() if "256 MiB/s of provisioned throughput" in line]
    assert 1400 < float(row.split()[0]) * 730 < 1600
    assert "provisioned" not in described(cost_of(stacks["dev"]), "dev")


def test_each_type_has_a_duration(stacks) -> None:
    types = types_of(stacks)
    assert [
        type_ for type_, one in types.items() if duration(type_, one.inputs) is None and not type_.startswith("pulumi:")
    ] == []


@pytest.mark.parametrize("stack", STACKS)
def test_docs_show_the_timeline_as_it_is(stacks, stack: str) -> None:
    line = timeline(stacks[stack])
    page, drawn = DOCS / "timeline.md", DOCS / f"timeline-{stack}.svg"
    row = re.compile(rf"^(\| {stack} \| [\d.]+ \|) ([\d.]+) \|$", re.MULTILINE)
    if os.environ.get("GPULAB_WRITE_TIMELINES"):
        drawn.write_text(drawing(line, stack), encoding="utf-8")
        text = row.sub(rf"\1 {minutes(line.seconds)} |", page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    assert drawn.read_text(encoding="utf-8") == drawing(line, stack)
    assert f"({drawn.name})" in text
    ((_, now),) = row.findall(text)
    assert now == minutes(line.seconds)
