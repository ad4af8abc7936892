"""`gpulab:storage` on an existing cluster: which of its storage classes hold homes and shared files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt

from settings.files import HOME, HOMES, SCRATCH, Files, Volume, VolumeName, checked_mount_path, overlap
from settings.ground import on_eks_only
from settings.language.section import Facts, Findings, rule
from settings.language.values import Check, matching, whole
from settings.storage_install import ONE_NODE_CLASSES, ClassName, StorageInstall, class_defaults

_HOME_CLAIM = "home-"
"""What the names of the claims begin with that the hub makes for homes per-person."""

MountPath = Annotated[str, Check(checked_mount_path)]
ClaimName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a PersistentVolumeClaim")]


class SiteVolume(Volume):
    """A volume that every notebook of a team mounts, by a claim of a class that several nodes can mount."""

    storage_class: ClassName | None = Field(
        default=None, description="Storage class with ReadWriteMany; sharedClass by default."
    )
    size: Annotated[StrictInt, whole(1, 1024 * 1024, "GiB")] = Field(
        default=100, description="GiB to ask for; with claim, GiB that the claim may ask for at most."
    )
    claim: ClaimName | None = Field(
        default=None,
        description="Name of a claim that somebody else makes in the namespace of each team; none: the platform makes "
        "the claim.",
    )
    optional: StrictBool = Field(
        default=False,
        description="For claim: whether notebooks start without the volume in teams that have no such claim.",
    )

    @rule
    def _claim_of_others(self, facts: Facts) -> Findings:
        if self.claim is None and self.optional:
            yield ("optional",), "is for a claim that somebody else makes: name it (claim), or leave this out"
        if self.claim is not None and self.storage_class is not None:
            yield ("storageClass",), "is for claims that the platform makes: leave it out, claim is there already"


class SiteStorage(Files):
    """Homes and shared volumes, in the cluster's own storage classes."""

    elsewhere = on_eks_only(
        efs="sharedClass names a storage class with ReadWriteMany",
        gp3="homeClass names the storage class of homes",
        backup="backedUpBy says who backs up the volumes",
    )

    install: StorageInstall = Field(
        default=StorageInstall(),
        description="What makes volumes, where the cluster lacks it: localPath, seaweedfs, nfs.",
    )
    home_class: ClassName | None = Field(
        default=None,
        description="Storage class of homes per-person; by default that of install.localPath, else the cluster's "
        "default class.",
    )
    shared_class: ClassName | None = Field(
        default=None,
        description="Storage class with ReadWriteMany, for homes shared and for volumes; by default that of "
        "install.seaweedfs or install.nfs.",
    )
    home_path: MountPath = Field(
        default=HOME,
        description="Where notebooks mount the home: /home/jovyan, or a folder in it such as /home/jovyan/notebooks. "
        "Only what is in it outlives the notebook.",
    )
    scratch_path: MountPath = Field(
        default=SCRATCH,
        description="Where notebooks mount scratch, such as /scratch. In the home the link scratch points there.",
    )
    volumes: dict[VolumeName, SiteVolume] = Field(
        default={},
        description="What notebooks mount beside the home, by name.",
        json_schema_extra={"additionalProperties": False},
    )

    backed_up_by: Annotated[str, matching(r"\S(.{0,198}\S)?", "a line of text")] | None = Field(
        default=None,
        description="Who backs up the volumes of the storage classes, and how, such as: Velero, each night. The stack "
        "does not; in production it has to be said.",
    )

    @property
    def disk_class(self) -> str | None:
        """The class of homes serves all disks."""
        return self.home_class

    @property
    def home_disk_class(self) -> str | None:
        """What happens to a home's disk when its claim is deleted is the class's own."""
        return self.home_class

    @property
    def disks_are_zonal(self) -> bool:
        """Whether disks move between nodes is not known; there are no zones to choose."""
        return False

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Classes that the stack installs are those of homes and volumes, unless the file names others."""
        return {**class_defaults(given.get("install")), **given}

    @rule
    def _size_of_homes(self, facts: Facts) -> Findings:
        if self.home_size is None:
            yield ("homeSize",), "is missing: homes are claims of a storage class, which need their size in GiB"

    @rule
    def _class_of_what_is_shared(self, facts: Facts) -> Findings:
        if self.homes == "shared" and self.shared_class is None:
            yield (
                ("sharedClass",),
                "is missing: homes shared need a storage class with ReadWriteMany. Name one, install one "
                "(storage.install: seaweedfs, nfs), or set homes: per-person",
            )
        for name, volume in self.volumes.items():
            if volume.claim is None and volume.storage_class is None and self.shared_class is None:
                yield ("volumes", name, "storageClass"), "is missing, and there is no sharedClass: name a class"

    @rule
    def _class_that_several_nodes_mount(self, facts: Facts) -> Findings:
        made = {name: volume for name, volume in self.volumes.items() if volume.claim is None}
        if self.shared_class and (what := self._one_node(self.shared_class)):
            uses = [*(["homes shared"] if self.homes == "shared" else [])]
            uses += [f"volume {name}" for name, volume in made.items() if volume.storage_class is None]
            if uses:
                instead = ", or set homes: per-person" if self.homes == "shared" else ""
                yield ("sharedClass",), f"{_one_at_a_time(what, ' and '.join(uses))} {self._that_could()}{instead}"
        for name, volume in made.items():
            if volume.storage_class and (what := self._one_node(volume.storage_class)):
                problem = _one_at_a_time(what, "a volume")
                yield ("volumes", name, "storageClass"), f"{problem} {self._that_could()}"

    @rule
    def _claims_with_names_of_their_own(self, facts: Facts) -> Findings:
        made = {HOMES, *(name for name, volume in self.volumes.items() if volume.claim is None)}
        for name, volume in self.volumes.items():
            if volume.claim in made or (volume.claim or "").startswith(_HOME_CLAIM):
                yield ("volumes", name, "claim"), "is the name of a claim that the platform makes: rename that claim"

    @rule
    def _home_and_scratch(self, facts: Facts) -> Findings:
        if self.home_path != HOME and not self.home_path.startswith(f"{HOME}/"):
            yield ("homePath",), f"must be {HOME} or a folder in it: the images' programs keep their files there"
        if overlap(self.home_path, self.scratch_path) and not self.scratch_path.startswith(f"{self.home_path}/"):
            yield ("scratchPath",), f"hides the home, which is at {self.home_path}: choose another path"

    def _one_node(self, name: str) -> str | None:
        """What a volume of the class is, where only one node mounts it at a time."""
        if name in self.install.classes:
            return None if self.install.classes[name] else "folders of nodes (install.localPath)"
        return ONE_NODE_CLASSES.get(name)

    def _that_could(self) -> str:
        could = [name for name, several in self.install.classes.items() if several]
        if could:
            return f"Name {' or '.join(could)}, which this file installs"
        return "Install seaweedfs or nfs (storage.install), or name a class of the cluster with ReadWriteMany"


def _one_at_a_time(what: str, uses: str) -> str:
    return (
        f"is a class of {what}, which one node mounts at a time (ReadWriteOnce), and notebooks on several nodes mount "
        f"{uses}."
    )
