"""Images for a node: pulled from their registries where one answers, else made here, and kept as archives in the cache.

`ctr images import` brings an archive into a node. Images that share layers (`recipes.py`) share them there too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.machine import toolchain
from rehearsal.node.cached import report
from rehearsal.progress import Display

from .building import archive_of, build, name_of, tools_of
from .pulling import NotPulled, Registries
from .recipes import Recipe, recipe

__all__ = ["Image", "ensure", "known"]


@dataclass(frozen=True)
class Image:
    """An image under the name that pods use, `reference`, in an archive where its name is `name`.

    `how` is "pulled" or "built". `made_of` says what a built one has in it; a pulled one is the real one.
    """

    reference: str
    archive: Path
    name: str
    how: str
    made_of: str = ""


def known(reference: str) -> bool:
    """Whether there is a recipe for the image, so that it can be had without a registry."""
    return recipe(reference) is not None


def ensure(references: Iterable[str], display: Display) -> list[Image]:
    """The images with these names, in their order; one that can't be had is reported and left out.

    Raises ToolMissing where none can be made.
    """
    registries = Registries()
    found: dict[str, Image] = {}
    to_build: dict[str, Recipe] = {}
    wanted = list(dict.fromkeys(references))
    for reference in wanted:
        try:
            archive = registries.pull(reference, display)
            found[reference] = Image(reference, archive, reference.partition("@")[0], "pulled")
        except NotPulled as why:
            if made := recipe(reference):
                to_build[reference] = made
            else:
                report(display, f"{reference} can't be had: {why}, and there is no recipe for it; its pods won't start")
    found |= _built(to_build, display)
    return [found[reference] for reference in wanted if reference in found]


def _built(recipes: dict[str, Recipe], display: Display) -> dict[str, Image]:
    missing = [one for one in recipes.values() if not archive_of(one).exists()]
    tools = {name: tool for one in missing for name, tool in tools_of(one).items()}
    with toolchain.filled(display, tools.values()) as programs:
        return {
            reference: Image(reference, build(one, programs, display), name_of(one), "built", one.made_of)
            for reference, one in recipes.items()
        }
