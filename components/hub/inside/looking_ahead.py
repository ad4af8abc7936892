"""What the hub looks at before a start: whether it is clear without a pod that a choice can't run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import homes, refusals
from .choices import Choice
from .nodes import NotListedError
from .pod import pools_for, requests
from .refused import Refused

if TYPE_CHECKING:
    from .spawner import NotebookSpawner


async def refuse_what_cannot_start(spawner: NotebookSpawner, choice: Choice) -> None:
    """Raises Refused if a choice can't run, or if the cluster does not say what there is."""
    try:
        await _refuse(spawner, choice)
    except NotListedError as error:
        spawner.log.warning("Cannot look ahead for %s: %s", choice.slug, error)
        raise Refused(refusals.not_listed(choice.team.namespace, forbidden=error.forbidden), 503) from error


async def _refuse(spawner: NotebookSpawner, choice: Choice) -> None:
    catalogue = spawner.catalogue
    requested, pools = requests(choice), pools_for(catalogue, choice)
    if message := refusals.never_fits(requested, pools):
        raise Refused(message)
    namespace = choice.team.namespace
    quotas, pods = await asyncio.gather(spawner.listed("resource_quota", namespace), spawner.listed("pod", namespace))
    if message := refusals.quota_left(requested, quotas, pods, choice.team.name):
        raise Refused(message)
    if catalogue.homes.per_person and (message := refusals.home_in_use(pods, spawner.person, spawner.pod_name)):
        raise Refused(message)
    home = homes.home_size(choice.team.name, spawner.person)
    if home and (message := homes.refusal(home, catalogue.homes, choice, spawner.offered())):
        raise Refused(message)
    if any(pool.limits for pool in pools):
        others = [team for team in catalogue.teams.values() if team.name != choice.team.name]
        lists = await asyncio.gather(*(spawner.listed("pod", team.namespace) for team in others))
        by_team = {choice.team.name: pods, **{team.name: one for team, one in zip(others, lists, strict=True)}}
        if message := refusals.pools_full(requested, pools, by_team):
            raise Refused(message)
