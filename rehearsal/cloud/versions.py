"""Names that EKS accepts, for the simulated service and the provider. Does not load moto."""

from __future__ import annotations

from contracts import eks

# Versions whose addons and images are known. Some are older than a stack file may have, to test upgrades from them.
_KNOWN = tuple(version for version in eks.versions() if eks.node_releases(version))
DEFAULT_VERSION = _KNOWN[-1]
TAINT_EFFECTS = ("NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE")


def versions() -> tuple[str, ...]:
    """The versions of Kubernetes that EKS offers today, oldest first."""
    return tuple(version for version in _KNOWN if eks.versions()[version].is_offered(eks.today()))
