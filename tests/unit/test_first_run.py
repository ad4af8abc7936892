"""A first run: its messages while the toolchain is built, what can begin earlier, and what Ctrl-C leaves."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rehearsal.machine import build_progress, toolchain, tools
from rehearsal.machine.build_progress import about, seconds_left
from rehearsal.machine.cache import locked
from rehearsal.machine.filling import Missing
from rehearsal.machine.tools import Download, Tool, ToolMissing
from rehearsal.progress import Display

SECONDS = st.floats(min_value=1, max_value=1000)
# Notes which program is built; where there is a file `hold-PROGRAM`, it and a child go on until they are ended. As the
# real one: go build -trimpath -ldflags FLAGS -o FILE PACKAGE, and go list -f FORMAT PACKAGE.
GO = """#!/bin/sh
[ "$1" = list ] && { echo "{place}/source/package"; exit; }
name=${6##*/}; name=${name%.making}
echo "$name" >> "{place}/built"
[ -e "{place}/fail-$name" ] && { echo "$name: no such module" >&2; exit 1; }
if [ -e "{place}/hold-$name" ]; then /bin/sleep 600 & echo $! $$ > "{place}/held"; wait; fi
echo program > "$6"
"""


class Place:
    """A machine with an empty cache, no network, and nothing on PATH but a fake `go`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "cache" / "toolchain"
        self.out = io.StringIO()
        self.display = Display(Console(file=self.out, width=200))
        (folder / "path").mkdir()
        go = folder / "path" / "go"
        go.write_text(GO.replace("{place}", str(folder)), encoding="utf-8")
        go.chmod(0o755)

    def hold(self, program: str) -> None:
        (self.folder / f"hold-{program}").touch()

    def go_on(self, program: str) -> None:
        (self.folder / f"hold-{program}").unlink()
        self.held()[0].kill()

    def fail(self, program: str) -> None:
        (self.folder / f"fail-{program}").touch()

    def built(self) -> list[str]:
        path = self.folder / "built"
        found = path.read_text(encoding="utf-8").split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def held(self) -> list[psutil.Process]:
        """What is blocked and still running: the child, and the `go` that waits for it."""
        path = self.folder / "held"
        pids = [int(pid) for pid in path.read_text(encoding="utf-8").split()] if path.exists() else []
        return [psutil.Process(pid) for pid in pids if lives(pid)]

    def wait_until_held(self) -> None:
        until(lambda: len(self.held()) == 2)

    @property
    def said(self) -> list[str]:
        return [line.strip() for line in self.out.getvalue().splitlines()]


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def until(holds: Callable[[], object]) -> None:
    """Waits until something holds; a minute is for a machine that is very busy."""
    for _ in range(600):
        if holds():
            return
        threading.Event().wait(0.1)
    pytest.fail("it did not happen")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools")
    made = Place(tmp_path)
    yield made
    for process in made.held():
        process.kill()


def tool(place: Place, *programs: str, **changes: object) -> Tool:
    """A tool of these programs, each of which takes two minutes to build."""
    name = f"{programs[0]}-tool"
    folder = place.folder / "tools" / name
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example\n\nrequire example.com/hello v1.4.2\n", encoding="utf-8")
    values: dict = {
        "name": name,
        "module": "example.com/hello",
        "packages": {program: f"example.com/hello/{program}" for program in programs},
        "build_seconds": dict.fromkeys(programs, 120),
    }
    return Tool(**{**values, **changes})


@given(st.lists(SECONDS))
def test_before_anything_is_measured_the_estimates_hold(pending: list[float]) -> None:
    assert seconds_left(pending, []) == pytest.approx(sum(pending))


@given(st.lists(SECONDS, min_size=1), st.lists(SECONDS, min_size=1), st.floats(min_value=1.1, max_value=20))
def test_a_slow_machine_takes_longer_for_the_rest_too(pending: list[float], done: list[float], factor: float) -> None:
    left = seconds_left(pending, [(estimate, estimate * factor) for estimate in done])
    assert sum(pending) < left <= sum(pending) * factor * 1.0001
    more = seconds_left(pending, [(estimate, estimate * factor) for estimate in (*done, *done)])
    assert more >= left * 0.9999, "the more is measured, the more it counts"


@given(SECONDS, st.lists(SECONDS), st.floats(min_value=0, max_value=5000), st.floats(min_value=0, max_value=5000))
def test_time_that_passes_shortens_what_is_left_until_a_build_is_overdue(
    estimate: float, pending: list[float], spent: float, more: float
) -> None:
    earlier = seconds_left(pending, [], (estimate, spent))
    later = seconds_left(pending, [], (estimate, spent + more))
    assert later >= 0
    if spent + more <= estimate:
        assert later == pytest.approx(earlier - more, abs=1e-6)
    elif spent >= estimate:
        assert later >= earlier * 0.9999


def test_a_time_is_said_in_minutes() -> None:
    assert [about(seconds) for seconds in (5, 60, 100, 680)] == [
        "less than a minute",
        "about 1 minute",
        "about 2 minutes",
        "about 11 minutes",
    ]


def test_it_says_what_is_missing_and_how_far_it_is(place: Place) -> None:
    wanted = [tool(place, "one"), tool(place, "two", "three")]
    toolchain.ensure(place.display.console, wanted)
    first, *others = place.said
    assert first.startswith("toolchain: 3 programs are missing: 3 to build with Go, about 6 minutes on 2 cores")
    assert str(place.cache) in first
    begun = [line for line in others if line.startswith("toolchain: building")]
    assert [line.split()[2] for line in begun] == ["one", "two", "three"] == place.built()
    ended = [line for line in others if " built in " in line]
    assert [line.partition("(")[2].split(",")[0].rstrip(")") for line in ended] == [
        "1 of 3 programs",
        "2 of 3 programs",
        "3 of 3 programs",
    ]
    assert len(others) == 6
    toolchain.ensure(place.display.console, wanted)
    assert len(place.said) == 7, "with everything there, there is nothing to say"


def test_a_long_build_gives_signs_of_life(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_progress, "_SIGN_OF_LIFE_SECONDS", 0)
    place.hold("one")
    with toolchain.filled(place.display, [tool(place, "one"), tool(place, "two")]) as filled:
        until(lambda: any("still building one v1.4.2, for" in line for line in place.said))
        place.go_on("one")
        filled.wait_for()
    assert any(line.endswith("(0 of 2 programs, about 4 minutes left)") for line in place.said)


def test_a_program_can_be_used_while_others_are_built(place: Place) -> None:
    place.hold("two")
    wanted = [tool(place, "one"), tool(place, "two"), tool(place, "three")]
    with toolchain.filled(place.display, wanted) as filled:
        assert filled.path("one").read_text(encoding="utf-8") == "program\n"
        place.wait_until_held()
        assert filled.awaited == {"two", "three"}
        assert not filled.paths["two"].exists()
        until(lambda: {process.pid for process in place.held()} <= filled.builds())
        place.go_on("two")
        assert filled.path("three").exists()
        assert filled.awaited == set()
    assert filled.origins == dict.fromkeys(("one", "two", "three"), "built")


def test_what_fails_in_the_background_is_raised_where_it_is_waited_for(place: Place) -> None:
    place.fail("two")
    with toolchain.filled(place.display, [tool(place, "one"), tool(place, "two"), tool(place, "three")]) as filled:
        for program in ("two", "three"):
            with pytest.raises(ToolMissing, match=r"tools/two-tool failed:\ntwo: no such module"):
                filled.path(program)
        assert filled.path("one").exists()
    assert not any("no such module" in line for line in place.said), "it is the one who waits that says so"


def test_what_was_built_before_a_failure_is_not_built_again(place: Place) -> None:
    place.fail("two")
    wanted = tool(place, "one", "two", "three")
    with pytest.raises(ToolMissing):
        toolchain.ensure(place.display.console, [wanted])
    assert place.built() == ["one", "two"]
    assert not (place.cache / wanted.folder_name).exists(), "a tool's folder is there as a whole or not at all"
    (place.folder / "fail-two").unlink()
    found = toolchain.ensure(place.display.console, [wanted])
    assert place.built() == ["two", "three"]
    assert {found.path(program).parent for program in wanted.programs} == {place.cache / wanted.folder_name}
    assert [path.name for path in place.cache.iterdir() if "making" in path.name] == []
    assert place.said[-5].startswith("toolchain: 2 programs are missing: 2 to build")


def test_a_block_that_ends_early_stops_the_rest_and_says_what_is_kept(place: Place) -> None:
    place.hold("two")
    with toolchain.filled(place.display, [tool(place, "one"), tool(place, "two")]) as filled:
        filled.wait_for("one")
        place.wait_until_held()
    until(lambda: place.held() == [])
    assert place.said[-1].startswith("toolchain: stopped; 1 of 2 programs is ready in")


def test_a_release_that_is_gone_is_built_after_all(place: Place) -> None:
    (place.folder / "SUMS").write_text("0\n", encoding="utf-8")
    url = place.folder.as_uri()
    wanted = tool(place, "one", download=Download(url=f"{url}/none.tgz", checksums=f"{url}/SUMS"))
    found = toolchain.ensure(place.display.console, [wanted])
    assert found.origins == {"one": "built"}
    assert "1 to download" in place.said[0]
    assert "(1 of 1 programs)" in place.said[-1]


def test_who_waits_for_another_process_says_for_which_and_how_far_it_is(place: Place) -> None:
    wanted = tool(place, "one")
    folder = Missing(wanted, place.cache / wanted.folder_name).folder
    with locked(place.cache, folder.name, lambda holder: None) as lock:
        lock.say("3 of 9 programs, about 7 minutes left")
        with toolchain.filled(place.display, [wanted]):
            until(lambda: len(place.said) == 2)
        # The other one made it.
        folder.mkdir()
        (folder / "one").touch()
        (folder / "origin").write_text("built", encoding="utf-8")
    holder = f"process {os.getpid()} (3 of 9 programs, about 7 minutes left)"
    assert place.said[1] == f"toolchain: waiting for {holder}, which is making the next program"
    assert toolchain.ensure(place.display.console, [wanted]).path("one").exists()
    assert place.built() == []


def hear_ctrl_c() -> None:
    """As at a terminal: what a shell starts in the background, tests too, would ignore the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def set_up(place: Place) -> subprocess.Popen[str]:
    """`make setup` with the real list of tools."""
    project = Path(toolchain.__file__).parents[2]
    environment = {
        "PATH": os.environ["PATH"],
        "GPULAB_CACHE": str(place.folder / "cache"),
        "HOME": str(place.folder),
        "https_proxy": "http://127.0.0.1:9",  # nobody is there: no network
        "PYTHONPATH": str(project),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "rehearsal.machine.toolchain"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_setup_goes_on_where_it_was_interrupted(place: Place, sent: signal.Signals) -> None:
    (place.folder / "source").mkdir()
    (place.folder / "source" / "pulumi-language-python-exec").touch()
    place.hold("kube-controller-manager")
    with set_up(place) as process:
        place.wait_until_held()
        process.send_signal(sent)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    *_, last = said.splitlines()
    assert last == (
        "Interrupted: all started processes have ended; 4 of 10 programs are ready in ~/cache/toolchain;"
        " run the same command to continue."
    )
    assert "Traceback" not in said
    until(lambda: place.held() == [])  # nor what the build itself had started
    assert place.built() == ["pulumi", "pulumi-language-python", "etcd", "kube-apiserver", "kube-controller-manager"]
    (place.folder / "hold-kube-controller-manager").unlink()
    with set_up(place) as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "6 programs are missing" in said
    remaining = ["kube-controller-manager", "kube-scheduler", "kwok", "helm", "karpenter", "actionlint"]
    assert place.built() == remaining
