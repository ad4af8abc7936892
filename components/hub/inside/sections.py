"""The sections of docs/troubleshooting.md that failures of verify and messages of the hub name, by their anchors."""

from __future__ import annotations

from enum import StrEnum

PAGE = "docs/troubleshooting.md"


class Section(StrEnum):
    """A section; its value is the anchor that GitHub makes of its heading."""

    NOT_REACHED = "the-cluster-does-not-answer"
    NODE_DOES_NOT_JOIN = "a-node-does-not-join"
    NO_GPUS = "a-node-offers-no-gpu"
    PENDING = "a-pod-stays-pending"
    QUOTA = "a-teams-quota-is-used-up"
    SPAWN = "a-notebook-does-not-start"
    IMAGE = "an-image-cannot-be-pulled"
    REGISTRY = "credentials-of-a-registry"
    DRIVER = "the-driver-and-cuda-do-not-match"
    CUDA = "cuda-is-not-available"
    GPU_MEMORY = "the-gpu-is-out-of-memory"
    PRECISION = "mixed-precision-and-batch-size"
    CONTENTION = "contention-on-shared-gpus"
    PROFILING = "profiling"
    MEMORY = "the-notebook-is-out-of-memory"
    SHARED_MEMORY = "shared-memory-is-too-small"
    STORAGE = "storage-is-not-mounted"
    DISK_FULL = "a-disk-is-full"
    ISOLATION = "what-a-notebook-reaches"
    DNS = "names-are-not-found"
    CLOCK = "clocks-differ"
    SIGN_IN = "sign-in"
    TOKEN = "the-hub-refuses-verifys-token"  # noqa: S105 (an anchor)
    CERTIFICATES = "certificates"
    LOGS = "logs-of-the-hub-the-proxy-and-notebooks"
    VERSIONS = "versions-and-support"
    DESTROY = "a-destroy-does-not-end"

    @property
    def link(self) -> str:
        """Where people find it."""
        return f"{PAGE}#{self}"
