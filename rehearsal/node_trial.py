"""Real pods on the nodes that the real Karpenter buys by the stack's own pools: what runs where, and what may not.

The steps build on each other and leave pods running, some of which must not be disrupted: the destroy that follows has
to take their nodes away. What takes minutes and hours on AWS is shortened (`controllers.starting`).
"""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from components.gpu_sharing import GPU_TAINT
from components.node_pools import POOL_LABEL
from contracts import InstanceType, instance_types
from settings import NodePool, Settings
from settings.gpu_shares import GPU_RESOURCE, shares
from settings.node_pools import TWIN_SUFFIX, MaintenanceWindow
from settings.schedules import MINUTES_A_DAY, MINUTES_A_WEEK, weekly_starts
from settings.values import NEVER, seconds

from .checks import DoesNotHold, NotTried, outcome, require, required
from .controllers.instance_types import ON_DEMAND, SPOT, offers_spot, set_spot_out
from .controllers.starting import GRACE_PERIOD_SECONDS
from .controllers.world import EC2_NODE_CLASSES, NODE_CLAIMS, NODES, Kubernetes, Object, place
from .engine import Result
from .leftovers import Account
from .pods import CAPACITY_TYPE, DO_NOT_DISRUPT, INSTANCE_TYPE, TRIED, Pods, Wish, is_running, until
from .providers.kubernetes.client import ApiError, Unreachable
from .report import Check

BURST = 50
DECIDED_SECONDS = 180
# Karpenter looks for nodes that it may take away every 10 s, and at each again 15 s later before it does so.
_TAKEN_AWAY_SECONDS = 300
_NEWER_AMIS = {"AL2023": "al2023@v20991231", "Bottlerocket": "bottlerocket@v99.0.0"}
_GPU, _NOTEBOOK, _INTOLERANT, _ON_DEMAND = "gpu", "notebook-gpu", "intolerant", "on-demand"
_STAYING, _GOING, _MOVED, _CPU_NOTEBOOK = "cpu-staying", "cpu-going", "cpu-moved", "notebook-cpu"
# Words of Karpenter's events.
_LIMIT, _TAINT = "exceed limits for nodepool", f"did not tolerate taint (taint={GPU_TAINT['key']}"
_TOO_LITTLE_LEFT = "no instance type has enough resources"
_HELD = "No allowed disruptions for disruption reason {} due to blocking budget"
_BURST_LABEL = "rehearsal.gpulab.dev/burst"


@dataclass
class NodeTrial:
    """A trial under way on a stack that is up. `folder` is the controllers'; `show` is told what is being tried."""

    settings: Settings
    kubernetes: Kubernetes
    account: Account
    folder: Path
    show: Callable[[str], None] = lambda step: None
    pods: Pods = field(init=False)
    _notebooks: dict[str, str] = field(init=False, default_factory=dict)  # their uids by name, once they run
    _claims: dict[str, Object] = field(init=False, default_factory=dict)  # of nodes that may go, by pod
    _emptied_at: float = field(init=False, default=0)
    _intolerants_reason: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.pods = Pods(self.kubernetes)

    def run(self) -> list[Check]:
        """Every step's result, in the order of the steps; consolidation takes its time beside the steps before it."""
        decisions: dict[str, Callable[[], str]] = {
            "a GPU pod runs on the cheapest instance": self.gpu_pods_run,
            "a CPU pod runs, and on no GPU node": self.cpu_pods_run,
            "a GPU pod without toleration stays pending": self.intolerant_pod_waits,
            f"{BURST} GPU pods at once are all decided": self.burst_is_decided,
        }
        disruptions: dict[str, Callable[[], str]] = {
            "a newer image leaves notebooks alone": self.notebook_does_not_drift,
            "consolidation leaves notebooks alone": self.notebook_is_not_consolidated,
            "a GPU node that is empty goes": self.empty_node_goes,
            "on-demand is bought while spot is out": self.on_demand_is_bought,
        }
        return [*self._outcomes(decisions), *self._outcomes(disruptions)]

    def gpu_pods_run(self) -> str:
        """A pod for one GPU of each pool, and a notebook of the first, each on a node of its own."""
        pools = self._gpu_pools()
        pods = {name: f"{_GPU}-{number}" if number else _GPU for number, name in enumerate(pools)}
        self._run_intolerant_pod()
        started = time.monotonic()
        for name, pod in pods.items():
            self.pods.run(pod, _gpu_wish(name, pools[name], apart=True))
        for pod in pods.values():
            self._until_running(pod)
        spent = time.monotonic() - started
        self._claims[_GPU] = self._claim(_GPU)
        bought = [_cheapest(self._claim(pod), pools[name]) for name, pod in pods.items()]
        self.pods.run(_NOTEBOOK, _gpu_wish(*next(iter(pools.items())), apart=True, lasting=True))
        self._note_notebook(_NOTEBOOK)
        return f"{'; '.join(bought)}; in {spent:.1f} s"

    def cpu_pods_run(self) -> str:
        """Pods that select no pool, while there are GPU nodes with CPUs to spare: two nodes, a notebook on the one."""
        pools = {name: pool for name, pool in self._pools() if not pool.is_gpu}
        if not pools:
            raise NotTried("the stack has no pool without GPUs that buys spot or on-demand")
        tolerations = _tolerations(min(pools.values(), key=lambda pool: len(pool.taints)))

        def wish(cpus: str, **more: Any) -> Wish:
            return Wish(requests={"cpu": cpus}, tolerations=tolerations, **more)

        self.pods.run(_STAYING, wish("500m", apart=True))
        self._until_running(_STAYING)
        self.pods.run(_CPU_NOTEBOOK, wish("250m", lasting=True, beside=_STAYING))
        self.pods.run(_GOING, wish("500m", apart=True))
        self._note_notebook(_CPU_NOTEBOOK)
        names = [_STAYING, _CPU_NOTEBOOK]
        with contextlib.suppress(NotTried):  # where the pools' limits admit a second node
            self._until_running(_GOING)
            # Karpenter would rather disrupt the notebook's node, if it might.
            self.pods.keep_running(_MOVED, wish("250m", away_from=_STAYING, costly=True))
            self._until_running(_MOVED)
            names += [_GOING, _MOVED]
            self._claims[_GOING] = self._claim(_GOING)
        nodes = {node["metadata"]["name"]: node for node in map(self.pods.node_of, names) if node}
        for name, node in nodes.items():
            pool = node["metadata"]["labels"].get(POOL_LABEL)
            require(pool in pools, f"a pod runs on {name}, which is of {f'the pool {pool}' if pool else 'no pool'}")
            has_gpus = any(resource.startswith("nvidia.com/") for resource in node["status"]["capacity"])
            require(not has_gpus, f"a pod runs on {name}, which has GPUs")
        # From here on both nodes are hardly used: Karpenter may take one away.
        for name in (_STAYING, _GOING):
            self.pods.delete(name)
        return f"{len(names)} pods on {', '.join(map(_described, nodes.values()))}"

    def intolerant_pod_waits(self) -> str:
        """A pod that asked for a GPU, tolerating nothing, before there was any node; now some have GPUs to spare."""
        self._gpu_pools()
        require(not self.pods.running(_INTOLERANT), "it runs")
        said = self.pods.reasons().get(_INTOLERANT, "nothing")
        return required(self._intolerants_reason, f"Karpenter names no taint as the reason; it says: {said}")

    def burst_is_decided(self) -> str:
        """Many GPU pods at once, for more in each pool than it may have: each runs, or Karpenter says why not."""
        pools = self._gpu_pools()
        before = {claim["metadata"]["name"] for claim in self.kubernetes.list(NODE_CLAIMS)}
        started = time.monotonic()
        wishes = burst(pools)
        for number, (name, wish) in enumerate(wishes):
            self.pods.run(f"burst-{number}", wish, {_BURST_LABEL: name})
        try:
            until(self._burst_decided, "each has a node or a reason", seconds=DECIDED_SECONDS)
            spent = time.monotonic() - started
            told = [self._decided(name, pool, _asked(wishes, name)) for name, pool in pools.items()]
        finally:
            for pod in self.pods.selected(_BURST_LABEL):
                self.pods.delete(pod["metadata"]["name"])
            for claim in self.kubernetes.list(NODE_CLAIMS):
                if claim["metadata"]["name"] not in before:
                    self.kubernetes.delete(place(NODE_CLAIMS, claim["metadata"]["name"]))
            # From here on the node of the first GPU pod is empty.
            self.pods.delete(_GPU)
            self._emptied_at = time.monotonic()
        return f"in {spent:.1f} s; {'; '.join(told)}"

    def notebook_does_not_drift(self) -> str:
        """A newer image, outside the pool's maintenance window: the node of a notebook is out of date, and stays."""
        name, pool = next(iter(self._gpu_pools().items()))
        self._undisrupted(_NOTEBOOK)
        window, now = pool.maintenance_window, datetime.now(UTC)
        if window and (is_open(window, now) or is_open(window, now + timedelta(seconds=_TAKEN_AWAY_SECONDS))):
            raise NotTried(f"the maintenance window of the pool {name} is open, or about to: {window.schedule} (UTC)")
        node_class, newer = place(EC2_NODE_CLASSES, name), _NEWER_AMIS[pool.ami.family]
        terms = self._live(node_class)["spec"]["amiSelectorTerms"]
        self.kubernetes.patch(node_class, {"spec": {"amiSelectorTerms": [{"alias": newer}]}})
        try:
            until(
                lambda: _has_drifted(self._claim(_NOTEBOOK)), "the notebook's node has drifted", seconds=DECIDED_SECONDS
            )
            until(
                lambda: _HELD.format("Drifted") in self.pods.blocked_disruptions(f"{name}{TWIN_SUFFIX}"),
                "Karpenter says that a budget holds what has drifted",
                seconds=_TAKEN_AWAY_SECONDS,
            )
        finally:
            self.kubernetes.patch(node_class, {"spec": {"amiSelectorTerms": terms}})
        kept = self._undisrupted(_NOTEBOOK)
        return f"{pool.ami.alias} to {newer}: the notebook stays on {kept}, though its node is out of date"

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
        self._until_gone(claim, "Underutilized")
        self._until_running(_MOVED)
        return f"{_described(claim)} went, its pod moved; the notebook stays on {self._undisrupted(_CPU_NOTEBOOK)}"

    def empty_node_goes(self) -> str:
        """The node of a GPU pod that ends."""
        name, pool = next(iter(self._gpu_pools().items()))
        claim = required(self._claims.get(_GPU), "no GPU pod ran")
        if pool.consolidation.after == NEVER:
            raise NotTried(f"gpulab:nodePools.{name}.consolidation.after is {NEVER}")
        self._until_gone(claim, "Empty")
        spent = time.monotonic() - self._emptied_at
        return f"{_described(claim)} and its instance, {spent:.0f} s after its pod ({pool.consolidation.after} on AWS)"

    def on_demand_is_bought(self) -> str:
        """A GPU pod while there is no spot instance to be had. It stays so: Karpenter is about to go."""
        pools = {name: pool for name, pool in self._gpu_pools().items() if {SPOT, ON_DEMAND} <= {*pool.capacity_types}}
        if not pools:
            raise NotTried("no GPU pool of the stack takes both spot and on-demand")
        name, pool = next(iter(pools.items()))
        if emptied := self._claims.get(_GPU):  # where it is to stay, the pod would run there
            self.kubernetes.delete(place(NODE_CLAIMS, emptied["metadata"]["name"]))
        set_spot_out(self.folder, out=True)
        until(lambda: not offers_spot(self.folder), "Karpenter starts without spot", seconds=DECIDED_SECONDS)
        # It comes again where Karpenter takes its node for an empty one, which it was until the pod got there.
        self.pods.keep_running(_ON_DEMAND, _gpu_wish(name, pool, apart=True))
        self._until_running(_ON_DEMAND)
        claim = self._claim(_ON_DEMAND)
        require(claim["metadata"]["labels"][CAPACITY_TYPE] == ON_DEMAND, f"it runs on {_described(claim)}")
        return _described(claim)

    def running(self) -> list[Object]:
        """The trial's pods that run at this time; none when the API server does not say."""
        try:
            return [pod for pod in self.pods.selected(TRIED) if is_running(pod)]
        except (ApiError, Unreachable):
            return []

    def drained(self, pods: list[Object], destroy: Result) -> str:
        """What became of the `pods` that ran when `destroy` began, on nodes that had to go."""
        lasting = [pod for pod in pods if DO_NOT_DISRUPT in pod["metadata"].get("annotations", {})]
        if not lasting:
            raise NotTried("no pod ran that must not be disrupted")
        nodes = {pod["spec"]["nodeName"] for pod in pods}
        left = [name for name in nodes if self.kubernetes.get(place(NODES, name))]
        require(not left, f"{', '.join(left)} are left")
        began = min(step.at for step, _ in destroy.begun if step.type.endswith(":NodePool"))
        ended = max(step.at for step in destroy.steps if step.type.endswith(":NodePool"))
        periods = {f"{pool.termination_grace_period}" for pool in self.settings.node_pools.values()}
        return (
            f"{len(nodes)} nodes with {len(pods)} pods, {len(lasting)} not to be disrupted, in {ended - began:.1f} s;"
            f" a pod may hold its node for {GRACE_PERIOD_SECONDS} s here, for {', '.join(sorted(periods))} on AWS"
        )

    def _outcomes(self, steps: Mapping[str, Callable[[], str]]) -> Iterator[Check]:
        for name, step in steps.items():
            self.show(name)
            yield outcome(name, step)

    def _pools(self) -> Iterator[tuple[str, NodePool]]:
        """The pools that buy what can be bought here: no reservations, and no type whose price is not known."""
        for name, pool in self.settings.node_pools.items():
            if {SPOT, ON_DEMAND} & {*pool.capacity_types} and types_to_buy(pool):
                yield name, pool

    def _gpu_pools(self) -> dict[str, NodePool]:
        pools = {name: pool for name, pool in self._pools() if pool.is_gpu}
        if not pools:
            raise NotTried("the stack has no GPU pool that buys spot or on-demand")
        return pools

    def _live(self, path: str) -> Object:
        return required(self.kubernetes.get(path), f"{path} is not there")

    def _claim(self, pod: str) -> Object:
        """The NodeClaim of the node on which a pod runs, as soon as it says which node that is."""
        return until(lambda: self.pods.claim_of(pod), f"the pod {pod} has a NodeClaim", seconds=DECIDED_SECONDS)

    def _until_running(self, name: str) -> None:
        """Waits until a pod runs. Raises NotTried when a pool's limit admits no node for it."""

        def decided() -> bool:
            self.pods.run_again(name)
            return bool(self.pods.running(name)) or _LIMIT in self.pods.reasons().get(name, "")

        until(
            decided,
            f"the pod {name} runs",
            seconds=DECIDED_SECONDS,
            otherwise=lambda: self.pods.standing(name),
        )
        if not self.pods.running(name):
            raise NotTried(f"the limits of the pools admit no node for the pod {name}")

    def _until_gone(self, claim: Object, reason: str) -> None:
        """Waits until a NodeClaim, its node and its instance are gone. Raises NotTried when a budget holds them."""
        name, node = claim["metadata"]["name"], claim["status"]["nodeName"]
        paths = (place(NODE_CLAIMS, name), place(NODES, node))
        pool = claim["metadata"]["labels"][POOL_LABEL]
        try:
            until(
                lambda: not any(map(self.kubernetes.get, paths)) and not self._instance_runs(name),
                f"the node {node} and its instance are gone",
                seconds=_TAKEN_AWAY_SECONDS,
            )
        except DoesNotHold:
            if _HELD.format(reason) in self.pods.blocked_disruptions(f"{pool}{TWIN_SUFFIX}"):
                raise NotTried(f"a budget of the pool {pool} lets no node go at this time") from None
            raise

    def _instance_runs(self, claim: str) -> bool:
        filters = {"tag:karpenter.sh/nodeclaim": claim, "instance-state-name": "running"}
        asked = [{"Name": name, "Values": [value]} for name, value in filters.items()]
        return bool(self.account.client("ec2").describe_instances(Filters=asked)["Reservations"])

    def _run_intolerant_pod(self) -> None:
        """Comes first: once a pool is at its limit, Karpenter gives that as the reason."""
        others = [one for _, pool in self._pools() for one in _tolerations(pool)]
        self.pods.run(_INTOLERANT, Wish(requests={GPU_RESOURCE: "1"}, tolerations=others))
        with contextlib.suppress(DoesNotHold):  # the step that looks at it says so
            self._intolerants_reason = until(
                lambda: _said(self.pods.reasons().get(_INTOLERANT, ""), about=_TAINT),
                "Karpenter says that a pod does not tolerate a pool's taint",
                seconds=DECIDED_SECONDS,
            )

    def _note_notebook(self, name: str) -> None:
        """Notes which pod a notebook is once it runs, if a pool's limit admits it."""
        with contextlib.suppress(NotTried):
            self._until_running(name)
            self._notebooks[name] = required(self.pods.running(name), f"{name} is gone")["metadata"]["uid"]

    def _undisrupted(self, notebook: str) -> str:
        """The node of a notebook, which is the one that was started."""
        started = self._notebooks.get(notebook)
        if started is None:
            raise NotTried(f"the pod {notebook} did not run")
        pod = self.pods.running(notebook)
        require(pod is not None and pod["metadata"]["uid"] == started, "the notebook was disrupted")
        return _described(self._claim(notebook))

    def _burst_decided(self) -> bool:
        reasons = self.pods.reasons()
        return all(is_running(pod) or pod["metadata"]["name"] in reasons for pod in self.pods.selected(_BURST_LABEL))

    def _decided(self, name: str, pool: NodePool, asked: int) -> str:
        """How many pods of the burst run in a pool, and that the others wait for its limit if they `asked` for more.

        Karpenter may buy a node too many: it checks limits in parallel, on what it has counted so far (its
        documentation of NodePools, "spec.limits").
        """
        pods, reasons = self.pods.selected(f"{_BURST_LABEL}={name}"), self.pods.reasons()
        nodes = self.kubernetes.list(NODES, labelSelector=f"{POOL_LABEL}={name}")
        resource, _ = _share(pool)
        gpus, most = sum(int(node["status"]["capacity"].get(resource, 0)) for node in nodes), _limit(pool)
        waiting = [reasons.get(pod["metadata"]["name"], "") for pod in pods if not is_running(pod)]
        found = f"{name}: {len(pods) - len(waiting)} run, {len(waiting)} wait at {gpus} of {most} {resource}"
        if asked <= most:
            return found
        limited = [said for reason in waiting if _LIMIT in (said := _said(reason, about=f"NodePool={name})"))]
        # What is left may be enough for a machine, and for none that has as many GPUs as a pod asks for.
        if not limited and most - gpus < smallest_machine(pool, asked // len(pods)):
            limited = [_TOO_LITTLE_LEFT for reason in waiting if _TOO_LITTLE_LEFT in reason]
        require(bool(limited), f"no pod waits for the limit of the pool {name}: {waiting[:1] or 'all run'}")
        return f"{found} ({limited[0]})"


def is_open(window: MaintenanceWindow, now: datetime) -> bool:
    """Whether a pool's maintenance window is open at the time `now`, in UTC."""
    minute = (now.isoweekday() % 7) * MINUTES_A_DAY + now.hour * 60 + now.minute
    length = seconds(window.duration) // 60
    return any((minute - start) % MINUTES_A_WEEK < length for start in weekly_starts(window.schedule))


def types_to_buy(pool: NodePool) -> list[InstanceType]:
    """The instance types of a pool that its NodePool and its limits admit and whose price is known."""
    limits = pool.limits
    return [
        one
        for one in pool.instance_types
        if one.price is not None
        and one.vcpu <= (limits.cpu or math.inf)
        and one.memory_mib <= 1024 * (limits.memory or math.inf)
        and (not pool.is_gpu or (one.gpu_manufacturer == "NVIDIA" and one.gpu_count <= (limits.gpus or 0)))
    ]


def smallest_machine(pool: NodePool, amount: int) -> int:
    """The least that a machine of the pool has of what its pods ask for, of those that have `amount` of it."""
    return min(has for one in types_to_buy(pool) if (has := one.gpu_count * _share(pool)[1]) >= amount)


def burst(pools: Mapping[str, NodePool]) -> list[tuple[str, Wish]]:
    """The pods of a burst, each with its pool: together they ask each pool for more than its limit, where they can.

    Of GPUs that are shared a pod gets one share.
    """
    names = list(itertools.islice(itertools.cycle(pools), BURST))
    wishes = {}
    for name, pool in pools.items():
        largest = max(one.gpu_count for one in types_to_buy(pool)) if pool.gpu.sharing == "none" else 1
        enough = _limit(pool) // max(names.count(name), 1) + 1
        wishes[name] = _gpu_wish(name, pool, gpus=min(enough, largest))
    return [(name, wishes[name]) for name in names]


def _asked(wishes: Iterable[tuple[str, Wish]], pool: str) -> int:
    """How many GPUs, or shares of them, are asked of a pool."""
    return sum(int(amount) for name, wish in wishes if name == pool for amount in wish.requests.values())


def _share(pool: NodePool) -> tuple[str, int]:
    """What pods of a GPU pool ask for, the first kind where there are several, and how many of it a GPU gives."""
    return next(iter(shares(pool).items()))


def _limit(pool: NodePool) -> int:
    """The most that a GPU pool may have of what its pods ask for."""
    return (pool.limits.gpus or 0) * _share(pool)[1]


def _gpu_wish(name: str, pool: NodePool, *, gpus: int = 1, apart: bool = False, lasting: bool = False) -> Wish:
    return Wish(
        requests={_share(pool)[0]: str(gpus)},
        selects={POOL_LABEL: name},
        tolerations=[{"key": GPU_TAINT["key"], "operator": "Exists"}, *_tolerations(pool)],
        apart=apart,
        lasting=lasting,
    )


def _tolerations(pool: NodePool) -> list[dict[str, str]]:
    """Tolerations of a pool's extra taints."""
    return [{"key": taint.key, "operator": "Exists"} for taint in pool.taints]


def _cheapest(claim: Object, pool: NodePool) -> str:
    """What was bought for one GPU of a pool, which has to be the cheapest of all that fit, and spot if it may."""
    kind = SPOT if SPOT in pool.capacity_types else ON_DEMAND
    cheapest = min(one.price for one in types_to_buy(pool) if one.price and (kind == ON_DEMAND or one.spot))
    bought = instance_types()[claim["metadata"]["labels"][INSTANCE_TYPE]]
    require(bought.price == cheapest, f"{bought.name} costs {bought.price} USD/h on demand, others {cheapest}")
    require(claim["metadata"]["labels"][CAPACITY_TYPE] == kind, f"it is {_described(claim)}, not {kind}")
    return f"{_described(claim)} ({cheapest} USD/h on demand)"


def _described(claim: Object) -> str:
    """What a NodeClaim is: `spot g5.xlarge of gpu`."""
    labels = claim["metadata"]["labels"]
    return f"{labels[CAPACITY_TYPE]} {labels[INSTANCE_TYPE]} of {labels[POOL_LABEL]}"


def _has_drifted(claim: Object) -> bool:
    conditions = claim["status"].get("conditions", [])
    return any(one["type"] == "Drifted" and one["status"] == "True" for one in conditions)


def _said(reason: str, *, about: str) -> str:
    """The part of what Karpenter says of a pod that is `about` something: a pool, by its own name, or a taint."""
    parts = reason.replace(TWIN_SUFFIX, "").removeprefix("Failed to schedule pod, ").split("; ")
    return next((part for part in parts if about in part), "")
