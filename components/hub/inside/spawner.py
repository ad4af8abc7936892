"""KubeSpawner that knows what each person may start, and says why a notebook does not start."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from kubernetes_asyncio.client.rest import ApiException
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from kubespawner.reflector import ResourceReflector
from traitlets import Instance, default

from . import discovering, homes, node_ends, nodes, optional_volumes, pod_files, refusals, start_messages, token_secret
from .catalogue import Catalogue
from .choices import Choice, choices, chosen
from .looking_ahead import refuse_what_cannot_start
from .pod import CLEAN, ENVIRONMENT, in_words
from .refused import Refused

# Seconds before the hub's own `start_timeout`, which gives no reason.
_BEFORE_THE_HUB = 5
_LOOKED_EVERY = 1
_MACHINES_LOOKED_AT_EVERY = 20
_LOG_LOOKED_AT_EVERY = 2
# Bytes. Of a longer log people see the beginning.
_LOG_BYTES = 256 * 1024
# Where the progress bar is while the startup script runs, in percent.
_OF_STARTUP = 90


class NotebookSpawner(KubeSpawner):
    """One notebook of one person."""

    catalogue = Instance(Catalogue, help="What people may start.").tag(config=True)

    ends: node_ends.Ends = MappingProxyType({})
    """When each machine ends, as known before the start."""
    found: Choice | None = None
    """The choice of this start, with the GPU that was found for it if its profile discovers GPUs."""
    machine_ends: datetime | None = None
    """When the machine of the running notebook ends, if that is known."""
    missing: frozenset[str] = frozenset()
    """The team's volumes that this start does without."""
    _made = False

    def offered(self) -> list[Choice]:
        """What the person may start. Raises Refused (403) for somebody who may start nothing.

        With an empty list KubeSpawner would start a notebook without a profile, in the hub's own namespace.
        """
        found = choices(self.catalogue, self._groups)
        if not found:
            raise Refused(refusals.nothing_to_start(self.catalogue), 403)
        return found

    def choice(self, options: Mapping[str, Any]) -> Choice:
        """The choice of these options, among those that the person has. Raises Refused (403)."""
        found = chosen(self.offered(), options.get("profile"))
        if found is None:
            raise Refused(refusals.not_offered(self.catalogue, options["profile"]), 403)
        return found

    def as_found(self, choice: Choice) -> Choice:
        """The choice with the GPU that was found for it, if this start is one of it."""
        return self.found if self.found and self.found.slug == choice.slug else choice

    async def listed(self, kind: str, namespace: str) -> list[Mapping[str, Any]]:
        """The objects in a namespace, as the API server writes them. Raises NotListedError."""
        ask = getattr(self.api, f"list_namespaced_{kind}")
        asked = ask(namespace, _preload_content=False, _request_timeout=self.k8s_api_request_timeout)
        return await nodes.items(asked)

    @default("options_from_form")
    def _chosen_in_form(self) -> Any:
        return self.chosen_in_form

    async def chosen_in_form(self, form: Mapping[str, list[str]]) -> dict[str, str]:
        """The choice in the form, or in a link with `?profile=`. What can't start is refused on that page."""
        choice = self.choice({"profile": (form.get("profile") or [None])[0]})
        options = (ENVIRONMENT, discovering.OPTION) if choice.profile.discovery else (ENVIRONMENT,)
        wanted = {name: (form.get(f"profile-option-{choice.slug}--{name}") or [""])[0] for name in options}
        choice = await discovering.with_gpu(self, choice, wanted.get(discovering.OPTION))
        await refuse_what_cannot_start(self, choice)
        return {"profile": choice.slug, **wanted}

    def start(self) -> asyncio.Future[str]:
        """Starts the pod, and reports what keeps it from running."""
        # It distinguishes this pod from one of the same name that is being deleted.
        self._made = False
        set_already: Any = self.extra_annotations
        self.extra_annotations = {**set_already, token_secret.START_ANNOTATION: uuid.uuid4().hex}
        return asyncio.ensure_future(self._started(super().start()))

    async def _make_create_pod_request(self, pod: Any, request_timeout: int) -> bool:
        """KubeSpawner's own hook for what follows waits until its watch has seen the pod, for ten seconds only."""
        self._made = await super()._make_create_pod_request(pod, request_timeout)
        if self._made:
            try:
                await token_secret.keep(self)
            except Exception:
                await self.stop(now=True)
                raise
        return self._made

    async def _make_create_pvc_request(self, pvc: Any, request_timeout: int) -> bool:
        """KubeSpawner leaves an existing home as it is. This lets a home grow that is smaller than new ones.

        The notebook does not wait: the disk grows while it is mounted, and one that can't grow stays as it is.
        """
        made = await super()._make_create_pvc_request(pvc, request_timeout)
        if made:
            name, wanted = pvc.metadata.name, pvc.spec.resources.requests["storage"]
            try:
                answer = await self.api.read_namespaced_persistent_volume_claim(
                    name, self.namespace, _preload_content=False, _request_timeout=request_timeout
                )
                if change := homes.growth(json.loads(await answer.read()), wanted):
                    await self.api.patch_namespaced_persistent_volume_claim(
                        name, self.namespace, change, _request_timeout=request_timeout
                    )
                    self.log.info("The home %s/%s grows to %s", self.namespace, name, wanted)
            except Exception as error:  # the team's quota of disks, or no answer; the next start tries again
                said = start_messages.message_of(error) if isinstance(error, ApiException) else error
                self.log.warning("The home %s/%s does not grow to %s: %s", self.namespace, name, wanted, said)
        return made

    async def _started(self, starting: asyncio.Future[str]) -> str:
        patience, buys = self.start_timeout - _BEFORE_THE_HUB, self.catalogue.buys_machines
        over = asyncio.get_running_loop().time() + patience
        seen: Mapping[str, Any] | None = None
        try:
            while not starting.done():
                seen = self._pod or seen
                if seen and (message := start_messages.broken(seen)):
                    raise Refused(message, 500)
                # KubeSpawner would go on waiting for a pod that somebody has deleted.
                if self._made and await self._is_gone():
                    raise Refused(start_messages.gone(self.events, seen, self.pod_name), 500)
                if asyncio.get_running_loop().time() > over:
                    stuck = await self._stuck_machines()
                    raise Refused(start_messages.why_not(self.events, self._pod, patience, stuck, buys=buys), 504)
                await asyncio.wait({starting}, timeout=_LOOKED_EVERY)
            return starting.result()
        except TimeoutError as error:
            # KubeSpawner's own limit, which ends up to a tenth of `start_timeout` earlier.
            raise Refused(start_messages.why_not(self.events, self._pod, patience, buys=buys), 504) from error
        except ApiException as error:
            # An admission policy refused it, or a quota that others have used up meanwhile, or its pod is not valid.
            if error.status not in (403, 422):
                raise
            raise Refused(start_messages.refused(start_messages.message_of(error))) from error
        finally:
            starting.cancel()

    async def _is_gone(self) -> bool:
        """Whether the pod of this start was made, and is gone or being deleted."""
        pod = self._pod
        if pod and not start_messages.is_ending(pod):
            return False
        # A watch may not have seen it yet, or still shows one that KubeSpawner has replaced: of a request whose answer
        # came too late.
        place, timeout = (self.pod_name, self.namespace), self.k8s_api_request_timeout
        try:
            answer = await self.api.read_namespaced_pod(*place, _preload_content=False, _request_timeout=timeout)
            found = json.loads(await answer.read())
        except Exception:  # no answer; the next look will show
            self.log.debug("The pod %s cannot be read", self.pod_name, exc_info=True)
            return False
        if answer.status != 200:
            return answer.status == 404
        return start_messages.is_ending(found) or not self._is_of_this_start(found)

    async def note_end_of_machine(self, ends: node_ends.Ends) -> None:
        """Notes when the running notebook's machine ends, for the home page and for the notice in JupyterLab."""
        try:
            pod = self.pod_reflector.pods.get(f"{self.namespace}/{self.pod_name}") if self.pod_reflector else None
            if pod is None:
                return
            self.machine_ends = ends.get(pod["spec"].get("nodeName", ""))
            if change := pod_files.limits_change(pod["metadata"].get("annotations", {}), self.machine_ends):
                await self.api.patch_namespaced_pod(
                    self.pod_name,
                    self.namespace,
                    {"metadata": {"annotations": change}},
                    _request_timeout=self.k8s_api_request_timeout,
                )
        except Exception:  # gone, or no answer; the next round tries again, and others must not wait
            self.log.warning("JupyterLab of %s does not know when its machine ends", self.pod_name, exc_info=True)

    async def _start_reflector(
        self, kind: str, reflector_class: type[ResourceReflector], replace: bool = False, **kwargs: Any
    ) -> ResourceReflector:
        """KubeSpawner's reflectors, through which all that start, poll or stop notebooks watch their namespace.

        A reflector gives up after a minute without the API server. This replaces one that has given up.
        """
        known = self.reflectors.get(self._get_reflector_key(kind))
        replace = replace or (known is not None and _has_ended(known))
        return await super()._start_reflector(kind, reflector_class, replace=replace, **kwargs)

    async def progress(self) -> AsyncGenerator[dict[str, Any], None]:
        """What happens to the pod, in plain words."""
        choice = chosen(choices(self.catalogue, self._groups), self.user_options.get("profile"))
        reached = 2
        if choice:
            choice = self.as_found(choice)
            message = f"{choice.profile.display_name} for team {choice.team.name}: {in_words(choice)}."
            yield {"progress": reached, "message": message}
        shown: set[str] = set()
        steps = aiter(super().progress())
        step = asyncio.ensure_future(anext(steps, None))
        try:
            while True:
                await asyncio.wait({step}, timeout=_MACHINES_LOOKED_AT_EVERY)
                for message in await self._stuck_machines():
                    if message not in shown:
                        shown.add(message)
                        yield {"progress": reached, "message": message}
                if not step.done():
                    continue
                if (done := step.result()) is None:
                    break
                reached = done["progress"]
                for message in await self._messages(done["raw_event"], choice):
                    yield {**done, "message": message}
                step = asyncio.ensure_future(anext(steps, None))
        finally:
            step.cancel()
        if choice and choice.profile.startup:
            minutes = f"{choice.profile.startup_timeout / 60:g}"
            yield {"progress": _OF_STARTUP, "message": f"Its startup script runs first, for {minutes} minutes at most."}
            async for line in self._startup_lines():
                yield {"progress": _OF_STARTUP, "message": line}

    async def _messages(self, event: Mapping[str, Any], choice: Choice | None) -> list[str]:
        """What to say about an event. When it names a machine, also if that ends before the notebook has to."""
        early = None
        if choice and (node := start_messages.assigned(event)):
            end = (await node_ends.known() or {}).get(node)
            early = start_messages.ends_early(end, datetime.now(UTC), choice.profile.lifetime)
        buys = self.catalogue.buys_machines
        return [start_messages.event_in_words(event, buys=buys), *([early] if early else [])]

    async def _startup_lines(self) -> AsyncGenerator[str, None]:
        """The output of the startup script, line by line, until the server answers."""
        over, shown = asyncio.get_running_loop().time() + self.http_timeout, 0
        while asyncio.get_running_loop().time() < over and not self.ready:
            lines = start_messages.startup(await self._log())
            for line in lines[shown:]:
                yield line
            shown = max(shown, len(lines))
            await asyncio.sleep(_LOG_LOOKED_AT_EVERY)

    async def _log(self) -> str:
        """The log of the notebook's container so far; empty if it can't be read."""
        try:
            answer = await self.api.read_namespaced_pod_log(
                self.pod_name,
                self.namespace,
                container="notebook",
                limit_bytes=_LOG_BYTES,
                _preload_content=False,
                _request_timeout=self.k8s_api_request_timeout,
            )
            return (await answer.read()).decode(errors="replace") if answer.status == 200 else ""
        except Exception:  # its machine does not answer; go on waiting for the notebook
            self.log.debug("The log of %s cannot be read", self.pod_name, exc_info=True)
            return ""

    async def _stuck_machines(self) -> list[str]:
        """What to say about the machines that the notebook waits for and that do not become ready."""
        pod = self._pod
        names = [] if pod is None or pod["spec"].get("nodeName") else start_messages.node_claims(self.events)
        claims = [await self._machine(name) for name in names]
        return [said for claim in claims if claim and (said := start_messages.stuck(claim, datetime.now(UTC)))]

    async def _machine(self, name: str) -> Mapping[str, Any] | None:
        try:
            return await shared_client("CustomObjectsApi").get_cluster_custom_object(
                *node_ends.NODE_CLAIMS, name, _request_timeout=self.k8s_api_request_timeout
            )
        except Exception:  # gone, forbidden, or no answer; go on waiting for the notebook
            self.log.debug("NodeClaim %s cannot be read", name, exc_info=True)
            return None

    @property
    def person(self) -> str:
        """The person's slug: in the name of their home and of their pods."""
        return self._expand_user_properties("{username}")

    @property
    def _groups(self) -> list[str]:
        user: Any = self.user
        return [group.name for group in user.groups]

    @property
    def _pod(self) -> Mapping[str, Any] | None:
        """The pod of this start, if it was seen."""
        reflector = self.pod_reflector
        found = reflector.pods.get(f"{self.namespace}/{self.pod_name}") if reflector else None
        return found if found and self._is_of_this_start(found) else None

    def _is_of_this_start(self, pod: Mapping[str, Any]) -> bool:
        known = pod["metadata"].get("annotations", {})
        return known.get(token_secret.START_ANNOTATION, "") == self.extra_annotations.get(token_secret.START_ANNOTATION)


async def pre_spawn_hook(spawner: NotebookSpawner) -> None:
    """Refuses what can't start, however it was asked for, and keeps only the choice of the request.

    The culler ends the notebook by the profile that is kept. A clean start is for one time.
    """
    choice = spawner.choice(spawner.user_options)
    wanted = spawner.user_options.get(discovering.OPTION) if choice.profile.discovery else None
    spawner.found = choice = await discovering.with_gpu(spawner, choice, wanted)
    # Set here, because a request for the progress would look for the pod elsewhere.
    spawner.namespace = choice.team.namespace
    await refuse_what_cannot_start(spawner, choice)
    spawner.ends, spawner.machine_ends = await node_ends.known() or {}, None
    spawner.missing = await optional_volumes.missing(spawner, choice.team)
    noted = {"profile": choice.slug}
    clean = {ENVIRONMENT: CLEAN} if spawner.user_options.get(ENVIRONMENT) == CLEAN else {}
    # KubeSpawner does not get what the form sent of GPUs: one is found already, and the offers may have changed.
    again = {discovering.OPTION: wanted} if wanted else {}
    spawner.user_options, spawner.orm_spawner.user_options = {**noted, **clean}, {**noted, **again}


def _has_ended(reflector: ResourceReflector) -> bool:
    """Whether it was watching, or failed to begin, and watches no longer."""
    task: Any = reflector.watch_task
    return reflector.first_load_future.done() and (task is None or task.done())
