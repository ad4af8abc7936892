"""Fake `pulumi` and `gh` on PATH: a test sets their answers before a call, and checks their arguments after it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent.parent
UNREACHABLE = "warning: configured Kubernetes cluster is unreachable: i/o timeout\n"
# What a job rolls out, as GitHub tells it to the job's steps.
COMMIT = {"GITHUB_REPOSITORY": "example/gpulab", "GITHUB_REF_NAME": "main", "GITHUB_SHA": "1234abc"}
# Takes the first answer whose words are all among the arguments, and writes down what it was called with. Without the
# environment's packages (-S) it starts in half the time.
_FAKE = """#!{python} -IS
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
name, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
given = sys.stdin.read() if "--input" in arguments or "import" in arguments else ""
variables = {{key: os.environ.get(key) for key in ("PULUMI_BACKEND_URL", "PULUMI_ENABLE_STREAMING_JSON_PREVIEW")}}
with (folder / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps({{"name": name, "arguments": arguments, "given": given, "variables": variables}}) + "\\n")
for answer in json.loads((folder / "answers.json").read_text()):
    if answer["name"] == name and set(answer["words"]) <= set(arguments):
        sys.stdout.write(answer["stdout"])
        sys.stderr.write(answer["stderr"])
        sys.exit(answer["code"])
sys.exit(f"{{name}} was not expected to be called with {{arguments}}")
"""


@dataclass
class Bench:
    """A step's environment. `answer` sets a fake program's answer, `calls` has the arguments of its calls."""

    folder: Path
    programs: Path
    answers: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, name: str, *words: str, stdout: str = "", stderr: str = "", code: int = 0) -> None:
        """The program's answer to a call that has all these words; the latest one given counts."""
        self.answers.insert(0, {"name": name, "words": words, "stdout": stdout, "stderr": stderr, "code": code})
        (self.programs / "answers.json").write_text(json.dumps(self.answers), encoding="utf-8")

    def calls(self, name: str) -> list[dict[str, Any]]:
        """Each call of a program, in order."""
        path = self.programs / "calls.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [one for one in map(json.loads, lines) if one["name"] == name]

    def commands(self, name: str) -> list[str]:
        """The same as lines."""
        return [" ".join(one["arguments"]) for one in self.calls(name)]

    @property
    def summary(self) -> str:
        path = self.folder / "summary.md"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def outputs(self) -> dict[str, str]:
        """The step's outputs, as GitHub reads them."""
        found: dict[str, str] = {}
        lines = iter((self.folder / "output").read_text(encoding="utf-8").splitlines())
        for line in lines:
            name, _, end = line.partition("<<")
            value: list[str] = []
            while (one := next(lines)) != end:
                value.append(one)
            found[name] = "\n".join(value)
        return found

    def has_state(self, stack: str, resources: int = 3, pending: Sequence[Any] = ()) -> None:
        held = [{"urn": f"urn:pulumi:{stack}::gpulab::aws:ec2/vpc:Vpc::{number}"} for number in range(resources)]
        state = {"deployment": {"resources": held, "pending_operations": list(pending)}}
        self.answer("pulumi", "stack", "export", stack, stdout=json.dumps(state))

    def main_is(self, status: str, *files: dict[str, str]) -> None:
        """How GitHub compares the commit that a job rolls out with `main` as it is now."""
        path = "repos/{GITHUB_REPOSITORY}/compare/{GITHUB_SHA}...{GITHUB_REF_NAME}".format(**COMMIT)
        self.answer("gh", "api", path, stdout=json.dumps({"status": status, "files": files}))

    def has_no_state(self, stack: str) -> None:
        self.answer("pulumi", "stack", "export", stack, stderr=f"error: no stack named '{stack}' found\n", code=255)


def fake_programs(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir()
    for name in names:
        path = folder / name
        path.write_text(_FAKE.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
        path.chmod(0o755)


def github_without_later_commits(folder: Path) -> Path:
    """The folder of a fake `gh` for which `main` is still the commit that a job rolls out."""
    programs = folder / "bin"
    fake_programs(programs, ["gh"])
    Bench(folder, programs).main_is("identical")
    return programs


def unlock_production() -> None:
    path = Path("Pulumi.prod.yaml")
    text = path.read_text(encoding="utf-8")
    assert "unlock: false" in text
    path.write_text(text.replace("unlock: false", "unlock: true"), encoding="utf-8")


def set_expiry(stack: str, day: str) -> None:
    path = Path(f"Pulumi.{stack}.yaml")
    text = path.read_text(encoding="utf-8")
    assert "2027-12-31" in text
    path.write_text(text.replace("2027-12-31", day), encoding="utf-8")


def outdate(stack: str) -> None:
    """Makes the stack's file one that an earlier release accepted, with a mistyped key."""
    path = Path(f"Pulumi.{stack}.yaml")
    text = path.read_text(encoding="utf-8")
    assert 'version: "1.36"' in text
    text = text.replace('version: "1.36"', 'version: "1.33"\n    veiwers: []')
    path.write_text(text, encoding="utf-8")
