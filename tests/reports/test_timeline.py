"""How long an `up` takes, and what it waits for: by what depends on what, and published durations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from contracts.durations import duration, durations
from reports import timeline as command
from reports.preview_output import name_of
from reports.report_source import PreviewError
from reports.resources import Resource, resources_of
from reports.timeline import Timeline, described, drawing, read, timeline

HERE = Path(__file__).parent
SVG = "{http://www.w3.org/2000/svg}"
CLUSTER, NODES = "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup"
DATABASE, VPC = "aws:rds/instance:Instance", "aws:ec2/vpc:Vpc"
RELEASE = "kubernetes:helm.sh/v3:Release"


def urn(type_: str, name: str) -> str:
    return f"urn:pulumi:dev::gpulab::{type_}::{name}"


def resource(type_: str, name: str, *after: str, parent: str = "", custom: bool = True, **inputs: Any) -> Resource:
    return Resource(urn=urn(type_, name), type=type_, parent=parent, custom=custom, after=after, inputs=inputs)


def seconds(type_: str, **inputs: Any) -> float:
    found = duration(type_, inputs)
    assert found
    return found.seconds


def path(line: Timeline) -> list[str]:
    return [name_of(task.resource.urn) for task in line.critical_path]


def stack() -> list[Resource]:
    """A database and a cluster, and a release that needs both."""
    vpc = resource(VPC, "vpc")
    cluster = resource(CLUSTER, "cluster", vpc.urn)
    nodes = resource(NODES, "nodes", cluster.urn)
    database = resource(DATABASE, "database", vpc.urn)
    release = resource(RELEASE, "release", nodes.urn, database.urn, chart="keycloakx")
    return [release, nodes, vpc, database, cluster]


def test_the_critical_path_is_the_chain_that_takes_longest() -> None:
    line = timeline(stack())
    assert path(line) == ["vpc", "cluster", "nodes", "release"]
    assert line.seconds == sum(map(seconds, (VPC, CLUSTER, NODES))) + seconds(RELEASE, chart="keycloakx")
    (database,) = [task for task in line.tasks if task.resource.type == DATABASE]
    assert (database.start, database.seconds) == (seconds(VPC), seconds(DATABASE))
    assert not database.critical


def test_what_begins_too_late_becomes_the_critical_path() -> None:
    late = [resource(DATABASE, "database", urn(NODES, "nodes")) if one.type == DATABASE else one for one in stack()]
    assert path(timeline(late)) == ["vpc", "cluster", "nodes", "database", "release"]


def test_who_needs_a_component_waits_for_all_that_is_in_it() -> None:
    """A component's children also wait for what the component depends on."""
    vpc = resource(VPC, "vpc")
    component = resource("eks:index:Cluster", "c", vpc.urn, custom=False)
    inside = resource(CLUSTER, "cluster", parent=component.urn)
    after = resource(NODES, "nodes", component.urn)
    line = timeline([after, inside, component, vpc])
    assert path(line) == ["vpc", "cluster", "nodes"]
    assert line.tasks[1].start == seconds(VPC)
    assert line.tasks[2].start == seconds(VPC) + seconds(CLUSTER)


def test_what_is_in_a_cluster_waits_for_the_provider_that_reaches_it() -> None:
    cluster = resource(CLUSTER, "cluster")
    state = {
        "urn": urn("pulumi:providers:kubernetes", "k"),
        "type": "pulumi:providers:kubernetes",
        "custom": True,
        "dependencies": [cluster.urn],
    }
    pod = {"urn": urn(RELEASE, "r"), "type": RELEASE, "custom": True, "provider": f"{state['urn']}::id"}
    known = {"urn": cluster.urn, "type": CLUSTER, "custom": True}
    line = timeline(read(json.dumps({"deployment": {"resources": [known, state, pod]}}), "dev"))
    assert path(line) == ["cluster", "k", "r"]


def test_a_state_and_a_plan_give_the_same() -> None:
    given = stack()
    state = [
        {"urn": one.urn, "type": one.type, "custom": True, "dependencies": list(one.after or ()), "inputs": one.inputs}
        for one in given
    ]
    gone = {**state[0], "urn": f"{state[0]['urn']}-gone", "delete": True}
    plans = {
        one.urn: {
            "goal": {
                "type": one.type,
                "name": name_of(one.urn),
                "custom": True,
                "dependencies": list(one.after or ()),
                "inputDiff": {"adds": one.inputs},
            },
            "steps": ["create"],
        }
        for one in given
    }
    deleted = {urn(VPC, "old"): {"steps": ["delete"]}}
    from_state = timeline(read(json.dumps({"version": 3, "deployment": {"resources": [*state, gone]}}), "dev"))
    assert from_state == timeline(read(json.dumps({"resourcePlans": plans | deleted}), "dev"))
    assert path(from_state) == path(timeline(given))


def test_a_preview_is_refused_with_the_command_that_gives_what_is_needed() -> None:
    with pytest.raises(PreviewError, match="preview --save-plan"):
        read((HERE / "previews" / "create.jsonl").read_text(encoding="utf-8"), "dev")


def test_what_waits_for_itself_is_an_error_that_names_it() -> None:
    one, other = urn(VPC, "one"), urn(VPC, "other")
    with pytest.raises(PreviewError, match="wait for each other") as refused:
        timeline([resource(VPC, "one", other), resource(VPC, "other", one)])
    assert "one" in str(refused.value)
    assert "other" in str(refused.value)


def test_the_words_name_the_path_in_minutes_and_what_is_a_guess() -> None:
    said = described(timeline(stack()), "dev")
    total = timeline(stack()).seconds / 60
    guess = seconds(RELEASE, chart="keycloakx") / 60
    assert said.startswith(f"dev: {total:.1f} minutes for a first `up`, by published durations, {guess:.1f} of them ")
    assert "database" not in said
    (release,) = [row for row in said.splitlines() if RELEASE in row]
    assert "~" in release
    assert "no duration is known" not in said
    assert "gcp:x/y:Z" in described(timeline([resource("gcp:x/y:Z", "z")]), "dev")


def test_the_drawing_marks_the_path_and_stays_inside_its_frame() -> None:
    many = [*stack(), resource(CLUSTER, "<script>&" + "w" * 200)]
    root = ElementTree.fromstring(drawing(timeline(many), "dev"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    bars = [one.attrib for one in root.iter(f"{SVG}rect") if "x" in one.attrib]
    assert all(float(bar["x"]) + float(bar["width"]) <= width for bar in bars)
    assert all(float(bar["y"]) + float(bar["height"]) <= height for bar in bars)
    bold = [one.text or "" for one in root.iter(f"{SVG}text") if one.attrib["font-weight"] == "bold"]
    assert [label for label in bold if "Database" in label or "Instance database" in label] == []
    assert any("NodeGroup nodes" in label for label in bold)
    assert "<script>" not in drawing(timeline(many), "dev")


def test_the_command_draws_and_tells(tmp_path: Path, capsys: Any) -> None:
    state = [
        {"urn": one.urn, "type": one.type, "custom": True, "dependencies": list(one.after or ())} for one in stack()
    ]
    given, drawn = tmp_path / "dev.json", tmp_path / "dev.svg"
    given.write_text(json.dumps({"deployment": {"resources": state}}), encoding="utf-8")
    assert command.main(["dev", "--from", str(given), "--output", str(drawn)]) == 0
    assert "critical path" in capsys.readouterr().out
    assert drawn.read_text(encoding="utf-8").startswith("<svg")
    given.write_text("{}", encoding="utf-8")
    assert command.main(["dev", "--from", str(given)]) == 2
    assert "dev: " in capsys.readouterr().err


def test_every_duration_says_where_it_is_from() -> None:
    known = durations()
    figures = [*known["types"].values(), *known["others"].values()]
    figures += [case for one in figures for case in one.get("where", [])]
    assert figures
    for one in figures:
        assert one["source"] in known["sources"]
        assert ("seen" in one) != ("seconds" in one)
        # What many saw is no guess.
        assert not ("seen" in one and one["source"] == "estimate")


@pytest.mark.parametrize(
    ("inputs", "other"),
    [({"multiAz": True}, {"multiAz": False}), ({"chart": "x/keycloakx-7.1.tgz"}, {"chart": "mine"})],
)
def test_a_duration_may_depend_on_an_input(inputs: dict[str, Any], other: dict[str, Any]) -> None:
    type_ = DATABASE if "multiAz" in inputs else RELEASE
    assert seconds(type_, **inputs) > seconds(type_, **other)


def test_a_complete_preview_has_resources_without_their_order() -> None:
    found = resources_of((HERE / "previews" / "create.jsonl").read_text(encoding="utf-8"), "dev")
    assert {one.after for one in found} == {None}
