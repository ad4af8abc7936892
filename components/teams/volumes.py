"""A team's volumes: the directories on the file system, and the claims in its namespace that notebooks mount.

They are two components, because the namespace comes between them. A destroy first deletes the namespace, with pods,
which Pulumi does not know, and their claims; then the volumes, which no claim uses any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.storage import volumes
from components.storage.files import Files

if TYPE_CHECKING:
    from settings.files import Files as FilesSettings


@dataclass(frozen=True, kw_only=True)
class TeamVolumesArgs:
    """Which team's volumes, for claims in which namespace."""

    team: str
    namespace: str
    files: Files
    settings: FilesSettings


class TeamVolumes(pulumi.ComponentResource):
    """What the ground makes of a team's volumes, except claims of others: on EFS, access points and PersistentVolumes.

    The team's namespace depends on it, and it depends on the gate of `components.gates.volume_gate`, like everything
    that leads to claims.
    """

    def __init__(self, name: str, args: TeamVolumesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamVolumes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        for volume in volumes.made_volumes(args.team, args.settings):
            args.files.make(f"{name}-{volume.name}", args.namespace, volume, child)
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class TeamClaimsArgs:
    """Which team's claims, in which namespace; `namespace_object` is the namespace with that name."""

    team: str
    namespace: str
    namespace_object: kubernetes.core.v1.Namespace
    files: Files
    settings: FilesSettings


class TeamClaims(pulumi.ComponentResource):
    """The claim of each of these volumes, bound by name before a pod uses it. The volumes exist already."""

    claims: list[str]
    """The claims' names, which are also the volumes' names."""

    def __init__(self, name: str, args: TeamClaimsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamClaims", name, None, opts)
        # Deleted with its namespace, a claim goes after the pods. Deleted before it, the claim would wait for them
        # forever.
        child = pulumi.ResourceOptions(
            parent=self, depends_on=[args.namespace_object], deleted_with=args.namespace_object
        )
        self.claims = []
        for volume in volumes.made_volumes(args.team, args.settings):
            kubernetes.core.v1.PersistentVolumeClaim(
                f"{name}-{volume.name}", opts=child, **args.files.claim(args.namespace, volume)
            )
            self.claims.append(volume.name)
        self.register_outputs({"claims": self.claims})
