"""KubeSpawner, told what each person may start, and telling people why something does not start."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any

from kubernetes_asyncio.client.rest import ApiException
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from kubespawner.reflector import ResourceReflector
from tornado.web import HTTPError
from traitlets import Instance, default

from . import refusals, telling
from .catalogue import Catalogue
from .choices import Choice, choices, chosen
from .pod import overrides, pools_for, requests
from .quantities import words
from .tokens import START_ANNOTATION

# The hub's own patience ends with `start_timeout`, and says nothing but that.
_BEFORE_THE_HUB = 5
_LOOKED_EVERY = 1
_MACHINES_LOOKED_AT_EVERY = 20


class Refused(HTTPError):
    """What people read on the page of the form, or on that which waits, and clients of the API as the answer."""

    def __init__(self, message: str, status: int = 409) -> None:
        super().__init__(status, message)
        self.jupyterhub_message = message

    def __str__(self) -> str:
        return self.jupyterhub_message


class NotebookSpawner(KubeSpawner):
    """One notebook of one person."""

    catalogue = Instance(Catalogue, help="What there is to start.").tag(config=True)

    def offered(self) -> list[Choice]:
        """What the person may start. Raises Refused (403) for somebody who may start nothing.

        An empty list would have KubeSpawner start a notebook of no profile, in the hub's own namespace.
        """
        found = choices(self.catalogue, self._groups)
        if not found:
            raise Refused(NOTHING_TO_START, 403)
        return found

    def choice(self, options: Mapping[str, Any]) -> Choice:
        """The choice of these options, of those that the person has. Raises Refused (403)."""
        found = chosen(self.offered(), options.get("profile"))
        if found is None:
            raise Refused(f"{options['profile']} is no profile that you may start. Choose another one.", 403)
        return found

    async def refuse_what_cannot_start(self, choice: Choice) -> None:
        """Raises Refused for what no pod has to be made for to know that it can't run."""
        asked, pools = requests(choice), pools_for(self.catalogue, choice)
        if message := refusals.never_fits(asked, pools):
            raise Refused(message)
        namespace = choice.team.namespace
        quotas, pods = await asyncio.gather(self._listed("resource_quota", namespace), self._listed("pod", namespace))
        if message := refusals.quota_left(asked, quotas, pods, choice.team.name):
            raise Refused(message)
        if self.catalogue.homes.per_person:
            person = self._expand_user_properties("{username}")
            if message := refusals.home_in_use(pods, person, self.pod_name):
                raise Refused(message)
        if any(pool.limits for pool in pools):
            others = [team for team in self.catalogue.teams.values() if team.name != choice.team.name]
            lists = await asyncio.gather(*(self._listed("pod", team.namespace) for team in others))
            by_team = {choice.team.name: pods, **{team.name: one for team, one in zip(others, lists, strict=True)}}
            if message := refusals.pools_full(asked, pools, by_team):
                raise Refused(message)

    async def _listed(self, kind: str, namespace: str) -> list[Mapping[str, Any]]:
        """The objects of a namespace, as the API server writes them."""
        answer = await getattr(self.api, f"list_namespaced_{kind}")(
            namespace, _preload_content=False, _request_timeout=self.k8s_api_request_timeout
        )
        return json.loads(await answer.read())["items"]

    @default("options_from_form")
    def _chosen_in_form(self) -> Any:
        return self.chosen_in_form

    async def chosen_in_form(self, form: Mapping[str, list[str]]) -> dict[str, str]:
        """The choice that the form, or a link with `?profile=`, asks for. What can't start is refused on that page."""
        choice = self.choice({"profile": (form.get("profile") or [None])[0]})
        await self.refuse_what_cannot_start(choice)
        return {"profile": choice.slug}

    def start(self) -> asyncio.Future[str]:
        """Starts the pod; whatever keeps it from running is told."""
        # By it the pod is told from one of the same name that is on its way out.
        set_already: Any = self.extra_annotations
        self.extra_annotations = {**set_already, START_ANNOTATION: uuid.uuid4().hex}
        return asyncio.ensure_future(self._started(super().start()))

    async def _started(self, starting: asyncio.Future[str]) -> str:
        patience = self.start_timeout - _BEFORE_THE_HUB
        over = asyncio.get_running_loop().time() + patience
        try:
            while not starting.done():
                if (pod := self._pod) and (message := telling.broken(pod)):
                    raise Refused(message, 500)
                if asyncio.get_running_loop().time() > over:
                    stuck = await self._stuck_machines()
                    raise Refused(telling.why_not(self.events, self._pod, patience, stuck), 504)
                await asyncio.wait({starting}, timeout=_LOOKED_EVERY)
            return starting.result()
        except TimeoutError as error:
            # KubeSpawner's own patience, which ends up to a tenth of `start_timeout` earlier.
            raise Refused(telling.why_not(self.events, self._pod, patience), 504) from error
        except ApiException as error:
            # An admission policy, or a quota that somebody else has used up meanwhile.
            if error.status != 403:
                raise
            raise Refused(telling.refused(_message_of(error))) from error
        finally:
            starting.cancel()

    async def _start_reflector(
        self, kind: str, reflector_class: type[ResourceReflector], replace: bool = False, **kwargs: Any
    ) -> ResourceReflector:
        """KubeSpawner's, by which all that start, poll or stop a notebook watch its namespace.

        One that has given up, as it does after a minute without the API server, is not handed on as if it watched.
        """
        known = self.reflectors.get(self._get_reflector_key(kind))
        replace = replace or (known is not None and _has_ended(known))
        return await super()._start_reflector(kind, reflector_class, replace=replace, **kwargs)

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """What happens to the pod, in plain words."""
        choice = chosen(choices(self.catalogue, self._groups), self.user_options.get("profile"))
        reached = 2
        if choice:
            message = f"{choice.profile.display_name} for team {choice.team.name}: {said(choice)}."
            yield {"progress": reached, "message": message}
        told: set[str] = set()
        steps = aiter(super().progress())
        step = asyncio.ensure_future(anext(steps, None))
        try:
            while True:
                await asyncio.wait({step}, timeout=_MACHINES_LOOKED_AT_EVERY)
                for message in await self._stuck_machines():
                    if message not in told:
                        told.add(message)
                        yield {"progress": reached, "message": message}
                if not step.done():
                    continue
                if (done := step.result()) is None:
                    return
                reached = done["progress"]
                yield {**done, "message": telling.told(done["raw_event"])}
                step = asyncio.ensure_future(anext(steps, None))
        finally:
            step.cancel()

    async def _stuck_machines(self) -> list[str]:
        """What is said of the machines that it waits for and that do not become ready."""
        pod = self._pod
        names = [] if pod is None or pod["spec"].get("nodeName") else telling.machines(self.events)
        claims = [await self._machine(name) for name in names]
        return [said for claim in claims if claim and (said := telling.stuck(claim, datetime.now(UTC)))]

    async def _machine(self, name: str) -> Mapping[str, Any] | None:
        try:
            return await shared_client("CustomObjectsApi").get_cluster_custom_object(
                "karpenter.sh", "v1", "nodeclaims", name, _request_timeout=self.k8s_api_request_timeout
            )
        except Exception:  # gone, not to be read, or no answer: the notebook is waited for all the same
            self.log.debug("NodeClaim %s cannot be read", name, exc_info=True)
            return None

    @property
    def _groups(self) -> list[str]:
        user: Any = self.user
        return [group.name for group in user.groups]

    @property
    def _pod(self) -> Mapping[str, Any] | None:
        """The pod of this start, as far as it was seen."""
        reflector = self.pod_reflector
        found = reflector.pods.get(f"{self.namespace}/{self.pod_name}") if reflector else None
        known = found and found["metadata"].get("annotations", {}).get(START_ANNOTATION)
        return found if known and known == self.extra_annotations.get(START_ANNOTATION) else None


NOTHING_TO_START = (
    "There is no notebook that you may start: you are in no team, or your role in it has no profile. "
    "Ask an administrator of the platform for a group of Keycloak, TEAM/ROLE, and sign in again."
)


def profile_list(spawner: NotebookSpawner) -> list[dict[str, Any]]:
    """What the form shows, and what each choice sets: KubeSpawner's `profile_list`."""
    offered = spawner.offered()
    first = chosen(offered, None)
    several_teams = len({one.team.name for one in offered}) > 1
    return [
        {
            "slug": one.slug,
            "display_name": f"{one.team.name}: {one.profile.display_name}"
            if several_teams
            else one.profile.display_name,
            "description": _description(one, spawner.catalogue),
            "default": one is first,
            "kubespawner_override": overrides(spawner.catalogue, one, datetime.now(UTC)),
        }
        for one in offered
    ]


async def pre_spawn_hook(spawner: NotebookSpawner) -> None:
    """Refuses what can't start, however it was asked for, and notes what was chosen, and nothing else of the request.

    What is noted is the profile by which the notebook is culled.
    """
    choice = spawner.choice(spawner.user_options)
    # Known from here on: who asks how it goes would look for the pod elsewhere.
    spawner.namespace = choice.team.namespace
    await spawner.refuse_what_cannot_start(choice)
    spawner.user_options = {"profile": choice.slug}
    spawner.orm_spawner.user_options = spawner.user_options


def said(choice: Choice) -> str:
    """What the notebook has, for people."""
    return ", ".join(words(name, number) for name, number in requests(choice).items())


def _has_ended(reflector: ResourceReflector) -> bool:
    """Whether it has begun to watch, or failed to, and watches no more."""
    task: Any = reflector.watch_task
    return reflector.first_load_future.done() and (task is None or task.done())


def _description(choice: Choice, catalogue: Catalogue) -> str:
    about = f"{choice.profile.description}:" if choice.profile.description else ""
    return " ".join(filter(None, (about, f"{said(choice)}.", catalogue.homes.note)))


def _message_of(error: ApiException) -> str:
    try:
        return json.loads(error.body or b"")["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
