"""The drawing of a stack: every component, from a preview or a state, with texts that fit in their boxes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from reports import architecture
from reports.architecture import picture
from reports.preview_output import is_component
from reports.report_source import PreviewError
from reports.resources import Resource, resources_of

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
CREATE = (HERE / "previews" / "create.jsonl").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
NEW = "gpulab:index:Platform$gpulab:index:SomethingNew"


def texts(drawing: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(drawing).iter(f"{SVG}text")]


def resource(types: str, name: str, parent: str = "", **inputs: Any) -> Resource:
    urn = f"urn:pulumi:dev::gpulab::{types}::{name}"
    type_ = types.rpartition("$")[2]
    return Resource(urn=urn, type=type_, parent=parent, custom=not is_component(type_), inputs=inputs)


def test_a_preview_gives_every_component_and_its_main_resources() -> None:
    said = texts(picture(resources_of(CREATE, "dev"), "dev"))
    assert {
        "Network",
        "Cluster",
        "Storage",
        "CSI drivers",
        "Karpenter",
        "Node pools",
        "Identity",
        "RDS database",
        "Hub",
        "Teams",
        "Team (3)",
    } <= set(said)
    assert "File system" in said
    assert "Node group: 2 m7i.large" in said
    assert "NodePool (3): cpu, gpu, gpu-shared" in said


def test_a_component_that_nobody_has_heard_of_is_drawn_too() -> None:
    platform = resource("gpulab:index:Platform", "lab")
    new = resource(NEW, "lab", parent=platform.urn)
    bucket = resource(f"{NEW}$aws:s3/bucket:Bucket", "lab", parent=new.urn)
    said = texts(picture([platform, new, bucket], "lab"))
    assert said == ["Platform lab: stack lab, 3 resources", "Something new", "Bucket"]


def test_components_of_one_type_are_one_box_with_what_all_of_them_have() -> None:
    platform = resource("gpulab:index:Platform", "lab")
    found = [platform]
    for name in ("vision", "research"):
        team = resource(NEW, name, parent=platform.urn)
        volumes = resource(f"{NEW}$gpulab:index:Volumes", name, parent=team.urn)
        namespace = resource(f"{NEW}$kubernetes:core/v1:Namespace", name, team.urn, metadata={"name": name})
        claim = resource(f"{NEW}$gpulab:index:Volumes$kubernetes:core/v1:PersistentVolumeClaim", name, volumes.urn)
        found += [team, volumes, namespace, claim]
    assert texts(picture(found, "lab")) == [
        "Platform lab: stack lab, 9 resources",
        "Something new (2)",
        "Namespace (2): research, vision",
        "Volumes (2)",
        "PersistentVolumeClaim (2)",
    ]


def test_a_state_gives_the_same_as_a_preview_and_what_goes_is_left_out() -> None:
    drawn = resources_of(CREATE, "dev")
    listed = [{"urn": one.urn, "type": one.type, "parent": one.parent, "inputs": dict(one.inputs)} for one in drawn]
    gone = {**listed[0], "urn": f"{listed[0]['urn']}-gone", "delete": True}
    state = {"version": 3, "deployment": {"resources": [*listed, gone]}}
    assert picture(resources_of(json.dumps(state), "dev"), "dev") == picture(drawn, "dev")


def test_every_box_and_text_is_inside_of_the_drawing_and_siblings_do_not_overlap() -> None:
    root = ElementTree.fromstring((PROJECT / "docs" / "dev.svg").read_text(encoding="utf-8"))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    boxes = [
        tuple(float(one.attrib[key]) for key in ("x", "y", "width", "height"))
        for one in root.iter(f"{SVG}rect")
        if "x" in one.attrib
    ]
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for number, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[number + 1 :]:
            apart = other_x >= x + w or x >= other_x + other_w or other_y >= y + h or y >= other_y + other_h
            within = other_x >= x and other_y >= y and other_x + other_w <= x + w + 1 and other_y + other_h <= y + h + 1
            assert apart or within


def test_names_of_resources_are_no_markup() -> None:
    platform = resource("gpulab:index:Platform", "<script>&")
    drawing = picture([platform, resource("gpulab:index:Platform$aws:s3/bucket:Bucket", "b", platform.urn)], "dev")
    assert "<script>" not in drawing
    assert texts(drawing)[0].startswith("Platform <script>&")


def test_a_program_without_one_outermost_component_is_drawn() -> None:
    said = texts(picture([resource("aws:s3/bucket:Bucket", "one"), resource("other:index:Thing", "two")], "dev"))
    assert said == ["Stack dev: 2 resources", "Bucket", "Thing"]


def test_the_page_on_reports_shows_what_dev_is() -> None:
    """`python -m reports.architecture dev --from tests/reports/previews/create.jsonl --output docs/dev.svg`."""
    drawing = picture(resources_of(CREATE, "dev"), "dev")
    assert (PROJECT / "docs" / "dev.svg").read_text(encoding="utf-8") == drawing
    assert "(dev.svg)" in (PROJECT / "docs" / "reports.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("error: no", "is not JSON"),
        ((HERE / "previews" / "change-document.json").read_text(encoding="utf-8"), "only what changes"),
        ('{"version": 3, "deployment": {}}', "has no resources"),
    ],
)
def test_what_can_not_be_drawn_is_an_error(text: str, why: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "dev.json"
    path.write_text(text, encoding="utf-8")
    assert architecture.main(["dev", "--from", str(path)]) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert said.out == ""


def test_without_a_file_the_state_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert architecture.main(["dev"]) == 2
    assert "pulumi is not on PATH" in capsys.readouterr().err
    fake = tmp_path / "pulumi"
    fake.write_text("#!/bin/sh\necho 'error: no stack named dev' >&2\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    assert architecture.main(["dev"]) == 2
    assert "no stack named dev" in capsys.readouterr().err
    exported = json.dumps(
        {"deployment": {"resources": [{"urn": "a::b::gpulab:index:Hub::c", "type": "gpulab:index:Hub"}]}}
    )
    fake.write_text(f"#!/bin/sh\necho '{exported}'\n", encoding="utf-8")
    assert architecture.main(["dev", "--output", str(tmp_path / "dev.svg")]) == 0
    assert subprocess.run(["/bin/grep", "-q", "Hub c: stack dev", tmp_path / "dev.svg"], check=False).returncode == 0


def test_an_empty_stack_has_no_drawing() -> None:
    with pytest.raises(PreviewError, match="has no resources"):
        picture([], "dev")
