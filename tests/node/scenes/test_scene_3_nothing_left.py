"""Scene 3: nothing is left, and people read who uses what, at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from .keycloak import PASSWORD
from .pages import Seen
from .quotas import QUOTA, SHARE, limited, refusal
from .site import Site
from .stack import ABSENT_IMAGE, SHARES
from .visitor import Visitor

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.seconds(360)]


def test_a_full_quota_is_said_with_who_uses_what(
    site: Site, visitor: Callable[..., Visitor], person: Callable[..., str], seen: Callable[[], Seen]
) -> None:
    working = visitor("/vision/developer")
    working.started("vision_brief")
    with limited(site, pods="1"):
        said = refusal(visitor("/vision/developer"), "vision_brief")
        assert f"1 in use ({working.name} 1), 0 left, and this needs 1" in said
        late = seen()
        late.open_hub()
        late.sign_in(person("/vision/developer"), PASSWORD)
        late.open_form()
        late.start("Brief")
        assert f"{working.name} 1" in late.refusal()
        late.pictures.take(late.tab, "quota-full")


def test_nine_notebooks_on_a_card_of_eight_shares(site: Site, visitor: Callable[..., Visitor]) -> None:
    node = site.kubernetes.request("GET", "/api/v1/nodes/node-1")
    assert node["status"]["allocatable"][SHARE] == str(SHARES)

    team_of = {"vision": 5, "research": 3}
    people = [(team, visitor(f"/{team}/data-scientist")) for team, shares in team_of.items() for _ in range(shares)]
    ninth = visitor("/vision/data-scientist")
    with ThreadPoolExecutor(len(people)) as together:
        notebooks = list(together.map(lambda one: one[1].started(f"{one[0]}_pytorch-share", seconds=300), people))
    assert len(site.notebooks("vision")) + len(site.notebooks("research")) == SHARES
    # All of them have the same card.
    assert "GPU 0" in notebooks[0].shell("nvidia-smi -L")
    assert len({notebooks[number].shell("nvidia-smi -L") for number in (0, 5)}) == 1

    assert "Team vision's quota is 5 shared GPUs: 5 in use" in refusal(ninth, "vision_pytorch-share")
    with limited(site, **{f"requests.{SHARE}": "9"}):
        said = refusal(ninth, "vision_pytorch-share")
        assert "8 are in use (research 3, vision 5)" in said or "8 are in use (vision 5, research 3)" in said, said


def test_an_image_that_no_registry_has_ends_the_start_at_once(site: Site, visitor: Callable[..., Visitor]) -> None:
    person = visitor("/vision/developer")
    person.start("vision_mistyped")
    said = person.failure(seconds=60)
    assert f"The image {ABSENT_IMAGE} can't be pulled: its registry has no such image" in said
    assert site.kubernetes.get(QUOTA)
