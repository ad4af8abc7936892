"""The addresses that network policies have to know of a ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Ranges (CIDR) by what answers there.

    `cluster_cidr`: nodes, pods and whatever else is in their network. `api_server_cidrs`: the API server, at
    `api_server_ports`, as a pod's packets have its address when a NetworkPolicy sees them. `endpoint_cidrs`: services
    of the cloud that have an address of their own in this network, by HTTPS.
    """

    cluster_cidr: str
    api_server_cidrs: Sequence[str]
    api_server_ports: Sequence[int] = (443,)
    endpoint_cidrs: Sequence[str] = ()
