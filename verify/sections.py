"""The sections of docs/troubleshooting.md that failures name, by the anchors of their headings."""

from __future__ import annotations

from enum import StrEnum

PAGE = "docs/troubleshooting.md"


class Section(StrEnum):
    """A section; its value is the anchor that GitHub makes of its heading."""

    NOT_REACHED = "the-cluster-does-not-answer"
    NODE_DOES_NOT_JOIN = "a-node-does-not-join"
    NO_GPUS = "a-node-offers-no-gpu"
    PENDING = "a-pod-stays-pending"
    IMAGE = "an-image-cannot-be-pulled"
    DRIVER = "the-driver-and-cuda-do-not-match"
    STORAGE = "storage-is-not-mounted"
    SIGN_IN = "sign-in"
    CERTIFICATES = "certificates"
    LOGS = "logs-of-the-hub-the-proxy-and-notebooks"
    VERSIONS = "versions-and-support"

    @property
    def link(self) -> str:
        """Where people find it."""
        return f"{PAGE}#{self}"
