"""Which stacks a change touches, with real commits, and which stacks a workflow gets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from step_bench import Bench

from ci import expired, stacks
from ci.actions import StepFailed

EVERY = ["dev", "prod"]


@pytest.mark.parametrize(
    ("changed", "touched"),
    [
        (["Pulumi.dev.yaml"], ["dev"]),
        (["Pulumi.dev.yaml", "README.md", "docs/upgrades.md"], ["dev"]),
        (["README.md", "tests/unit/test_network.py", ".github/workflows/up.yml"], []),
        (["components/network.py"], EVERY),
        (["Pulumi.yaml"], EVERY),
        (["requirements.txt"], EVERY),
        (["rehearsal/engine.py"], EVERY),
        (["policies/cost.py"], EVERY),
        (["a-folder-that-nobody-knew/of.py"], EVERY),
        (["Pulumi.gone.yaml"], []),  # a stack of which the next job asks whether it holds anything
        (["components/README.md"], EVERY),  # what lies within the program is the program's
        ([], []),
    ],
)
def test_a_stack_file_touches_its_stack_and_the_program_all(changed: list[str], touched: list[str]) -> None:
    assert stacks.touched(changed, EVERY) == touched


def git(*arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(bench: Bench) -> str:
    """The bench as a repository; its first commit."""
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return git("rev-parse", "HEAD")


def commit() -> None:
    git("add", "--all")
    git("commit", "--quiet", "--message", "next")


@pytest.mark.parametrize("base", ["HEAD^1", "the commit"])
def test_the_commits_since_the_base_decide(
    bench: Bench, repository: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path("Pulumi.dev.yaml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    commit()
    monkeypatch.setenv("BASE", repository if base == "the commit" else base)
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["stacks"]) == ["dev"]
    assert json.loads(bench.outputs["previews"]) == ["dev"]


def test_a_stack_whose_file_goes_is_previewed_and_not_rolled_out(
    bench: Bench, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("Pulumi.dev.yaml").unlink()
    commit()
    monkeypatch.setenv("BASE", "HEAD^1")
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["stacks"]) == []
    assert json.loads(bench.outputs["previews"]) == ["dev"]
    assert "removes the file of stack dev. Destroy the stack first" in bench.summary


def expire_dev() -> None:
    path = Path("Pulumi.dev.yaml")
    text = path.read_text(encoding="utf-8")
    assert "2027-12-31" in text
    path.write_text(text.replace("2027-12-31", "2001-01-31"), encoding="utf-8")


@pytest.mark.parametrize("how", ["changed", "all"])
def test_a_lab_past_its_day_is_in_no_other_changes_way(
    bench: Bench, repository: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_dev()
    commit()
    Path("components").mkdir()
    Path("components/network.py").write_text("x = 1\n", encoding="utf-8")
    commit()
    monkeypatch.setenv("BASE", "HEAD^1")
    assert stacks.main([how]) == 0
    assert json.loads(bench.outputs["stacks"]) == ["prod"]
    assert "dev is left out: it is a lab that has expired" in bench.summary


def test_a_change_of_that_labs_own_file_is_looked_at(
    bench: Bench, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_dev()
    commit()
    monkeypatch.setenv("BASE", "HEAD^1")
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["stacks"]) == ["dev"]


def test_a_file_that_is_wrong_is_left_to_the_next_job(
    bench: Bench, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("Pulumi.dev.yaml").write_text("config: {}\n", encoding="utf-8")
    commit()
    monkeypatch.setenv("BASE", "HEAD^1")
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["stacks"]) == ["dev"]


def test_a_file_that_moved_out_of_the_program_touches_all(repository: str) -> None:
    for folder in ("components", "docs"):
        Path(folder).mkdir()
    Path("components/thing.py").write_text("x = 1\n" * 20, encoding="utf-8")
    commit()
    base = git("rev-parse", "HEAD")
    Path("components/thing.py").rename("docs/thing.py")
    commit()
    assert sorted(stacks.changed_files(base) or []) == ["components/thing.py", "docs/thing.py"]


@pytest.mark.parametrize("base", ["", "0" * 40, "f" * 40, "--output=stolen"])
def test_a_base_that_git_does_not_know_means_all(
    bench: Bench, repository: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE", base)
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["stacks"]) == EVERY
    assert not Path("stolen").exists()


def test_one_stack_is_one_that_is_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "prod")
    assert stacks.main(["one"]) == 0
    assert json.loads(bench.outputs["stacks"]) == ["prod"]
    with pytest.raises(StepFailed, match=r"there is no Pulumi.staging.yaml here. Stacks: dev, prod"):
        stacks.known("staging")


SITE = """config:
  gpulab:owner: ml@example.com
  gpulab:costCenter: lab
  gpulab:lifecycle: {kind: lab, expires: "2001-01-31"}
  gpulab:ground: {kind: existing, context: workstation, distribution: k3s}
  gpulab:nodePools: {cpu: {nodes: [one]}}
  gpulab:storage: {homes: per-person, homeSize: 20}
"""


def test_a_stack_on_a_cluster_that_exists_is_only_rehearsed(
    bench: Bench, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("Pulumi.site.yaml").write_text(SITE, encoding="utf-8")
    commit()
    monkeypatch.setenv("BASE", "HEAD^1")
    assert stacks.main(["changed"]) == 0
    assert json.loads(bench.outputs["rehearsals"]) == ["site"]
    assert (bench.outputs["stacks"], bench.outputs["previews"]) == ("[]", "[]")


def test_no_workflow_starts_for_one_stack_that_it_does_not_reach(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("Pulumi.site.yaml").write_text(SITE, encoding="utf-8")
    monkeypatch.setenv("STACK", "site")
    assert stacks.main(["one"]) == 1
    assert "site is on a cluster that exists, which workflows do not reach" in capsys.readouterr().out
    assert expired.main() == 0
    assert bench.outputs["stacks"] == "[]"


@pytest.mark.parametrize("name", ["$(touch stolen)", "a b", '"]}', "-rf", "x\ny", "ä"])
def test_a_file_that_a_pull_request_names_after_a_command_is_refused(
    bench: Bench, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(f"Pulumi.{name}.yaml").write_text("config: {}\n", encoding="utf-8")
    assert stacks.main(["all"]) == 1
    assert "is not a stack's name" in capsys.readouterr().out
    assert not (bench.folder / "output").exists()
