"""The steps that change stacks: up, destroy, and what an interrupted run left before them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

import pytest
from step_bench import COMMIT, PROJECT, UNREACHABLE, Bench, outdate, set_expiry, unlock_production

import reports.interrupted
from ci import destroy, interrupted, lifecycle, up
from reports.leftovers import stack_settings
from settings import on_eks

PAST, FUTURE = "2001-01-31", "2999-12-31"


class TestUp:
    @pytest.fixture(autouse=True)
    def compared(self, lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Main has the same commit as at the start of the run, unless a test changes this."""
        for name, value in COMMIT.items():
            monkeypatch.setenv(name, value)
        lab.main_is("identical")

    def test_it_updates_with_the_guardrails(self, lab: Bench) -> None:
        lab.answer("pulumi", "up", stdout="Resources:\n    + 3 created\n")
        assert up.main() == 0
        assert lab.commands("pulumi")[-1].startswith(
            "up --yes --skip-preview --refresh --policy-pack policies --stack dev"
        )
        assert "+ 3 created" in lab.summary

    def test_a_stack_without_a_state_is_not_made_up(self, lab: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        lab.has_no_state("dev")
        assert up.main() == 1
        assert "pulumi stack init dev --secrets-provider" in capsys.readouterr().out
        assert not any(command.startswith(("up", "stack init")) for command in lab.commands("pulumi"))

    def test_a_failure_says_how_to_go_on(self, lab: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        lab.answer("pulumi", "up", stdout="error: the stack is currently locked by 1 lock(s)\n", code=255)
        assert up.main() == 1
        assert "remove its lock with `pulumi cancel`" in capsys.readouterr().out
        assert "locked by 1 lock" in lab.summary

    def test_an_unreachable_cluster_does_not_pass(self, lab: Bench) -> None:
        lab.answer("pulumi", "up", stdout=UNREACHABLE)
        assert up.main() == 1

    def test_lifting_the_protection_is_not_refused_for_lifting_it(
        self, lab: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STACK", "prod")
        lab.has_state("prod")
        lab.answer("pulumi", "up")
        assert up.main() == 0
        assert "--policy-pack-config" not in lab.commands("pulumi")[-1]
        unlock_production()
        assert up.main() == 0
        assert "--policy-pack-config=policies/unlock.json" in lab.commands("pulumi")[-1]

    @pytest.mark.parametrize(
        ("status", "files"),
        [
            ("ahead", [{"filename": "components/network.py"}]),
            ("ahead", [{"filename": "README.md"}, {"filename": "Pulumi.dev.yaml"}]),
            ("ahead", [{"filename": "docs/old.py", "previous_filename": "components/old.py"}]),
            ("ahead", [{"filename": f"docs/{number}.md"} for number in range(300)]),  # GitHub names no more of them
            ("diverged", []),
            ("behind", []),
        ],
    )
    def test_an_update_that_a_later_one_has_overtaken_is_refused(
        self, lab: Bench, status: str, files: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        lab.main_is(status, *files)
        assert up.main() == 1
        assert not any(command.startswith("up") for command in lab.commands("pulumi"))
        assert "start up.yml by hand on main, with stack dev" in capsys.readouterr().out

    def test_later_commits_that_do_not_touch_the_stack_are_in_nobodys_way(self, lab: Bench) -> None:
        lab.main_is("ahead", {"filename": "Pulumi.prod.yaml"}, {"filename": "docs/destroy.md"})
        lab.answer("pulumi", "up")
        assert up.main() == 0

    def test_where_main_is_has_to_be_known(self, lab: Bench) -> None:
        lab.answer("gh", "api", stderr="gh: Bad credentials (HTTP 401)", code=1)
        assert up.main() == 1
        assert lab.commands("pulumi") == []


# Operations of an update whose engine was killed.
NAMESPACE = {
    "urn": "urn:pulumi:dev::gpulab::kubernetes:core/v1:Namespace::team",
    "type": "kubernetes:core/v1:Namespace",
    "custom": True,
    "inputs": {"metadata": {"name": "team"}},
}
CREATING = {"type": "creating", "resource": NAMESPACE}


class TestAnInterruptedRunBefore:
    @pytest.fixture(autouse=True)
    def surroundings(self, lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {**COMMIT, "CONFIRM": "dev"}.items():
            monkeypatch.setenv(name, value)
        # The account is not asked for an object of Kubernetes: its name is its id.
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        lab.main_is("identical")
        monkeypatch.setattr(destroy, "leftovers", lambda stack: subprocess.CompletedProcess([], 0, "", ""))
        lab.has_state("dev", resources=0, pending=[CREATING])

    @pytest.fixture
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reads the account without a separate process, which would take a second to start."""
        started = interrupted._run

        def run(command: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
            if list(command[:-1]) != [sys.executable, "-m", "reports.interrupted"]:
                return started(command, given)
            out, error = io.StringIO(), io.StringIO()
            typed = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
            with mock.patch("sys.stdin", typed), redirect_stdout(out), redirect_stderr(error):
                code = reports.interrupted.main([command[-1]])
            return subprocess.CompletedProcess(command, code, out.getvalue(), error.getvalue())

        monkeypatch.setattr(interrupted, "_run", run)

    @pytest.mark.parametrize(("step", "command"), [(up, "up"), (destroy, "destroy")])
    def test_what_it_made_is_taken_into_the_state_first(self, lab: Bench, step: Any, command: str) -> None:
        lab.has_state("dev", pending=[CREATING])
        lab.answer("pulumi", "import")
        lab.answer("pulumi", command)
        assert step.main() == 0
        *before, last = lab.calls("pulumi")
        (imported,) = (one for one in before if one["arguments"][:2] == ["stack", "import"])
        deployment = json.loads(imported["given"])["deployment"]
        assert deployment["pending_operations"] == []
        assert [one["id"] for one in deployment["resources"] if "id" in one] == ["team"]
        assert "--refresh" in last["arguments"]
        assert "Namespace team: taken as team" in lab.summary

    @pytest.mark.usefixtures("quick")
    def test_a_locked_stack_is_left_alone(self, lab: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        lab.answer("pulumi", "import", stderr="error: the stack is currently locked by 1 lock(s)\n", code=255)
        assert up.main() == 1
        said = capsys.readouterr().out
        assert "locked by 1 lock" in said
        assert "remove the lock with `pulumi cancel`" in said
        assert not any(command.startswith("up") for command in lab.commands("pulumi"))

    @pytest.mark.usefixtures("quick")
    def test_what_can_not_be_told_is_not_made_again(self, lab: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        lab.has_state("dev", pending=[{"type": "creating", "resource": {"urn": "no URN"}}])
        assert up.main() == 1
        assert "cannot be added to the state" in capsys.readouterr().out
        assert not any("import" in command or command.startswith("up") for command in lab.commands("pulumi"))

    @pytest.mark.usefixtures("quick")
    def test_a_state_that_another_run_changes_meanwhile_is_not_written_over(
        self, lab: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        looked = interrupted._run

        def look_while_another_goes_on(command: Any, given: str) -> Any:
            done = looked(command, given)
            lab.has_state("dev", resources=1, pending=[CREATING])
            return done

        monkeypatch.setattr(interrupted, "_run", look_while_another_goes_on)
        assert up.main() == 1
        assert "another run is under way" in capsys.readouterr().out
        assert not any("import" in command or command.startswith("up") for command in lab.commands("pulumi"))

    @pytest.mark.usefixtures("quick")
    def test_what_can_not_be_told_keeps_no_lab_from_going(self, lab: Bench) -> None:
        lab.has_state("dev", pending=[{"type": "creating", "resource": {"urn": "no URN"}}])
        lab.answer("pulumi", "destroy")
        assert destroy.main() == 0
        assert lab.commands("pulumi")[-1].startswith("destroy")

    def test_a_run_that_ended_leaves_nothing_to_settle(self, lab: Bench) -> None:
        lab.has_state("dev")
        lab.answer("pulumi", "up")
        assert up.main() == 0
        assert not any("import" in command for command in lab.commands("pulumi"))


class TestDestroy:
    @pytest.fixture(autouse=True)
    def account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The account is empty; another test uses a simulated one."""
        self.left = subprocess.CompletedProcess([], 0, "Nothing is left.\n", "")
        monkeypatch.setattr(destroy, "leftovers", lambda stack: self.left)
        monkeypatch.delenv("SCHEDULED", raising=False)
        monkeypatch.setenv("CONFIRM", "dev")

    def test_it_destroys_and_says_what_is_left(self, lab: Bench) -> None:
        lab.answer("pulumi", "destroy", stdout="Resources:\n    - 3 deleted\n")
        assert destroy.main() == 0
        assert lab.commands("pulumi")[-1].startswith("destroy --yes --skip-preview --refresh --stack dev")
        assert "Nothing is left." in lab.summary

    @pytest.mark.parametrize("confirm", ["", "Dev", "prod", "dev "])
    def test_without_the_name_typed_twice_nothing_happens(
        self, lab: Bench, monkeypatch: pytest.MonkeyPatch, confirm: str
    ) -> None:
        monkeypatch.setenv("CONFIRM", confirm)
        assert destroy.main() == 1
        assert lab.commands("pulumi") == []

    def test_what_was_forgotten_fails_it(self, lab: Bench) -> None:
        lab.answer("pulumi", "destroy")
        self.left = subprocess.CompletedProcess([], 1, "Forgotten: 1\n  ec2 Volumes vol-1\n", "")
        assert destroy.main() == 1
        assert "ec2 Volumes vol-1" in lab.summary

    def test_a_destroy_that_failed_is_still_followed_by_the_report(self, lab: Bench) -> None:
        lab.answer("pulumi", "destroy", stdout="error: deleting subnet: DependencyViolation\n", code=255)
        assert destroy.main() == 1
        assert "Nothing is left." in lab.summary

    def test_by_hand_an_empty_state_does_not_hide_what_the_account_holds(self, lab: Bench) -> None:
        lab.has_no_state("dev")
        self.left = subprocess.CompletedProcess([], 1, "Forgotten: 1\n", "")
        assert destroy.main() == 1
        assert "Forgotten: 1" in lab.summary

    @pytest.mark.parametrize(("day", "destroyed"), [(PAST, True), (FUTURE, False)])
    def test_on_schedule_only_a_lab_past_its_day_goes(
        self, lab: Bench, monkeypatch: pytest.MonkeyPatch, day: str, destroyed: bool
    ) -> None:
        monkeypatch.setenv("SCHEDULED", "true")
        monkeypatch.delenv("CONFIRM")
        set_expiry("dev", day)
        lab.answer("pulumi", "destroy")
        assert destroy.main() == (0 if destroyed else 1)
        assert any(command.startswith("destroy") for command in lab.commands("pulumi")) is destroyed

    def test_a_file_that_is_refused_by_now_keeps_no_stack(self, lab: Bench) -> None:
        outdate("dev")
        # What waking and the look for leftovers know it by.
        assert on_eks(lifecycle.stack_of("dev")).cluster.system_nodes.count == 2
        assert stack_settings("dev").cluster.name == "gpulab-dev"
        lab.answer("pulumi", "destroy")
        assert destroy.main() == 0

    def test_on_schedule_production_never_goes(self, lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SCHEDULED", "true")
        monkeypatch.setenv("STACK", "prod")
        monkeypatch.setenv("CONFIRM", "prod")
        lab.has_state("prod")
        assert destroy.main() == 1
        assert lab.commands("pulumi") == []
