"""The comment on a pull request: what stored previews give, what is dangerous, what is refused."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.stateful import verdict
from reports import architecture, preview, timeline
from reports.comment import MARKER, comment
from reports.danger import dangers, endangered, is_allowed, why
from reports.fitting import LIMIT, Block, fitted
from reports.idle_cost import idle_cost
from reports.inputs import PreviewError
from reports.pool_cost import AtLimits, pool_costs
from reports.previews import UNKNOWN, Step, is_component, read
from reports.property_changes import parts_of, property_changes
from tests.reports.made_up import large_preview

HERE = Path(__file__).parent
STORED = HERE / "previews"
CASES = HERE.parent / "cases"
FILE_SYSTEM = "aws:efs/fileSystem:FileSystem::gpulab-dev-storage"


def stored(name: str) -> str:
    return (STORED / name).read_text(encoding="utf-8")


def step(op: str = "update", old: Any = None, new: Any = None, **given: Any) -> Step:
    urn = "urn:pulumi:dev::gpulab::gpulab:index:Platform$gpulab:index:Hub$aws:s3/thing:Thing::one"
    return Step(**{"op": op, "urn": urn, "type": "aws:s3/thing:Thing", "parent": "", "old": old, "new": new, **given})


def events(*payloads: dict[str, Any]) -> str:
    lines = [{"sequence": number, "timestamp": 0, **payload} for number, payload in enumerate(payloads)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def resource(op: str, type_: str, name: str, **given: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::gpulab::gpulab:index:Platform${type_}::{name}"
    return {"resourcePreEvent": {"metadata": {"op": op, "urn": urn, "type": type_, **given}}}


END = {"summaryEvent": {}}


@pytest.fixture(autouse=True)
def _on_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of which a comment speaks."""
    monkeypatch.setenv("GPULAB_TODAY", "2026-08-01")


@pytest.mark.parametrize("name", ["create", "change", "destroy", "failed", "large"])
def test_stored_previews_give_the_stored_comments(name: str) -> None:
    """GPULAB_WRITE_COMMENTS=1 writes them anew; read the difference."""
    text = large_preview(2000) if name == "large" else stored(f"{name}.jsonl")
    said = comment([read(text, "dev")])
    golden = HERE / f"{name}.md"
    if os.environ.get("GPULAB_WRITE_COMMENTS"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


def test_both_forms_of_the_engines_say_the_same_of_one_change() -> None:
    """The document lacks what policies said, and what stays as it is."""
    streamed, document = read(stored("change.jsonl"), "dev"), read(stored("change-document.json"), "dev")
    changed = [one for one in streamed.steps if one.op != "same"]
    assert [(one.op, one.urn, one.forcing) for one in changed] == [
        (one.op, one.urn, one.forcing) for one in document.steps
    ]
    assert streamed.violations is not None
    assert document.violations is None
    assert "**Guardrails**: not looked at" in comment([document])
    assert idle_cost(streamed.steps).change == pytest.approx(idle_cost(document.steps).change, abs=0.01)


def test_the_comment_can_be_found_again_and_names_every_stack() -> None:
    previews = [read(stored(f"{name}.jsonl"), name) for name in ("create", "destroy")]
    said = comment(previews)
    assert said.startswith(MARKER)
    assert "### Stack `create`" in said
    assert "### Stack `destroy`" in said


def test_2000_resources_fit_and_what_is_left_out_is_said() -> None:
    said = comment([read(large_preview(2000), "large")])
    assert LIMIT - 2500 < len(said.encode()) <= LIMIT
    assert "**Left out**" in said
    # What is stateful stays, and so does what is dangerous rather than what is new.
    assert said.count("> - **") == 20
    assert "`gpulab-large-0002`" in said
    assert said.index("Creates 500") < said.index("Deletes 500")


@pytest.mark.parametrize("stacks", [1, 60])
def test_however_much_there_is_the_comment_fits(stacks: int) -> None:
    previews = [read(large_preview(4000 // stacks), f"stack-{number}") for number in range(stacks)]
    assert len(comment(previews).encode()) <= LIMIT


def test_rows_are_left_out_from_the_least_important_block_on() -> None:
    blocks = [
        Block(head="first", rows=["a" * 99] * 30, rank=2, what="things"),
        Block(head="second", rows=["b" * 99] * 10, rank=1, what="others"),
    ]
    said = fitted(blocks, limit=4500)
    assert said.count("b" * 99) == 10
    assert 0 < said.count("a" * 99) < 30
    assert f"{30 - said.count('a' * 99)} things" in said
    assert len(said) <= 4500


def test_a_replaced_file_system_and_a_deleted_vault_speak_against_a_merge(capsys: Any) -> None:
    given = [f"dev={STORED / 'change.jsonl'}"]
    assert preview.main(given) == 1
    said = capsys.readouterr()
    assert "would replace gpulab-dev-storage (aws:efs/fileSystem:FileSystem)" in said.err
    assert "`encrypted`: `false` → `true` (replaces it)" in said.out
    both = ["--allow", FILE_SYSTEM, "--allow", "aws:backup/vault:Vault::gpulab-dev-storage"]
    assert preview.main([*given, *both[:2]]) == 1
    assert preview.main([*given, *both]) == 0
    assert preview.main([*given, "--allow", "gpulab-dev-*"]) == 0
    capsys.readouterr()


def test_one_cause_is_told_once_and_one_name_allows_all_that_goes_with_it(capsys: Any) -> None:
    """A replaced file system replaces the PersistentVolumes on it: 13 resources, one decision."""
    given = [f"dev={STORED / 'change.jsonl'}"]
    assert preview.main(given) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 2
    assert "and with it 12 kubernetes:core/v1:PersistentVolume" in said.err
    rows = [line for line in said.out.splitlines() if line.startswith("> ")]
    assert sum("--allow" in row for row in rows) == 2
    (volumes,) = [row for row in rows if "PersistentVolume" in row]
    assert volumes.count("`gpulab-dev-team-") == 12
    # Each by its own name, and all of them, is as good.
    each = [f"--allow={one.type}::{one.name}" for one in endangered(read(stored("change.jsonl"), "dev"))]
    assert preview.main([*given, *each]) == 0
    assert preview.main([*given, *each[1:]]) == 1
    capsys.readouterr()


def test_claims_and_their_volumes_go_with_their_namespace() -> None:
    claim = {"inputs": {"metadata": {"name": "home", "namespace": "team"}}}
    volume = {
        "inputs": {"metadata": {"name": "team-home"}, "spec": {"claimRef": {"name": "home", "namespace": "team"}}}
    }
    steps = [
        resource("delete", "kubernetes:core/v1:PersistentVolumeClaim", "home", old=claim),
        resource("delete", "kubernetes:core/v1:PersistentVolume", "volume", old=volume),
        resource("delete", "kubernetes:core/v1:Namespace", "team", old={"inputs": {"metadata": {"name": "team"}}}),
    ]
    (found,) = dangers(read(events(*steps, END), "dev"))
    assert (found.first.name, [one.name for one in found.steps], found.allow) == (
        "team",
        ["team", "volume", "home"],
        "team",
    )


def test_all_that_a_replaced_provider_replaces_is_one_decision() -> None:
    new = {"inputs": {}}
    steps = [
        resource("replace", "kubernetes:core/v1:PersistentVolume", name, keys=["provider"], old=new, new=new)
        for name in ("a", "b")
    ]
    provider = resource("replace", "pulumi:providers:kubernetes", "lab", old=new, new=new)
    (found,) = dangers(read(events(provider, *steps, END), "dev"))
    assert (found.first.type, len(found.steps), found.allow) == ("pulumi:providers:kubernetes", 2, "lab")
    assert "which holds" not in comment([read(events(provider, *steps, END), "dev")]).partition("with it")[0]


def test_alike_replacements_are_one_decision_where_no_id_tells_their_cause() -> None:
    old, new = {"inputs": {"host": "db-1"}}, {"inputs": {"host": UNKNOWN}}
    steps = [
        resource("replace", "aws:ebs/volume:Volume", f"lab-{name}", keys=["host"], old=old, new=new)
        for name in ("a", "b")
    ]
    read_ = read(events(*steps, END), "dev")
    (found,) = dangers(read_)
    assert found.allow == "aws:ebs/volume:Volume::lab-*"
    assert "> - **replace** of 2 `aws:ebs/volume:Volume`, by `host`, each holds data" in comment([read_])
    # None of them is the cause, so the name of one does not let the others go.
    assert [is_allowed(found, allowed) for allowed in (["lab-a"], ["lab-a", "lab-b"], [found.allow])] == [
        False,
        True,
        True,
    ]
    # A pattern that lets something else go too is none to suggest.
    third = resource("delete", "aws:ebs/volume:Volume", "lab-c", old=old)
    assert [one.allow for one in dangers(read(events(*steps, third, END), "dev"))] == ["lab-a", "lab-b", "lab-c"]


@pytest.mark.parametrize("op", ["replace", "delete"])
@pytest.mark.parametrize(
    ("type_", "why"),
    [
        ("aws:ebs/volume:Volume", "holds data"),
        ("aws:sqs/queue:Queue", "holds what was recorded"),
        ("kubernetes:core/v1:Namespace", "takes along what others put there"),
        ("kubernetes:example.com/v1:Shelf", "nobody has judged"),
        ("gcp:storage/bucket:Bucket", "nobody has judged"),
    ],
)
def test_what_may_hold_data_is_never_harmless(op: str, type_: str, why: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_text(events(resource(op, type_, "one", old={"inputs": {}}, new={"inputs": {}}), END), encoding="utf-8")
    assert preview.main([str(path)]) == 1
    said = capsys.readouterr()
    assert f"would {op} one ({type_}), which" in said.err
    assert why in said.err
    assert why in said.out
    assert preview.main([str(path), "--allow=one"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("name", ["create", "change", "destroy"])
def test_of_all_that_the_platform_makes_it_is_known_whether_it_holds_data(name: str) -> None:
    steps = read(stored(f"{name}.jsonl"), "dev").steps
    assert steps
    assert [
        one.type for one in steps if not is_component(one.type) and verdict(one.type, one.old or one.new) == "unknown"
    ] == []


@pytest.mark.parametrize("type_", ["pinecone:index:PineconeIndex", "docker-build:index:Image"])
def test_what_a_provider_manages_is_no_component_whatever_its_type_is_called(type_: str) -> None:
    text = events(resource("delete", type_, "one", old={"type": type_, "custom": True, "inputs": {}}), END)
    (step,) = endangered(read(text, "dev"))
    assert "nobody has judged" in why(step)


def test_a_component_holds_nothing_itself() -> None:
    text = events(resource("delete", "gpulab:index:Storage", "lab", old={"inputs": {}}), END)
    assert endangered(read(text, "dev")) == []


def test_a_replaced_volume_of_homes_is_named_as_data_at_risk(capsys: Any) -> None:
    assert preview.main([f"dev={CASES / 'r6-ebs-home-replaced.json'}"]) == 1
    assert "would replace hub-home-nfs (aws:ebs/volume:Volume), which holds data" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["r1-policy-lines.jsonl", "r2-plan-line.json"])
def test_lines_around_the_json_are_passed_over(name: str) -> None:
    """What a policy pack prints before, and the engine after it."""
    text = (CASES / name).read_text(encoding="utf-8")
    plain = "\n".join(line for line in text.splitlines() if line.startswith(("{", "}", " ")))
    assert plain != text.strip()
    around, alone = read(text, "dev"), read(plain, "dev")
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


def test_one_name_of_two_resources_allows_neither(capsys: Any) -> None:
    assert preview.main([f"dev={STORED / 'change.jsonl'}", "--allow", "gpulab-dev-storage"]) == 2
    assert FILE_SYSTEM in capsys.readouterr().err


def test_what_is_allowed_in_vain_is_said(capsys: Any) -> None:
    assert preview.main([f"dev={STORED / 'create.jsonl'}", "--allow", "gpulab-dev-storag"]) == 0
    assert "nothing that may hold data and has that name" in capsys.readouterr().err


def test_volumes_and_claims_of_the_cluster_hold_data_too() -> None:
    text = events(
        resource("delete", "kubernetes:core/v1:PersistentVolumeClaim", "home", old={"inputs": {}}),
        resource("delete", "kubernetes:core/v1:ConfigMap", "notes", old={"inputs": {}}),
        resource("update", "aws:rds/instance:Instance", "database", old={"inputs": {}}, new={"inputs": {}}),
        END,
    )
    assert [one.name for one in endangered(read(text, "dev"))] == ["home"]


def test_the_database_of_an_operator_in_the_cluster_holds_data() -> None:
    text = events(resource("delete", "kubernetes:postgresql.cnpg.io/v1:Cluster", "db", old={"inputs": {}}), END)
    assert [one.name for one in endangered(read(text, "dev"))] == ["db"]


@pytest.mark.parametrize("op", ["import", "refresh", "a-new-op"])
def test_whatever_the_engine_does_beside_changes_is_counted_by_its_name(op: str) -> None:
    """An import, what a refresh alone looks at, and operations of engines to come."""
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
    """`pulumi preview --refresh` looks at each resource first, and then says what becomes of it."""
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


def test_a_mandatory_guardrail_speaks_against_a_merge(tmp_path: Path, capsys: Any) -> None:
    refused = {
        "policyName": "public-endpoint",
        "message": "No endpoint is open to all\nit lists 0.0.0.0/0",
        "enforcementLevel": "mandatory",
        "resourceUrn": "urn:pulumi:dev::gpulab::aws:eks/cluster:Cluster::lab",
    }
    path = tmp_path / "prod.jsonl"
    path.write_text(events({"policyLoadEvent": {}}, {"policyEvent": refused}, END), encoding="utf-8")
    assert preview.main([str(path)]) == 1
    said = capsys.readouterr()
    assert "prod: public-endpoint refuses lab" in said.err
    assert "> - `public-endpoint`, `lab`: No endpoint is open to all: it lists 0.0.0.0/0" in said.out


def test_without_policies_nobody_says_that_they_found_nothing() -> None:
    said = comment([read(events(resource("create", "aws:iam/role:Role", "one", new={"inputs": {}}), END), "dev")])
    assert "**Guardrails**: not looked at" in said
    assert "0 refused" not in said


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
    assert f"{nowhere}: can't be written: No such file" in capsys.readouterr().err


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
        ("error: no stack named 'dev' found", 'is no JSON, it begins with "error: no stack'),
        ("Previewing update (dev):\n{}", "no steps"),
        ("{}", "no steps"),
        ('{"version": 3, "deployment": {}}', "is a state"),
        (stored("create.jsonl")[:-400], "cut off"),
        ("\n".join(stored("create.jsonl").splitlines()[:50]), "cut off"),
        (stored("change-document.json")[:5000], "is no JSON"),
        (f"Installing…\n{json.dumps({'steps': []})}\n{{", "line 3 is no JSON ('{')"),
        (stored("create.jsonl") + "panic: attempt to encrypt value\n", "is no JSON ('panic: attempt"),
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


def test_an_unreadable_preview_raises() -> None:
    with pytest.raises(PreviewError, match="lab: is empty"):
        read(" \n", "lab")


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
