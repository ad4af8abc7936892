"""The comment on a pull request: results of stored previews, what is dangerous, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from contracts.stateful import verdict
from reports import preview
from reports.comment import MARKER, comment
from reports.danger import dangers, endangered, is_allowed, why
from reports.fitting import LIMIT, Block, fitted
from reports.preview_output import UNKNOWN, is_component, read
from tests.reports.engine_output import END, STORED, events, resource, stored
from tests.reports.made_up import large_preview

pytestmark = pytest.mark.usefixtures("on_a_day")
HERE = Path(__file__).parent
CASES = HERE.parent / "cases"
FILE_SYSTEM = "aws:efs/fileSystem:FileSystem::gpulab-dev-storage"


@pytest.mark.parametrize("name", ["create", "change", "destroy", "failed", "large"])
def test_stored_previews_give_the_stored_comments(name: str) -> None:
    """GPULAB_WRITE_COMMENTS=1 writes them again; read the difference."""
    text = large_preview(2000) if name == "large" else stored(f"{name}.jsonl")
    said = comment([read(text, "dev")])
    golden = HERE / f"{name}.md"
    if os.environ.get("GPULAB_WRITE_COMMENTS"):
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")


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
    """A replaced file system replaces the PersistentVolumes on it: 16 resources, one decision."""
    given = [f"dev={STORED / 'change.jsonl'}"]
    assert preview.main(given) == 1
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 2
    assert "and with it 15 kubernetes:core/v1:PersistentVolume" in said.err
    rows = [line for line in said.out.splitlines() if line.startswith("> ")]
    assert sum("--allow" in row for row in rows) == 2
    (volumes,) = [row for row in rows if "PersistentVolume" in row]
    assert volumes.count("`gpulab-dev-team-") == 12
    assert volumes.count("`gpulab-dev-hub-homes-") == 3
    # Each by its own name, and all of them, is as good.
    each = [f"--allow={one.type}::{one.name}" for one in endangered(read(stored("change.jsonl"), "dev"))]
    assert preview.main([*given, *each]) == 0
    assert preview.main([*given, *(one for one in each if "FileSystem" not in one)]) == 1
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
        ("aws:sqs/queue:Queue", "holds records"),
        ("kubernetes:core/v1:Namespace", "takes with it what others put there"),
        ("kubernetes:example.com/v1:Shelf", "without a verdict"),
        ("gcp:storage/bucket:Bucket", "without a verdict"),
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
    assert "without a verdict" in why(step)


def test_a_component_holds_nothing_itself() -> None:
    text = events(resource("delete", "gpulab:index:Storage", "lab", old={"inputs": {}}), END)
    assert endangered(read(text, "dev")) == []


def test_a_replaced_volume_of_homes_is_named_as_data_at_risk(capsys: Any) -> None:
    assert preview.main([f"dev={CASES / 'r6-ebs-home-replaced.json'}"]) == 1
    assert "would replace hub-home-nfs (aws:ebs/volume:Volume), which holds data" in capsys.readouterr().err


def test_one_name_of_two_resources_allows_neither(capsys: Any) -> None:
    assert preview.main([f"dev={STORED / 'change.jsonl'}", "--allow", "gpulab-dev-storage"]) == 2
    assert FILE_SYSTEM in capsys.readouterr().err


def test_what_is_allowed_in_vain_is_said(capsys: Any) -> None:
    assert preview.main([f"dev={STORED / 'create.jsonl'}", "--allow", "gpulab-dev-storag"]) == 0
    assert "nothing with that name that may hold data" in capsys.readouterr().err


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
    assert "**Guardrails**: not checked" in said
    assert "0 refused" not in said
