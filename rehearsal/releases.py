"""The Helm releases in a rehearsed cluster: which charts, and whether Helm rendered them."""

from __future__ import annotations

from .control_plane import ControlPlane
from .providers.kubernetes.history import Revision

_SELECTOR = "owner%3Dhelm%2Cstatus%21%3Dsuperseded"


def releases(plane: ControlPlane) -> list[Revision]:
    """The revision in force of every release, by namespace and name."""
    secrets = plane.request("GET", f"/api/v1/secrets?labelSelector={_SELECTOR}")["items"]
    latest: dict[tuple[str, str], Revision] = {}
    for revision in map(Revision.from_secret, secrets):
        key = revision.namespace, revision.name
        if key not in latest or latest[key].number < revision.number:
            latest[key] = revision
    return [latest[key] for key in sorted(latest)]


def described(found: list[Revision]) -> list[str]:
    """What a report says of releases: which Helm rendered, and for which the chart's contract stood."""
    rendered = ", ".join(one.name for one in found if not one.recorded)
    recorded = ", ".join(one.name for one in found if one.recorded)
    lines = [f"Helm releases recorded from their charts' contracts: {recorded}"] if recorded else []
    return [*lines, f"pods, by KWOK, of Helm releases rendered from their charts: {rendered}"] if rendered else lines
