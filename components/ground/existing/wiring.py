"""What each part of the ground on an existing cluster gets: of the stack file, and of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.ground.existing.found import FoundCluster
from components.ground.existing.makes import made_by, makes_database_operator
from components.ground.existing.ownership import Named
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.secrets import ClusterSecrets
from components.identity.keycloak import NAMESPACE as IDENTITY_NAMESPACE
from components.ingress.published_service import PublishedService
from components.ingress.site_front import SiteFrontArgs
from components.nodes.fixed_nodes import FixedNodesArgs
from components.nodes.gpu_sharing import toleration
from components.nodes.site_gpu import SiteGpuArgs
from components.storage.claims import NAMESPACE as FILES_NAMESPACE
from components.storage.databases import SiteDatabases
from components.storage.site_storage import SiteStorageClassesArgs
from components.teams.names import HUB_NAMESPACE
from contracts import clusters
from settings.people.names import namespace_of
from settings.pools.found_nodes import with_found

if TYPE_CHECKING:
    from settings import ExistingSettings


@dataclass(frozen=True)
class SiteWiring:
    """The args of the ground's parts. `settings` are completed by what was found."""

    settings: ExistingSettings
    found: FoundCluster

    @classmethod
    def of(cls, settings: ExistingSettings, found: FoundCluster) -> SiteWiring:
        """Completes the settings."""
        return cls(with_found(settings, found.nodes), found)

    @property
    def production(self) -> bool:
        """Whether the stack is for production."""
        return self.settings.lifecycle.kind == "production"

    @property
    def placement(self) -> Placement:
        """On the system nodes that the stack file names; else on any node that has no taints."""
        nodes = self.settings.ground.system_nodes
        tolerations = [toleration(taint) for taint in nodes.taints]
        return Placement(
            node_selector=dict(nodes.selector),
            tolerations=tolerations,
            annotations={},
            # Nodes of pools don't come and go here.
            off_pools={"nodeSelector": dict(nodes.selector), "tolerations": tolerations},
        )

    @property
    def reach(self) -> Reach:
        """What was found."""
        found = self.found.addresses
        return Reach(
            cluster_cidr=found.pods, api_server_cidrs=found.api_servers, api_server_ports=found.api_ports or (443,)
        )

    def makes(self) -> frozenset[Named]:
        """What the stack makes under names of its own choice."""
        return made_by(self.settings, self.found)

    def namespaces(self) -> list[str]:
        """Where claims are that a destroy deletes."""
        settings = self.settings
        files = [] if settings.storage.retain else [FILES_NAMESPACE]
        return [*files, HUB_NAMESPACE, IDENTITY_NAMESPACE, *map(namespace_of, settings.teams)]

    def fixed_nodes(self, kubeconfig: pulumi.Output[str]) -> FixedNodesArgs:
        """Of the stack file's pools."""
        settings = self.settings
        return FixedNodesArgs(pools=settings.node_pools, gpu=settings.gpu, stack=settings.stack, kubeconfig=kubeconfig)

    def gpu(self) -> SiteGpuArgs:
        """The GPU software that the stack file names, with the paths of the distribution."""
        settings = self.settings
        return SiteGpuArgs(
            pools=settings.node_pools,
            gpu=settings.gpu,
            charts=settings.charts,
            placement=self.placement,
            runtime_class_exists=self.found.is_of_others(
                Named(kind="RuntimeClass", name=settings.gpu.runtime_class), settings.stack
            ),
            containerd=clusters.containerd(settings.ground.distribution),
            by_digest=self.production,
        )

    def storage_classes(self) -> SiteStorageClassesArgs:
        """Those that the stack file has installed."""
        return SiteStorageClassesArgs(
            settings=self.settings.storage,
            distribution=self.settings.ground.distribution,
            placement=self.placement,
            charts=self.settings.charts,
            by_digest=self.production,
        )

    def databases(self) -> SiteDatabases:
        """In the cluster; by an operator that is there already, if there is one."""
        settings = self.settings
        return SiteDatabases(
            placement=self.placement,
            storage_class=settings.storage.disk_class,
            backed_up_by=settings.storage.backed_up_by,
            operator=makes_database_operator(settings, self.found),
            production=self.production,
            protect=settings.lifecycle.protects,
            charts=settings.charts,
        )

    def front(self, published: Sequence[PublishedService], secret: ClusterSecrets) -> SiteFrontArgs:
        """Of the stack file, and of Secrets that it names."""
        return SiteFrontArgs(
            settings=self.settings.ingress,
            published=published,
            secret=secret,
            data=secret.data,
            placement=self.placement,
            charts=self.settings.charts,
            by_digest=self.production,
        )
