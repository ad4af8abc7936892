"""What a preview says of the cluster: what it has, what deserves a look, and what is in the way."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import pulumi

from components.ground.existing import preflight
from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import Named
from settings.found_findings import pool_findings

if TYPE_CHECKING:
    from settings import ExistingSettings


class UnfitClusterError(pulumi.RunError):
    """Something in the cluster is in the stack's way. The message has a line for each, with its key."""


def report(
    settings: ExistingSettings, found: FoundCluster, makes: Collection[Named], resource: pulumi.Resource
) -> None:
    """Tells in a preview what was found and what deserves a look. Raises UnfitClusterError before anything is made."""
    errors, warnings = preflight.findings(settings, found, makes)
    of_pools = pool_findings(settings, found.nodes)
    if pulumi.runtime.is_dry_run():
        pulumi.log.info(preflight.text(found), resource)
        for warning in [*warnings, *of_pools[1]]:
            pulumi.log.warn(str(warning), resource)
    if everything := [*map(str, errors), *map(str, of_pools[0])]:
        where = f"stack {settings.stack}: the cluster of context {settings.ground.context} can't take it"
        raise UnfitClusterError("\n".join([where, *(f"  {line}" for line in everything)]))
