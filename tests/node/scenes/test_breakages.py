"""Each mistake that somebody could make in the platform makes a scene fail, and for that reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .breakages import BREAKAGES, Check
from .promises import People
from .site import Site
from .visitor import Visitor

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

CHECKS = list(dict.fromkeys(check for _, check, _ in BREAKAGES.values()))


@pytest.fixture
def people(person: Callable[..., str], visitor: Callable[..., Visitor]) -> People:
    return People(person, visitor)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_breakage_makes_a_scene_fail(site: Site, people: People, breakage: str) -> None:
    broken, check, says = BREAKAGES[breakage]
    with broken(site), pytest.raises((AssertionError, OSError), match=says):
        check(site, people)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_without_a_breakage_each_of_these_checks_passes(site: Site, people: People, check: Check) -> None:
    check(site, people)
