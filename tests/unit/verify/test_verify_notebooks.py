"""Notebooks by the hub's service: what becomes of a start, of cells, and of what a run has made."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from test_verify_notebook import BROKEN, CATALOGUE, SETTINGS, answer, choice, trials
from verify_api import serving
from verify_hub import SERVICE_TOKEN, FakeHub

from components.hub.inside.sections import Section
from components.hub.inside.verify_account import NAME, TOKEN_KEY
from components.hub.values import SECRETS
from verify import hub_access, notebooks, run
from verify.checks import Outcome, State
from verify.cleaning import Cleaner, clean

SECRET = f"/api/v1/namespaces/hub/secrets/{SECRETS}"
PODS = "/api/v1/namespaces/team-research/pods"
PROFILE = choice(gpu=True).profile.name


def cluster() -> dict[str, Any]:
    token = base64.b64encode(SERVICE_TOKEN.encode()).decode()
    return {SECRET: {"data": {TOKEN_KEY: token}}, PODS: []}


@contextlib.contextmanager
def forwarded(monkeypatch: pytest.MonkeyPatch, hub: FakeHub) -> Iterator[None]:
    """The proxy is the hub of the test."""

    class Proxy:
        def __init__(self, *_: object) -> None:
            self.address = hub.address

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    with hub.listening():
        monkeypatch.setattr(hub_access, "Forwarded", Proxy)
        yield


def outcomes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    hub: FakeHub,
    objects: dict[str, Any] | None = None,
    *,
    keep_failed: bool = False,
) -> dict[str, Outcome]:
    """What becomes of the checks in one profile; the cleaner ends what they made, unless its process can't."""
    with forwarded(monkeypatch, hub), serving(folder, objects or cluster()) as api:
        noted: list[str] = []
        cleaner = Noting(noted)
        with notebooks.Notebooks(api, cleaner, SETTINGS, "research", 60, keep_failed) as started:
            checks = notebooks.checks(started, [PROFILE])
            done = run.run(list(checks), lambda _: None, seconds=60)
        assert not clean(api, [one for one in noted if not one.startswith("keep ")], patience=20)
        hub.log.append(f"noted {noted}")
    return {one.name.partition(": ")[2]: one for one in done.outcomes}


class Noting(Cleaner):
    """Notes what would be removed, without the process that removes it."""

    def __init__(self, noted: list[str]) -> None:
        self.noted = noted

    def _say(self, line: str) -> None:
        self.noted.append(line)


def working() -> FakeHub:
    return FakeHub(answers={one.call.partition("(")[0]: answer(one) for one in trials(gpu=True).values()})


def test_a_notebook_that_works_passes_and_the_user_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = working()
    hub.answers |= {f"folder({place!r}": read_only() for place in ("/home/datasets", "/home/models")}
    hub.answers = dict(sorted(hub.answers.items(), key=lambda one: -len(one[0])))
    found = outcomes(tmp_path, monkeypatch, hub)
    failed = {name: one for name, one in found.items() if one.state is State.FAILED}
    assert not failed
    assert found["it starts"].phases["submit to ready"] > 0
    assert found["other teams are out of its reach"].detail == "no notebook of another team runs"
    assert not hub.users
    assert not hub.running


def read_only() -> Any:
    return BROKEN["home read-only"][1]


@pytest.mark.parametrize(
    ("said", "section"),
    [
        ("Team research has used its quota of 4 GPUs (ada 4), 0 left.", Section.QUOTA),
        ("The image quay.io/x:1 can't be pulled: its registry does not have it.", Section.IMAGE),
        ("The image quay.io/x:1 can't be pulled: its registry refuses access.", Section.REGISTRY),
        ("Karpenter cannot buy a machine for it: no instance type fits", Section.PENDING),
        ("Its server ended at once", Section.SPAWN),
    ],
)
def test_a_start_that_fails_names_its_reason_and_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, section: Section
) -> None:
    found = outcomes(tmp_path, monkeypatch, FakeHub(failed=said))
    start = found.pop("it starts")
    assert (start.state, start.detail, start.section) == (State.FAILED, said, section)
    assert "It has a machine." in start.said
    assert {one.state for one in found.values()} == {State.SKIPPED}


def test_a_hub_that_is_down_or_refuses_is_one_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expired = cluster()
    expired[SECRET]["data"][TOKEN_KEY] = base64.b64encode(b"of-yesterday").decode()
    cases: list[tuple[FakeHub, dict[str, Any], Section, str]] = [
        (FakeHub(), expired, Section.TOKEN, "the hub refuses: Missing or invalid credentials."),
        (FakeHub(refuses={"user": (503, "Hub is starting")}), cluster(), Section.SPAWN, "Hub is starting"),
        (FakeHub(), {PODS: []}, Section.TOKEN, f"has no {TOKEN_KEY}: the hub is of an older gpulab"),
    ]
    for hub, objects, section, words in cases:
        found = outcomes(tmp_path, monkeypatch, hub, objects)
        (failed,) = [one for one in found.values() if one.state is State.FAILED]
        assert words in failed.detail
        assert failed.section is section


def test_a_kernel_that_dies_or_an_error_in_it_fails_that_check_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = working()
    hub.answers |= {"multiplication": "dies", "gpu_memory": "CUDA error: out of memory"}
    found = outcomes(tmp_path, monkeypatch, hub)
    assert found["a multiplication is faster on the GPU"].detail == "the kernel ended while the code ran"
    freed = found["the GPU's memory is freed again"]
    assert (freed.detail, freed.section) == ("RuntimeError: CUDA error: out of memory", Section.GPU_MEMORY)
    assert "RuntimeError" in freed.said
    assert found["PyTorch trains on the GPU"].state is State.PASSED


def test_a_notebook_that_ends_by_too_much_memory_has_felt_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = working()
    hub.answers["above_memory_limit"] = "dies"
    found = outcomes(tmp_path, monkeypatch, hub)
    felt = [one for name, one in found.items() if name == "the memory limit is felt"]
    assert all(one.detail == "the notebook ended by it" for one in felt)


def test_what_another_run_left_goes_first_and_one_that_works_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = working()
    left.users.add(NAME)
    assert outcomes(tmp_path, monkeypatch, left)["it starts"].state is State.PASSED
    busy = working()
    busy.users.add(NAME)
    busy.running = True
    start = outcomes(tmp_path, monkeypatch, busy)["it starts"]
    assert "another run's notebook is there" in start.detail


def test_a_notebook_that_failed_stays_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = working()
    hub.answers["gpu_memory"] = "CUDA error"
    outcomes(tmp_path, monkeypatch, hub, keep_failed=True)
    noted = json.loads(hub.log[-1].removeprefix("noted ").replace("'", '"'))
    assert "keep hub:" + (SETTINGS.ingress.domain or "") in noted


def test_only_profiles_and_teams_of_the_stack_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--team nobody: the stack file has no such team; it has research"):
        notebooks.team_of(SETTINGS, "nobody")
    with serving(tmp_path, cluster()) as api:
        started = notebooks.Notebooks(api, Noting([]), SETTINGS, "research", 60)
        with pytest.raises(ValueError, match="--profile nothing: team research has no such profile; it has python"):
            list(notebooks.checks(started, ["nothing"]))
    assert CATALOGUE.teams["research"].profiles
