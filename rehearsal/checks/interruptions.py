"""What AWS announces of instances: on the event bus, whose rules bring it to Karpenter's queue."""

from __future__ import annotations

import json

from rehearsal.cloud.capacity import SPOT
from rehearsal.controllers.world import Object

from .leftovers import Account
from .pods import CAPACITY_TYPE

_SPOT_WARNING = "EC2 Spot Instance Interruption Warning"


def announce_interruption(account: Account, instance_id: str) -> None:
    """Announces that AWS takes back a spot instance, as it does two minutes before."""
    detail = json.dumps({"instance-id": instance_id, "instance-action": "terminate"})
    event = {"Source": "aws.ec2", "DetailType": _SPOT_WARNING, "Detail": detail}
    account.client("events").put_events(Entries=[event])


def is_running_spot(claim: Object) -> bool:
    """Whether a NodeClaim is a spot instance that nobody takes away yet."""
    metadata = claim["metadata"]
    is_spot = metadata["labels"].get(CAPACITY_TYPE) == SPOT
    return is_spot and "providerID" in claim.get("status", {}) and "deletionTimestamp" not in metadata
