"""The steps that change stacks, and those that decide whether they may: up, destroy, expired labs, approval, drift."""

from __future__ import annotations

import datetime
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from step_bench import COMMIT, PROJECT, Bench

import reports.interrupted
from ci import approval, destroy, drift, expired, interrupted, lifecycle, up
from ci.actions import StepFailed
from reports.leftovers import stack_settings

UNREACHABLE = "warning: configured Kubernetes cluster is unreachable: i/o timeout\n"
REPOSITORY = COMMIT["GITHUB_REPOSITORY"]
PAST, FUTURE = "2001-01-31", "2999-12-31"


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


@pytest.fixture
def lab(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("STACK", "dev")
    bench.has_state("dev")
    return bench


class TestUp:
    @pytest.fixture(autouse=True)
    def compared(self, lab: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """Main is where it was when the run began, unless a test says otherwise."""
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
        assert "`pulumi cancel` takes its lock away" in capsys.readouterr().out
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
        """The look at the account without the second that a process of its own takes to start."""
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
        assert "`pulumi cancel` takes a lock away" in said
        assert not any(command.startswith("up") for command in lab.commands("pulumi"))

    @pytest.mark.usefixtures("quick")
    def test_what_can_not_be_told_is_not_made_again(self, lab: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        lab.has_state("dev", pending=[{"type": "creating", "resource": {"urn": "no URN"}}])
        assert up.main() == 1
        assert "can't be taken into the state" in capsys.readouterr().out
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
        """The account holds nothing; a test of its own asks a simulated one."""
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
        assert lifecycle.stack_of("dev").cluster.system_nodes.count == 2
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


class TestExpired:
    def test_labs_past_their_day(self, bench: Bench) -> None:
        set_expiry("dev", PAST)
        assert expired.main() == 0
        assert json.loads(bench.outputs["stacks"]) == ["dev"]

    def test_its_last_day_is_a_labs_own(self, bench: Bench) -> None:
        assert not lifecycle.is_expired("dev", datetime.date(2027, 12, 31))
        assert lifecycle.is_expired("dev", datetime.date(2028, 1, 1))
        assert not lifecycle.is_expired("prod", datetime.date.max)

    def test_a_lab_is_found_whose_file_is_refused_by_now(self, bench: Bench) -> None:
        outdate("dev")
        set_expiry("dev", PAST)
        assert expired.main() == 0
        assert json.loads(bench.outputs["stacks"]) == ["dev"]

    def test_the_day_is_that_of_everything_else(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GPULAB_TODAY", "2099-01-01")
        assert expired.main() == 0
        assert json.loads(bench.outputs["stacks"]) == ["dev"]

    def test_production_never_expires_whatever_its_file_says(self, bench: Bench) -> None:
        path = Path("Pulumi.prod.yaml")
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("unlock: false", f'unlock: false\n    expires: "{PAST}"'), encoding="utf-8")
        assert not lifecycle.is_expired("prod", datetime.date.max)

    def test_a_file_that_is_wrong_keeps_no_other_lab(self, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        set_expiry("dev", PAST)
        Path("Pulumi.broken.yaml").write_text("config: {}\n", encoding="utf-8")
        assert expired.main() == 1
        assert json.loads(bench.outputs["stacks"]) == ["dev"]
        assert "whether broken has expired is not known" in capsys.readouterr().out


# As GitHub describes an environment that admits chosen branches, and one that people approve.
BRANCHES = {"protected_branches": False, "custom_branch_policies": True}
REVIEWERS = [{"type": "required_reviewers", "reviewers": [{"type": "User"}]}]


class TestApproval:
    def test_a_lab_needs_none(self, bench: Bench) -> None:
        rules = {"protection_rules": [], "deployment_branch_policy": BRANCHES}
        bench.answer("gh", "api", f"repos/{REPOSITORY}/environments/dev", stdout=json.dumps(rules))
        assert "is a lab" in approval.check(REPOSITORY, "dev")

    @pytest.mark.parametrize("stack", ["dev", "prod"])
    def test_an_environment_for_every_branch_would_lend_its_role_to_every_branch(
        self, bench: Bench, stack: str
    ) -> None:
        rules = {"protection_rules": REVIEWERS, "deployment_branch_policy": None}
        bench.answer("gh", "api", stdout=json.dumps(rules))
        with pytest.raises(StepFailed, match="admit the branch main alone"):
            approval.check(REPOSITORY, stack)

    def test_production_with_reviewers_goes_on(self, bench: Bench) -> None:
        rules = {"protection_rules": REVIEWERS, "deployment_branch_policy": BRANCHES}
        bench.answer("gh", "api", f"repos/{REPOSITORY}/environments/prod", stdout=json.dumps(rules))
        assert "asks for approval" in approval.check(REPOSITORY, "prod")

    @pytest.mark.parametrize(
        "rules",
        [
            [],
            [{"type": "wait_timer", "wait_timer": 30}],
            [{"type": "branch_policy"}],
            [{"type": "required_reviewers", "reviewers": []}],
        ],
    )
    def test_production_that_nobody_approves_does_not(self, bench: Bench, rules: list[dict[str, object]]) -> None:
        environment = {"protection_rules": rules, "deployment_branch_policy": BRANCHES}
        bench.answer("gh", "api", stdout=json.dumps(environment))
        with pytest.raises(StepFailed, match="give prod required reviewers"):
            approval.check(REPOSITORY, "prod")

    @pytest.mark.parametrize("stack", ["dev", "prod"])
    def test_an_environment_that_is_not_there_would_protect_nothing(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, stack: str
    ) -> None:
        bench.answer("gh", "api", stderr="gh: Not Found (HTTP 404)", code=1)
        monkeypatch.setenv("STACK", stack)
        assert approval.main() == 1


class TestDrift:
    CHANGED = "error: no changes were expected but changes were proposed\n"

    @pytest.fixture(autouse=True)
    def same(self, lab: Bench) -> None:
        lab.answer("pulumi", "preview", stdout="Resources:\n    3 unchanged\n")
        lab.answer("pulumi", "refresh", stdout="Resources:\n    3 unchanged\n")

    def test_none(self, lab: Bench) -> None:
        assert drift.main() == 0
        assert "no drift" in lab.summary
        refreshed, previewed = lab.commands("pulumi")[1:]
        assert refreshed.startswith("refresh --preview-only")
        assert previewed.startswith("preview ")
        assert "--policy-pack policies" in previewed
        assert "--policy-pack" not in refreshed

    def test_of_unlocked_production_is_not_refused_for_being_unlocked(
        self, lab: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("STACK", "prod")
        lab.has_state("prod")
        unlock_production()
        assert drift.main() == 0
        assert "--policy-pack-config=policies/unlock.json" in lab.commands("pulumi")[-1]

    @pytest.mark.parametrize(
        ("command", "meaning"),
        [("refresh", "the cloud differs from the state"), ("preview", "what was not rolled out")],
    )
    def test_of_either_kind_is_reported(self, lab: Bench, command: str, meaning: str) -> None:
        lab.answer("pulumi", command, stdout=f"~ aws:sqs/queue:Queue lab\n{self.CHANGED}", code=255)
        assert drift.main() == 1
        assert meaning in lab.summary
        assert "~ aws:sqs/queue:Queue lab" in lab.summary

    def test_a_cluster_that_does_not_answer_is_not_without_drift(self, lab: Bench) -> None:
        lab.answer("pulumi", "refresh", stdout=UNREACHABLE)
        assert drift.main() == 1
        assert "could not be reached" in lab.summary
        assert "no drift" not in lab.summary

    def test_a_failure_is_not_either(self, lab: Bench) -> None:
        lab.answer("pulumi", "preview", stdout="error: AccessDenied\n", code=255)
        assert drift.main() == 1
        assert "nothing is known" in lab.summary

    def test_what_is_not_deployed_has_none(self, lab: Bench) -> None:
        lab.has_state("dev", resources=0)
        assert drift.main() == 0
        assert "not deployed" in lab.summary
        assert len(lab.commands("pulumi")) == 1
