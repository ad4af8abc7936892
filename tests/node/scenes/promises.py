"""What a scene shows of the platform, as checks that fail when it does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import confinement, signing_in
from .quotas import SHARE, limited, refusal
from .site import Site
from .stack import SHARES
from .visitor import Visitor


@dataclass(frozen=True)
class People:
    """Makes accounts, and people who have signed in."""

    person: Callable[..., str]
    visitor: Callable[..., Visitor]

    def developer(self) -> Visitor:
        return self.visitor("/vision/developer")


def member_sees_profiles(_: Site, people: People) -> None:
    signing_in.member_sees_profiles(people.visitor)


def stranger_is_refused(_: Site, people: People) -> None:
    signing_in.stranger_is_refused(people.person)


def sign_in_needs_a_challenge(_: Site, __: People) -> None:
    signing_in.sign_in_needs_a_challenge()


def notebook_starts(_: Site, people: People) -> None:
    people.developer().started("vision_brief")


def notebook_has_no_privileges(_: Site, people: People) -> None:
    confinement.has_no_privileges(people.developer().started("vision_brief"))


def notebook_has_shared_memory(_: Site, people: People) -> None:
    confinement.has_shared_memory(people.developer().started("vision_brief"))


def notebook_keeps_files(_: Site, people: People) -> None:
    notebook = people.developer().started("vision_brief", seconds=90)
    notebook.write("results.csv", b"kept")


def notebook_is_confined(site: Site, people: People) -> None:
    with confinement.published(site):
        notebook = people.developer().started("vision_brief")
        confinement.is_confined(confinement.reached(site, notebook))


def full_quota_is_said(site: Site, people: People) -> None:
    working, late = people.developer(), people.developer()
    working.started("vision_brief")
    with limited(site, pods="1"):
        assert f"({working.name} 1), 0 left" in refusal(late, "vision_brief")


def card_is_shared(site: Site, _: People) -> None:
    offered = site.kubernetes.request("GET", "/api/v1/nodes/node-1")["status"]["allocatable"]
    assert offered.get(SHARE) == str(SHARES), f"the node offers {offered}"
