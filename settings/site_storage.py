"""`gpulab:storage` on an existing cluster: which of its storage classes hold homes and shared files."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictInt

from settings.files import Files, Volume, VolumeName
from settings.ground import on_eks_only
from settings.language.section import Facts, Findings, rule
from settings.language.values import matching, whole

ClassName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a storage class")]


class SiteVolume(Volume):
    """A volume that every notebook of a team mounts, by a claim of a class that several nodes can mount."""

    storage_class: ClassName | None = Field(
        default=None, description="Storage class with ReadWriteMany; sharedClass by default."
    )
    size: Annotated[StrictInt, whole(1, 1024 * 1024, "GiB")] = Field(default=100, description="GiB to ask for.")


class SiteStorage(Files):
    """Homes and shared volumes, in the cluster's own storage classes."""

    elsewhere = on_eks_only(
        efs="sharedClass names a storage class with ReadWriteMany",
        gp3="homeClass names the storage class of homes",
        backup="whoever runs the cluster backs its volumes up",
    )

    home_class: ClassName | None = Field(
        default=None, description="Storage class of homes per-person; the cluster's default class by default."
    )
    shared_class: ClassName | None = Field(
        default=None, description="Storage class with ReadWriteMany, for homes shared and for volumes."
    )
    volumes: dict[VolumeName, SiteVolume] = Field(
        default={},
        description="What notebooks mount beside the home, by name.",
        json_schema_extra={"additionalProperties": False},
    )

    @rule
    def _size_of_homes(self, facts: Facts) -> Findings:
        if self.home_size is None:
            yield ("homeSize",), "is missing: homes are claims of a storage class, which need their size in GiB"

    @rule
    def _class_of_what_is_shared(self, facts: Facts) -> Findings:
        if self.homes == "shared" and self.shared_class is None:
            yield (
                ("sharedClass",),
                "is missing: homes shared need a storage class with ReadWriteMany. Name one, or set homes: per-person",
            )
        for name, volume in self.volumes.items():
            if volume.storage_class is None and self.shared_class is None:
                yield ("volumes", name, "storageClass"), "is missing, and there is no sharedClass: name a class"
