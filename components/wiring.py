"""The args of each component of the platform, from the stack file, from the ground, and from the components before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.hub.jupyterhub import HubArgs
from components.identity.identity import Identity, IdentityArgs
from components.identity.realm.clients import HUB_CLIENT
from components.identity.realm.providers import directory_groups
from components.platform_urls import PlatformUrls
from components.seam import Ground
from components.storage.database import Connection
from components.teams.team import SharedArgs
from components.teams.teams import TeamsArgs

if TYPE_CHECKING:
    from settings import Identity as IdentitySettings
    from settings import Settings


@dataclass(frozen=True)
class Wiring:
    """The args of the platform's components."""

    settings: Settings
    ground: Ground

    @property
    def production(self) -> bool:
        """Whether the stack is a production stack."""
        return self.settings.lifecycle.kind == "production"

    def teams(self) -> TeamsArgs:
        """Teams get the registry credentials of the hub, which starts the notebooks."""
        settings, ground, hub = self.settings, self.ground, self.settings.running_hub
        return TeamsArgs(
            teams=settings.teams,
            secret=ground.secret,
            pull_secret=hub.registry.pull_secret if hub and hub.registry else None,
            shared=SharedArgs(
                storage=settings.storage,
                pools=settings.node_pools,
                owner=settings.owner,
                cost_center=settings.cost_center,
                files=ground.files,
                reach=ground.reach,
                buckets=ground.buckets,
                binds_groups=settings.signs_in_to_kubernetes,
                directory_groups=directory_groups(settings.identity),
            ),
        )

    def identity(self, identity: IdentitySettings, *, pods_after: Sequence[pulumi.Resource]) -> IdentityArgs:
        """Its database is the ground's."""
        settings, ground = self.settings, self.ground
        return IdentityArgs(
            settings=identity,
            urls=PlatformUrls.of(settings.ingress.domain),
            databases=ground.databases,
            secret=ground.secret,
            placement=ground.placement,
            production=self.production,
            teams=settings.teams,
            kubectl=settings.signs_in_to_kubernetes,
            charts=settings.charts,
            pods_after=pods_after,
        )

    def hub(self, identity: Identity | None, database: Connection | None) -> HubArgs:
        """The hub signs people in as a client of the realm, if there is one (`hub.signIn`)."""
        ground = self.ground
        return HubArgs(
            settings=self.settings,
            client_secret=identity.client_secrets[HUB_CLIENT] if identity else None,
            files=ground.files,
            secret=ground.secret,
            placement=ground.placement,
            reach=ground.reach,
            kubeconfig=ground.kubeconfig,
            database=database,
        )
