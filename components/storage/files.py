"""What a ground makes of a team's volume: something that a claim in a namespace is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.manifests import Spec
from components.storage import volumes
from components.storage.volumes import TeamVolume


class Files(Protocol):
    """Where shared files lie."""

    facts: ClassVar[Mapping[str, Any]]
    """What `components.gates.team_data` has to know of it."""

    def make(self, name: str, namespace: str, volume: TeamVolume, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """Makes what the claim of `volume` in `namespace` needs; `name` is the resource's. The claim goes before it."""
        ...

    def claim(self, namespace: str, volume: TeamVolume) -> Spec:
        """The metadata and spec of that claim."""
        ...


@dataclass(frozen=True, kw_only=True)
class EfsFiles:
    """Files on one EFS file system: a directory of it for each volume, behind an access point."""

    facts: ClassVar[Mapping[str, Any]] = {}

    file_system_id: pulumi.Input[str]

    def make(self, name: str, namespace: str, volume: TeamVolume, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """An access point and the PersistentVolume that leads to it."""
        access_point = aws.efs.AccessPoint(
            name,
            file_system_id=self.file_system_id,
            tags={"Name": name},
            opts=opts,
            **volumes.access_point(volume),
        )
        handle = pulumi.Output.all(self.file_system_id, access_point.id).apply(
            lambda known: volumes.volume_handle(*known)
        )
        return kubernetes.core.v1.PersistentVolume(
            name, opts=opts, **volumes.persistent_volume(namespace, volume, handle)
        )

    def claim(self, namespace: str, volume: TeamVolume) -> Spec:
        """Bound to the PersistentVolume of the same volume by its name."""
        return volumes.claim(namespace, volume)
