"""The workflow files: what actionlint and zizmor do not check, and that both are used."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci import lint
from ci.stacks import stacks
from rehearsal.machine.tools import ENGINE

PROJECT = Path(__file__).resolve().parent.parent.parent
GITHUB = PROJECT / ".github"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted((GITHUB / "workflows").glob("*.yml"))}
SETUP = yaml.safe_load((GITHUB / "actions" / "setup" / "action.yml").read_text())
JOBS = [(file, name, job) for file, workflow in WORKFLOWS.items() for name, job in workflow["jobs"].items()]
STEPS = [(file, name, step) for file, name, job in JOBS for step in job.get("steps", [])]
# The jobs that GitHub lets anybody start, with code of anybody's.
ANYBODYS = ("stacks", "test", "rehearse", "rehearsed")
RUN = re.compile(
    r"(?P<make>make( [a-z-]+)+)|(\.venv/bin/python|python3) -m ci\.(?P<module>[a-z_]+)( (\"\$[A-Z]+\"|[a-z^0-9]+))?"
)


def triggers(workflow: dict[Any, Any]) -> dict[str, Any]:
    return workflow[True]  # what YAML 1.1 takes `on` for


def runs() -> Iterator[str]:
    for step in [*(step for _, _, step in STEPS), *SETUP["runs"]["steps"]]:
        if "run" in step:
            yield step["run"]


@pytest.mark.parametrize("command", sorted(set(runs())))
def test_each_command_is_a_target_or_a_file_that_tests_call(command: str) -> None:
    found = RUN.fullmatch(command)
    assert found, f"{command} has logic of its own"
    if found["module"]:
        assert (PROJECT / "ci" / f"{found['module']}.py").is_file()
    else:
        makefile = (PROJECT / "Makefile").read_text()
        assert all(f"\n{target}:" in makefile for target in command.split()[1:])


def test_every_action_is_pinned_by_digest_and_the_same_everywhere() -> None:
    files = [*(GITHUB / "workflows").glob("*.yml"), *GITHUB.glob("actions/*/action.yml")]
    used = re.findall(r"uses: (\S+)(?: # (\S+))?", "\n".join(path.read_text() for path in files))
    pins: dict[str, set[str]] = {}
    for reference, version in used:
        if not reference.startswith("./"):
            action, _, digest = reference.partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", digest), reference
            assert re.fullmatch(r"v\d+\.\d+\.\d+", version), f"{reference} does not say which version it is"
            pins.setdefault(action, set()).add(digest)
    assert pins
    assert {action for action, digests in pins.items() if len(digests) > 1} == set()


def test_the_engine_is_the_one_that_rehearsals_run() -> None:
    (step,) = [step for step in SETUP["runs"]["steps"] if str(step.get("uses", "")).startswith("pulumi/actions@")]
    assert f"v{step['with']['pulumi-version']}" == ENGINE.version


def test_nobody_elses_code_meets_credentials() -> None:
    for file, workflow in WORKFLOWS.items():
        assert not {"pull_request_target", "workflow_run", "issue_comment"} & triggers(workflow).keys(), file
    preview = WORKFLOWS["preview.yml"]["jobs"]
    for name, job in preview.items():
        trusted = "head.repo.full_name == github.repository" in job.get("if", "")
        assert trusted != (name in ANYBODYS), name
        if not trusted:
            assert job["permissions"] == {"contents": "read"}
            # A runner inside the VPC would let anybody's code in there.
            assert job["runs-on"] == "ubuntu-24.04"
            assert "vars." not in yaml.safe_dump(job["steps"])
    # Who holds the identity writes nothing, and who writes has no identity.
    for file, name, job in JOBS:
        permissions = job["permissions"]
        assert not ("id-token" in permissions and "pull-requests" in permissions), f"{file} {name}"


def test_permissions_are_the_jobs_own() -> None:
    for file, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}, file
    assert all("permissions" in job for _, _, job in JOBS)


def test_each_job_ends_in_time() -> None:
    without = [f"{file} {name}" for file, name, job in JOBS if "uses" not in job and "timeout-minutes" not in job]
    assert without == []
    # A role is lent for two hours: an update has to end before, or it could not save its state.
    for file, name, job in JOBS:
        for step in job.get("steps", []):
            lent = (step.get("with") or {}).get("role-duration-seconds", 3600)
            if "configure-aws-credentials" in str(step.get("uses")):
                assert job["timeout-minutes"] * 60 < lent, f"{file} {name}"


def test_a_stack_is_changed_by_one_job_at_a_time_and_in_its_environment() -> None:
    changing = {
        (file, name): job
        for file, name, job in JOBS
        for step in job.get("steps", [])
        if str(step.get("run")).removeprefix(".venv/bin/python -m ci.") in ("up", "destroy", "park", "unpark")
    }
    assert {file for file, _ in changing} == {"deploy.yml", "destroy.yml", "park.yml"}
    for job in changing.values():
        stack = job["environment"]
        assert job["concurrency"] == {"group": f"stack-{stack}", "cancel-in-progress": False}


def test_a_stack_goes_by_hand_only_after_its_environment_was_looked_at() -> None:
    # Before the step that hands the stack on: a job that fails still hands on what is an output by then.
    steps = [step.get("run", "") for step in WORKFLOWS["destroy.yml"]["jobs"]["stacks"]["steps"]]
    (looked,) = [index for index, run in enumerate(steps) if run.endswith("ci.approval")]
    (handed,) = [index for index, run in enumerate(steps) if run.endswith("ci.stacks one")]
    assert looked < handed


def test_what_main_requires_runs_whatever_the_rehearsals_did() -> None:
    job = WORKFLOWS["preview.yml"]["jobs"]["rehearsed"]
    assert job["if"] == "always()"
    assert set(job["needs"]) == {"stacks", "rehearse"}


def test_no_value_of_a_pull_request_is_pasted_into_a_command() -> None:
    assert [command for command in runs() if "${{" in command] == []


def test_this_repositorys_stacks_have_names_that_a_matrix_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    assert {"dev", "prod"} <= set(stacks())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return shutil.copytree(GITHUB, tmp_path / ".github")


def change(copy: Path, old: str, new: str) -> None:
    path = copy / "workflows" / "drift.yml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_workflows_are_without_a_finding() -> None:
    assert lint.main([str(GITHUB)]) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("timeout-minutes: 45", "timeout-minute: 45", "unexpected key"),  # actionlint
        ("needs.stacks.outputs.stacks != '[]'", "needs.stacks.output.stacks != '[]'", "property"),  # actionlint
        ("persist-credentials: false", "fetch-depth: 1", "artipacked"),  # zizmor
        ("run: .venv/bin/python -m ci.drift", "run: echo ${{ github.head_ref }}", "template-injection"),  # zizmor
        ("@3d3c42e5aac5ba805825da76410c181273ba90b1", "@v7", "unpinned-uses"),  # zizmor
    ],
)
def test_a_broken_workflow_is_found(
    copy: Path, old: str, new: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    change(copy, old, new)
    assert lint.main([str(copy)]) == 1
    assert said in "".join(capfd.readouterr())


def test_a_folder_without_workflows_is_not_without_findings(tmp_path: Path) -> None:
    assert lint.main([str(tmp_path)]) == 1
