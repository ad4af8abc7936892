"""Whether a cluster enforces network policies, as its programs and nodes show it, and what policies may not open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from components.ground.existing.addresses import SOME_PRIVATE_RANGE
from components.ground.existing.finding import Finding
from components.ground.existing.found import FoundCluster, Program
from contracts import clusters
from settings.language.section import text_of
from settings.people.findings import reach_findings
from settings.pools.found_nodes import FoundNode

if TYPE_CHECKING:
    from settings import ExistingSettings

_DAY = re.compile(r"v\d{8}\b")


def policy_findings(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    """A cluster in which the teams' network policies would do nothing."""
    distribution = settings.ground.distribution
    if not settings.teams or enforcers(found, [distribution]):
        return
    if turned_off := _turned_off(found, distribution):
        why = f" ({clusters.network_policies(distribution).off} is set on {', '.join(turned_off)})"
    else:
        why = " (flannel alone does not)" if found.running("flannel") else ""
    yield (
        "warning",
        "ground.context",
        f"leads to a cluster where nothing is known to enforce network policies{why}, so teams would reach each "
        "other's notebooks and every address of your network: "
        f"{clusters.network_policies(distribution).remedy}",
    )


def reached_findings(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    """Ranges of teams with addresses of the cluster's own nodes, pods or API server, or perhaps of its pods."""
    addresses = found.addresses
    closed = {
        **dict.fromkeys(addresses.api_servers, "the API server is"),
        **dict.fromkeys(addresses.nodes, "a node is"),
    }
    pods = {addresses.pods: "pods are"}
    kind: Literal["error", "warning"] = "error"
    if addresses.pods == SOME_PRIVATE_RANGE:
        # Nodes do not say it, as with Calico's own addresses: the network of the site may be there too.
        kind, pods = "warning", {addresses.pods: "pods may be, as nodes do not say where theirs are"}
    for path, message in reach_findings(settings.teams, closed):
        yield "error", text_of(path), message
    for path, message in reach_findings(settings.teams, pods):
        yield kind, text_of(path), message


def enforcers(found: FoundCluster, distributions: Iterable[str]) -> list[str]:
    """What is known to enforce network policies, for people. The cluster is of one of the distributions."""
    programs = [one.title for one in found.programs if _enforces(one)]
    built_in = [
        f"{name} itself"
        for name in distributions
        if clusters.network_policies(name).annotation and not _turned_off(found, name)
    ]
    return list(dict.fromkeys([*programs, *built_in]))


def _enforces(program: Program) -> bool:
    known = clusters.programs()[program.program]
    version = program.version or ""
    # Days in digits have the order of texts.
    is_older = known.since is not None and bool(_DAY.match(version)) and version < known.since
    return known.enforces_policies and not is_older


def _turned_off(found: FoundCluster, distribution: str) -> list[str]:
    """The nodes whose arguments turn off the controller that the distribution has within itself."""
    facts = clusters.network_policies(distribution)
    return [node.name for node in found.nodes if _is_set(facts.off, _arguments(node, facts.annotation))]


def _is_set(flag: str | None, arguments: list[str]) -> bool:
    """Whether a flag is among the arguments, alone or before its value."""
    return any(one == flag and value != "false" for one, value in pairwise([*arguments, ""]))


def _arguments(node: FoundNode, annotation: str | None) -> list[str]:
    try:
        return list(map(str, json.loads(node.annotations.get(annotation or "", "[]"))))
    except (ValueError, TypeError):
        return []
