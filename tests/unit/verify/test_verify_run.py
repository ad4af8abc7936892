"""How a run ends, and its reports."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from verify_api import serving

from components.hub.inside.sections import Section
from rehearsal.machine.workspace import PROJECT
from verify import __main__ as command
from verify import run, run_reports
from verify.checks import Check, Failed, Skipped, State
from verify.cleaning import Cleaner


def check(name: str, try_it: Callable[[], str]) -> Check:
    return Check(name=name, group="cluster", try_it=try_it, section=Section.LOGS)


def raising(error: BaseException) -> Callable[[], str]:
    def try_it() -> str:
        raise error

    return try_it


FAILURE = Failed("the hub answers 500", Section.LOGS, "Traceback\x1b[31m\nOperationalError: disk full")
CHECKS = [
    check("passes", lambda: "as it should"),
    check("is skipped", raising(Skipped("the stack has no domain"))),
    check("fails", raising(FAILURE)),
    check("breaks", raising(ConnectionError("nobody answers"))),
]


def ended(checks: list[Check], **arguments: float) -> run.Run:
    return run.run(checks, lambda _: None, **{"seconds": 60.0, **arguments})


def test_a_run_ends_well_only_if_nothing_failed_and_all_was_reached() -> None:
    assert ended(CHECKS[:2]).ok
    assert not ended(CHECKS).ok
    out_of_time = ended(CHECKS[:2], seconds=-1)
    assert [one.state for one in out_of_time.outcomes] == [State.NOT_REACHED] * 2
    assert not out_of_time.ok
    interrupted = ended([CHECKS[0], check("is ended", raising(KeyboardInterrupt())), CHECKS[1]])
    assert [one.state for one in interrupted.outcomes] == [State.PASSED, State.NOT_REACHED, State.NOT_REACHED]
    assert interrupted.cut_off == run.INTERRUPTED


def test_a_failure_is_told_with_its_quote_and_the_section_that_helps() -> None:
    written = io.StringIO()
    run_reports.table(ended(CHECKS), Console(file=written, width=160))
    text = written.getvalue()
    assert "the hub answers 500" in text
    assert "OperationalError: disk full" in text
    assert f"What helps: {Section.LOGS.link}" in text
    assert "the stack has no domain" in text
    assert "The site does not work: 1 passed, 2 failed, 1 skipped." in text


def test_programs_read_the_same(tmp_path: Path) -> None:
    done = ended(CHECKS)
    run_reports.write_json(done, tmp_path / "verify.json")
    document = json.loads((tmp_path / "verify.json").read_text())
    assert not document["ok"]
    assert [one["state"] for one in document["checks"]] == ["passed", "skipped", "failed", "failed"]
    assert document["checks"][2]["help"] == Section.LOGS.link
    assert document["checks"][3]["detail"] == "ConnectionError: nobody answers"

    run_reports.write_junit(done, tmp_path / "verify.xml", "verify dev")
    suite = ElementTree.parse(tmp_path / "verify.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == (
        "4",
        "2",
        "1",
        "0",
    )
    (failure,) = [case for case in suite if case.get("name") == "fails"]
    assert "OperationalError: disk full" in (failure[0].text or "")


def test_only_takes_parts_and_names_and_names_what_there_is() -> None:
    assert [one.name for one in run.selected(CHECKS, ["FAILS", "skip"])] == ["is skipped", "fails"]
    assert run.selected(CHECKS, ["cluster"]) == CHECKS
    with pytest.raises(ValueError, match="--only gpu: no check and no group has it; the groups are cluster"):
        run.selected(CHECKS, ["gpu"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-stack"], "no-such-stack"),
        (["dev", "--kubeconfig", "/no/such/file"], "/no/such/file"),
        (["dev", "--json", "/no/such/folder/verify.json"], "/no/such/folder/verify.json cannot be written"),
    ],
)
def test_what_cannot_be_tried_is_said_before_anything_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(PROJECT)
    assert command.main(arguments) == command.USAGE
    assert said in capsys.readouterr().err


_MAKES = """
import sys, time
from verify.cleaning import Cleaner

with Cleaner(sys.argv[1], None) as cleaner:
    cleaner.will_delete("/api/v1/namespaces/gpulab-verify-1")
    print("made", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_a_run_made_goes_however_the_run_ends(tmp_path: Path, end: signal.Signals) -> None:
    path = "/api/v1/namespaces/gpulab-verify-1"
    objects = {path: {"kind": "Namespace"}}
    with serving(tmp_path, objects):
        running = subprocess.Popen(
            [sys.executable, "-c", _MAKES, str(tmp_path / "kubeconfig")],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert running.stdout
        assert running.stdout.readline() == "made\n"
        running.send_signal(end)
        running.wait()
        deadline = time.monotonic() + 60
        while path in objects and time.monotonic() < deadline:
            time.sleep(0.1)
    assert path not in objects


def test_what_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, {}, refused={"/api/v1/namespaces/kept"}):
        with Cleaner(str(tmp_path / "kubeconfig"), None, patience=1) as cleaner:
            cleaner.will_delete("/api/v1/namespaces/kept")
        assert "/api/v1/namespaces/kept is left: ForbiddenException: (403)" in cleaner.left
