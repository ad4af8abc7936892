"""The seam: what everything above the ground knows of the cluster that it stands on, whoever made that cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import pulumi
import pulumi_kubernetes as kubernetes

from components.gates.volume_gate import VolumeGate
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.secrets import SecretReader
from components.identity.identity import Identity
from components.ingress.published_service import PublishedService
from components.storage.databases import Databases
from components.storage.files import Files
from components.teams.buckets import BucketAccess

if TYPE_CHECKING:
    from settings import Settings


class Ground(Protocol):
    """A cluster with nodes, and what it has for the platform."""

    @property
    def settings(self) -> Settings:
        """The stack file's, completed by what the ground has found."""
        ...

    @property
    def opts(self) -> pulumi.ResourceOptions:
        """The options of what is made in the cluster: the platform as its parent, and the providers."""
        ...

    @property
    def provider(self) -> kubernetes.Provider:
        """The cluster's."""
        ...

    @property
    def kubeconfig(self) -> pulumi.Output[str]:
        """As JSON, for `components.gates.access`."""
        ...

    @property
    def placement(self) -> Placement:
        """Where pods run that must be there at all times."""
        ...

    @property
    def reach(self) -> Reach:
        """The addresses that network policies have to know."""
        ...

    @property
    def nodes(self) -> Sequence[pulumi.Resource]:
        """What pods need to run. A destroy deletes pods before it."""
        ...

    @property
    def drivers(self) -> Sequence[pulumi.Resource]:
        """What makes the volumes of claims and detaches them. A destroy deletes claims before it."""
        ...

    @property
    def volume_gate(self) -> VolumeGate:
        """Has a destroy wait for the volumes of deleted claims. What makes claims depends on it."""
        ...

    @property
    def files(self) -> Files:
        """Where shared files are."""
        ...

    @property
    def databases(self) -> Databases:
        """Where PostgreSQL runs."""
        ...

    @property
    def secret(self) -> SecretReader:
        """Reads secrets in the ground's store."""
        ...

    @property
    def buckets(self) -> BucketAccess | None:
        """How teams reach buckets; None where they can have none."""
        ...

    @property
    def retained(self) -> Mapping[str, pulumi.Output[str]]:
        """What a destroy keeps, by the name that its keeper has for it."""
        ...

    @property
    def has_cluster(self) -> bool:
        """Whether there is a cluster for the platform."""
        ...

    @property
    def outputs(self) -> Mapping[str, pulumi.Input[str]]:
        """What `pulumi stack output` says of the cluster."""
        ...

    def gpus(self, name: str, opts: pulumi.ResourceOptions) -> None:
        """Makes the software by which pods get the GPUs of nodes."""
        ...

    def hub_images(self) -> Sequence[pulumi.Resource]:
        """Makes what the images of the hub and of notebooks come through; the hub goes before it."""
        ...

    def publish(self, published: Sequence[PublishedService]) -> Mapping[str, str]:
        """Publishes Services to users: the URL of each, by its name. None where users forward ports."""
        ...

    def open_api(self, identity: Identity) -> str | None:
        """Lets people sign in to the Kubernetes API as to everything else: the command that sets `kubectl` up for it.

        None where the stack file does not ask for it. It comes after `publish`.
        """
        ...
