"""Whom hub and proxy may talk to: the part of the chart's values that its NetworkPolicies are made from.

The chart's own rules know of notebooks in the hub's namespace alone, and open every private address beside them. Here
each destination is named. NetworkPolicies are kept by the VPC CNI, which lets nothing through to an address of a
Service without a selector (`kubernetes`, the API server) but by its range.
"""

from __future__ import annotations

from typing import Any

from components.database import PORT as DATABASE_PORT
from components.keycloak import NAMESPACE as KEYCLOAK_NAMESPACE
from components.keycloak import SERVER_PORT, SERVICE_PORT
from components.team_names import NOTEBOOK_PORT, TEAM_LABEL

_HTTPS = 443

# EKS gives the Service `kubernetes` an address of one of these (EKS API, KubernetesNetworkConfigRequest).
_SERVICE_RANGES = ("10.100.0.0/16", "172.20.0.0/16")

_NOTHING = {
    "cloudMetadataServer": False,
    "dnsPortsCloudMetadataServer": False,
    "dnsPortsKubeSystemNamespace": True,
    "dnsPortsPrivateIPs": False,
    "nonPrivateIPs": False,
    "privateIPs": False,
}

_NOTEBOOKS = {
    "to": [
        {
            "namespaceSelector": {"matchExpressions": [{"key": TEAM_LABEL, "operator": "Exists"}]},
            "podSelector": {"matchLabels": {"component": "singleuser-server"}},
        }
    ],
    "ports": [{"protocol": "TCP", "port": NOTEBOOK_PORT}],
}


def hub_policy(vpc_cidr: str, *, reaches_database: bool, asks_github: bool) -> dict[str, Any]:
    """`hub.networkPolicy`: notebooks come in from their namespaces; out to them, to Keycloak, the API and the database.

    Where people come by GitHub, the hub asks GitHub which teams they are in, and so reaches the internet.
    """
    in_vpc = [{"ipBlock": {"cidr": vpc_cidr}}]
    api = [*in_vpc, *({"ipBlock": {"cidr": cidr}} for cidr in _SERVICE_RANGES)]
    egress = [
        _NOTEBOOKS,
        {
            "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": KEYCLOAK_NAMESPACE}}}],
            "ports": [{"protocol": "TCP", "port": port} for port in (SERVICE_PORT, SERVER_PORT)],
        },
        {"to": api, "ports": [{"protocol": "TCP", "port": _HTTPS}]},
    ]
    if reaches_database:
        egress.append({"to": in_vpc, "ports": [{"protocol": "TCP", "port": DATABASE_PORT}]})
    return {
        "interNamespaceAccessLabels": "accept",
        "egressAllowRules": {**_NOTHING, "nonPrivateIPs": asks_github},
        "egress": egress,
    }


def proxy_policy() -> dict[str, Any]:
    """`proxy.chp.networkPolicy`: whoever reaches its port comes in; out to the hub and to notebooks alone."""
    return {"egressAllowRules": _NOTHING, "egress": [_NOTEBOOKS]}
