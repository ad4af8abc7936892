"""A team's volumes: the directories on the file system, and the claims in its namespace that notebooks mount.

They are two components, as the namespace comes between them. A destroy takes the namespace first, with its pods, which
Pulumi does not know, and the claims that these use; then the volumes, which no claim holds any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import volumes

if TYPE_CHECKING:
    from settings import Storage


@dataclass(frozen=True, kw_only=True)
class TeamVolumesArgs:
    """Whose volumes, for the claims of which namespace, on which file system."""

    team: str
    namespace: str
    file_system_id: pulumi.Input[str]
    settings: Storage


class TeamVolumes(pulumi.ComponentResource):
    """An access point and a PersistentVolume for each volume of a team.

    The team's namespace depends on it, and it depends on the gate of `components.volume_gate`, like whatever leads to
    claims.
    """

    def __init__(self, name: str, args: TeamVolumesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamVolumes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        for volume in volumes.team_volumes(args.team, args.settings):
            access_point = aws.efs.AccessPoint(
                f"{name}-{volume.name}",
                file_system_id=args.file_system_id,
                tags={"Name": f"{name}-{volume.name}"},
                opts=child,
                **volumes.access_point(volume),
            )
            handle = pulumi.Output.all(args.file_system_id, access_point.id).apply(
                lambda known: volumes.volume_handle(*known)
            )
            kubernetes.core.v1.PersistentVolume(
                f"{name}-{volume.name}", opts=child, **volumes.persistent_volume(args.namespace, volume, handle)
            )
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class TeamClaimsArgs:
    """Whose claims, in which namespace; `namespace_object` is the namespace of that name."""

    team: str
    namespace: str
    namespace_object: kubernetes.core.v1.Namespace
    settings: Storage


class TeamClaims(pulumi.ComponentResource):
    """The claim of each volume of a team, bound by name before a pod asks for it. The volumes are there already."""

    claims: list[str]
    """The claims' names, which are the volumes'."""

    def __init__(self, name: str, args: TeamClaimsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamClaims", name, None, opts)
        # With its namespace a claim goes when the pods are gone; deleted before, it would wait for them in vain.
        child = pulumi.ResourceOptions(
            parent=self, depends_on=[args.namespace_object], deleted_with=args.namespace_object
        )
        self.claims = []
        for volume in volumes.team_volumes(args.team, args.settings):
            kubernetes.core.v1.PersistentVolumeClaim(
                f"{name}-{volume.name}", opts=child, **volumes.claim(args.namespace, volume)
            )
            self.claims.append(volume.name)
        self.register_outputs({"claims": self.claims})
