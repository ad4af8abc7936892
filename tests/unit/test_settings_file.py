"""Reading a stack file, the command that checks one, and the JSON Schema for editors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

import settings
from bootstrap import configuration
from settings import loading, schema
from settings.__main__ import main
from settings.language.section import Section

PROJECT = Path(__file__).parents[2]
STACKS = Path(__file__).parents[1] / "stacks"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "Pulumi.lab.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# What the engine 3.250.0 handed a program for these values.
@pytest.mark.parametrize(
    ("written", "handed"),
    [
        ("5", "5"),
        ("1.340", "1.34"),
        ("true", "true"),
        ("yes", "yes"),
        ("", ""),
        ("~", ""),
        ("0x10", "16"),
        ("010", "8"),
        ("0o10", "8"),
        ("1e3", "1000"),
        ("1_000", "1000"),
        ("12:30", "12:30"),
        ("2027-06-30", "2027-06-30 00:00:00 +0000 UTC"),
        ('"2027-06-30"', "2027-06-30"),
        (
            "{b: 2027-06-30, a: ~, c: {}, y: no}",
            '{"b": "2027-06-30 00:00:00 +0000 UTC", "a": null, "c": {}, "y": "no"}',
        ),
        ("[1, 2.50, on, 1.0, 0.00001]", '[1, 2.5, "on", 1, 1e-05]'),
        ("!!str 5", "5"),
        # Go's time, as yaml.v3 reads it.
        ("2026-1-2", "2026-01-02 00:00:00 +0000 UTC"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00 +0000 UTC"),
        ("2026-01-01T00:00:00Z", "2026-01-01 00:00:00 +0000 UTC"),
        ("2026-01-01t1:02:03.50+02:00", "2026-01-01 01:02:03.5 +0200 +0200"),
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("2026-01-01 00:00:00Z", "2026-01-01 00:00:00Z"),
        ("2026-2-30", "2026-2-30"),
        # Tabs between values are none of an indentation.
        ("\t10.40.0.0/16", "10.40.0.0/16"),
        ("{a: 1,\tb: 2}\t# here", '{"a": 1, "b": 2}'),
    ],
)
def test_values_are_read_as_the_engine_reads_them(tmp_path, written, handed):
    path = write(tmp_path, f"config:\n  gpulab:key: {written}\n")
    assert settings.read_stack_file(path) == {"gpulab:key": handed}


def test_key_without_a_namespace_is_the_projects(tmp_path):
    assert settings.read_stack_file(write(tmp_path, "config: {owner: me, aws:region: x}")) == {
        "gpulab:owner": "me",
        "aws:region": "x",
    }


def test_anchors_and_merges(tmp_path):
    path = write(tmp_path, "config:\n  a: &a {x: 1, y: 1}\n  b: &b {<<: *a, x: 2}\n  c: {<<: *b, y: 3}\n")
    assert json.loads(settings.read_stack_file(path)["gpulab:c"]) == {"x": 2, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("config:\n  a: 1\n  b: 2\n  a: 3\n", "line 4: the key a is already in line 2"),
        ("config:\n  a:\n    x: 1\n    x: 1\n", "line 4: the key x is already in line 3"),
        ("config:\n  a: [{x: 1, x: 1}]\n", "line 2: the key x is already in line 2"),
        ("config:\n  a: {1: x}\n", "line 2: a key must be text: write it in quotes"),
        ("config:\n  a: [1\n", "line 3: expected ',' or ']'"),
        ("config:\n  a: !python/name:os.system x\n", "line 2: could not determine a constructor"),
        ("config: &c {a: *c}\n", "has a value that contains itself"),
        ("config: {a: " + "[" * 1000 + "]" * 1000 + "}", "is nested too deeply"),
        ("config:\n  a: \x07\n", "special characters are not allowed"),
        ("- config\n", "must be a mapping with the key config"),
        ("config: text\n", "must be a mapping with the key config"),
        ("config: {}\n---\nconfig: {}\n", "but found another document"),
        (b"config: \xff\xfe\n", "is not UTF-8 text (byte 8): save it as UTF-8"),
        ("config: {}\n".encode("utf-16-le"), "is not UTF-8 text: save it as UTF-8"),
        ("config:\n  a: !!binary aGk=\n", "line 2: no setting takes the tag !!binary"),
        ("config:\n  a: {b: !!set {x}}\n", "line 2: no setting takes the tag !!set"),
        ("config:\n  a: [!!timestamp 2026-01-01]\n", "line 2: no setting takes the tag !!timestamp"),
    ],
)
def test_file_that_cannot_be_read(tmp_path, capsys, text, message):
    path = write(tmp_path, text)
    assert main([str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(str(path))
    assert message in error
    assert error.count("\n") == 1


def test_folder_and_missing_file(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert main([str(tmp_path / "missing.yaml")]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}: Is a directory",
        f"{tmp_path / 'missing.yaml'}: No such file or directory",
    ]


@pytest.mark.parametrize("arguments", [[], ["--today", "tomorrow", "x"], ["a", "b"]])
def test_bad_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_command_accepts_a_right_file_and_says_what_it_means(tmp_path, capsys):
    shutil.copy(STACKS / "minimal.happy.yaml", tmp_path / "Pulumi.lab.yaml")
    assert main([str(tmp_path / "Pulumi.lab.yaml"), "--today", "2026-06-01"]) == 0
    assert "cluster gpulab-lab in us-east-1" in capsys.readouterr().out


def test_command_prints_every_mistake_for_the_day_asked(tmp_path, capsys):
    shutil.copy(STACKS / "minimal.happy.yaml", tmp_path / "Pulumi.lab.yaml")
    assert main([str(tmp_path / "Pulumi.lab.yaml"), "--today", "2026-06-02"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "gpulab:lifecycle.expires: has passed" in said.err


def test_schema_file_is_up_to_date():
    assert schema.main(["--check"]) == 0, "run `python -m settings.schema`"


def test_stale_schema_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(schema, "SCHEMA_FILE", tmp_path / "schema" / "stack.schema.json")
    assert schema.main(["--check"]) == 1
    assert "is stale" in capsys.readouterr().err
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0


STACK_FILES = [*PROJECT.glob("Pulumi.*.yaml"), *STACKS.glob("*.happy.yaml")]


@pytest.fixture(scope="module")
def editor():
    """An editor that checks a stack file by the schema."""
    jsonschema.Draft202012Validator.check_schema(schema.stack_file_schema())
    return jsonschema.Draft202012Validator(schema.stack_file_schema())


@pytest.mark.parametrize("path", STACK_FILES, ids=lambda path: path.name)
def test_schema_accepts_what_the_settings_accept(path, editor):
    editor.validate(as_editor_sees(path))


@pytest.mark.parametrize(
    "name",
    [
        "unknown-key",
        "unknown-key-in-pool",
        "unknown-section",
        "section-beside-config",
        "missing-keys",
        "wrong-types",
        "nat-unknown",
        "pool-name",
    ],
)
def test_schema_refuses_what_it_can_know(name, editor):
    with pytest.raises(jsonschema.ValidationError):
        editor.validate(as_editor_sees(STACKS / f"{name}.error.yaml"))


def as_editor_sees(path: Path) -> object:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


SECTIONS = [one for one in Section.__subclasses__() if one.__module__.startswith(("settings.", configuration.__name__))]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_is_described(section):
    assert section.__doc__
    for name, field in section.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_project_file_declares_every_section_and_no_other():
    project = yaml.safe_load((PROJECT / "Pulumi.yaml").read_text(encoding="utf-8"))
    assert list(project["config"]) == list(loading.SECTIONS)
    for name, declared in project["config"].items():
        assert declared["description"], name
        # The engine stops at a section without a default that is missing, before the program can tell of all of them.
        assert declared["default"] == {"string": "", "object": {}, "boolean": False}[declared["type"]], name


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_stack_file_names_its_schema(stack):
    first = (PROJECT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema.SCHEMA_FILE.relative_to(PROJECT)}"
