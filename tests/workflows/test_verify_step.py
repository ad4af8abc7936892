"""The step that tries whether a stack works: what it runs, what it says, and that its kubeconfig goes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from step_bench import Bench

from ci import parked_cluster, parking, verify

KUBECONFIG = {"apiVersion": "v1", "kind": "Config", "clusters": []}
FAILED = {
    "name": "nodes are ready",
    "state": "failed",
    "detail": "the node gpu-1 is not ready",
    "help": "docs/troubleshooting.md#a-node-does-not-join",
    "said": "container runtime is down",
}
WORKS = {"ok": True, "cutOff": "", "checks": [{"name": "the API server answers", "state": "passed", "detail": ""}]}
BROKEN = {"ok": False, "cutOff": "", "checks": [*WORKS["checks"], FAILED]}


@pytest.fixture
def tried(lab: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tried:
    monkeypatch.setattr(parked_cluster, "kubeconfig", lambda session, name: KUBECONFIG)
    monkeypatch.setenv("REPORTS", str(tmp_path / "reports"))
    return Tried(lab, monkeypatch, tmp_path)


class Tried:
    """`python -m verify`, in whose place a script writes a report and ends with a status."""

    def __init__(self, lab: Bench, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.lab, self.patch, self.folder = lab, patch, folder
        self.commands: list[list[str]] = []

    def step(self, report: Any, status: int) -> int:
        """The step's exit status."""
        write = f"import pathlib, sys; pathlib.Path(sys.argv[1]).write_text({json.dumps(report)!r})"
        script = f"{write if report else 'import sys'}; sys.exit({status})"
        real = verify._command

        def command(stack: str, config: Path, reports: Path) -> list[str]:
            assert json.loads(config.read_text(encoding="utf-8")) == KUBECONFIG
            assert config.parent.stat().st_mode & 0o077 == 0, "others can't read it"
            self.commands.append(real(stack, config, reports))
            return [sys.executable, "-c", script, str(reports / "verify.json")]

        self.patch.setattr(verify, "_command", command)
        return verify.main()

    @property
    def kubeconfig(self) -> Path:
        given = self.commands[0]
        return Path(given[given.index("--kubeconfig") + 1])


def test_a_stack_that_works_passes_and_its_kubeconfig_is_gone(tried: Tried) -> None:
    tried.patch.setenv("PROFILE", "pytorch")
    assert tried.step(WORKS, 0) == 0
    assert "## dev works\n\n1 passed, 0 failed, 0 skipped." in tried.lab.summary
    assert tried.commands[0][-2:] == ["--profile", "pytorch"]
    assert "--only" not in tried.commands[0]
    assert not tried.kubeconfig.exists()


def test_a_stack_that_does_not_work_says_what_and_what_helps(tried: Tried, capsys: pytest.CaptureFixture[str]) -> None:
    assert tried.step(BROKEN, 1) == 1
    assert "## dev does not work" in tried.lab.summary
    assert f"**nodes are ready**: the node gpu-1 is not ready ({FAILED['help']})" in tried.lab.summary
    assert "container runtime is down" in tried.lab.summary
    assert "::error::dev does not work" in capsys.readouterr().out


def test_a_run_without_a_report_fails_too(tried: Tried) -> None:
    assert tried.step(None, 2) == 2
    assert "could not be tried" in tried.lab.summary
    assert not tried.kubeconfig.exists()


def test_what_is_not_deployed_or_parked_is_not_tried(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "dev")
    bench.has_state("dev", 0)
    assert verify.main() == 0
    assert "dev: not deployed" in bench.summary
    bench.has_state("dev")
    monkeypatch.setattr(parking, "is_parked", lambda stack: True)
    assert verify.main() == 0
    assert "python -m ci.unpark dev" in bench.summary


def test_a_stack_that_is_not_here_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "nowhere")
    assert verify.main() == 1
