"""The ground that is there already: a cluster that somebody else made, its nodes, its storage classes, its front."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.gates.access import CONTEXT, PATH
from components.gates.volume_gate import VolumeGate
from components.ground.existing.reading import read_cluster
from components.ground.existing.report import report
from components.ground.existing.wiring import SiteWiring
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.secrets import ClusterSecrets
from components.ingress.site_front import SiteFront
from components.nodes.fixed_nodes import FixedNodes
from components.nodes.site_gpu import SiteGpu
from components.order import after
from components.storage.claims import ClaimFiles, SharedFiles
from components.storage.databases import SiteDatabases
from components.storage.site_storage import SiteStorageClasses

if TYPE_CHECKING:
    from components.identity.identity import Identity
    from components.ingress.published_service import PublishedService
    from settings import ExistingSettings


class ExistingGround:
    """Children of the platform: marks of nodes, storage classes, GPU software, Ingresses. See `components.seam.Ground`.

    Whatever the cluster had before is left as it is. Destruction: what makes claims is deleted first, then the claims
    that hold files; then, when their volumes are gone, the drivers that the stack brought, and the marks of the nodes.
    """

    has_cluster = True
    buckets = None
    retained: Mapping[str, pulumi.Output[str]]

    opts: pulumi.ResourceOptions
    provider: kubernetes.Provider
    kubeconfig: pulumi.Output[str]
    placement: Placement
    reach: Reach
    nodes: Sequence[pulumi.Resource]
    drivers: Sequence[pulumi.Resource]
    volume_gate: VolumeGate
    files: ClaimFiles
    databases: SiteDatabases
    secret: ClusterSecrets
    outputs: Mapping[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: ExistingSettings, platform: pulumi.Resource) -> None:
        """Reads the cluster, then makes what is below the seam. Raises pulumi.RunError with all that is in the way."""
        found = read_cluster(settings.ground, Path.cwd())
        self._name = name
        self._args = args = SiteWiring.of(settings, found)
        report(settings, found, args.makes(), platform)
        self.settings = settings = args.settings
        ground = settings.ground
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=ground.kubeconfig,
            context=ground.context,
            # Objects stay where they are when only the kubeconfig's text or the name of the context changes.
            cluster_identifier=found.identity or None,
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=platform),
        )
        self.opts = in_cluster = pulumi.ResourceOptions(parent=platform, providers=[self.provider])
        access = {PATH: ground.kubeconfig, CONTEXT: ground.context}
        self.kubeconfig = pulumi.Output.from_input(json.dumps(access))
        self.placement, self.reach, self.secret = args.placement, args.reach, ClusterSecrets(access)
        self._nodes = FixedNodes(f"{name}-nodes", args.fixed_nodes(self.kubeconfig), opts=in_cluster)
        classes = SiteStorageClasses(f"{name}-storage", args.storage_classes(), opts=in_cluster)
        self.nodes, self.drivers = [self._nodes], list(classes.drivers)
        self.volume_gate = VolumeGate(
            f"{name}-volumes",
            self.kubeconfig,
            opts=pulumi.ResourceOptions(parent=platform, depends_on=[*self.drivers, self._nodes]),
            namespaces=args.namespaces(),
        )
        shared = SharedFiles(
            f"{name}-files", settings.storage, list(settings.teams), opts=after(in_cluster, self.volume_gate, classes)
        )
        self.files, self.retained = shared.files, shared.retained
        self.databases = args.databases()
        self.outputs = {"cluster": ground.context, "distribution": ground.distribution}

    def gpus(self, name: str, opts: pulumi.ResourceOptions) -> None:
        """The device plugin or the GPU Operator, unless the cluster has one."""
        SiteGpu(name, self._args.gpu(), opts=after(opts, self._nodes))

    def hub_images(self) -> Sequence[pulumi.Resource]:
        """Nothing: a registry of the site serves, if there is one."""
        return []

    def publish(self, published: Sequence[PublishedService]) -> Mapping[str, str]:
        """By an ingress class, where there is a domain."""
        if self.settings.ingress.domain is None:
            return {}
        return SiteFront(f"{self._name}-front", self._args.front(published, self.secret), opts=self.opts).urls

    def open_api(self, identity: Identity) -> str | None:
        """Whoever runs the cluster decides who may use its API."""
        return None
