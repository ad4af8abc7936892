"""The step that previews a stack: what it keeps for the comment, and what makes it fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from step_bench import Bench

from ci import preview

EVENTS = '{"sequence": 1, "timestamp": 1, "summaryEvent": {"resourceChanges": {"same": 3}}}\n'
# As pulumi-kubernetes warns of it, and the engine goes on.
WARNING = (
    '{"sequence": 1, "timestamp": 1, "diagnosticEvent": {"severity": "warning", "message": "configured Kubernetes'
    ' cluster is unreachable: unable to load schema information from the API server: i/o timeout"}}\n'
)


@pytest.fixture(autouse=True)
def stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "dev")


def outcome() -> dict[str, str]:
    return json.loads(Path("previews/dev.outcome.json").read_text(encoding="utf-8"))


def test_a_preview_is_kept_with_what_the_guardrails_said(bench: Bench) -> None:
    bench.has_state("dev")
    bench.answer("pulumi", "preview", stdout=EVENTS, stderr="warning: something\n")
    assert preview.main() == 0
    assert Path("previews/dev.json").read_text(encoding="utf-8") == EVENTS
    assert outcome() == {"stack": "dev", "how": "previewed", "said": ""}
    called = bench.calls("pulumi")[-1]
    assert called["arguments"][:4] == ["preview", "--json", "--policy-pack", "policies"]
    assert called["arguments"][4:6] == ["--stack", "dev"]
    assert called["variables"]["PULUMI_ENABLE_STREAMING_JSON_PREVIEW"] == "true"


def test_an_unreachable_cluster_does_not_pass_though_the_engine_says_so_in_a_warning(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.has_state("dev")
    bench.answer("pulumi", "preview", stdout=WARNING + EVENTS)
    assert preview.main() == 1
    assert outcome()["how"] == "unreachable"
    assert "GPULAB_RUNNER" in outcome()["said"]
    assert "::error::dev: The cluster's API server could not be reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said",
    [
        "The API server of gpulab-dev cannot be reached from here: https://10.0.0.1 (timed out). The endpoint is",
        "error: Kubernetes cluster unreachable: Get https://10.0.0.1/version: dial tcp: i/o timeout",
    ],
)
def test_what_the_program_and_helm_say_of_it_is_heard_too(bench: Bench, said: str) -> None:
    bench.has_state("dev")
    bench.answer("pulumi", "preview", stderr=said, code=255)
    assert preview.main() == 1
    assert outcome()["how"] == "unreachable"


def test_a_preview_that_fails_keeps_its_reason(bench: Bench) -> None:
    bench.has_state("dev")
    bench.answer("pulumi", "preview", stdout=EVENTS, stderr="error: AccessDenied: kms:Decrypt\n", code=255)
    assert preview.main() == 1
    assert outcome()["how"] == "failed"
    assert "exit status 255: error: AccessDenied: kms:Decrypt" in outcome()["said"]


def test_a_stack_that_is_nowhere_yet_is_previewed_against_nothing(bench: Bench) -> None:
    bench.has_no_state("dev")
    bench.answer("pulumi", "stack", "init")
    bench.answer("pulumi", "preview", stdout=EVENTS)
    assert preview.main() == 0
    init, previewed = bench.calls("pulumi")[1:]
    assert init["arguments"][:2] == ["stack", "init"]
    # Neither touches the bucket with the states.
    assert init["variables"]["PULUMI_BACKEND_URL"] == previewed["variables"]["PULUMI_BACKEND_URL"]
    assert init["variables"]["PULUMI_BACKEND_URL"].startswith("file:///")
    assert "has no state yet" in outcome()["said"]


def test_a_state_that_may_not_be_read_is_no_new_stack(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answer("pulumi", "stack", "export", stderr="error: AccessDenied: s3:GetObject", code=255)
    assert preview.main() == 1
    assert "cannot read the state of dev" in capsys.readouterr().out
    assert len(bench.calls("pulumi")) == 1


def test_production_that_is_to_be_unlocked_is_not_refused_for_that(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK", "prod")
    bench.has_state("prod")
    bench.answer("pulumi", "preview", stdout=EVENTS)
    assert preview.main() == 0
    assert not any("--policy-pack-config" in one for one in bench.calls("pulumi")[-1]["arguments"])
    path = Path("Pulumi.prod.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("unlock: false", "unlock: true"), encoding="utf-8")
    assert preview.main() == 0
    assert "--policy-pack-config=policies/unlock.json" in bench.calls("pulumi")[-1]["arguments"]


def test_what_is_wrong_with_a_stack_file_the_engine_says(bench: Bench) -> None:
    Path("Pulumi.dev.yaml").write_text("config: {gpulab:owner: 7}\n", encoding="utf-8")
    bench.has_state("dev")
    bench.answer("pulumi", "preview", stderr="error: stack dev: 6 mistakes in its settings\n", code=255)
    assert preview.main() == 1
    assert "6 mistakes in its settings" in outcome()["said"]


def test_a_stack_whose_file_is_removed_has_to_be_destroyed_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACK", "gone")
    bench.has_state("gone", resources=170)
    assert preview.main() == 1
    gone = json.loads(Path("previews/gone.outcome.json").read_text(encoding="utf-8"))
    assert gone["how"] == "failed"
    assert (
        "this change removes the file of stack gone. Destroy the stack first (start destroy.yml by hand)"
        in gone["said"]
    )
    assert "170 resources" in gone["said"]


@pytest.mark.parametrize("state", ["empty", "none"])
def test_the_file_of_a_stack_that_is_gone_may_go(bench: Bench, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setenv("STACK", "gone")
    if state == "empty":
        bench.has_state("gone", resources=0)
    else:
        bench.has_no_state("gone")
    assert preview.main() == 0
    assert json.loads(Path("previews/gone.outcome.json").read_text(encoding="utf-8"))["how"] == "previewed"
