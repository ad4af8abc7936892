"""Whom a team's pods may talk to: one NetworkPolicy for all of them, which denies what it does not name."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from components.manifests import Spec
from components.network import HTTPS
from components.team_names import HUB_NAMESPACE, HUB_PORT, NOTEBOOK_PORT
from settings.addresses import PRIVATE_RANGES

NAME = "team"

# The agent of EKS Pod Identity answers on each node at this address (EKS user guide, "Learn how EKS Pod Identity
# grants pods access to AWS services").
POD_IDENTITY_AGENT = "169.254.170.23/32"
POD_IDENTITY_PORT = 80

_ANYWHERE = "0.0.0.0/0"
_DNS = 53


def network_policy(*, vpc_cidr: str, reaches_buckets: bool, endpoint_cidrs: Sequence[str] = ()) -> Spec:
    """The `spec`: hub and proxy come in; DNS, the hub's API, the internet and interface endpoints are reached.

    Nothing else that is private is. `endpoint_cidrs` are the subnets with interface endpoints. Under private DNS a
    service's usual name leads to them and nowhere else, so whoever may not go there has lost the service. What else
    listens there on their port decides for itself: an internal load balancer by its group, other teams by their policy.

    The address of the instance metadata is link-local, and so out of reach; only teams with buckets reach the one next
    to it, from which the AWS SDKs get the credentials of their pods.
    """
    egress: list[dict[str, Any]] = [
        {
            "to": [_pods("kube-system", {"k8s-app": "kube-dns"})],
            "ports": [{"protocol": protocol, "port": _DNS} for protocol in ("UDP", "TCP")],
        },
        {"to": [_hub_pods("hub")], "ports": [{"protocol": "TCP", "port": HUB_PORT}]},
        {"to": [{"ipBlock": {"cidr": _ANYWHERE, "except": private_ranges(vpc_cidr)}}]},
    ]
    if endpoint_cidrs:
        egress.append(
            {
                "to": [{"ipBlock": {"cidr": cidr}} for cidr in endpoint_cidrs],
                "ports": [{"protocol": "TCP", "port": HTTPS}],
            }
        )
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


def private_ranges(vpc_cidr: str) -> list[str]:
    """What is not the internet: private and link-local ranges, and the VPC, in order and none within another."""
    blocks = [*PRIVATE_RANGES, ipaddress.IPv4Network(vpc_cidr)]
    return [str(block) for block in ipaddress.collapse_addresses(blocks)]


def _pods(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": labels},
    }


def _hub_pods(component: str) -> dict[str, Any]:
    """Pods of the chart `jupyterhub`, by the labels that it gives them."""
    return _pods(HUB_NAMESPACE, {"app": "jupyterhub", "component": component})
