"""Scene 7: fifty people arrive at ten a second, and each gets a notebook or a clear refusal."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from .pictures import Pictures
from .site import Site
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

PEOPLE = 50
A_SECOND = 10
READY_SECONDS = 600


@dataclass(frozen=True)
class Arrival:
    """How it went for one person: seconds, and what the hub said in place of a notebook."""

    sign_in: float
    ready: float | None
    refusal: str = ""


def arrive(name: str, after: float) -> Arrival:
    """Somebody comes after so many seconds, signs in and starts a notebook."""
    time.sleep(after)
    visitor = Visitor()
    begun = time.monotonic()
    page = visitor.sign_in(name)
    signed_in = time.monotonic() - begun
    if page.status != 200 or page.is_keycloaks:
        return Arrival(signed_in, None, page.words)
    begun = time.monotonic()
    page = visitor.start("vision_light")
    if page.refusal:
        return Arrival(signed_in, None, page.refusal)

    def settled() -> str | None:
        found = visitor.api("GET", f"/users/{name}")["servers"].get("")
        if found and found["ready"]:
            return "ready"
        page = visitor.open(f"/hub/spawn-pending/{name}")
        return page.words if "Spawn failed" in page.words else None

    end = until(settled, f"the notebook of {name}", seconds=READY_SECONDS, every=1)
    ready = end == "ready"
    return Arrival(signed_in, time.monotonic() - begun if ready else None, "" if ready else end)


def test_fifty_people_at_ten_a_second(
    site: Site, person: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = [person("/vision/developer") for _ in range(PEOPLE)]
    with ThreadPoolExecutor(PEOPLE) as together:
        arrivals = list(together.map(arrive, names, (number / A_SECOND for number in range(PEOPLE))))
    ready = [one.ready for one in arrivals if one.ready is not None]
    refused = [one.refusal for one in arrivals if one.ready is None]
    figures = {
        "people": PEOPLE,
        "ready": len(ready),
        "refused": len(refused),
        "sign-in": percentiles([one.sign_in for one in arrivals]),
        "spawn to ready": percentiles(ready),
    }
    print(json.dumps(figures))
    folder = Pictures.of("rush", tmp_path_factory.mktemp("rush")).folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "figures.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    # A refusal says what is in use, what is not there, or to try again.
    unclear = [one for one in refused if not any(word in one for word in ("left", "room", "Try again in a minute"))]
    assert not unclear, unclear[0]
    assert len(ready) >= PEOPLE * 0.9, figures


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """The median and the 95th percentile, in seconds."""
    cuts = statistics.quantiles(seconds, n=20)
    return {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1)}
