"""Runs pods in the rehearsed cluster, watches them, and finds out why they stay pending. KWOK is their kubelet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rehearsal.controllers.world import NODE_CLAIMS, NODES, PODS, Kubernetes, Object, place

from .checking import DoesNotHold

NAMESPACE = "default"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CAPACITY_TYPE = "karpenter.sh/capacity-type"

_REPLICA_SETS = "/apis/apps/v1/replicasets"
_EVENTS = "/api/v1/events"
# The label of each pod created here. Its value is the pod's name, or that of its ReplicaSet.
TRIED = "rehearsal.gpulab.dev/name"
_APART = "rehearsal.gpulab.dev/apart"
_HOSTNAME = "kubernetes.io/hostname"
_COSTLY = str(2**31 - 1)
_POLL_SECONDS = 0.2
# The conditions of a NodeClaim until its node is ready, in Karpenter's order.
_NODE_IS_COMING = ("Launched", "Registered", "Initialized")
Found = TypeVar("Found")


def until(
    found: Callable[[], Found | None], what: str, *, seconds: float, otherwise: Callable[[], str] = lambda: ""
) -> Found:
    """Waits until `found` returns something true, and returns it. Else raises DoesNotHold with `otherwise`'s reason."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        if time.monotonic() > deadline:
            raise DoesNotHold(". ".join(filter(None, [f"not within {seconds:.0f} s: {what}", otherwise()])))
        time.sleep(_POLL_SECONDS)
    return result


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a pod needs: `requests` by resource, in Kubernetes' notation, and labels that its node must have.

    Karpenter must not disrupt a `lasting` pod, as with a notebook, and avoids to disrupt a `costly` one. Each pod with
    `apart` is on a different node. `beside` and `away_from` name a pod that is on the same node, or on another one,
    when this pod is scheduled.
    """

    requests: Mapping[str, str]
    selects: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    lasting: bool = False
    costly: bool = False
    apart: bool = False
    beside: str | None = None
    away_from: str | None = None

    def template(self, labels: Mapping[str, str]) -> Object:
        """Metadata and spec of a pod with this wish."""
        shunned = [{_APART: "true"}] if self.apart else []
        shunned += [{TRIED: self.away_from}] if self.away_from else []
        spec: dict[str, Any] = {
            "terminationGracePeriodSeconds": 1,
            "tolerations": list(self.tolerations),
            "nodeSelector": dict(self.selects),
            "affinity": {
                "podAffinity": _on_nodes_of([{TRIED: self.beside}] if self.beside else []),
                "podAntiAffinity": _on_nodes_of(shunned),
            },
            "containers": [
                {"name": "main", "image": "main", "resources": {"requests": self.requests, "limits": self.requests}}
            ],
        }
        return {
            "metadata": {
                "labels": {**labels, **({_APART: "true"} if self.apart else {})},
                "annotations": {
                    **({DO_NOT_DISRUPT: "true"} if self.lasting else {}),
                    **({"controller.kubernetes.io/pod-deletion-cost": _COSTLY} if self.costly else {}),
                },
            },
            "spec": spec,
        }


class Pods:
    """The pods of the default namespace, by name."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes
        self._wanted: dict[str, Object] = {}

    def run(self, name: str, wish: Wish, labels: Mapping[str, str] | None = None) -> None:
        """Creates a pod; does not wait."""
        template = wish.template({**(labels or {}), TRIED: name})
        pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": name}}
        self._wanted[name] = pod
        self._kubernetes.create(place(PODS, name, NAMESPACE), pod)

    def run_again(self, name: str) -> None:
        """Creates a pod of `run` again if it is gone though nobody deleted it.

        A node counts as empty until its pod is there. In a rehearsal Karpenter removes empty nodes after seconds, and
        on a busy machine that may happen before the pod arrives.
        """
        if name in self._wanted and not self._kubernetes.get(place(PODS, name, NAMESPACE)):
            self._kubernetes.create(place(PODS, name, NAMESPACE), self._wanted[name])

    def keep_running(self, name: str, wish: Wish) -> None:
        """Creates a ReplicaSet of one pod, which starts again elsewhere if its node is removed."""
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {TRIED: name}},
                "template": wish.template({TRIED: name}),
            },
        }
        self._kubernetes.create(place(_REPLICA_SETS, name, NAMESPACE), replica_set)

    def selected(self, selector: str) -> list[Object]:
        """All pods that match a label selector."""
        return self._kubernetes.list(PODS, labelSelector=selector)

    def delete(self, name: str) -> None:
        """Deletes a pod; does not wait."""
        self._wanted.pop(name, None)
        self._kubernetes.delete(place(PODS, name, NAMESPACE))

    def running(self, name: str) -> Object | None:
        """The pod of this name, or of the ReplicaSet of this name, once it runs."""
        return next(filter(is_running, self.selected(f"{TRIED}={name}")), None)

    def node_of(self, name: str) -> Object | None:
        """The node on which the pod runs, or None."""
        pod = self.running(name)
        return self._kubernetes.get(place(NODES, pod["spec"]["nodeName"])) if pod else None

    def claim_of(self, name: str) -> Object | None:
        """The NodeClaim of the node on which the pod runs, or None."""
        pod = self.running(name)
        claims = self._kubernetes.list(NODE_CLAIMS) if pod else []
        return next(
            (claim for claim in claims if pod and claim.get("status", {}).get("nodeName") == pod["spec"]["nodeName"]),
            None,
        )

    def reasons(self) -> dict[str, str]:
        """Karpenter's reasons for not creating a node, by the name of the pod."""
        return self._karpenter_events("FailedScheduling")

    def standing(self, name: str) -> str:
        """The state of a pod and of the nodes that are coming for it: why it does not run yet."""
        pods = self.selected(f"{TRIED}={name}")
        found = [] if pods else ["the pod no longer exists"]
        for pod in pods:
            messages = [
                condition["message"] for condition in pod["status"].get("conditions", []) if condition.get("message")
            ]
            node = pod["spec"].get("nodeName")
            found.append(
                f"the pod is {pod['status'].get('phase')}{f' on {node}' if node else ''}: {'; '.join(messages)}"
            )
        for claim in self._kubernetes.list(NODE_CLAIMS):
            lacking = [
                f"{condition['type']} ({condition.get('message') or condition.get('reason')})"
                for condition in claim.get("status", {}).get("conditions", [])
                if condition["status"] != "True" and condition["type"] in _NODE_IS_COMING
            ]
            if lacking:
                found.append(f"{claim['metadata']['name']} is not yet {', '.join(lacking)}")
        return ". ".join(filter(None, [self.reasons().get(name), *found]))

    def blocked_disruptions(self, pool: str) -> str:
        """Karpenter's messages about disruptions of a NodePool that a budget does not allow."""
        return self._karpenter_events("DisruptionBlocked").get(pool, "")

    def refused_launches(self) -> str:
        """Karpenter's messages about NodeClaims for which EC2 has no instance."""
        return " ".join(self._karpenter_events("InsufficientCapacityError").values())

    def _karpenter_events(self, reason: str) -> dict[str, str]:
        messages: dict[str, str] = {}
        for event in self._kubernetes.list(_EVENTS, fieldSelector=f"reason={reason}"):
            if event["source"].get("component") == "karpenter":
                name = event["involvedObject"]["name"]
                messages[name] = " ".join(filter(None, [messages.get(name), event["message"]]))
        return messages


def is_running(pod: Object) -> bool:
    """Whether a pod runs and is not being deleted."""
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def _on_nodes_of(groups: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """A required affinity or anti-affinity to the nodes of the pods with the labels of each group."""
    terms = [{"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": _HOSTNAME} for labels in groups]
    return {"requiredDuringSchedulingIgnoredDuringExecution": terms}
