"""The steps that decide what may change and report what did: expired labs, approval, drift."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from step_bench import COMMIT, UNREACHABLE, Bench, outdate, set_expiry, unlock_production

from ci import approval, drift, expired, lifecycle
from ci.actions import StepFailed

REPOSITORY = COMMIT["GITHUB_REPOSITORY"]
PAST = "2001-01-31"


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
        assert "broken: cannot find out whether it has expired" in capsys.readouterr().out


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
        with pytest.raises(StepFailed, match="admit only the branch main"):
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
        [("refresh", "the cloud differs from the state"), ("preview", "has changes that were not rolled out")],
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
        assert "drift is not known" in lab.summary

    def test_what_is_not_deployed_has_none(self, lab: Bench) -> None:
        lab.has_state("dev", resources=0)
        assert drift.main() == 0
        assert "not deployed" in lab.summary
        assert len(lab.commands("pulumi")) == 1
