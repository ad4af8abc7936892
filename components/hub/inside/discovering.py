"""GPUs that a person's spawner discovers: the option of the form, and the GPU that a start gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from .choices import Choice
from .discovery import ANY, NOTHING_THERE, Object, Offer, find, gpu_pools, machines, offers, shown
from .nodes import NotListedError, items, recent, usable
from .refusals import Granted, gpus_not_listed, granted
from .refused import Refused

if TYPE_CHECKING:
    from .spawner import NotebookSpawner

OPTION = "gpu"
"""The option of a choice that discovers GPUs: the key of an offer."""

_COUNTED = "What is free is counted by the notebooks of this platform; other programs may use more."

_Lister: TypeAlias = Callable[[str, str], Awaitable[list[Object]]]


async def with_gpu(spawner: NotebookSpawner, choice: Choice, wanted: Any) -> Choice:
    """The choice with a GPU that is free now, if its profile discovers GPUs. Raises Refused.

    `wanted` is what the form sent, or a client of the API: the key of an offer; without it any free GPU.
    """
    if choice.profile.discovery is None:
        return choice
    try:
        offered, given = await _offered(spawner, choice, spawner.listed)
    except NotListedError as error:
        spawner.log.warning("Cannot list GPUs for a start: %s", error)
        raise Refused(gpus_not_listed(forbidden=error.forbidden), 503) from error
    found = find(choice, wanted, offered, given)
    if isinstance(found, str):
        raise Refused(found)
    return found


async def option(spawner: NotebookSpawner, choice: Choice) -> tuple[dict[str, Any], str]:
    """KubeSpawner's option for a choice that discovers GPUs, and what to say beside it; {} where there are none now."""

    async def listed(kind: str, namespace: str) -> list[Object]:
        return await recent(f"{kind} {namespace}", partial(spawner.listed, kind, namespace))

    try:
        offered, given = await _offered(spawner, choice, listed)
    except NotListedError as error:
        spawner.log.warning("Cannot list GPUs for the form: %s", error)
        return {}, gpus_not_listed(forbidden=error.forbidden)
    if not offered:
        return {}, NOTHING_THERE
    # What a choice sets is found when the notebook starts (`with_gpu`).
    choices = {one.key: {"display_name": shown(one, given), "kubespawner_override": {}} for one in offered}
    choices[ANY]["default"] = True
    return {OPTION: {"display_name": "GPU", "choices": choices}}, _COUNTED


async def _offered(spawner: NotebookSpawner, choice: Choice, listed: _Lister) -> tuple[list[Offer], Granted]:
    """The offers to a choice's team, and its quota. Raises NotListedError."""
    teams = spawner.catalogue.teams.values()
    nodes, quotas, *pods = await asyncio.gather(
        recent("nodes", partial(_nodes, spawner)),
        listed("resource_quota", choice.team.namespace),
        *(listed("pod", team.namespace) for team in teams),
    )
    by_team = {team.name: one for team, one in zip(teams, pods, strict=True)}
    found = machines(gpu_pools(spawner.catalogue, choice), usable(nodes), by_team)
    given = granted(quotas)
    by_node = choice.profile.discovery is not None and choice.profile.discovery.by_node
    return offers(found, given, by_node=by_node), given


async def _nodes(spawner: NotebookSpawner) -> list[Object]:
    asked = spawner.api.list_node(_preload_content=False, _request_timeout=spawner.k8s_api_request_timeout)
    return await items(asked)
