"""The platform: every component, in the order in which they are made. It is the code's table of contents.

What each one gets is in `components/wiring.py`; what the cluster is and brings, in `components/ground/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi

import contracts
from components.gates.volume_gate import VolumeGate
from components.ground.choice import make_ground, platform_options
from components.hub.jupyterhub import Hub
from components.hub.values import CHART as HUB_CHART
from components.identity.identity import Identity
from components.ingress.published_service import PublishedService, port_forward_commands
from components.order import after
from components.seam import Ground
from components.teams.teams import Teams
from components.wiring import Wiring
from settings.notebooks.hub import DATABASE as HUB_DATABASE

if TYPE_CHECKING:
    from settings import Settings


class Platform(pulumi.ComponentResource):
    """Everything that one stack file describes.

    A destroy runs from the bottom to the top. What makes claims is deleted first; then the gate waits for their
    volumes. The ground is last.
    """

    ground: Ground
    volume_gate: VolumeGate
    """What makes claims depends on it."""
    retained: Mapping[str, pulumi.Output[str]]
    """What a destroy keeps, by the name that its keeper has for it."""
    urls: Mapping[str, str]
    """The address of each published service, by its name; empty where users forward ports."""
    kubectl_login_command: str | None = None
    """The command that sets up `kubectl` for people who sign in with their browser; None where they can't."""
    port_forward_commands: Mapping[str, pulumi.Output[str]]
    """The commands with which users reach each service otherwise."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        opts: pulumi.ResourceOptions | None = None,
        *,
        published: Sequence[PublishedService] = (),
    ) -> None:
        """`published` are Services to publish in addition to the platform's own."""
        opts = pulumi.ResourceOptions.merge(opts, platform_options(settings))
        super().__init__("gpulab:index:Platform", name, None, opts)
        self.ground = ground = make_ground(name, settings, self)
        self.retained, self.urls, self.port_forward_commands = ground.retained, {}, {}
        if ground.has_cluster:
            self._make(name, ground, published)
        self.register_outputs(
            {**ground.outputs, "urls": self.urls, "port_forward_commands": self.port_forward_commands}
        )

    def _make(self, name: str, ground: Ground, published: Sequence[PublishedService]) -> None:
        settings, self.volume_gate = ground.settings, ground.volume_gate
        gate = self.volume_gate
        args = Wiring(settings, ground)
        # A destroy deletes both before the nodes.
        beside_nodes = after(ground.opts, *ground.nodes)
        ground.gpus(f"{name}-gpu", beside_nodes)
        teams = Teams(f"{name}-team", args.teams(), opts=after(ground.opts, gate))

        identity = hub = None
        if settings.identity:
            # Its pods may run on any node, and its database may be a claim.
            pods_after = [*ground.nodes, gate]
            identity = Identity(
                f"{name}-identity", args.identity(settings.identity, pods_after=pods_after), opts=ground.opts
            )
            self.retained = {**self.retained, **identity.retained}
        if settings.running_hub:
            # It starts notebooks in the teams' namespaces, and its database may use a claim. It does not need
            # Keycloak until somebody signs in, so both start at the same time.
            images = ground.hub_images()
            database = ground.databases.for_hub(
                f"{name}-hub-database",
                HUB_DATABASE,
                settings.running_hub.database,
                version=contracts.chart(HUB_CHART).app_version,
                opts=ground.opts,
            )
            hub = Hub(
                f"{name}-hub",
                args.hub(identity, database),
                opts=after(beside_nodes, gate, teams, *images),
            )
        published = [*published, *(made.published for made in (identity, hub) if made)]

        self.urls = ground.publish(published)
        if not self.urls:
            self.port_forward_commands = port_forward_commands(published, settings.kubectl)
        if identity:
            self.kubectl_login_command = ground.open_api(identity)
