"""A rehearsal's processes and folder: nothing is left, whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from rehearsal.machine.processes import MARK, Processes, ProcessFailed, free_ports, marked
from rehearsal.session import begin, end_all

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# A child that starts another and then ends: the other has lost its parent.
ORPHAN = [sys.executable, "-c", f"import subprocess; subprocess.Popen({SLEEP!r})"]
# One that looks after the other for as long as it runs.
KEEPER = [sys.executable, "-c", f"import subprocess; subprocess.run({SLEEP!r})"]
STUBBORN = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path))
    return tmp_path


def eventually(holds: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_every_process_ends_with_the_session_orphans_too(cache: Path) -> None:
    with begin("dev", keep=False) as one:
        one.processes.start("sleep", SLEEP, dict(os.environ))
        one.processes.start("orphan", ORPHAN, dict(os.environ))
        eventually(lambda: len(marked(one.id)) >= 2)
    assert marked(one.id) == []
    assert not one.folder.exists()


def test_only_what_nobody_looks_after_is_a_stray() -> None:
    with begin("dev", keep=False) as one:
        one.processes.start("keeper", KEEPER, dict(os.environ))
        one.processes.start("orphan", ORPHAN, dict(os.environ))
        # The keeper, what it keeps and the orphan; its parent has ended.
        eventually(lambda: len(marked(one.id)) == 3 and len(one.processes.running()) == 1)
        (stray,) = one.processes.strays()
        (keeper,) = one.processes.running()
        assert stray not in (keeper, *keeper.children())
    assert one.processes.strays() == []


def test_a_process_that_ignores_a_polite_end_is_killed() -> None:
    with begin("dev", keep=False) as one:
        one.processes.start("stubborn", STUBBORN, dict(os.environ))
        eventually(lambda: marked(one.id))
        time.sleep(0.5)  # until it ignores the signal
    assert marked(one.id) == []


def test_what_was_kept_goes_on_until_it_is_ended(cache: Path) -> None:
    with begin("dev", keep=True) as one:
        one.processes.start("sleep", SLEEP, dict(os.environ))
        one.keep()
    eventually(lambda: len(marked(one.id)) == 1)
    assert end_all() == ([one.id], [])
    assert marked(one.id) == []
    assert not one.folder.exists()
    assert end_all() == ([], [])


def test_one_that_is_under_way_is_left_alone_unless_it_is_named() -> None:
    with begin("dev", keep=False) as one:
        one.processes.start("sleep", SLEEP, dict(os.environ))
        assert end_all() == ([], [one.id])
        eventually(lambda: len(marked(one.id)) == 1)
        assert end_all(one.id) == ([one.id], [])
        assert marked(one.id) == []


@pytest.mark.parametrize("keep", [False, True])
def test_what_a_thread_starts_outlives_its_action(keep: bool) -> None:
    with begin("dev", keep=keep) as one:
        one.processes.in_background(lambda: one.processes.start("sleep", SLEEP, dict(os.environ))).result()
        time.sleep(0.5)  # the kernel would end it at once with its thread
        one.processes.ensure_alive("sleep")
    assert marked(one.id) == []


def test_what_fails_in_a_thread_is_raised_where_its_result_is_asked_for() -> None:
    with begin("dev", keep=False) as one:
        dies = [sys.executable, "-c", "raise SystemExit(3)"]

        def start() -> None:
            one.processes.start("server", dies, dict(os.environ))
            one.processes.wait_until("server", lambda: False, seconds=20)

        failing = one.processes.in_background(start)
        with pytest.raises(ProcessFailed, match="server ended with exit status 3"):
            failing.result()


def test_a_thread_that_is_still_starting_things_starts_nothing_after_the_end(cache: Path) -> None:
    entered, ended = threading.Event(), threading.Event()

    def start() -> None:
        entered.set()
        ended.wait()
        one.start("sleep", SLEEP, dict(os.environ))

    one = Processes("dev-threads", cache)
    late = one.in_background(start)
    entered.wait()
    ending = threading.Thread(target=one.end)
    ending.start()
    eventually(one._ended.is_set)
    ended.set()
    with pytest.raises(ProcessFailed, match="the rehearsal is ending"):
        late.result()
    ending.join()
    assert marked(one.rehearsal_id) == []


def test_a_session_whose_own_process_was_killed_is_ended_by_the_next_clean_up(cache: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, time
        from rehearsal.session import begin
        with begin("dev", keep=True) as one:
            one.processes.start("sleep", {SLEEP!r}, dict(os.environ))
            print(one.id, flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        id = owner.stdout.readline().strip()
        owner.kill()
    eventually(lambda: len(marked(id)) == 1)
    assert end_all() == ([id], [])
    assert marked(id) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_the_kernel_ends_what_was_not_kept_when_its_owner_is_killed(cache: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, time
        from rehearsal.session import begin
        with begin("dev", keep=False) as one:
            one.processes.start("sleep", {SLEEP!r}, dict(os.environ))
            print(one.id, flush=True)
            time.sleep(600)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        id = owner.stdout.readline().strip()
        owner.kill()
    eventually(lambda: not marked(id))


def hear_ctrl_c() -> None:
    """As at a terminal: what a shell starts in the background, tests too, would ignore the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_way_to_end_a_rehearsal_cleans_up(cache: Path, sent: signal.Signals, keep: bool) -> None:
    program = textwrap.dedent(
        f"""
        import os, time
        from rehearsal.session import begin
        try:
            with begin("dev", keep={keep}) as one:
                one.processes.start("sleep", {SLEEP!r}, dict(os.environ))
                print(one.id, flush=True)
                time.sleep(600)
        except KeyboardInterrupt:
            raise SystemExit(130)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    ) as owner:
        assert owner.stdout
        id = owner.stdout.readline().strip()
        owner.send_signal(sent)
        assert owner.wait(30) == 130
    assert marked(id) == []
    assert not (cache / "rehearsals" / id).exists()


def start_and_wait_for_one_that_dies() -> None:
    with begin("dev", keep=False) as one:
        dies = [sys.executable, "-c", "print('address in use'); raise SystemExit(3)"]
        one.processes.start("server", dies, dict(os.environ))
        one.processes.wait_until("server", lambda: False, seconds=20)


def test_a_process_that_ends_early_is_reported_with_the_end_of_its_log_and_the_logs_stay(cache: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"server ended with exit status 3(.|\n)*address in use"):
        start_and_wait_for_one_that_dies()
    (log,) = cache.glob("rehearsals/*/logs/server.log")
    assert "address in use" in log.read_text(encoding="utf-8")


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.socket() as one:
        one.bind(("127.0.0.1", ports[0]))


def test_the_mark_is_only_ours(cache: Path) -> None:
    with begin("dev", keep=False) as one, begin("dev", keep=False) as other:
        one.processes.start("sleep", SLEEP, dict(os.environ))
        other.processes.start("sleep", SLEEP, dict(os.environ))
        eventually(lambda: marked(one.id))
        (process,) = marked(one.id)
        assert psutil.Process(process.pid).environ()[MARK] == one.id
