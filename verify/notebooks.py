"""Checks in notebooks, which the hub's service for verify starts: one for each profile of a team."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from components.hub.catalogue_from_settings import catalogue as catalogue_document
from components.hub.inside import catalogue as hub_catalogue
from components.hub.inside import verify_notebook
from components.hub.inside.catalogue import Catalogue
from components.hub.inside.choices import Choice, choices
from components.hub.inside.people import ROLES, group_of
from components.hub.inside.pod import HOME_CLAIM
from components.hub.inside.sections import Section
from components.hub.inside.verify_account import NAME
from components.hub.inside.verify_answers import Untried, Wrong
from components.hub.inside.verify_client import Hub, HubRefused, Server, StartFailed
from components.hub.inside.verify_kernel import CellFailed, Kernel, KernelDied, StillRunning
from components.hub.inside.verify_notebook import Trial
from components.teams.names import NOTEBOOK_PORT
from settings import Settings
from verify import hub_access, timing
from verify.checks import Check, Failed, Found, Skipped
from verify.cleaning import Cleaner
from verify.cluster_api import ClusterApi, Object

GROUP = "notebooks"
_NOTEBOOKS = "component=singleuser-server"
_PERSON = "hub.jupyter.org/username"
# A token must not end before the last start that the run has begun.
_AFTERWARDS_SECONDS = 1800
_PREPARE_SECONDS = 60
# What the hub says of a start that failed, and the section for it.
_SECTIONS = (
    (re.compile(r"quota|left\)|used up"), Section.QUOTA),
    (re.compile(r"refuses access"), Section.REGISTRY),
    (re.compile(r"can't be pulled"), Section.IMAGE),
    (re.compile(r"machine|Karpenter|node"), Section.PENDING),
    (re.compile(r"[Vv]olume|disk|mount"), Section.STORAGE),
)

_Result = TypeVar("_Result")


@dataclass
class Notebooks:
    """Notebooks of one team, one at a time. Its block ends the way to the hub; the cleaner ends what was made.

    `seconds` is how long the run may take. With `keep_failed` the first notebook that fails stays.
    """

    api: ClusterApi
    cleaner: Cleaner
    settings: Settings
    team: str
    seconds: float
    keep_failed: bool = False
    kept: str = ""
    _runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    _proxy: hub_access.Forwarded | None = None
    _hub: Hub | None = None
    _choice: Choice | None = None
    _server: Server | None = None
    _kernel: Kernel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()
        if self._proxy:
            self._proxy.__exit__(None, None, None)

    @property
    def catalogue(self) -> Catalogue:
        """What the hub knows of the stack file."""
        return hub_catalogue.parse(catalogue_document(self.settings))

    def start(self, choice: Choice) -> Found:
        """Starts a notebook in place of the one before. Raises Failed and Skipped."""
        if self.kept:
            raise Skipped(f"the notebook of {self.kept} is kept")
        hub, started = self._opened(), time.monotonic()
        if self._choice:
            self._run(hub.stop())
        self._choice, self._server, self._kernel = choice, None, None
        try:
            self._server = self._run(hub.start(choice.slug, self._patience))
        except StartFailed as failed:
            said = "\n".join(filter(None, [failed.steps, self._events(choice)]))
            raise self._failed(choice, str(failed), section_of(str(failed)), said) from None
        phases = self._phases(choice, time.monotonic() - started)
        return Found(words=timing.in_words(phases), phases=phases)

    def tried(self, choice: Choice, trial: Trial) -> str:
        """The words of a trial in the running notebook. Raises Failed and Skipped."""
        server = self._server
        if server is None or self._choice is not choice:
            raise Skipped(f"no notebook of {choice.profile.name} runs")
        try:
            return trial.found(self._run(self._printed(server, trial)))
        except Untried as untried:
            raise Skipped(str(untried)) from None
        except Wrong as wrong:
            raise self._failed(choice, str(wrong), wrong.section, wrong.said) from None
        except CellFailed as failed:
            raise self._failed(choice, str(failed), trial.section, failed.traceback) from None
        except KernelDied as died:
            self._kernel = None
            if trial.may_end:
                return "the notebook ended by it"
            raise self._failed(choice, str(died), Section.MEMORY, self._events(choice)) from None
        except StillRunning as running:
            self._kernel = None
            raise self._failed(choice, str(running), trial.section, "") from None

    def others(self) -> list[tuple[str, int]]:
        """Where notebooks of other teams listen."""
        teams = {team.namespace for team in self.catalogue.teams.values() if team.name != self.team}
        pods = [
            pod
            for namespace in sorted(teams)
            for pod in self.api.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=_NOTEBOOKS)
        ]
        return [(pod["status"]["podIP"], NOTEBOOK_PORT) for pod in pods if pod["status"].get("podIP")]

    @property
    def _patience(self) -> float:
        return self.catalogue.hub.start_timeout_seconds

    def _opened(self) -> Hub:
        """The hub with a token of this run. Raises Failed."""
        if self._hub is None:
            domain = self.settings.ingress.domain
            try:
                self._proxy = self._proxy or hub_access.forwarded(self.api).__enter__()
                hub = hub_access.hub_at(self.api, self._proxy.address, domain)
                self._run(hub.api("GET", "user"))
                if self.catalogue.homes.per_person:
                    self.cleaner.will_delete(self._home)
                self.cleaner.will_end_hub_user(domain)
                self._hub = self._run(hub.begin(int(self.seconds + self._patience + _AFTERWARDS_SECONDS)))
            except hub_access.NoToken as error:
                raise Failed(str(error), Section.TOKEN) from None
        return self._hub

    @property
    def _home(self) -> str:
        """The claim of the home that the hub makes, where people have one each."""
        namespace = self.catalogue.teams[self.team].namespace
        return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{HOME_CLAIM.format(username=NAME)}"

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of work of the hub's client. Raises Failed where the hub refuses it, or does not answer."""
        try:
            return self._runner.run(work)
        except HubRefused as refused:
            section = Section.TOKEN if refused.status in (401, 403) else Section.SPAWN
            raise Failed(f"the hub refuses: {refused}", section) from None
        except OSError as error:
            raise Failed(f"neither hub nor notebook answer: {error}", Section.LOGS) from None

    async def _printed(self, server: Server, trial: Trial) -> str:
        if self._kernel is None:
            self._kernel = await Kernel.started(server)
            await self._kernel.run(verify_notebook.SOURCE.read_text(encoding="utf-8"), _PREPARE_SECONDS)
        return await self._kernel.run(trial.code(), trial.seconds)

    def _failed(self, choice: Choice, what: str, section: Section, said: str) -> Failed:
        if self.keep_failed and not self.kept:
            self.kept = choice.profile.name
            self.cleaner.keep_hub_user(self.settings.ingress.domain)
            self.cleaner.keep(self._home)
        return Failed(what, section, said)

    def _pod(self, choice: Choice) -> Object | None:
        pods = self.api.list(f"/api/v1/namespaces/{choice.team.namespace}/pods", labelSelector=_NOTEBOOKS)
        ours = (pod for pod in pods if pod["metadata"].get("annotations", {}).get(_PERSON) == NAME)
        return next(ours, None)

    def _phases(self, choice: Choice, seconds: float) -> dict[str, float]:
        """The phases of a start that took so long, until people could work."""
        pod = self._pod(choice)
        found = timing.phases(self.api, pod) if pod else {}
        until_started = found.pop(timing.TOTAL, 0.0)
        return {**found, timing.SERVER_UP: max(0.0, seconds - until_started), timing.TOTAL: seconds}

    def _events(self, choice: Choice) -> str:
        pod = self._pod(choice)
        return self.api.events(choice.team.namespace, pod["metadata"]["name"]) if pod else ""


def team_of(settings: Settings, name: str | None) -> str:
    """The team whose notebooks are tried: that of the name, else the first. Raises ValueError."""
    if name is None:
        return next(iter(settings.teams), "")
    if name not in settings.teams:
        raise ValueError(f"--team {name}: the stack file has no such team; it has {', '.join(settings.teams)}")
    return name


def checks(notebooks: Notebooks, profiles: Sequence[str]) -> Iterator[Check]:
    """For each profile of the team, or only these: whether it starts, and what is tried in it. Raises ValueError."""
    if notebooks.settings.running_hub is None:
        return
    catalogue, team = notebooks.catalogue, notebooks.team
    offered = choices(catalogue, [group_of(team, role) for role in ROLES])
    names = [one.profile.name for one in offered]
    if unknown := [name for name in profiles if name not in names]:
        raise ValueError(f"--profile {unknown[0]}: team {team} has no such profile; it has {', '.join(names)}")
    for choice in offered:
        if not profiles or choice.profile.name in profiles:
            yield from _of_choice(notebooks, catalogue, choice)


def _of_choice(notebooks: Notebooks, catalogue: Catalogue, choice: Choice) -> Iterator[Check]:
    def check(name: str, try_it: Callable[[], str | Found], section: Section) -> Check:
        return Check(name=f"{choice.profile.name}: {name}", group=GROUP, try_it=try_it, section=section)

    yield check("it starts", lambda: notebooks.start(choice), Section.SPAWN)
    yield check("other teams are out of its reach", lambda: _others_are_closed(notebooks, choice), Section.ISOLATION)
    for trial in verify_notebook.trials(catalogue, choice):
        yield check(trial.name, lambda trial=trial: notebooks.tried(choice, trial), trial.section)


def _others_are_closed(notebooks: Notebooks, choice: Choice) -> str:
    others = notebooks.others()
    if not others:
        raise Skipped("no notebook of another team runs")
    return notebooks.tried(choice, verify_notebook.others_trial(others))


def section_of(words: str) -> Section:
    """The section for what the hub says of a start that failed."""
    return next((section for pattern, section in _SECTIONS if pattern.search(words)), Section.SPAWN)
