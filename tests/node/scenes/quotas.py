"""What a team may use together, and what people read when nothing is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rehearsal.controllers.world import place

from .site import Site
from .visitor import Visitor
from .waiting import until

SHARE = "nvidia.com/gpu.shared"
QUOTA = place("/api/v1/resourcequotas", "team", "team-vision")
# How long people wait at most for a refusal.
ANSWER_SECONDS = 5


@contextlib.contextmanager
def limited(site: Site, **hard: str) -> Iterator[None]:
    """The quota of the team vision has other limits during the block, such as pods="1"."""
    before = (site.kubernetes.get(QUOTA) or {"spec": {"hard": {}}})["spec"]["hard"]

    def counts(limits: dict[str, str]) -> bool:
        quota = site.kubernetes.get(QUOTA)
        return quota is None or limits.items() <= quota.get("status", {}).get("hard", {}).items()

    with site.changed(QUOTA, {"spec": {"hard": hard}}, {"spec": {"hard": before}}):
        until(lambda: counts(hard), "the quota counts")
        yield


def refusal(person: Visitor, profile: str) -> str:
    """What a person reads at once who asks for a notebook that can't start. Fails if it does start, or later."""
    begun = time.monotonic()
    page = person.start(profile)
    seconds = time.monotonic() - begun
    assert page.status == 409, f"the notebook was not refused, but answered with {page.status}: {page.words[:300]}"
    assert seconds < ANSWER_SECONDS, f"the refusal came after {seconds:.1f} s"
    assert page.asks_for("profile"), "the form is not there again"
    return page.refusal
