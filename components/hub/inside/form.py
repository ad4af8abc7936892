"""The form that starts a notebook: what it offers a person, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from . import homes
from .catalogue import Catalogue
from .choices import Choice, chosen
from .pod import environments, in_words, overrides
from .spawner import NotebookSpawner


def profile_list(spawner: NotebookSpawner) -> list[dict[str, Any]]:
    """KubeSpawner's `profile_list`: what the form shows, and what each choice sets."""
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
            "kubespawner_override": overrides(
                spawner.catalogue,
                one,
                datetime.now(UTC),
                ends=spawner.ends,
                home=homes.home_size(one.team.name, spawner.person),
            ),
            "profile_options": environments(),
        }
        for one in offered
    ]


def _description(choice: Choice, catalogue: Catalogue) -> str:
    about = f"{choice.profile.description}:" if choice.profile.description else ""
    return " ".join(filter(None, (about, f"{in_words(choice)}.", catalogue.homes.note)))
