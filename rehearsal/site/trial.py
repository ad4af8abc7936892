"""Notebooks on a site's GPUs: those of each product run, and as many share a card as the stack file says, not one more.

The pods are those that the hub makes of the stack's catalogue, in the teams' namespaces.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from components.hub.inside import discovery, refusals
from components.hub.inside import pod as hub_pod
from components.hub.inside.catalogue import Catalogue, Pool, Team
from components.hub.inside.choices import Choice
from components.hub.inside.nodes import usable
from components.hub.inside.refusals import granted
from contracts import clusters
from contracts.images import image
from rehearsal.checks.checking import NotTried, outcome, require, required
from rehearsal.checks.pods import TRIED, is_running, until
from rehearsal.controllers.volumes import CLAIMS
from rehearsal.controllers.world import NODES, PODS, Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError
from rehearsal.report import Check

from .notebooks import home, notebook, selected_by


@dataclass
class SiteTrial:
    """The notebooks of a trial."""

    kubernetes: Kubernetes
    catalogue: Catalogue
    show: Callable[[str], None]
    runs_seconds: float = 60
    """How long a notebook may take to run."""

    def run(self) -> list[Check]:
        """All steps, in order."""
        steps = {
            "a notebook runs on each GPU product": self.notebooks_run_on_each_product,
            "shares of a card are all used": self.card_is_shared,
            "a pod without the pool's tolerations stays off GPU nodes": self.plain_pods_stay_off,
        }
        return list(self._outcomes(steps))

    def _outcomes(self, steps: Mapping[str, Callable[[], str]]) -> Iterator[Check]:
        for name, step in steps.items():
            self.show(name)
            yield outcome(name, step)

    def notebooks_run_on_each_product(self) -> str:
        """One of each GPU pool, or of each kind that the hub lists: on a node that has GPUs, with its runtime class."""
        choices = list(self._choices().values())
        with self._started([([choice], f"each-{number}") for number, choice in enumerate(choices, 1)]) as started:
            found = []
            for choice, name in started:
                node = self._until_running(choice, name)
                products = [gpus.product for gpus in clusters.gpus_of(node)]
                require(bool(products), f"{name} runs on {node['metadata']['name']}, which has no GPU")
                found.append(f"{choice.profile.name} on {node['metadata']['name']} ({', '.join(products)})")
        return "; ".join(found)

    def card_is_shared(self) -> str:
        """As many notebooks as a node has shares run there, of one team or of several; one more is refused in words."""
        shared = [one for one in self._choices().values() if self._shares(one) > 1]
        if not shared:
            raise NotTried("no pool of the stack shares GPUs")
        choice = max(shared, key=self._shares)
        shares = self._shares(choice)
        teams = self._of_each_team(choice)
        with self._started([(teams, f"share-{number}") for number in range(1, shares + 1)]) as started:
            nodes = {self._until_running(*one)["metadata"]["name"] for one in started}
            last = self._refusal(choice) or self._waits(choice)
        return f"{len(started)} notebooks of {choice.profile.name} on {', '.join(sorted(nodes))}; one more: {last}"

    def plain_pods_stay_off(self) -> str:
        """A pod that asks for no GPU and tolerates nothing gets to no node that a pool has tainted."""
        tainted = {
            node["metadata"]["name"]
            for node in self.kubernetes.list(NODES)
            if clusters.gpus_of(node) and node["spec"].get("taints")
        }
        if not tainted:
            raise NotTried("no node with GPUs has a taint")
        container = {"name": "main", "image": image("pause"), "resources": {"requests": {"cpu": "10m"}}}
        path = place(PODS, "plain", "default")
        plain = {"metadata": {"name": "plain", "labels": {TRIED: "plain"}}, "spec": {"containers": [container]}}
        self.kubernetes.create(path, plain)
        pod = until(lambda: self._running(path), "it runs", seconds=self.runs_seconds)
        self.kubernetes.delete(path)
        require(pod["spec"]["nodeName"] not in tainted, f"it runs on {pod['spec']['nodeName']}")
        return f"it runs on {pod['spec']['nodeName']}, not on {', '.join(sorted(tainted))}"

    def _choices(self) -> dict[str, Choice]:
        """A choice for each GPU pool that a profile of a team names, and for each kind of GPU that one discovers."""
        found: dict[str, Choice] = {}
        for choice in self._all():
            if choice.profile.gpu:
                found.setdefault(choice.profile.gpu.pool, choice)
            elif choice.profile.discovery:
                found = {**self._discovered(choice), **found}
        if not found:
            raise NotTried("no team has a profile with GPUs")
        return found

    def _all(self) -> list[Choice]:
        """Each profile of each team."""
        return [
            Choice(team=team, profile=profile, roles=frozenset(profile.roles))
            for team in self.catalogue.teams.values()
            for profile in (self.catalogue.profiles[name] for name in team.profiles)
        ]

    def _discovered(self, choice: Choice) -> dict[str, Choice]:
        """The choice with a GPU of each kind that the hub lists for it, by the kind's name."""
        quota = granted(self._listed(choice.team, "resourcequotas"))
        pools = discovery.gpu_pools(self.catalogue, choice)
        machines = discovery.machines(pools, usable(self.kubernetes.list(NODES)), self._pods_by_team())
        offered = discovery.offers(machines, quota, by_node=False)
        found = {one.name: discovery.find(choice, one.key, offered, quota) for one in offered if one.by == "kind"}
        refused = [one for one in found.values() if isinstance(one, str)]
        require(not refused, f"the hub has no GPU for {choice.profile.name}: {' '.join(map(str, refused))}")
        return {name: one for name, one in found.items() if isinstance(one, Choice)}

    def _listed(self, team: Team, plural: str) -> list[Object]:
        return self.kubernetes.list(f"/api/v1/namespaces/{team.namespace}/{plural}")

    def _pods_by_team(self) -> dict[str, list[Object]]:
        return {team.name: self._listed(team, "pods") for team in self.catalogue.teams.values()}

    def _pools(self, choice: Choice) -> list[Pool]:
        return hub_pod.pools_for(self.catalogue, choice)

    def _of_each_team(self, choice: Choice) -> list[Choice]:
        """The same choice of each team that has its profile, that of its own team first."""
        others = [team for team in self.catalogue.teams.values() if team.name != choice.team.name]
        return [choice, *(replace(choice, team=one) for one in others if choice.profile.name in one.profiles)]

    def _shares(self, choice: Choice) -> int:
        """How many of what a notebook asks for the largest node of its pool has, where these are shares."""
        gpu = choice.profile.gpu
        if gpu is None or not gpu.resource.endswith(".shared"):
            return 0
        (pool,) = self._pools(choice)
        amounts = [
            int(node["status"]["allocatable"].get(gpu.resource, 0))
            for node in self.kubernetes.list(NODES)
            if selected_by(pool, node)
        ]
        return max(amounts, default=0)

    def _refusal(self, choice: Choice) -> str:
        """What the hub says of one notebook more; empty where it would start it."""
        requested, pools, by_team = hub_pod.requests(choice), self._pools(choice), self._pods_by_team()
        quotas = self._listed(choice.team, "resourcequotas")
        return (
            refusals.never_fits(requested, pools)
            or refusals.quota_left(requested, quotas, by_team[choice.team.name], choice.team.name)
            or refusals.pools_full(requested, pools, by_team)
            or ""
        )

    def _waits(self, choice: Choice) -> str:
        """What the scheduler says of one notebook more, which the hub would start."""
        with self._started([([choice], "one-more")]) as ((_, name),):
            message = until(
                lambda: self._said(choice, name), f"{name} is pending with a reason", seconds=self.runs_seconds
            )
            require(self._running(place(PODS, name, choice.team.namespace)) is None, f"{name} runs")
            return message

    @contextlib.contextmanager
    def _started(self, wanted: Sequence[tuple[Sequence[Choice], str]]) -> Iterator[list[tuple[Choice, str]]]:
        """Starts notebooks, each of a person of its own, and stops them at the end of the block.

        Each is of the first of its choices that the hub does not refuse.
        """
        started: list[tuple[Choice, str]] = []
        try:
            for choices, word in wanted:
                said = ""
                for choice in choices:
                    said = self._refusal(choice) or self._refused_start(choice, f"{choice.profile.name}-{word}")
                    if not said:
                        started.append((choice, f"{choice.profile.name}-{word}"))
                        break
                require(not said, f"the hub starts no {choices[0].profile.name}: {said}")
            yield started
        finally:
            paths = [place(PODS, name, choice.team.namespace) for choice, name in started]
            for path in paths:
                self.kubernetes.delete(path)
            for path in paths:
                until(lambda path=path: self.kubernetes.get(path) is None, f"{path} is gone", seconds=self.runs_seconds)
            # The controller of quotas counts again some time later, and the hub believes what it counted.
            for team in {choice.team.name: choice.team for choice, _ in started}.values():
                until(
                    lambda team=team: self._is_counted(team),
                    f"{team.name} has its quota back",
                    seconds=self.runs_seconds,
                )

    def _is_counted(self, team: Team) -> bool:
        """Whether the team's quotas count no pod that is gone."""
        pods = len(self._listed(team, "pods"))
        used = (one.get("status", {}).get("used", {}) for one in self._listed(team, "resourcequotas"))
        return all(int(one.get("pods", 0)) <= pods for one in used)

    def _refused_start(self, choice: Choice, name: str) -> str:
        """Makes a person's home and pod; the home stays, as people's do. Returns why the API server refused the pod.

        The controller of quotas may have counted from what it knew a moment ago.
        """
        namespace = choice.team.namespace
        if claim := home(self.catalogue, name):
            self.kubernetes.create(place(CLAIMS, name, namespace), claim)
        claims = {
            one["metadata"]["name"]
            for one in self.kubernetes.list(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims")
        }
        pod = notebook(self.catalogue, choice, name, claims)
        try:
            self.kubernetes.create(place(PODS, name, namespace), pod)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            return str(error)
        return ""

    def _running(self, path: str) -> Object | None:
        pod = self.kubernetes.get(path)
        return pod if pod and is_running(pod) else None

    def _until_running(self, choice: Choice, name: str) -> Object:
        """The node of a notebook, once it runs."""
        path = place(PODS, name, choice.team.namespace)
        pod = until(
            lambda: self._running(path),
            f"the notebook {name} runs",
            seconds=self.runs_seconds,
            otherwise=lambda: self._said(choice, name),
        )
        return required(self.kubernetes.get(place(NODES, pod["spec"]["nodeName"])), "its node is gone")

    def _said(self, choice: Choice, name: str) -> str:
        """What the scheduler says of a notebook that has no node."""
        pod = self.kubernetes.get(place(PODS, name, choice.team.namespace)) or {}
        conditions = pod.get("status", {}).get("conditions", [])
        return next((one.get("message", "") for one in conditions if one["type"] == "PodScheduled"), "")
