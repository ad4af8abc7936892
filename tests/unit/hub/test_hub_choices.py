"""Who may start what: groups of Keycloak, roles in teams, profiles."""

from __future__ import annotations

import pytest
from hub_catalogue import dev, document

from components.hub.inside.catalogue import CatalogueError, parse
from components.hub.inside.choices import choices, chosen, profile_of
from components.hub.inside.people import ADMINISTRATORS, hub_groups, roles_by_team

TEAMS = ("research", "vision")


def slugs(*groups: str) -> list[str]:
    return [one.slug for one in choices(dev(), groups)]


def test_groups_of_a_directory_below_a_role_count_for_the_role() -> None:
    claims = {"groups": ["/research/developer", "/vision/data-scientist/physicists"]}
    assert hub_groups(claims, TEAMS) == {"/research/developer", "/vision/data-scientist"}


@pytest.mark.parametrize(
    "groups",
    [
        ["/research"],
        ["research"],
        ["/unknown/developer"],
        ["/research/owner"],
        ["/research/owner/developer"],
        ["/other/research/developer"],
        ["administrators"],
        ["//research/developer"],
        [""],
        None,
    ],
)
def test_what_is_no_role_in_a_team_counts_for_nothing(groups: list[str] | None) -> None:
    assert hub_groups({"groups": groups}, TEAMS) == set()


def test_the_realm_role_alone_makes_an_administrator() -> None:
    assert ADMINISTRATORS in hub_groups({"roles": ["administrator"]}, TEAMS)
    assert hub_groups({"groups": ["/research/administrator"], "roles": ["developer"]}, TEAMS) == {
        "/research/administrator"
    }


def test_administrators_of_the_platform_are_in_no_team_by_that() -> None:
    assert roles_by_team([ADMINISTRATORS]) == {}
    assert slugs(ADMINISTRATORS) == []


def test_each_team_offers_what_the_persons_role_there_may_use() -> None:
    both = slugs("/research/developer", "/vision/data-scientist")
    assert both == [*slugs("/research/developer"), *slugs("/vision/data-scientist")]
    assert "research_fine-tuning" not in both, "a developer's role has it not"
    assert "research_fine-tuning" in slugs("/research/data-scientist")
    assert slugs() == []


def test_without_a_choice_it_is_the_default_and_nothing_that_is_not_offered() -> None:
    offered = choices(dev(), ["/research/developer"])
    first = chosen(offered, None)
    assert first is not None
    assert first.profile.default
    assert chosen(offered, "research_fine-tuning") is None
    assert chosen(offered, "vision_python") is None
    assert chosen([], None) is None


def test_a_notebooks_profile_is_found_by_what_the_hub_remembers_as_long_as_it_is_there() -> None:
    team, profile = profile_of(dev(), "research_pytorch-slice")
    assert team == "research"
    assert profile is not None
    assert profile.name == "pytorch-slice"
    assert profile_of(dev(), "research_gone") == ("research", None)
    assert profile_of(dev(), "") == ("", None)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("hub",), "has no hub"),
        (("hub", "realmUrl"), "has no hub.realmUrl"),
        (("profiles", "python", "idle"), "has no profiles.python.idle"),
        (("teams", "vision", "volumes"), "has no teams.vision.volumes"),
        (("profiles", "pytorch"), "teams.research.profiles names pytorch"),
        (("pools", "gpu-shared"), "nodePools names gpu-shared"),
    ],
)
def test_a_catalogue_of_another_version_is_told_by_the_key(path: tuple[str, ...], said: str) -> None:
    changed = document()
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    with pytest.raises(CatalogueError, match=said):
        parse(changed)
