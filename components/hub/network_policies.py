"""Who may talk to hub and proxy, and to whom they may talk: the chart's values for its NetworkPolicies.

The chart's own rules know only notebooks in the hub's namespace, and open every private address besides. Here each
destination is named. The VPC CNI enforces NetworkPolicies, and lets traffic to a Service without a selector
(`kubernetes`, the API server) through only by its address range.
"""

from __future__ import annotations

from typing import Any

from components.ground.reach import Reach
from components.identity.keycloak import NAMESPACE as KEYCLOAK_NAMESPACE
from components.identity.keycloak import SERVER_PORT, SERVICE_PORT
from components.storage.database import PORT as DATABASE_PORT
from components.teams.names import NOTEBOOK_PORT, TEAM_LABEL

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


_KEYCLOAK = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": KEYCLOAK_NAMESPACE}}}],
    "ports": [{"protocol": "TCP", "port": port} for port in (SERVICE_PORT, SERVER_PORT)],
}


def hub_policy(reach: Reach, *, reaches_database: bool, asks_keycloak: bool, asks_github: bool) -> dict[str, Any]:
    """`hub.networkPolicy`: in from notebooks' namespaces; out to these, Keycloak, the API server and the database.

    Where people sign in with GitHub, the hub asks GitHub for their teams, so it may reach the internet.
    """
    egress = [_NOTEBOOKS, *([_KEYCLOAK] if asks_keycloak else []), api_server(reach)]
    if reaches_database:
        in_cluster = [{"ipBlock": {"cidr": reach.cluster_cidr}}]
        egress.append({"to": in_cluster, "ports": [{"protocol": "TCP", "port": DATABASE_PORT}]})
    return {
        "interNamespaceAccessLabels": "accept",
        "egressAllowRules": {**_NOTHING, "nonPrivateIPs": asks_github},
        "egress": egress,
    }


def api_server(reach: Reach) -> dict[str, Any]:
    """The egress rule for the API server."""
    return {
        "to": [{"ipBlock": {"cidr": cidr}} for cidr in reach.api_server_cidrs],
        "ports": [{"protocol": "TCP", "port": port} for port in reach.api_server_ports],
    }


def proxy_policy() -> dict[str, Any]:
    """`proxy.chp.networkPolicy`: in on its port from anywhere; out only to the hub and to notebooks."""
    return {"egressAllowRules": _NOTHING, "egress": [_NOTEBOOKS]}
