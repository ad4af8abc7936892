"""The cluster's nodes as the hub lists them, for profiles that discover GPUs: what each has, and which pods fit there.

Only a stack with such a profile lets the hub list nodes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from .quantities import amount

Object: TypeAlias = Mapping[str, Any]

HOSTNAME_LABEL = "kubernetes.io/hostname"

# Seconds that a list is shown again without asking anew.
_REMEMBERED = 5


class NotListedError(Exception):
    """The API server did not list something; the message says why. `forbidden`: the hub may not list it."""

    def __init__(self, why: str, *, forbidden: bool = False) -> None:
        super().__init__(why)
        self.forbidden = forbidden


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node that pods may be put on. `allocatable` is what all of them together can have there, by resource."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    allocatable: Mapping[str, Decimal]

    def admits(self, tolerations: Iterable[Object]) -> bool:
        """Whether a pod with these tolerations may be put there."""
        tolerations = tuple(tolerations)
        return all(
            any(_tolerates(one, taint) for one in tolerations)
            for taint in self.taints
            if taint["effect"] != "PreferNoSchedule"
        )

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it has all of these labels."""
        return labels.items() <= self.labels.items()

    def may_get(self, pod: Object) -> bool:
        """Whether the node selector and the required affinity of a pod allow the node."""
        spec = pod["spec"]
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
        terms = required.get("nodeSelectorTerms") or [{}]
        return self.has(spec.get("nodeSelector") or {}) and any(
            all(self._matches(one) for one in term.get("matchExpressions") or ()) for term in terms
        )

    def _matches(self, expression: Object) -> bool:
        found, values = self.labels.get(expression["key"]), tuple(expression.get("values") or ())
        match expression["operator"]:
            case "In":
                return found in values
            case "NotIn":
                return found not in values
            case "Exists":
                return found is not None
            case "DoesNotExist":
                return found is None
            case "Gt":
                return found is not None and found.isdigit() and int(found) > min(map(int, values))
            case _:  # Lt, which no notebook has
                return True


def usable(listed: Iterable[Object]) -> list[Node]:
    """The nodes that the scheduler would use: ready, and not cordoned."""
    return [_node(one) for one in listed if _is_ready(one) and not one.get("spec", {}).get("unschedulable")]


async def items(asked: Awaitable[Any]) -> list[Object]:
    """The objects of a list that the API server was asked for. Raises NotListedError."""
    try:
        document = json.loads(await (await asked).read())
    except Exception as error:  # the network's, or no JSON
        raise NotListedError(str(error) or type(error).__name__) from error
    if "items" not in document:  # what it answers to somebody who may not list them
        why = document.get("message") or "the answer has no list"
        raise NotListedError(why, forbidden=document.get("code") == HTTPStatus.FORBIDDEN)
    return document["items"]


_Recent: TypeAlias = dict[str, tuple[float, "asyncio.Task[list[Object]]"]]
# A task belongs to one event loop; the hub has one.
_recent: WeakKeyDictionary[asyncio.AbstractEventLoop, _Recent] = WeakKeyDictionary()


async def recent(name: str, ask: Callable[[], Awaitable[list[Object]]]) -> list[Object]:
    """The list of that name, at most a few seconds old: people who open the form at the same time ask once together.

    Raises NotListedError, also for as long as it would have remembered the list.
    """
    loop = asyncio.get_running_loop()
    known = _recent.setdefault(loop, {})
    if name not in known or loop.time() - known[name][0] > _REMEMBERED:
        known[name] = loop.time(), asyncio.ensure_future(_awaited(ask))
    # Somebody who closes the page must not end it for the others.
    return await asyncio.shield(known[name][1])


async def _awaited(ask: Callable[[], Awaitable[list[Object]]]) -> list[Object]:
    return await ask()


def _node(listed: Object) -> Node:
    metadata, allocatable = listed["metadata"], listed.get("status", {}).get("allocatable") or {}
    return Node(
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        taints=listed.get("spec", {}).get("taints") or (),
        allocatable={resource: amount(number) for resource, number in allocatable.items()},
    )


def _is_ready(listed: Object) -> bool:
    conditions = listed.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _tolerates(toleration: Object, taint: Object) -> bool:
    """Kubernetes, "Taints and Tolerations". Without a key or an effect it tolerates any."""
    return (
        toleration.get("effect") in (None, "", taint["effect"])
        and toleration.get("key") in (None, "", taint["key"])
        and (toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or ""))
    )
