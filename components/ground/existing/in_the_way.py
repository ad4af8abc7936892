"""What runs or exists in a cluster already, and would fight with what a stack brings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from components.ground.existing.finding import Finding
from components.ground.existing.found import FoundCluster, Program
from components.ground.existing.ownership import Named, Owner

if TYPE_CHECKING:
    from settings import ExistingSettings

DEVICE_PLUGINS = ("device-plugin", "gpu-operator", "hami")
"""The programs that give GPUs to pods."""


def plugin_findings(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    """A second program that gives GPUs to pods; or none, where one should be there."""
    plugin, key = settings.gpu.plugin, "gpu.plugin"
    if not any(pool.is_gpu for pool in settings.node_pools.values()):
        return
    if plugin == "present":
        if not any(found.running(program) for program in DEVICE_PLUGINS) and not _advertised(found):
            yield (
                "error",
                key,
                "is present, and neither NVIDIA's device plugin nor the GPU Operator runs in the cluster: install one, "
                "or set device-plugin",
            )
    elif running := [one for program in DEVICE_PLUGINS for one in found.others(program, settings.stack)]:
        yield (
            "error",
            key,
            f"is {plugin}, and another one would fight with it for the GPUs: {_listed(running)}. Set it to present",
        )


def installed_findings(settings: ExistingSettings, found: FoundCluster) -> Iterator[Finding]:
    """What the stack file has installed although it runs, and what runs for nobody where it is needed."""
    ingress, install = settings.ingress, settings.storage.install
    asked = {
        "storage.install.seaweedfs": (install.seaweedfs, "seaweedfs-csi", "name its class as sharedClass"),
        "storage.install.nfs": (install.nfs, "nfs-csi", "name its class as sharedClass"),
        "ingress.install.certManager": (
            ingress.install.cert_manager,
            "cert-manager",
            "name a ClusterIssuer of it as certificate.issuer",
        ),
    }
    for key, (wanted, program, instead) in asked.items():
        running = found.others(program, settings.stack)
        if wanted and running:
            yield (
                "error",
                key,
                f"would be a second one: the cluster has {_listed(running)}. Leave it out, and {instead}",
            )
    traefiks = found.others("traefik", settings.stack)
    if ingress.install.traefik and traefiks and settings.ground.distribution in ("k3s", "rke2"):
        yield (
            "error",
            "ingress.install.traefik",
            f"would not get ports 80 and 443, which {_listed(traefiks)} has: leave it out and write ingressClass: "
            "traefik, or start the server with --disable=traefik",
        )
    if "ciliumnetworkpolicies.cilium.io" in found.crds:
        yield (
            "warning",
            "ground.context",
            "leads to a cluster with Cilium, where the hub reaches the API server only with policyCIDRMatchMode: nodes "
            "in Cilium's configuration, as a policy by address does not count for nodes otherwise",
        )
    if ingress.certificate and ingress.certificate.issuer and not found.running("cert-manager"):
        yield (
            "error",
            "ingress.certificate.issuer",
            f"is {ingress.certificate.issuer}, and no cert-manager runs in the cluster: set install.certManager, or "
            "name a certificate of your own",
        )


def owner_findings(settings: ExistingSettings, found: FoundCluster, makes: Collection[Named]) -> Iterator[Finding]:
    """What the stack would make, and somebody else has made already."""
    for wanted in sorted(makes, key=str):
        owner = found.objects.get(wanted)
        if owner is not None and not _is_own(owner, settings.stack, found, makes):
            yield (
                "error",
                "ground.context",
                f"leads to a cluster where {wanted} is there already, made by {owner}. The stack would make one of "
                "that name, and touches nothing that isn't its own: remove it there, or take another cluster"
                + (f". If {owner.stack} is this stack's former name, rename it back" if owner.stack else ""),
            )


def _is_own(owner: Owner, stack: str, found: FoundCluster, makes: Collection[Named]) -> bool:
    """Whether the stack may have an object: it made it, or its own release left it.

    Helm keeps some objects when a release goes (CRDs), with the release's name; the next release of that name takes
    them over.
    """
    if owner.stack:
        return owner.stack == stack
    return owner.release in makes and owner.release not in found.objects


def _advertised(found: FoundCluster) -> bool:
    """Whether nodes have GPUs for pods: EKS Auto Mode and Bottlerocket run the device plugin outside of pods."""
    return any(key.startswith("nvidia.com/") for node in found.nodes for key in node.allocatable)


def _listed(programs: Iterable[Program]) -> str:
    return "; ".join(f"{one.title} ({one.workload}, made by {one.owner})" for one in programs)
