"""The form that starts a notebook: what it offers a person, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from . import discovering, homes
from .catalogue import Catalogue
from .choices import Choice, chosen
from .pod import environments, in_words, overrides
from .spawner import NotebookSpawner


async def profile_list(spawner: NotebookSpawner) -> list[dict[str, Any]]:
    """KubeSpawner's `profile_list`: what the form shows, and what each choice sets.

    A choice that discovers GPUs sets everything only after one was found for it, when the notebook starts.
    """
    offered = spawner.offered()
    first = chosen(offered, None)
    several_teams = len({one.team.name for one in offered}) > 1
    listed = []
    for one in offered:
        gpus, note = await discovering.option(spawner, one) if one.profile.discovery else ({}, "")
        name = one.profile.display_name
        listed.append(
            {
                "slug": one.slug,
                "display_name": f"{one.team.name}: {name}" if several_teams else name,
                "description": _description(one, spawner.catalogue, note),
                "default": one is first,
                "kubespawner_override": overrides(
                    spawner.catalogue,
                    spawner.as_found(one),
                    datetime.now(UTC),
                    ends=spawner.ends,
                    home=homes.home_size(one.team.name, spawner.person),
                    missing=spawner.missing,
                ),
                "profile_options": {**gpus, **environments()},
            }
        )
    return listed


def _description(choice: Choice, catalogue: Catalogue, note: str) -> str:
    about = f"{choice.profile.description}:" if choice.profile.description else ""
    return " ".join(filter(None, (about, f"{in_words(choice)}.", note, catalogue.homes.note)))
