"""Decides which stack owns an AWS resource: by the stack's tags, by tags that name its cluster, by name, or by VPC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from settings import EksSettings
from settings.stack import PROJECT

from .account import Held
from .aws_type.stack_names import StackNames
from .services import type_of

# Tags whose values are a cluster's name: of EKS, its controllers and drivers, Karpenter.
_CLUSTER_TAGS = (
    "KubernetesCluster",
    "alpha.eksctl.io/cluster-name",
    "aws:eks:cluster-name",
    "cluster.k8s.amazonaws.com/name",
    "eks:cluster-name",
    "eks:eks-cluster-name",
    "elbv2.k8s.aws/cluster",
    "karpenter.sh/discovery",
)
_CLUSTER_KEY = "kubernetes.io/cluster/"


@dataclass(frozen=True)
class Ours:
    """A resource of the stack, and the reason why it belongs to the stack."""

    held: Held
    tags: Mapping[str, str]
    because: str


def ours(everything: Iterable[tuple[Held, Mapping[str, str]]], stack: EksSettings) -> list[Ours]:
    """The resources of the stack. Those that are deleted, or that AWS deletes with their owner, are left out."""
    things = [(held, tags) for held, tags in everything if not held.is_gone and not _goes_with_owner(held)]
    others = {name for held, tags in things for name in _clusters(held, tags)} - {stack.cluster.name}
    names = StackNames(stack.cluster.name, stack.ingress.domain, others)
    found = [Ours(held, tags, because) for held, tags in things if (because := _by_itself(held, tags, names, stack))]
    ids = {mine.held.id for mine in found}
    named = {mine.held for mine in found}
    found += [
        Ours(held, tags, because)
        for held, tags in things
        if held not in named and (because := _by_place(held, tags, ids))
    ]
    return sorted(found, key=lambda mine: str(mine.held))


def _by_itself(held: Held, tags: Mapping[str, str], names: StackNames, stack: EksSettings) -> str | None:
    """Why it belongs to the stack, by its tags and its name."""
    if "Project" in tags and "Stack" in tags:
        is_ours = (tags["Project"], tags["Stack"]) == (PROJECT, stack.stack)
        return f"tag Stack={tags['Stack']}" if is_ours else None
    if named := set(_named_clusters(tags)):
        return f"a tag names the cluster {names.cluster}" if names.cluster in named else None
    return type_of(held).recognise(held, tags, names)


def _by_place(held: Held, tags: Mapping[str, str], ids: set[str]) -> str | None:
    """Why it belongs to the stack, by what it is in or a part of, unless its tags name another stack or cluster.

    `ids` are the ids of what belongs to the stack by itself.
    """
    if "Stack" in tags or any(_named_clusters(tags)):
        return None
    attached = [found.get("VpcId") for found in held.raw.get("Attachments", []) if isinstance(found, Mapping)]
    for vpc in (held.vpc, *attached):
        if vpc in ids:
            return f"in {vpc}"
    owner = held.raw.get(type_of(held).owner_key)
    return f"of {owner}" if owner in ids else None


def _goes_with_owner(held: Held) -> bool:
    goes = type_of(held).goes_with_owner
    return goes is not None and goes(held.raw)


def _clusters(held: Held, tags: Mapping[str, str]) -> Iterator[str]:
    yield from _named_clusters(tags)
    if held.type == ("eks", "clusters"):
        yield held.id
    if tags.get("Project") == PROJECT and "Stack" in tags:
        yield f"{PROJECT}-{tags['Stack']}"


def _named_clusters(tags: Mapping[str, str]) -> Iterator[str]:
    for key, value in tags.items():
        if key in _CLUSTER_TAGS:
            yield value
        # Nobody may delete what several clusters share.
        elif key.startswith(_CLUSTER_KEY) and value != "shared":
            yield key.removeprefix(_CLUSTER_KEY)
