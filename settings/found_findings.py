"""Whether the nodes of an existing cluster can do what the stack file asks of its pools, profiles and teams.

That a pool's nodes are there at all is reported with the rest of the cluster (`components.ground.existing.preflight`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

from settings.language.section import Mistake, Path, text_of
from settings.notebooks.findings import pools_of
from settings.notebooks.fixed_findings import share_of_memory
from settings.notebooks.profiles import Profile, gpu_request
from settings.people.findings import sum_findings, team_findings
from settings.pools.fixed_findings import is_configured_by_label
from settings.pools.fixed_pools import FixedPool
from settings.pools.found_nodes import (
    FoundNode,
    is_of_the_control_plane,
    known_pool,
    nodes_of,
    offers,
)
from settings.pools.gpu_shares import shares
from settings.pools.labels import DEVICE_PLUGIN_CONFIG_LABEL, MEMORY_LABEL, POOL_LABEL, PRODUCT_LABEL, SiteTaint
from settings.pools.site_gpu import GpuPlugin
from settings.stack import PROJECT

if TYPE_CHECKING:
    from settings.existing_stack import ExistingSettings

Found: TypeAlias = Iterator[tuple[Literal["error", "warning"], Path, str]]

_MIB = 1024
# Kubernetes sets and removes these itself, and tolerates some of them for every pod.
_PASSING = "node.kubernetes.io/"
_HARD = ("NoSchedule", "NoExecute")


def pool_findings(settings: ExistingSettings, nodes: Sequence[FoundNode]) -> tuple[list[Mistake], list[Mistake]]:
    """What would fail on these nodes, and what deserves a look: errors and warnings, each with its key."""
    own = {name: nodes_of(pool, nodes) for name, pool in settings.node_pools.items()}
    taints = {node.name: _taints(node, settings) for node in nodes}
    found = [
        *_in_two_pools(settings, own),
        *_all_tainted(settings, nodes, own, taints),
        *(one for name in settings.node_pools for one in _of_taints(name, settings, own[name], taints)),
        *(one for name, pool in settings.node_pools.items() for one in _of_pool(name, pool, own[name], settings)),
        *(one for name, profile in settings.profiles.items() for one in _of_profile(name, profile, own, settings)),
        *_of_quotas(settings, nodes),
    ]
    errors, warnings = (
        [Mistake(f"{PROJECT}:{text_of(path)}", text) for kind, path, text in found if kind == wanted]
        for wanted in ("error", "warning")
    )
    return errors, warnings


def _in_two_pools(settings: ExistingSettings, own: Mapping[str, Sequence[FoundNode]]) -> Found:
    """A machine may have a pool for its GPUs and one without; two of a kind would count it twice."""
    for (first, one), (second, other) in combinations(settings.node_pools.items(), 2):
        names = {node.name for node in own[first]}
        both = [node.name for node in own[second] if node.name in names]
        if both and one.is_gpu == other.is_gpu:
            key = "nodes" if other.nodes else "selector"
            yield (
                "error",
                ("nodePools", second, key),
                f"has {_listed(both)} too, which is in pool {first}: put each node into one pool with GPUs, and "
                "at most one without",
            )


def _taints(node: FoundNode, settings: ExistingSettings) -> list[SiteTaint]:
    """The lasting taints that a node has after an update: those of others, and those of the pools that name it."""
    coming = [taint for pool in settings.node_pools.values() if node.name in pool.nodes for taint in pool.taints]
    others = [taint for taint in node.taints_of_others(settings.stack) if not taint.key.startswith(_PASSING)]
    return [*others, *(taint for taint in coming if taint not in others)]


def _all_tainted(
    settings: ExistingSettings,
    nodes: Sequence[FoundNode],
    own: Mapping[str, Sequence[FoundNode]],
    taints: Mapping[str, Sequence[SiteTaint]],
) -> Found:
    """Nowhere to go for what runs on no pool: hub, Keycloak, databases."""
    system = settings.ground.system_nodes
    tolerated = [(taint.key, taint.effect) for taint in system.taints]
    free = [
        node
        for node in nodes
        if system.selector.items() <= node.labels.items()
        and not any(taint.effect in _HARD and (taint.key, taint.effect) not in tolerated for taint in taints[node.name])
    ]
    if nodes and not free:
        last = next((name for name in own if own[name]), next(iter(settings.node_pools)))
        yield (
            "error",
            ("ground", "systemNodes"),
            "leads to no node: all nodes lack its labels, or have taints that keep the hub, Keycloak and databases "
            f"off. Write labels and taints of one of them there, or leave taints out of nodePools.{last}",
        )


def _of_taints(
    name: str, settings: ExistingSettings, own: Sequence[FoundNode], taints: Mapping[str, Sequence[SiteTaint]]
) -> Found:
    """Taints of its nodes that the pool's notebooks do not tolerate, and taints of the pool that its nodes lack."""
    at, pool = ("nodePools", name), settings.node_pools[name]
    # Other values of taints that the pool sets are refused with the marks of its nodes.
    set_here = [(taint.key, taint.effect) for taint in pool.taints] if pool.nodes else []
    for node in own:
        missing = [
            taint
            for taint in taints[node.name]
            if taint.effect in _HARD and not _is_tolerated(taint, pool) and (taint.key, taint.effect) not in set_here
        ]
        if missing:
            said = ", ".join(map(_in_words, missing))
            setting = [other for other, one in settings.node_pools.items() if node.name in one.nodes and other != name]
            whose = f"{node.name}, which pool {setting[0]} names" if setting else node.name
            hint = "set includeControlPlane: true" if any(map(is_of_the_control_plane, missing)) else "add it to taints"
            yield (
                "error",
                (*at, "taints"),
                f"lacks {said} of node {whose}, so no notebook would start there: {hint}",
            )
        there = [(taint.key, taint.effect, taint.value) for taint in taints[node.name]]
        absent = [taint for taint in pool.taints if (taint.key, taint.effect, taint.value) not in there]
        if absent:
            yield (
                "warning",
                (*at, "taints"),
                f"has {', '.join(map(_in_words, absent))}, which node {node.name} does not have: pods of others may "
                "take its place. Taint the node, or leave the taint out",
            )


def _of_pool(name: str, pool: FixedPool, own: Sequence[FoundNode], settings: ExistingSettings) -> Found:
    for node in own:
        if pool.is_gpu:
            yield from _of_configuration(name, pool, node, settings.gpu.plugin)
            yield from _of_gpus(name, pool, node, settings)


def _of_gpus(name: str, pool: FixedPool, node: FoundNode, settings: ExistingSettings) -> Found:
    at: Path = ("nodePools", name, "gpus")
    declared, plugin = pool.gpus, settings.gpu.plugin
    offered = offers(pool, node, plugin)
    wanted = " or ".join(shares(pool))
    if plugin == "present" and not any(node.allocatable.get(resource, "0") != "0" for resource in shares(pool)):
        there = [f"{key} {number}" for key, number in node.allocatable.items() if key.startswith("nvidia.com/")]
        yield (
            "error",
            ("nodePools", name, *(("gpus",) if pool.gpu.sharing == "none" else ("gpu", "sharing"))),
            f"asks for {wanted}, and node {node.name} offers {_listed(there) or 'no GPU'}: set up the plugin that is "
            "there so (renameByDefault for shares), or describe here what it does",
        )
        return
    if offered is None:
        yield (
            "warning",
            (*at, "count"),
            f"is missing, and node {node.name} has no label yet that says how many GPUs it has: the plugin sets it. "
            "Until then quotas and profiles are not checked, and the hub does not say when all GPUs are in use",
        )
    if declared is None:
        return
    there = node.gpus(pool)
    if declared.count is not None and there is not None and declared.count != there:
        kind: Literal["error", "warning"] = "error" if declared.count > there else "warning"
        yield (
            kind,
            (*at, "count"),
            f"is {declared.count}, and node {node.name} has {there} by its labels: correct it",
        )
    product = node.labels.get(PRODUCT_LABEL)
    if declared.product is not None and product is not None and not product.startswith(declared.product):
        yield "error", (*at, "product"), f"is {declared.product}, and node {node.name} has {product}: correct it"
    memory = _memory(node)
    if declared.memory is not None and memory is not None and declared.memory > round(memory + 1):
        yield "warning", (*at, "memory"), f"is {declared.memory}, and a GPU of node {node.name} has {memory:.1f} GiB"


def _of_configuration(name: str, pool: FixedPool, node: FoundNode, plugin: GpuPlugin) -> Found:
    """A label of the site that asks for a configuration which is not the pool's. The stack's own go with its marks."""
    config = node.labels.get(DEVICE_PLUGIN_CONFIG_LABEL)
    own = plugin == "present" or is_configured_by_label(name, pool) or POOL_LABEL in node.labels
    if config is not None and config != name and not own:
        yield (
            "error",
            ("nodePools", name, "selector"),
            f"leads to node {node.name}, whose label {DEVICE_PLUGIN_CONFIG_LABEL}={config} asks the device plugin for "
            f"a configuration that is not this pool's: remove the label, or set it to {name}",
        )


def _of_profile(
    name: str, profile: Profile, own: Mapping[str, Sequence[FoundNode]], settings: ExistingSettings
) -> Found:
    """A profile that fits on no node, empty as it may be."""
    possible = pools_of(profile, settings.node_pools)
    candidates = [(node, pool) for pool_name, pool in possible.items() for node in own[pool_name]]
    if not candidates or any(not list(_lacking(profile, node, pool, settings)) for node, pool in candidates):
        return
    where = f"pool {next(iter(possible))}" if len(possible) == 1 else f"the pools {', '.join(possible)}"
    best = min((list(_lacking(profile, node, pool, settings)) for node, pool in candidates), key=len)
    for path, most in best:
        yield "error", ("profiles", name, *path), f"is more than a node of {where} has for pods: {most} at most"


def _lacking(
    profile: Profile, node: FoundNode, pool: FixedPool, settings: ExistingSettings
) -> Iterator[tuple[Path, str]]:
    """What a node has too little of for the profile, as far as it is known, each with what it has."""
    if profile.cpu > node.vcpu:
        yield ("cpu",), f"{node.vcpu:g} vCPU"
    if profile.memory > node.memory:
        yield ("memory",), f"{node.memory} GiB"
    gpu = profile.gpu
    if gpu is None or gpu.pool is None:
        return
    resource, count = gpu_request(gpu, pool)
    offered = offers(pool, node, settings.gpu.plugin)
    if offered is not None and count > offered.get(resource, 0):
        yield ("gpu", "count" if gpu.count else "slice"), f"{offered.get(resource, 0)} {resource}"
    labels = pool.gpu_labels
    product = node.labels.get(labels.product or "")
    if gpu.model is not None and product is not None and product != gpu.model:
        yield ("gpu", "model"), product
    memory = _memory(node)
    if gpu.min_memory is not None and labels.memory and memory is not None and pool.gpu.sharing != "mig":
        share = share_of_memory(pool, memory)
        if gpu.min_memory > share:
            yield ("gpu", "minMemory"), f"{share:.1f} GiB"


def _of_quotas(settings: ExistingSettings, nodes: Sequence[FoundNode]) -> Found:
    """Quotas of more GPUs than nodes have by their labels. What is declared is checked with the stack file."""
    known = {name: known_pool(pool, nodes, labelled_by_others=True) for name, pool in settings.node_pools.items()}
    for path, message in team_findings(settings.teams, known, {}, lambda *_: True):
        if path[2:3] == ("quota",):
            yield "warning", path, message
    if not settings.overcommit:
        for path, message in sum_findings(settings.teams, known, "add nodes or GPUs to a pool"):
            yield "warning", path, message


def _memory(node: FoundNode) -> float | None:
    """GiB of one GPU by the node's label; None without."""
    memory = node.labels.get(MEMORY_LABEL, "")
    return int(memory) / _MIB if memory.isdigit() else None


def _is_tolerated(taint: SiteTaint, pool: FixedPool) -> bool:
    """Whether pods of the pool tolerate a taint: one without a value tolerates all values."""
    return any(
        own.key == taint.key and own.effect == taint.effect and own.value in (None, taint.value)
        for own in pool.node_taints
    )


def _in_words(taint: SiteTaint) -> str:
    return f"{taint.key}{f'={taint.value}' if taint.value else ''}:{taint.effect}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
