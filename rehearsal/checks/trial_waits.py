"""Waits of the trial of nodes: for pods to run, and for nodes, with their instances, to come and go."""

from __future__ import annotations

from dataclasses import dataclass, field

from rehearsal.cloud.capacity import QUOTA_CODES
from rehearsal.controllers.world import NODE_CLAIMS, NODES, Kubernetes, Object, place
from settings.pools.labels import POOL_LABEL

from .checking import DoesNotHold, NotTried
from .leftovers import Account
from .pods import CAPACITY_TYPE, INSTANCE_TYPE, Pods, until

DECIDED_SECONDS = 180
# Karpenter looks for nodes that it may take away every 10 s, and at each again 15 s later before it does so.
TAKEN_AWAY_SECONDS = 300
# Words of Karpenter's events.
AT_LIMIT = "exceed limits for nodepool"
_HELD = "No allowed disruptions for disruption reason {} due to blocking budget"


@dataclass
class TrialWaits:
    """The pods of a trial and the nodes that Karpenter buys for them."""

    kubernetes: Kubernetes
    account: Account
    pods: Pods = field(init=False)

    def __post_init__(self) -> None:
        self.pods = Pods(self.kubernetes)

    def claim(self, pod: str) -> Object:
        """The NodeClaim of the node on which a pod runs, as soon as it says which node that is."""
        return until(lambda: self.pods.claim_of(pod), f"the pod {pod} has a NodeClaim", seconds=DECIDED_SECONDS)

    def until_running(self, name: str) -> None:
        """Waits until a pod runs. Raises NotTried when a pool's limit admits no node for it."""

        def decided() -> bool:
            self.pods.run_again(name)
            return bool(self.pods.running(name)) or AT_LIMIT in self.pods.reasons().get(name, "")

        until(
            decided,
            f"the pod {name} runs",
            seconds=DECIDED_SECONDS,
            otherwise=lambda: self.pods.standing(name),
        )
        if not self.pods.running(name):
            raise NotTried(f"the limits of the pools admit no node for the pod {name}")

    def is_going(self, claim: Object) -> bool:
        """Whether a NodeClaim is being deleted, or is gone."""
        live = self.kubernetes.get(place(NODE_CLAIMS, claim["metadata"]["name"]))
        return live is None or "deletionTimestamp" in live["metadata"]

    def until_gone(self, claim: Object, reason: str) -> None:
        """Waits until a NodeClaim, its node and its instance are gone. Raises NotTried when a budget holds them."""
        name, node = claim["metadata"]["name"], claim["status"]["nodeName"]
        pool = claim["metadata"]["labels"][POOL_LABEL]
        try:
            until(
                lambda: (
                    not (self.kubernetes.get(place(NODE_CLAIMS, name)) or self._has_node(claim))
                    and not self._instance_runs(name)
                ),
                f"the node {node} and its instance are gone",
                seconds=TAKEN_AWAY_SECONDS,
            )
        except DoesNotHold:
            if self.is_blocked_by_budget(pool, reason):
                raise NotTried(f"a budget of the pool {pool} lets no node go at this time") from None
            raise

    def _has_node(self, claim: Object) -> bool:
        """Whether the claim's own node is there: its name, which is an address, may be another instance's by now."""
        node = self.kubernetes.get(place(NODES, claim["status"]["nodeName"]))
        return node is not None and node["spec"].get("providerID") == claim["status"]["providerID"]

    def is_blocked_by_budget(self, pool: str, reason: str) -> bool:
        """Whether Karpenter says that a budget of `pool` keeps nodes that it would take away for `reason`."""
        return _HELD.format(reason) in self.pods.blocked_disruptions(pool)

    def exceeded_quotas(self) -> list[str]:
        """The codes by which EC2 refused instances because of the account's quotas of vCPUs."""
        return sorted(one for one in QUOTA_CODES.values() if one in self.pods.refused_launches())

    def _instance_runs(self, claim: str) -> bool:
        filters = {"tag:karpenter.sh/nodeclaim": claim, "instance-state-name": "running"}
        asked = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        return bool(self.account.client("ec2").describe_instances(Filters=asked)["Reservations"])


def described(claim: Object) -> str:
    """What a NodeClaim is: `spot g5.xlarge of gpu`."""
    labels = claim["metadata"]["labels"]
    return f"{labels[CAPACITY_TYPE]} {labels[INSTANCE_TYPE]} of {labels[POOL_LABEL]}"


def has_drifted(claim: Object) -> bool:
    """Whether Karpenter says that a node is not as its pool asks any more."""
    conditions = claim["status"].get("conditions", [])
    return any(one["type"] == "Drifted" and one["status"] == "True" for one in conditions)


def part_about(reason: str, *, about: str) -> str:
    """The part of what Karpenter says of a pod that is `about` something: a pool, by its own name, or a taint."""
    parts = reason.removeprefix("Failed to schedule pod, ").split("; ")
    return next((part for part in parts if about in part), "")
