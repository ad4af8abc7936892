"""Checks before anything is made: what AWS and DNS report that would make the stack fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.ground import quota_preflight
from components.ground.example_values import require_own_values
from components.ground.zones import control_plane_zones
from components.ingress.hosted_zone import HostedZone, find_hosted_zone

if TYPE_CHECKING:
    from settings import EksSettings
    from settings import Ingress as IngressSettings


def preflight(
    settings: EksSettings, account_id: str, resource: pulumi.Resource, opts: pulumi.InvokeOptions
) -> tuple[HostedZone | None, list[str]]:
    """Looks up the hosted zone of the domain and the zones of the control plane; warns in a preview of other problems.

    Raises PlaceholderError, HostedZoneError or ZoneError if the stack would fail or nobody could reach it.
    """
    if pulumi.runtime.is_dry_run():
        require_own_values(settings, account_id)
        quota_preflight.warn(settings, resource, opts)
    return hosted_zone(settings.ingress, opts), control_plane_zones(settings.network.zones, settings.region, opts)


def hosted_zone(ingress: IngressSettings, opts: pulumi.InvokeOptions) -> HostedZone | None:
    """The zone of the platform's domain, once public DNS leads to it; None for a stack without a load balancer.

    Raises HostedZoneError.
    """
    if ingress.domain is None or ingress.zone_name is None:
        return None
    zone = find_hosted_zone(ingress.domain, ingress.zone_name, ingress.hosted_zone_id, opts)
    if ingress.check_delegation:
        # Imports a DNS client. Stacks without a domain start faster without it.
        from components.ingress.delegation import require_delegation  # noqa: PLC0415

        require_delegation(zone)
    return zone
