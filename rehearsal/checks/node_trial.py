"""Real pods on the nodes that the real Karpenter buys by the stack's own pools: what runs where, and what may not.

The steps build on each other and leave pods running, some of which must not be disrupted: the destroy that follows has
to take their nodes away. What takes minutes and hours on AWS is shortened (`controllers.starting`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rehearsal.cloud.capacity import ON_DEMAND, SPOT
from rehearsal.cloud.starting import be_out_of
from rehearsal.controllers.world import EC2_NODE_CLASSES, NODE_CLAIMS, NODES, Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError, Unreachable
from rehearsal.report import Check
from settings import EksSettings, NodePool
from settings.language.values import NEVER
from settings.pools.gpu_shares import GPU_RESOURCE, GPU_TAINT
from settings.pools.labels import POOL_LABEL

from .checking import DoesNotHold, NotTried, outcome, require, required
from .interruptions import announce_interruption, is_running_spot
from .leftovers import Account
from .pods import CAPACITY_TYPE, TRIED, Pods, Wish, is_running, until
from .trial_pods import (
    BURST,
    amount_requested,
    burst,
    cheapest,
    gpu_wish,
    gpus_of,
    is_open,
    limit,
    share,
    smallest_instance,
    tolerations,
    types_to_buy,
)
from .trial_waits import AT_LIMIT, DECIDED_SECONDS, TAKEN_AWAY_SECONDS, TrialWaits, described, has_drifted, part_about

# Of AL2023 there is no release of a day that is to come.
_NEWER_AMIS = {"AL2023": f"al2023@v{datetime.now(UTC):%Y%m%d}", "Bottlerocket": "bottlerocket@v99.0.0"}
_GPU, _NOTEBOOK, _INTOLERANT, _ON_DEMAND = "gpu", "notebook-gpu", "intolerant", "on-demand"
_STAYING, _GOING, _MOVED, _CPU_NOTEBOOK = "cpu-staying", "cpu-going", "cpu-moved", "notebook-cpu"
# Words of Karpenter's events, beside those in `trial_waits`.
_TAINT = f"did not tolerate taint (taint={GPU_TAINT.key}"
_TOO_LITTLE_LEFT = "no instance type has enough resources"
_BURST_LABEL = "rehearsal.gpulab.dev/burst"


@dataclass
class NodeTrial:
    """A trial under way on a stack that is up, with the AWS at `aws_url`; `show` gets the name of each step."""

    settings: EksSettings
    kubernetes: Kubernetes
    account: Account
    aws_url: str
    show: Callable[[str], None] = lambda step: None
    waits: TrialWaits = field(init=False)
    pods: Pods = field(init=False)
    _sold: set[str] = field(init=False)  # the instance types of the region
    _notebooks: dict[str, str] = field(init=False, default_factory=dict)  # their uids by name, once they run
    _claims: dict[str, Object] = field(init=False, default_factory=dict)  # of nodes that may go, by pod
    _before_burst: set[str] = field(init=False, default_factory=set)
    _emptied_at: float = field(init=False, default=0)
    _intolerants_reason: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.waits = TrialWaits(self.kubernetes, self.account)
        self.pods = self.waits.pods
        pages = self.account.client("ec2").get_paginator("describe_instance_type_offerings").paginate()
        self._sold = {one["InstanceType"] for page in pages for one in page["InstanceTypeOfferings"]}

    def run(self) -> list[Check]:
        """Every step's result, in the order of the steps; consolidation takes its time beside the steps before it."""
        decisions: dict[str, Callable[[], str]] = {
            "a GPU pod runs on the cheapest instance": self.gpu_pods_run,
            "a CPU pod runs, but not on a GPU node": self.cpu_pods_run,
            "a GPU pod without toleration stays pending": self.intolerant_pod_waits,
            f"{BURST} GPU pods at once are all decided": self.burst_is_decided,
            "an announced interruption drains a node": self.interruption_is_heeded,
        }
        disruptions: dict[str, Callable[[], str]] = {
            "a newer image leaves notebooks alone": self.notebook_does_not_drift,
            "consolidation leaves notebooks alone": self.notebook_is_not_consolidated,
        }
        last: dict[str, Callable[[], str]] = {
            "on-demand is bought when there is no spot": self.on_demand_is_bought,
            "an empty GPU node is removed": self.empty_node_goes,
        }
        # With one pool, the pod for on-demand would run on the empty node.
        last = last if len(self._pools_with_both()) > 1 else dict(reversed(last.items()))
        return [*self._outcomes(decisions), *self._outcomes(disruptions), *self._outcomes(last)]

    def gpu_pods_run(self) -> str:
        """A pod for one GPU of each pool, and a notebook of the first pool, each run on their own node."""
        pools = self._gpu_pools()
        pods = {name: f"{_GPU}-{number}" if number else _GPU for number, name in enumerate(pools)}
        self._run_intolerant_pod()
        started = time.monotonic()
        for name, pod in pods.items():
            self.pods.run(pod, gpu_wish(name, pools[name], apart=True))
        for pod in pods.values():
            self.waits.until_running(pod)
        spent = time.monotonic() - started
        self._claims[_GPU] = self.waits.claim(_GPU)
        bought = [cheapest(self.waits.claim(pod), pools[name], self._sold) for name, pod in pods.items()]
        for pod in pods.values():
            self._has_what_was_expected(pod)
        self.pods.run(_NOTEBOOK, gpu_wish(*next(iter(pools.items())), apart=True, lasting=True))
        self._note_notebook(_NOTEBOOK)
        return f"{'; '.join(bought)}; in {spent:.1f} s"

    def cpu_pods_run(self) -> str:
        """Pods that select no pool, while there are GPU nodes with CPUs to spare: two nodes, a notebook on the one."""
        pools = {name: pool for name, pool in self._pools() if not pool.is_gpu}
        if not pools:
            raise NotTried("the stack has no pool without GPUs that buys spot or on-demand")
        tolerated = tolerations(min(pools.values(), key=lambda pool: len(pool.taints)))

        def wish(cpus: str, **more: Any) -> Wish:
            return Wish(requests={"cpu": cpus}, tolerations=tolerated, **more)

        self.pods.run(_STAYING, wish("500m", apart=True))
        self.waits.until_running(_STAYING)
        self.pods.run(_CPU_NOTEBOOK, wish("250m", lasting=True, beside=_STAYING))
        self.pods.run(_GOING, wish("500m", apart=True))
        self._note_notebook(_CPU_NOTEBOOK)
        names = [_STAYING, _CPU_NOTEBOOK]
        with contextlib.suppress(NotTried):  # where the pools' limits admit a second node
            self.waits.until_running(_GOING)
            # Karpenter would rather disrupt the notebook's node, if it might.
            self.pods.keep_running(_MOVED, wish("250m", away_from=_STAYING, costly=True))
            self.waits.until_running(_MOVED)
            names += [_GOING, _MOVED]
            self._claims[_GOING] = self.waits.claim(_GOING)
        nodes = {node["metadata"]["name"]: node for node in map(self.pods.node_of, names) if node}
        for name, node in nodes.items():
            pool = node["metadata"]["labels"].get(POOL_LABEL)
            require(pool in pools, f"a pod runs on {name}, which is of {f'the pool {pool}' if pool else 'no pool'}")
            has_gpus = any(resource.startswith("nvidia.com/") for resource in node["status"]["capacity"])
            require(not has_gpus, f"a pod runs on {name}, which has GPUs")
        # From here on both nodes are hardly used: Karpenter may take one away.
        for name in (_STAYING, _GOING):
            self.pods.delete(name)
        return f"{len(names)} pods on {', '.join(map(described, nodes.values()))}"

    def intolerant_pod_waits(self) -> str:
        """A pod that asked for a GPU, tolerating nothing, before there was any node; now some have GPUs to spare."""
        self._gpu_pools()
        require(not self.pods.running(_INTOLERANT), "it runs")
        said = self.pods.reasons().get(_INTOLERANT, "nothing")
        return required(self._intolerants_reason, f"Karpenter does not give the taint as the reason, but: {said}")

    def burst_is_decided(self) -> str:
        """Many GPU pods at once, for more in each pool than it may have: each runs, or Karpenter says why not."""
        pools = self._gpu_pools()
        self._before_burst = {claim["metadata"]["name"] for claim in self.kubernetes.list(NODE_CLAIMS)}
        started = time.monotonic()
        wishes = burst(pools, self._sold)
        for number, (name, wish) in enumerate(wishes):
            self.pods.run(f"burst-{number}", wish, {_BURST_LABEL: name})
        until(self._burst_decided, "each pod has a node or a reason", seconds=DECIDED_SECONDS)
        spent = time.monotonic() - started
        found = [self._decided(name, pool, amount_requested(wishes, name)) for name, pool in pools.items()]
        return f"in {spent:.1f} s; {'; '.join(found)}"

    def interruption_is_heeded(self) -> str:
        """AWS announces on the event bus that it takes back a spot instance of the burst."""
        try:
            spot = [one for one in self._of_burst() if is_running_spot(one)]
            if not spot:
                raise NotTried("no node of the burst is a spot instance")
            claim = spot[0]
            started = time.monotonic()
            announce_interruption(self.account, claim["status"]["providerID"].rpartition("/")[2])
            until(lambda: self.waits.is_going(claim), f"Karpenter drains {described(claim)}", seconds=DECIDED_SECONDS)
            return f"{described(claim)} is drained {time.monotonic() - started:.1f} s after the announcement"
        finally:
            for pod in self.pods.selected(_BURST_LABEL):
                self.pods.delete(pod["metadata"]["name"])
            for claim in self._of_burst():
                self.kubernetes.delete(place(NODE_CLAIMS, claim["metadata"]["name"]))
            # From here on the node of the first GPU pod is empty.
            self.pods.delete(_GPU)
            self._emptied_at = time.monotonic()

    def notebook_does_not_drift(self) -> str:
        """A newer image, outside the pool's maintenance window: the node of a notebook is out of date, and stays."""
        name, pool = next(iter(self._gpu_pools().items()))
        self._undisrupted(_NOTEBOOK)
        window, now = pool.maintenance_window, datetime.now(UTC)
        if window and (is_open(window, now) or is_open(window, now + timedelta(seconds=TAKEN_AWAY_SECONDS))):
            raise NotTried(f"the maintenance window of the pool {name} is open, or about to: {window.schedule} (UTC)")
        node_class, newer = place(EC2_NODE_CLASSES, name), _NEWER_AMIS[pool.ami.family]
        terms = required(self.kubernetes.get(node_class), f"{node_class} does not exist")["spec"]["amiSelectorTerms"]
        self.kubernetes.patch(node_class, {"spec": {"amiSelectorTerms": [{"alias": newer}]}})
        try:
            until(
                lambda: has_drifted(self.waits.claim(_NOTEBOOK)),
                "the notebook's node has drifted",
                seconds=DECIDED_SECONDS,
            )
            until(
                lambda: self.waits.is_blocked_by_budget(name, "Drifted"),
                "Karpenter reports that a budget blocks the replacement of drifted nodes",
                seconds=TAKEN_AWAY_SECONDS,
            )
        finally:
            self.kubernetes.patch(node_class, {"spec": {"amiSelectorTerms": terms}})
        kept = self._undisrupted(_NOTEBOOK)
        return f"{pool.ami.alias} to {newer}: the notebook stays on {kept}, although its node is outdated"

    def notebook_is_not_consolidated(self) -> str:
        """Of two CPU nodes that are hardly used one goes: that without a notebook, whose pod moves to the other."""
        self._undisrupted(_CPU_NOTEBOOK)
        claim = self._claims.get(_GOING)
        if claim is None:
            raise NotTried("there is no second CPU node")
        name = claim["metadata"]["labels"][POOL_LABEL]
        consolidation = self.settings.node_pools[name].consolidation
        if consolidation.policy == "WhenEmpty" or consolidation.after == NEVER:
            raise NotTried(f"gpulab:nodePools.{name}.consolidation moves no pods")
        self.waits.until_gone(claim, "Underutilized")
        self.waits.until_running(_MOVED)
        return f"{described(claim)} went, its pod moved; the notebook stays on {self._undisrupted(_CPU_NOTEBOOK)}"

    def empty_node_goes(self) -> str:
        """The node of a GPU pod that ends."""
        name, pool = next(iter(self._gpu_pools().items()))
        claim = required(self._claims.get(_GPU), "no GPU pod ran")
        if pool.consolidation.after == NEVER:
            raise NotTried(f"gpulab:nodePools.{name}.consolidation.after is {NEVER}")
        self.waits.until_gone(claim, "Empty")
        spent = time.monotonic() - self._emptied_at
        return f"{described(claim)} and its instance, {spent:.0f} s after its pod ({pool.consolidation.after} on AWS)"

    def on_demand_is_bought(self) -> str:
        """A GPU pod while there is no spot instance to be had. It stays so: Karpenter is about to go."""
        pools = self._pools_with_both()
        if not pools:
            raise NotTried("no GPU pool of the stack takes both spot and on-demand")
        name, pool = list(pools.items())[-1]
        if (emptied := self._claims.get(_GPU)) and emptied["metadata"]["labels"][POOL_LABEL] == name:
            self.kubernetes.delete(place(NODE_CLAIMS, emptied["metadata"]["name"]))  # the pod would run there
        be_out_of(self.aws_url, SPOT)
        # It comes again where Karpenter takes its node for an empty one, which it was until the pod got there.
        self.pods.keep_running(_ON_DEMAND, gpu_wish(name, pool, apart=True))
        self.waits.until_running(_ON_DEMAND)
        claim = self.waits.claim(_ON_DEMAND)
        require(claim["metadata"]["labels"][CAPACITY_TYPE] == ON_DEMAND, f"it runs on {described(claim)}")
        return described(claim)

    def running(self) -> list[Object]:
        """The trial's pods that run at this time; none when the API server does not say."""
        try:
            return [pod for pod in self.pods.selected(TRIED) if is_running(pod)]
        except (ApiError, Unreachable):
            return []

    def _outcomes(self, steps: Mapping[str, Callable[[], str]]) -> Iterator[Check]:
        for name, step in steps.items():
            self.show(name)
            yield outcome(name, step)

    def _pools(self) -> Iterator[tuple[str, NodePool]]:
        """The pools that buy what can be bought here: no reservations, and no type whose price is not known."""
        for name, pool in self.settings.node_pools.items():
            if {SPOT, ON_DEMAND} & {*pool.capacity_types} and types_to_buy(pool, self._sold):
                yield name, pool

    def _pools_with_both(self) -> dict[str, NodePool]:
        """The GPU pools that take both spot and on-demand."""
        both = {SPOT, ON_DEMAND}
        return {name: pool for name, pool in self._pools() if pool.is_gpu and both <= {*pool.capacity_types}}

    def _gpu_pools(self) -> dict[str, NodePool]:
        pools = {name: pool for name, pool in self._pools() if pool.is_gpu}
        if not pools:
            raise NotTried("the stack has no GPU pool that buys spot or on-demand")
        return pools

    def _run_intolerant_pod(self) -> None:
        """Comes first: once a pool is at its limit, Karpenter gives that as the reason."""
        others = [one for _, pool in self._pools() for one in tolerations(pool)]
        self.pods.run(_INTOLERANT, Wish(requests={GPU_RESOURCE: "1"}, tolerations=others))
        with contextlib.suppress(DoesNotHold):  # the step that looks at it says so
            self._intolerants_reason = until(
                lambda: part_about(self.pods.reasons().get(_INTOLERANT, ""), about=_TAINT),
                "Karpenter says that a pod does not tolerate a pool's taint",
                seconds=DECIDED_SECONDS,
            )

    def _has_what_was_expected(self, pod: str) -> None:
        """Whether the pod's node has the GPUs, or shares of them, for which Karpenter bought it."""
        claim, node = self.waits.claim(pod), required(self.pods.node_of(pod), f"{pod} does not run")
        expected, has = (gpus_of(one["status"]["capacity"]) for one in (claim, node))
        require(has == expected, f"{described(claim)} has {has}, but Karpenter expected {expected}")

    def _note_notebook(self, name: str) -> None:
        """Notes which pod a notebook is once it runs, if a pool's limit admits it."""
        with contextlib.suppress(NotTried):
            self.waits.until_running(name)
            self._notebooks[name] = required(self.pods.running(name), f"{name} is gone")["metadata"]["uid"]

    def _undisrupted(self, notebook: str) -> str:
        """The node of a notebook, which is the one that was started."""
        started = self._notebooks.get(notebook)
        if started is None:
            raise NotTried(f"the pod {notebook} did not run")
        pod = self.pods.running(notebook)
        require(pod is not None and pod["metadata"]["uid"] == started, "the notebook was disrupted")
        return described(self.waits.claim(notebook))

    def _of_burst(self) -> list[Object]:
        """The NodeClaims of the burst."""
        claims = self.kubernetes.list(NODE_CLAIMS)
        return [one for one in claims if one["metadata"]["name"] not in self._before_burst]

    def _burst_decided(self) -> bool:
        reasons = self.pods.reasons()
        return all(is_running(pod) or pod["metadata"]["name"] in reasons for pod in self.pods.selected(_BURST_LABEL))

    def _decided(self, name: str, pool: NodePool, asked: int) -> str:
        """How many pods of the burst run in a pool; if more than its limit was `asked`, what the others wait for.

        Karpenter may buy a node too many, as it checks limits in parallel (its documentation, "spec.limits").
        """
        pods, reasons = self.pods.selected(f"{_BURST_LABEL}={name}"), self.pods.reasons()
        nodes = self.kubernetes.list(NODES, labelSelector=f"{POOL_LABEL}={name}")
        resource, _ = share(pool)
        gpus, most = sum(int(node["status"]["capacity"].get(resource, 0)) for node in nodes), limit(pool)
        waiting = [reasons.get(pod["metadata"]["name"], "") for pod in pods if not is_running(pod)]
        found = f"{name}: {len(pods) - len(waiting)} run, {len(waiting)} wait at {gpus} of {most} {resource}"
        if asked <= most:
            return found
        limited = [part for one in waiting if AT_LIMIT in (part := part_about(one, about=f"NodePool={name})"))]
        # What is left may be enough for a machine, and for none that has as many GPUs as a pod asks for.
        if not limited and most - gpus < smallest_instance(pool, asked // len(pods), self._sold):
            limited = [_TOO_LITTLE_LEFT for reason in waiting if _TOO_LITTLE_LEFT in reason]
        limited = limited or self.waits.exceeded_quotas()
        require(bool(limited), f"no pod waits for the limit of the pool {name}: {waiting[:1] or 'all run'}")
        return f"{found} ({limited[0]})"
