"""When the machines that notebooks run on end: Karpenter replaces each one at a certain age, with all that runs there.

It deletes the NodeClaim at `expireAfter`. A notebook, which must not be disrupted, ends when `terminationGracePeriod`
has passed too (Karpenter, "Disruption": forceful methods, TerminationGracePeriod).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeAlias

from kubespawner.clients import shared_client

Ends: TypeAlias = Mapping[str, datetime]
"""The end of each machine, by its node's name."""

NODE_CLAIMS = ("karpenter.sh", "v1", "nodeclaims")
_LOG = logging.getLogger("gpulab.node_ends")
_REQUEST_SECONDS = 20
# Karpenter writes it when the end has begun, for whatever reason.
_ENDS_ANNOTATION = "karpenter.sh/nodeclaim-termination-timestamp"
_SECONDS = {"h": 3600, "m": 60, "s": 1}


async def known() -> Ends | None:
    """The ends of all machines that Karpenter knows; None where it cannot be asked. Notebooks start even so."""
    try:
        answer = await shared_client("CustomObjectsApi").list_cluster_custom_object(
            *NODE_CLAIMS, _request_timeout=_REQUEST_SECONDS
        )
        return ends(answer["items"])
    except Exception as error:  # the API server's, the network's, or a cluster without Karpenter
        # The hub has no right to read them where nobody buys machines.
        if getattr(error, "status", None) in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            return {}
        _LOG.warning("Cannot read NodeClaims, so it is not known when machines end: %s", error)
        return None


def ends(claims: Iterable[Mapping[str, Any]]) -> Ends:
    """When each machine that has joined ends, as far as that is known."""
    found = {}
    for claim in claims:
        node = claim.get("status", {}).get("nodeName")
        if node and (end := _end(claim)):
            found[node] = end
    return found


def _end(claim: Mapping[str, Any]) -> datetime | None:
    metadata, spec = claim["metadata"], claim["spec"]
    if begun := metadata.get("annotations", {}).get(_ENDS_ANNOTATION):
        return datetime.fromisoformat(begun)
    age, grace = seconds(spec.get("expireAfter")), seconds(spec.get("terminationGracePeriod"))
    # Without a grace period nothing ends a pod that must not be disrupted.
    if age is None or grace is None:
        return None
    return datetime.fromisoformat(metadata["creationTimestamp"]) + timedelta(seconds=age + grace)


def seconds(duration: str | None) -> int | None:
    """Seconds of a duration as Kubernetes writes it, such as 720h or 1h30m0s; None for Never or no duration."""
    parts = re.findall(r"(\d+)([hms])", duration or "")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts) if parts else None
