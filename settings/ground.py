"""`gpulab:ground`: the cluster that the platform stands on. It is new on AWS, or it exists and stays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field

from settings.language.section import Section
from settings.language.values import matching
from settings.pools.labels import AnyKey, LabelValue, SiteTaint

GroundKind: TypeAlias = Literal["eks", "existing"]
Distribution: TypeAlias = Literal["k3s", "rke2", "talos", "microk8s", "kind", "kubeadm", "eks", "aks", "gke"]


KUBELET_FOLDERS: Mapping[Distribution, str] = {
    **dict.fromkeys(get_args(Distribution), "/var/lib/kubelet"),
    # "Microk8s based kubernetes recommended settings", charts/README.md of csi-driver-nfs 4.13.4, 2026-07-01.
    "microk8s": "/var/snap/microk8s/common/var/lib/kubelet",
}
"""The folder of kubelet on nodes, below which drivers mount volumes."""


def on_eks_only(**in_place: str) -> dict[str, str]:
    """Keys that only a stack on EKS has, each with what to say of it elsewhere; `in_place` is what serves there."""
    return {key: f"is for gpulab:ground.kind eks: leave it out, {why}" for key, why in in_place.items()}


def on_existing_only(**in_place: str) -> dict[str, str]:
    """Keys that only a stack on an existing cluster has, in the same way."""
    return {key: f"is for gpulab:ground.kind existing: leave it out, {why}" for key, why in in_place.items()}


class EksGround(Section):
    """A new EKS cluster in a VPC of its own, which goes with the stack."""

    kind: GroundKind = Field(
        default="eks",
        description="eks: a new cluster on AWS, described by network, cluster and nodePools. existing: a cluster that "
        "is there already, and stays.",
    )


class SystemNodes(Section):
    """Nodes for pods that must run at all times: hub, proxy, Keycloak, databases and operators."""

    selector: dict[AnyKey, LabelValue] = Field(
        default={},
        description="Labels that these nodes have; all nodes by default.",
        json_schema_extra={"additionalProperties": False},
    )
    taints: tuple[SiteTaint, ...] = Field(default=(), description="Taints of these nodes, which the pods tolerate.")


class ExistingGround(Section):
    """A cluster that somebody else made. The stack adds to it, and takes away only what it added."""

    kind: Literal["existing"] = Field(description="existing: a cluster that is there already, and stays.")
    kubeconfig: Annotated[str, matching(r"[^\x00-\x1f$]{1,255}", "the path of a kubeconfig file")] = Field(
        default="~/.kube/config",
        description="Path of the kubeconfig file on the machine that runs Pulumi: absolute, from the project's folder, "
        "or with ~ for your home.",
    )
    context: Annotated[str, matching(r"\S(.{0,251}\S)?", "the name of a context in that file")] = Field(
        description="Context of the kubeconfig file (`kubectl config get-contexts` lists them). It must be named: the "
        "current context changes without notice."
    )
    distribution: Distribution = Field(
        description="What the cluster is: it decides where containerd is configured, and which parts are there already."
    )
    system_nodes: SystemNodes = Field(
        default=SystemNodes(),
        description="Where the hub, Keycloak and operators run: selector, taints; by default any node without taints.",
    )
