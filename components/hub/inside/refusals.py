"""Why a notebook can't start, said before there is a pod: the team's quota, the pool's limit, no machine that large.

Pure functions of what the API server lists. Kubernetes and Karpenter decide; this tells people the reason at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from .catalogue import Catalogue, Pool
from .choices import profile_of
from .pod import PERSON_LABEL, POOL_LABEL, PRIORITY_CLASS
from .quantities import amount, names_of, words

Object: TypeAlias = Mapping[str, Any]
Requests: TypeAlias = Mapping[str, Decimal]

APPS_RESTRICTED = (
    "If your organisation restricts OAuth apps, one of its owners has to approve this one at GitHub first."
)
NO_MEMBER_AT_GITHUB = (
    "You may not sign in here: GitHub does not show that you are an active member of an organisation or team that may. "
    f"Ask an administrator of the platform (hub.github), and sign in again. {APPS_RESTRICTED}"
)
_RIGHTS_LOST = "Ask an administrator of the platform to run `pulumi up`: it gives the hub its rights back."
_NOTHING = "There is no notebook that you may start: you are not in a team, or your role in it has no profile. "

_OVER = ("Succeeded", "Failed")


def nothing_to_start(catalogue: Catalogue) -> str:
    """What a person reads who may start nothing."""
    what = "to name you in gpulab:hub.members" if catalogue.hub.sign_in else "for a group of Keycloak, TEAM/ROLE"
    return f"{_NOTHING}Ask an administrator of the platform {what}, and sign in again."


def not_known(provider: str) -> str:
    """What a person reads whom the provider of their sign-in does not vouch for."""
    return (
        f"You may not sign in: {provider}, with which you came, no longer knows you, or cannot be asked right now. "
        "Sign in again; if that does not help, ask an administrator of the platform."
    )


def not_offered(catalogue: Catalogue, slug: str) -> str:
    """What a person reads who asks for a choice that they may not start."""
    name, profile = profile_of(catalogue, slug)
    team = catalogue.teams.get(name)
    if team is None or profile is None or profile.name not in team.profiles:
        return f"There is no profile {slug}. Choose another one."
    roles = " and ".join(profile.roles)
    return f"You can't start profile {profile.name}: it is for roles {roles} of team {name}. Choose another one."


def not_listed(namespace: str, *, forbidden: bool) -> str:
    """That the hub can't see what is left in a team's namespace."""
    if forbidden:
        return f"The hub may not look into the namespace {namespace}, so it starts nothing there. {_RIGHTS_LOST}"
    return "The cluster does not answer right now. Try again in a minute."


def gpus_not_listed(*, forbidden: bool) -> str:
    """That the hub can't see which GPUs nodes have."""
    if forbidden:
        return (
            f"The hub may not look at the nodes, so it cannot list GPUs. {_RIGHTS_LOST} Until then, choose another "
            "profile."
        )
    return (
        "The cluster does not answer right now, so the GPUs cannot be listed. Load this page again in a minute, or "
        "choose another profile."
    )


def never_fits(requested: Requests, pools: Sequence[Pool]) -> str | None:
    """The refusal when no pool has a machine that is large enough, even when empty; None if one has."""
    if not pools:
        return "The team may use no node pool that this profile could run in. Ask an administrator."
    if any(not _lacking(requested, pool) for pool in pools):
        return None
    lacks = (
        f"{pool.name} has at most {', '.join(words(name, _most(pool, name)) for name in _lacking(requested, pool))}"
        for pool in pools
    )
    what = _in_words(requested)
    return f"No node could ever have {what} for one notebook: {'; '.join(lacks)}. Choose a smaller profile."


def _lacking(requested: Requests, pool: Pool) -> list[str]:
    """The resources that the pool's largest machine has too little of, as far as that is known: disks are not."""
    return [name for name, number in requested.items() if name in pool.largest and number > _most(pool, name)]


def _most(pool: Pool, resource: str) -> Decimal:
    return amount(pool.largest[resource])


def quota_left(requested: Requests, quotas: Iterable[Object], pods: Iterable[Object], team: str) -> str | None:
    """The refusal when the team's quota has too little left: what is used, by whom, and what is left."""
    pods = [pod for pod in pods if counts(pod)]
    for resource, limit, taken in _limits(quotas):
        needs = Decimal(1) if resource == "pods" else requested.get(resource, Decimal(0))
        if needs and taken + needs > limit:
            return _quota_message(resource, needs, taken, limit, pods, team)
    return None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What a team's quotas grant of a resource: all together, and what is left of that."""

    limit: Decimal
    left: Decimal


Granted: TypeAlias = Mapping[str, Share]
"""What a team's quotas grant, by resource."""


def granted(quotas: Iterable[Object]) -> Granted:
    """What the quotas grant notebooks, by resource; of several the one with the least left."""
    found: dict[str, Share] = {}
    for resource, limit, taken in _limits(quotas):
        share = Share(limit=limit, left=limit - taken)
        found[resource] = min(share, found.get(resource, share), key=lambda one: (one.left, one.limit))
    return found


def _limits(quotas: Iterable[Object]) -> Iterator[tuple[str, Decimal, Decimal]]:
    """The resources that quotas limit for notebooks, each with its limit and what is taken of it."""
    for quota in quotas:
        if not _applies(quota.get("spec", {})):
            continue
        status = quota.get("status", {})
        hard = status.get("hard") or quota.get("spec", {}).get("hard", {})
        used = status.get("used") or {}
        for key, limit in hard.items():
            if resource := _resource(key):
                yield resource, amount(limit), amount(used.get(key, "0"))


def _quota_message(
    resource: str, needs: Decimal, taken: Decimal, limit: Decimal, pods: Sequence[Object], team: str
) -> str:
    left = max(limit - taken, Decimal(0))
    if not limit:
        return f"Team {team} has no {names_of(resource)} in its quota. Choose another profile, or ask an administrator."
    by_person: dict[str, Decimal] = {}
    for pod in pods:
        by_person[_owner(pod)] = by_person.get(_owner(pod), Decimal(0)) + requested_by(pod, resource)
    most_first = sorted(by_person.items(), key=lambda one: (-one[1], one[0]))
    users = ", ".join(f"{name} {_short(resource, number)}" for name, number in most_first if number)
    return (
        f"Team {team}'s quota is {words(resource, limit)}: {_short(resource, taken)} in use"
        f"{f' ({users})' if users else ''}, {_short(resource, left)} left, and this needs {_short(resource, needs)}. "
        "Stop a notebook that nobody needs, or choose a smaller profile."
    )


def pools_full(
    requested: Requests, pools: Sequence[Pool], pods_by_team: Mapping[str, Collection[Object]]
) -> str | None:
    """The refusal when notebooks already use each pool up to its limit. Nodes may be full before that.

    A notebook that may run in several pools is in one of them, but only its node shows which: it counts for all.
    """
    pools = [pool for pool in pools if not _lacking(requested, pool)]
    full = [said for pool in pools if (said := _too_few_left(requested, [pool], pods_by_team))]
    if len(full) < len(pools):
        together = _too_few_left(requested, pools, pods_by_team)
        full = [together] if together else []
    return " ".join([*full, "Wait until a notebook ends, or choose a profile of another pool."]) if full else None


def _too_few_left(
    requested: Requests, pools: Sequence[Pool], pods_by_team: Mapping[str, Collection[Object]]
) -> str | None:
    """What is in use of these pools, by pods that may run nowhere else, when too little is left; else None."""
    names = {pool.name for pool in pools}
    for resource, number in requested.items():
        if any(resource not in pool.limits for pool in pools):
            continue
        limit = sum((amount(pool.limits[resource]) for pool in pools), Decimal(0))
        by_team = {
            team: sum(
                (requested_by(pod, resource) for pod in pods if counts(pod) and set() < _pools_of(pod, pools) <= names),
                Decimal(0),
            )
            for team, pods in pods_by_team.items()
        }
        taken = sum(by_team.values(), Decimal(0))
        if taken + number > limit:
            users = ", ".join(f"{team} {_short(resource, used)}" for team, used in by_team.items() if used)
            which = f"Pool {pools[0].name}" if len(pools) == 1 else f"Pools {' and '.join(sorted(names))} together"
            return (
                f"{which} may have {words(resource, limit)}, and {_short(resource, taken)} are in use"
                f"{f' ({users})' if users else ''}: too few are left for {_short(resource, number)} more."
            )
    return None


def home_in_use(pods: Iterable[Object], person: str, pod_name: str) -> str | None:
    """The refusal when a home on a disk is in use by another notebook: only one machine can mount it."""
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        if counts(pod) and labels.get(PERSON_LABEL) == person and pod["metadata"]["name"] != pod_name:
            server = labels.get("hub.jupyter.org/servername") or "the first one"
            return (
                "Your home in this team is a disk, which only one notebook at a time can use, and your notebook "
                f"{server} uses it. Stop that one first."
            )
    return None


def counts(pod: Object) -> bool:
    """Whether quotas count the pod."""
    return pod.get("status", {}).get("phase") not in _OVER


def _owner(pod: Object) -> str:
    labels = pod["metadata"].get("labels", {})
    return pod["metadata"].get("annotations", {}).get("hub.jupyter.org/username") or labels.get(
        PERSON_LABEL, f"pod {pod['metadata']['name']}"
    )


def requested_by(pod: Object, resource: str) -> Decimal:
    """How much of a resource the pod's containers ask for."""
    if resource == "pods":
        return Decimal(1)
    resources = (one.get("resources", {}) for one in pod["spec"]["containers"])
    found = (one.get("requests", {}).get(resource, one.get("limits", {}).get(resource, "0")) for one in resources)
    return sum((_readable(one) for one in found), Decimal(0))


def _readable(text: str) -> Decimal:
    """The amount in a pod of somebody else. If it can't be read it counts as 0, so that others can still start."""
    try:
        return amount(text)
    except ValueError:
        return Decimal(0)


def _pools_of(pod: Object, pools: Collection[Pool]) -> set[str]:
    """The pools that a pod may be in, by its own constraints, so no right to read nodes is needed; empty: not known.

    Of pools whose nodes do not have the platform's label, only `pools` are known.
    """
    spec = pod["spec"]
    selected = [
        {"key": key, "operator": "In", "values": [value]} for key, value in spec.get("nodeSelector", {}).items()
    ]
    if found := _named(selected, pools):
        return found
    required = (
        spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    )
    by_term = [_named(term.get("matchExpressions", []), pools) for term in required.get("nodeSelectorTerms", [])]
    # Terms are alternatives: one that names no pool allows all pools.
    return set().union(*by_term) if all(by_term) else set()


def _named(expressions: Sequence[Object], pools: Collection[Pool]) -> set[str]:
    """The pools that requirements on a node's labels name."""
    allowed = {one["key"]: one["values"] for one in expressions if one["operator"] == "In"}
    return {
        *allowed.get(POOL_LABEL, ()),
        *(
            pool.name
            for pool in pools
            if pool.node_selector and all(value in allowed.get(key, ()) for key, value in pool.node_selector.items())
        ),
    }


def _resource(key: str) -> str | None:
    """The resource that a quota's key counts; None for a resource that a notebook's pod does not have."""
    if key in ("pods", "count/pods"):
        return "pods"
    if key in ("cpu", "memory", "ephemeral-storage"):
        return key
    prefix, _, resource = key.partition(".")
    if prefix == "requests" and resource != "storage":
        return resource
    # A notebook's memory limit is its request.
    return "memory" if key == "limits.memory" else None


def _applies(spec: Object) -> bool:
    """Whether a quota with those scopes counts notebooks: they last, have requests, and have their own class."""
    scopes = [{"scopeName": name} for name in spec.get("scopes") or ()]
    scopes += (spec.get("scopeSelector") or {}).get("matchExpressions", [])
    return all(_in_scope(one) for one in scopes)


def _in_scope(scope: Object) -> bool:
    if scope["scopeName"] != "PriorityClass":
        return scope["scopeName"] in ("NotTerminating", "NotBestEffort")
    match scope.get("operator", "Exists"):
        case "In":
            return PRIORITY_CLASS in scope["values"]
        case "NotIn":
            return PRIORITY_CLASS not in scope["values"]
        case operator:
            return operator == "Exists"


def _in_words(requested: Requests) -> str:
    return ", ".join(words(name, number) for name, number in requested.items() if name != "ephemeral-storage")


def _short(resource: str, number: Decimal) -> str:
    """The amount without the resource's name, for use after it was named."""
    said = words(resource, number)
    return " ".join(said.split(" ")[:2]) if "memory" in resource or "storage" in resource else said.split(" ")[0]
