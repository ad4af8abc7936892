"""With whom a team's pods may communicate: one NetworkPolicy for all of them, which denies everything else."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from components.ground.reach import Reach
from components.manifests import Spec
from components.teams.names import HUB_NAMESPACE, HUB_PORT, NOTEBOOK_PORT
from settings.admitted_ranges import PRIVATE_RANGES

NAME = "team"

# The agent of EKS Pod Identity answers on each node at this address (EKS user guide, "Learn how EKS Pod Identity
# grants pods access to AWS services").
POD_IDENTITY_AGENT = "169.254.170.23/32"
POD_IDENTITY_PORT = 80

_ANYWHERE = "0.0.0.0/0"
_DNS, _HTTPS = 53, 443


def network_policy(reach: Reach, *, reaches_buckets: bool, ranges: Sequence[str] = ()) -> Spec:
    """The `spec`: hub and proxy may connect to notebooks; these may reach DNS, the hub, the internet and endpoints.

    Of other private addresses they may reach only `ranges` (CIDR), which the team's settings name.

    With private DNS, a cloud service's usual name leads only to its interface endpoint. Other listeners on this port in
    these subnets protect themselves: an internal load balancer by its security group, other teams by their policy.

    The instance metadata's address is link-local, so it is blocked. Only teams with buckets reach the address of the
    Pod Identity agent, from which AWS SDKs get their pods' credentials.
    """
    egress: list[dict[str, Any]] = [
        {
            "to": [_pods("kube-system", {"k8s-app": "kube-dns"})],
            "ports": [{"protocol": protocol, "port": _DNS} for protocol in ("UDP", "TCP")],
        },
        {"to": [_hub_pods("hub")], "ports": [{"protocol": "TCP", "port": HUB_PORT}]},
        {"to": [{"ipBlock": {"cidr": _ANYWHERE, "except": private_ranges(reach.cluster_cidr)}}]},
    ]
    if reach.endpoint_cidrs:
        egress.append(
            {
                "to": [{"ipBlock": {"cidr": cidr}} for cidr in reach.endpoint_cidrs],
                "ports": [{"protocol": "TCP", "port": _HTTPS}],
            }
        )
    if ranges:
        egress.append({"to": [{"ipBlock": {"cidr": cidr}} for cidr in ranges]})
    if reaches_buckets:
        egress.append(
            {
                "to": [{"ipBlock": {"cidr": POD_IDENTITY_AGENT}}],
                "ports": [{"protocol": "TCP", "port": POD_IDENTITY_PORT}],
            }
        )
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [_hub_pods("hub"), _hub_pods("proxy")],
                "ports": [{"protocol": "TCP", "port": NOTEBOOK_PORT}],
            }
        ],
        "egress": egress,
    }


def private_ranges(cluster_cidr: str) -> list[str]:
    """All ranges that are not the internet: private, link-local and the cluster's, sorted, without overlaps."""
    blocks = [*PRIVATE_RANGES, ipaddress.IPv4Network(cluster_cidr)]
    return [str(block) for block in ipaddress.collapse_addresses(blocks)]


def _pods(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": labels},
    }


def _hub_pods(component: str) -> dict[str, Any]:
    """Pods of the chart `jupyterhub`, by the labels that it gives them."""
    return _pods(HUB_NAMESPACE, {"app": "jupyterhub", "component": component})
