"""The Helm releases in a rehearsed cluster: which charts, and which of them are stand-ins."""

from __future__ import annotations

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes.history import Revision

_SELECTOR = "owner%3Dhelm%2Cstatus%21%3Dsuperseded"


def releases(plane: ControlPlane) -> list[Revision]:
    """The current revision of every release, by namespace and name."""
    secrets = plane.request("GET", f"/api/v1/secrets?labelSelector={_SELECTOR}")["items"]
    latest: dict[tuple[str, str], Revision] = {}
    for revision in map(Revision.from_secret, secrets):
        key = revision.namespace, revision.name
        if key not in latest or latest[key].number < revision.number:
            latest[key] = revision
    return [latest[key] for key in sorted(latest)]


def described(found: list[Revision], *, pods: str) -> list[str]:
    """The report's lines about releases: which charts are stand-ins or ours, and what the `pods` of real ones are."""
    stand_ins = ", ".join(release.name for release in found if release.is_stand_in)
    own = ", ".join(release.name for release in found if release.has_own_templates)
    real = ", ".join(release.name for release in found if not (release.is_stand_in or release.has_own_templates))
    lines = [f"charts made of their contracts, with definitions and no pods: {stand_ins}"] if stand_ins else []
    if own:
        lines.append(f"charts made of their contracts and our own templates, with the real charts' images: {own}")
    return [*lines, f"{pods} of Helm releases of real charts: {real}"] if real else lines
