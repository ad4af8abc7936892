"""Whose an object in a cluster is: of this stack, of a Helm release, or of another tool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STACK_LABEL = "gpulab.dev/stack"
"""Every object that a stack makes in an existing cluster has it, with the stack's name.

What Helm installs is recognised by the label of its release's namespace.
"""

HELM_RELEASE = "HelmRelease"
"""The kind of a release in a `Named`; the Kubernetes API has none."""

_HELM_NAME, _HELM_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"

_MARKS = {
    # APPLICATION:GROUP/KIND:NAMESPACE/NAME
    "argocd.argoproj.io/tracking-id": "Argo CD ({})",
    "argocd.argoproj.io/instance": "Argo CD ({})",
    "kustomize.toolkit.fluxcd.io/name": "Flux ({})",
    "helm.toolkit.fluxcd.io/name": "Flux ({})",
    "objectset.rio.cattle.io/owner-name": "k3s's or RKE2's own addon {}",
    "addonmanager.kubernetes.io/mode": "the cluster's addon manager",
    "app.kubernetes.io/managed-by": "{}",
}
"""Labels and annotations that tools put on what they manage, the one that says most first."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """An object of the API or a Helm release, by its name. `namespace` is None for cluster-scoped objects."""

    kind: str
    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        """As people write it, such as `Namespace hub` or `Helm release traefik in kube-system`."""
        kind = "Helm release" if self.kind == HELM_RELEASE else self.kind
        return f"{kind} {self.name}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """What an object says of who made it. With nothing, somebody made it by hand."""

    stack: str | None = None
    """The stack of gpulab."""
    release: Named | None = None
    manager: str | None = None
    """Another tool, in words."""

    def __str__(self) -> str:
        """In words."""
        if self.stack:
            return f"stack {self.stack} of gpulab"
        if self.release:
            return str(self.release)
        return self.manager or "somebody who left no mark on it"


def named(manifest: Mapping[str, Any]) -> Named:
    """The name of an object."""
    metadata = manifest["metadata"]
    return Named(kind=manifest["kind"], name=metadata["name"], namespace=metadata.get("namespace"))


def release_of(secret: Mapping[str, Any]) -> Named | None:
    """The release that a Secret is a revision of, by its labels alone; None for other Secrets."""
    metadata = secret["metadata"]
    labels = metadata.get("labels") or {}
    if labels.get("owner") != "helm" or "name" not in labels:
        return None
    return Named(kind=HELM_RELEASE, name=labels["name"], namespace=metadata.get("namespace"))


def owner_of(manifest: Mapping[str, Any], stacks: Mapping[str, str]) -> Owner:
    """Who made an object. `stacks` has the stack of each namespace that is a stack's."""
    metadata = manifest["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    release = None
    if annotations.get(_HELM_NAME):
        release = Named(
            kind=HELM_RELEASE, name=annotations[_HELM_NAME], namespace=annotations.get(_HELM_NAMESPACE, "default")
        )
    elif manifest["kind"] == "Secret":
        release = release_of(manifest)
    within = [metadata.get("namespace"), release.namespace if release else None]
    stack = labels.get(STACK_LABEL) or next((stacks[name] for name in within if name in stacks), None)
    marks = {**labels, **annotations}
    managers = [words.format(marks[key].partition(":")[0]) for key, words in _MARKS.items() if key in marks]
    managers += [f"{one['kind']} {one['name']}" for one in metadata.get("ownerReferences") or ()]
    return Owner(stack=stack, release=release, manager=next(iter(managers), None))
