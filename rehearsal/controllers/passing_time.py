"""Time that passes faster for Karpenter's nodes: what takes minutes and hours on AWS, and is not what is rehearsed.

No NodePool is touched. A NodeClaim's last pod is made to be long ago, for `consolidateAfter`; and one that is to go has
an earlier end, for `terminationGracePeriod`. Both are what Karpenter itself writes there, and reads again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rehearsal.controllers.world import NODE_CLAIMS, NODE_POOLS, Object, World, place_of
from settings.language.values import NEVER, seconds

NODE_POOL_LABEL = "karpenter.sh/nodepool"
_END = "karpenter.sh/nodeclaim-termination-timestamp"


@dataclass(frozen=True)
class Durations:
    """The most that a node waits, in seconds; None leaves what its pool says."""

    consolidate_after: int | None = None
    grace_period: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Durations:
        """Those of GPULAB_CONSOLIDATE_AFTER and GPULAB_GRACE_PERIOD, in seconds."""
        after, grace = (environment.get(name) for name in ("GPULAB_CONSOLIDATE_AFTER", "GPULAB_GRACE_PERIOD"))
        return cls(int(after) if after else None, int(grace) if grace else None)


class PassingTime:
    """Shortens what NodeClaims wait for."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations

    def reconcile(self, world: World) -> None:
        """Looks at every NodeClaim."""
        claims, now = world.listed(NODE_CLAIMS), datetime.now(UTC)
        pools = {one["metadata"]["name"]: one for one in world.listed(NODE_POOLS)} if claims else {}
        for claim in claims:
            if end := earlier_end(claim, self._durations.grace_period):
                changes = {"metadata": {"annotations": {_END: _text(end)}}}
                world.kubernetes.patch(place_of(NODE_CLAIMS, claim), changes)
            pool = pools.get(claim["metadata"]["labels"].get(NODE_POOL_LABEL, ""))
            if pool and (last := earlier_pod(claim, pool, self._durations.consolidate_after, now)):
                changes = {"status": {"lastPodEventTime": _text(last)}}
                world.kubernetes.patch(f"{place_of(NODE_CLAIMS, claim)}/status", changes)


def earlier_end(claim: Object, most: int | None) -> datetime | None:
    """When a NodeClaim that is to go ends its pods, where Karpenter would wait longer.

    One without a grace period waits for its pods as long as they run: that must be seen.
    """
    metadata = claim["metadata"]
    if most is None or "deletionTimestamp" not in metadata or "terminationGracePeriod" not in claim["spec"]:
        return None
    end = _time(metadata["deletionTimestamp"]) + timedelta(seconds=most)
    known = metadata.get("annotations", {}).get(_END)
    return end if known and _time(known) > end else None


def earlier_pod(claim: Object, pool: Object, most: int | None, now: datetime) -> datetime | None:
    """When the last pod came or went, so that `consolidateAfter` is over once no pod has for `most` seconds."""
    after, status = pool["spec"].get("disruption", {}).get("consolidateAfter", NEVER), claim.get("status", {})
    begun = [one for one in status.get("conditions", []) if one["type"] == "Initialized" and one["status"] == "True"]
    if most is None or after == NEVER or not begun:
        return None
    quiet = now - _time(status.get("lastPodEventTime") or begun[0]["lastTransitionTime"])
    wanted = timedelta(seconds=seconds(after))
    return now - wanted if timedelta(seconds=most) <= quiet < wanted else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
