"""Whose a thing in an account is: by the tags of the stack, by those that name its cluster, by its name, by its VPC."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from settings import Settings
from settings.stack import PROJECT

from .account import Held, tag_map

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
BACKUP_TAG = "aws:backup:source-resource"
"""Of a snapshot that is a recovery point of AWS Backup: EC2 refuses to delete it."""
_VALIDATION = ".acm-validations.aws."


@dataclass(frozen=True)
class Ours:
    """A thing of the stack's, and by what it was told."""

    held: Held
    tags: Mapping[str, str]
    because: str


def ours(everything: Iterable[tuple[Held, Mapping[str, str]]], stack: Settings) -> list[Ours]:
    """What of an account's things is the stack's. What is gone, or goes with its owner, is left out."""
    things = [(held, tags) for held, tags in everything if not held.is_gone and not _goes_with_its_owner(held)]
    judge = _Judge(stack, things)
    found = [Ours(held, tags, because) for held, tags in things if (because := judge.by_itself(held, tags))]
    judge.note(found)
    named = {one.held for one in found}
    found += [
        Ours(held, tags, because)
        for held, tags in things
        if held not in named and (because := judge.by_its_place(held, tags))
    ]
    return sorted(found, key=lambda one: str(one.held))


class _Judge:
    def __init__(self, stack: Settings, things: Iterable[tuple[Held, Mapping[str, str]]]) -> None:
        self._stack = stack
        self._cluster = stack.cluster.name
        others = {name for held, tags in things for name in _clusters(held, tags)} - {self._cluster}
        # Of the names that are longer than ours, those that ours begins.
        self._longer = [name for name in others if self._cluster in name]
        self._ids: set[str] = set()
        self._vpcs: set[str] = set()

    def by_itself(self, held: Held, tags: Mapping[str, str]) -> str | None:
        """Why it is the stack's, by its tags and its name."""
        if "Project" in tags and "Stack" in tags:
            mine = (tags["Project"], tags["Stack"]) == (PROJECT, self._stack.stack)
            return f"tag Stack={tags['Stack']}" if mine else None
        if named := set(_named_clusters(tags)):
            return f"a tag names the cluster {self._cluster}" if self._cluster in named else None
        if held.type == ("route53", "ResourceRecordSets"):
            return self._record(held)
        if held.type == ("eks", "clusters") and held.id == self._cluster:
            return "the cluster"
        return self._by_name(held, tags)

    def note(self, found: Iterable[Ours]) -> None:
        """Remembers what is the stack's, for `by_its_place`."""
        self._ids = {one.held.id for one in found}
        self._vpcs = {one.held.id for one in found if one.held.type == ("ec2", "Vpcs")}

    def by_its_place(self, held: Held, tags: Mapping[str, str]) -> str | None:
        """Why it is the stack's, by what it is in or about, unless its tags say that it is another's."""
        if "Stack" in tags or any(_named_clusters(tags)):
            return None
        attached = [one.get("VpcId") for one in held.raw.get("Attachments", []) if isinstance(one, Mapping)]
        for vpc in (held.vpc, *attached):
            if vpc in self._vpcs:
                return f"in {vpc}"
        for key in ("FileSystemId", "TargetKeyId", "SnapshotId" if held.kind == "FastSnapshotRestores" else ""):
            if key and held.raw.get(key) in self._ids:
                return f"of {held.raw[key]}"
        return None

    def _by_name(self, held: Held, tags: Mapping[str, str]) -> str | None:
        for name in (
            held.name,
            held.id.rpartition("/")[2] if held.id.startswith("arn:") else held.id,
            tags.get("Name", ""),
        ):
            if _has(name, self._cluster) and not any(_has(name, other) for other in self._longer):
                return f"the name {name}"
        return None

    def _record(self, held: Held) -> str | None:
        """A name that leads to the cluster's load balancer, or the proof that the certificate's domain is ours."""
        values = [one["Value"] for one in held.raw.get("ResourceRecords", [])]
        target = held.raw.get("AliasTarget", {}).get("DNSName", "")
        for value in (target, *values):
            host = value.removeprefix("dualstack.").removeprefix("internal-").partition(".")[0]
            if ".elb." in value and _has(host, self._cluster) and not any(_has(host, one) for one in self._longer):
                return f"leads to {value.rstrip('.')}"
        domain = self._stack.ingress.domain
        if domain and any(value.endswith(_VALIDATION) for value in values):
            proven = held.raw["Name"].rstrip(".").partition(".")[2]
            return f"validates the certificate of {domain}" if proven == domain else None
        return None


def _goes_with_its_owner(held: Held) -> bool:
    """Whether nobody has to delete it, or can: it goes with its VPC, zone, database, instance or backup vault."""
    raw = held.raw
    if held.kind == "DBSnapshots":
        return raw.get("SnapshotType") == "automated"
    if held.kind == "Volumes":
        return any(one.get("DeleteOnTermination") for one in raw.get("Attachments", []))
    if held.kind == "NetworkInterfaces":
        attachment = raw.get("Attachment") or {}
        return "InstanceId" in attachment and (attachment.get("DeviceIndex") == 0 or attachment["DeleteOnTermination"])
    if held.kind == "SecurityGroups":
        return raw.get("GroupName") == "default"
    if held.kind == "RouteTables":
        return any(one.get("Main") for one in raw.get("Associations", []))
    of_backups = held.kind == "Snapshots" and BACKUP_TAG in tag_map(raw.get("Tags"))
    return of_backups or (held.kind == "ResourceRecordSets" and raw.get("Type") in ("NS", "SOA"))


def _has(name: str, cluster: str) -> bool:
    """Whether a name has a cluster's name in it, as a word of its own."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(cluster)}(?![A-Za-z0-9])", name) is not None


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
        # A thing that is shared among clusters is nobody's to delete.
        elif key.startswith(_CLUSTER_KEY) and value != "shared":
            yield key.removeprefix(_CLUSTER_KEY)
