"""The engine's output is read in every form; anything else is an error that says what to do."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from reports import architecture, preview, timeline
from reports.comment import comment
from reports.danger import endangered
from reports.idle_cost import idle_cost
from reports.preview_output import read
from reports.property_changes import parts_of, property_changes
from reports.report_source import PreviewError
from tests.reports.engine_output import END, STORED, events, resource, step, stored

pytestmark = pytest.mark.usefixtures("on_a_day")


def test_both_forms_of_the_engines_say_the_same_of_one_change() -> None:
    """The document lacks the policies' findings and unchanged resources."""
    streamed, document = read(stored("change.jsonl"), "dev"), read(stored("change-document.json"), "dev")
    changed = [one for one in streamed.steps if one.op != "same"]
    assert [(one.op, one.urn, one.forcing) for one in changed] == [
        (one.op, one.urn, one.forcing) for one in document.steps
    ]
    assert streamed.violations is not None
    assert document.violations is None
    assert "**Guardrails**: not checked" in comment([document])
    assert idle_cost(streamed.steps).change == pytest.approx(idle_cost(document.steps).change, abs=0.01)


@pytest.mark.parametrize(
    ("before", "name", "after"),
    [
        (
            "Installing policy pack gpulab-guardrails 0.0.1...\nFinished installing policy pack\n\n",
            "change.jsonl",
            "",
        ),
        ("", "change-document.json", "\nUpdate plan written to plan.json\n"),
    ],
)
def test_lines_around_the_json_are_passed_over(before: str, name: str, after: str) -> None:
    """What a policy pack prints before, and the engine after it."""
    around, alone = read(f"{before}{stored(name)}{after}", "dev"), read(stored(name), "dev")
    assert len(around.steps) > 50
    assert [(one.op, one.urn) for one in around.steps] == [(one.op, one.urn) for one in alone.steps]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("before", ["", "Installing policy pack…\n"])
def test_shells_write_previews_in_encodings_of_their_own(encoding: str, before: str, tmp_path: Path) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_bytes(f"{before}{stored('create.jsonl')}".encode(encoding))
    assert preview.main([str(path), "--output", str(tmp_path / "comment.md")]) == 0


def test_a_text_in_no_such_encoding_is_an_error_that_says_what_to_do(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_bytes('{"é"'.encode("latin-1"))
    assert preview.main([str(path)]) == 2
    assert "is not UTF-8 text (byte 2): save it as UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("op", ["import", "refresh", "a-new-op"])
def test_whatever_the_engine_does_beside_changes_is_counted_by_its_name(op: str) -> None:
    """An import, what only a refresh checks, and operations of future engines."""
    said = comment([read(events(resource(op, "aws:s3/bucket:Bucket", "logs", new={"inputs": {}}), END), "dev")])
    assert "Nothing changes." not in said
    _, heading, _, row = [line for line in said.splitlines() if line.startswith(("| ", "## "))]
    named = dict(zip(heading.split(" | "), row.split(" | "), strict=True))
    assert named.get(op, named.get(f"`{op}`")) == "1"
    assert " 1: Platform 1</summary>" in said
    assert "- Platform: `logs` (`aws:s3/bucket:Bucket`)" in said


def test_what_is_read_or_was_replaced_before_changes_nothing() -> None:
    ops = ("same", "read", "read-replacement", "discard", "discard-replaced", "remove-pending-replace")
    steps = [resource(op, "aws:ec2/vpc:Vpc", op, new={"inputs": {}}) for op in ops]
    assert "Nothing changes." in comment([read(events(*steps, END), "dev")])


@pytest.mark.parametrize("then", ["same", "update", "delete"])
def test_a_refresh_before_it_hides_nothing(then: str) -> None:
    """`pulumi preview --refresh` reads each resource first, and then reports what happens to it."""
    sides = {"old": {"inputs": {}}, "new": {"inputs": {}}}
    both = [resource(op, "aws:rds/instance:Instance", "db", **sides) for op in ("refresh", then)]
    assert [one.op for one in read(events(*both, END), "dev").steps] == [then]


@pytest.mark.parametrize("beside", ["create", "update", "same", "create-replacement"])
@pytest.mark.parametrize("first", ["delete", "other"])
def test_an_old_copy_that_goes_is_in_danger_beside_what_becomes_of_the_resource(beside: str, first: str) -> None:
    """A replacement that was interrupted leaves one to delete under the same URN."""
    type_ = "aws:efs/fileSystem:FileSystem"
    gone = resource("delete", type_, "homes", old={"inputs": {}})
    other = resource(beside, type_, "homes", old={"inputs": {}}, new={"inputs": {}})
    read_ = read(events(*((gone, other) if first == "delete" else (other, gone)), END), "dev")
    kept = "replace" if beside == "create-replacement" else beside
    assert sorted(one.op for one in read_.steps) == sorted(["delete", kept])
    assert "delete" in {one.op for one in endangered(read_)}
    assert "--allow homes" in comment([read_])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (preview.main, [str(STORED / "create.jsonl")]),
        (architecture.main, ["dev", "--from", str(STORED / "create.jsonl")]),
        (timeline.main, ["dev", "--from", "STATE"]),
    ],
)
def test_a_report_that_can_not_be_written_is_no_verdict(
    command: Any, arguments: list[str], tmp_path: Path, capsys: Any
) -> None:
    state = tmp_path / "state.json"
    one = {"urn": "urn:pulumi:dev::gpulab::aws:iam/role:Role::one", "type": "aws:iam/role:Role", "custom": True}
    state.write_text(json.dumps({"deployment": {"resources": [one]}}), encoding="utf-8")
    nowhere = tmp_path / "none" / "report"
    given = [str(state) if argument == "STATE" else argument for argument in arguments]
    assert command([*given, "--output", str(nowhere)]) == 2
    assert f"{nowhere}: cannot be written: No such file" in capsys.readouterr().err


def test_a_failed_preview_is_reported_and_not_passed(capsys: Any) -> None:
    assert preview.main([f"dev={STORED / 'failed.jsonl'}"]) == 1
    said = capsys.readouterr()
    assert "The preview failed" in said.out
    assert "gpulab:owner" in said.out
    assert "Nothing changes" not in said.out


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("error: no stack named 'dev' found", 'is not JSON, it begins with "error: no stack'),
        ("Previewing update (dev):\n{}", "no steps"),
        ("{}", "no steps"),
        ('{"version": 3, "deployment": {}}', "is a state"),
        (stored("create.jsonl")[:-400], "cut off"),
        ("\n".join(stored("create.jsonl").splitlines()[:50]), "cut off"),
        (stored("change-document.json")[:5000], "is not JSON"),
        (f"Installing…\n{json.dumps({'steps': []})}\n{{", "line 3 is not JSON ('{')"),
        (stored("create.jsonl") + "panic: attempt to encrypt value\n", "is not JSON ('panic: attempt"),
    ],
)
def test_what_is_no_preview_is_an_error_that_says_why(text: str, why: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "dev.json"
    path.write_text(text, encoding="utf-8")
    assert preview.main([str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert why in said.err
    assert said.err.startswith("dev: ")


def test_a_file_that_is_not_there_and_a_stack_given_twice_are_errors(capsys: Any) -> None:
    assert preview.main(["dev=nowhere.json"]) == 2
    twice = str(STORED / "create.jsonl")
    assert preview.main([f"dev={twice}", f"dev={twice}"]) == 2
    said = capsys.readouterr().err
    assert "No such file" in said
    assert "given twice" in said


def test_a_preview_may_come_by_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stored("create.jsonl").encode()), encoding="utf-8"))
    assert preview.main(["dev=-"]) == 0
    assert "### Stack `dev`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"steps": [{}]}, "steps.0.op: Field required"),
        ({"steps": {"a": 1}}, "steps: Input should be a valid list"),
        ({"steps": [{"op": "create", "urn": "u", "newState": {"inputs": []}}]}, "steps.0.newState.inputs: "),
        ({"diagnostics": ["failed"]}, "diagnostics.0: "),
        ({"steps": [], "config": ["aws:region"]}, "config: "),
        ({"sequence": 7, "timestamp": 0, "resourcePreEvent": {}}, "event 7: resourcePreEvent.metadata: Field required"),
        ({"sequence": 7, "timestamp": 0, "resourcePreEvent": {"metadata": {"urn": ""}}}, "metadata.op: Field required"),
        ({"sequence": 7, "timestamp": 0, "policyEvent": {"message": "no"}}, "policyEvent.policyName: Field required"),
    ],
)
def test_json_that_no_engine_writes_is_an_error_that_says_where(
    written: Any, why: str, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(written), encoding="utf-8")
    assert preview.main([str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("dev: ")
    assert why in said.err


def test_what_has_the_wrong_shape_is_not_shown_as_it_may_be_secret() -> None:
    with pytest.raises(PreviewError) as error:
        read(json.dumps({"steps": [{"op": "create", "urn": {"password": "hunter2"}}]}), "dev")
    assert "steps.0.urn" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "old", "new", "said"),
    [
        ("size", {"size": 1}, {"size": 2}, "`size`: `1` → `2`"),
        ('limits["nvidia.com/gpu"]', {"limits": {"nvidia.com/gpu": "16"}}, {"limits": {}}, "`16` → *none*"),
        ("rules[1].port", {"rules": [{}, {"port": 80}]}, {"rules": [{}]}, "`80` → *none*"),
        ("tags", {"tags": {"a": "b"}}, {}, "*a value of several parts* → *none*"),
        ("vpcId", {"vpcId": "vpc-1"}, {"vpcId": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"}, "*not yet known*"),
        ("text", {"text": "x" * 300}, {"text": "`tick`"}, "*a text of 300 characters* → `` `tick` ``"),
    ],
)
def test_what_changed_is_told_by_its_values(path: str, old: Any, new: Any, said: str) -> None:
    assert said in property_changes(step(old=old, new=new, paths=(path,)))[0]


SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '"hunter2"'}


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("value", {"value": SECRET}, "*secret*"),
        ("value", {"value": "[secret]"}, "*secret*"),
        ("data.one", {"data": SECRET}, "*secret*"),
        ("password", {"password": "hunter2"}, "*not shown*"),
        ("values.auth.clientSecret", {"values": {"auth": {"clientSecret": "hunter2"}}}, "*not shown*"),
        ("userData", {"userData": "hunter2"}, "*not shown*"),
        ("value", {"value": "one\nhunter2"}, "*a text of 11 characters*"),
    ],
)
def test_secrets_are_never_shown(path: str, value: Any, shown: str) -> None:
    said = property_changes(step(old=value, new={}, paths=(path,)))[0]
    assert said.startswith(f"`{path}`: {shown} → ")
    assert "hunter2" not in said


def test_paths_are_read_as_the_engine_writes_them() -> None:
    assert parts_of('spec.a[0]["b.c/d"].e') == ["spec", "a", 0, "b.c/d", "e"]


def test_nothing_in_a_resource_breaks_out_of_the_comment() -> None:
    evil = "a` </details> @everyone |"
    text = events(
        resource("create", "aws:iam/role:Role", evil, new={"inputs": {}}),
        {"diagnosticEvent": {"severity": "warning", "message": "</details> <script> @everyone"}},
        END,
    )
    said = comment([read(text, "dev")])
    assert "<script>" not in said
    assert " @everyone\n" not in said
    assert f"``{' '}{evil}{' '}``" in said


def test_an_unreadable_preview_raises() -> None:
    with pytest.raises(PreviewError, match="lab: is empty"):
        read(" \n", "lab")
