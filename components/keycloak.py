"""Keycloak itself: codecentric's chart `keycloakx`, and what of it the load balancer may show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.cluster import SYSTEM_TOLERATION
from components.images import name_and_tag, pinned
from components.realm import REALM, Addresses

if TYPE_CHECKING:
    from components.database import Connection
    from settings import ChartSource

IMAGE = "keycloak"
# The chart's own is older, and has holes that are known.
KEYCLOAK_VERSION = name_and_tag(pinned(IMAGE, by_digest=False))[1]

NAMESPACE = "identity"
NAME = "keycloak"
SERVICE = f"{NAME}-http"
SERVICE_PORT = 80
# Of the pods: requests, and health and metrics.
SERVER_PORT = 8080
HEALTH_PORT = 9000
HEALTH_PATH = "/health/ready"

# What the load balancer passes on. Not `/admin/`, not the realm `master`, not `/metrics`: those stay in the cluster.
PUBLIC_PATHS = (f"/realms/{REALM}/", "/resources/", "/.well-known/")
# What anybody reads of the realm who checks its tokens: where its keys are, and these (OpenID Connect Discovery).
DISCOVERY_PATHS = (
    f"/realms/{REALM}/.well-known/openid-configuration",
    f"/realms/{REALM}/protocol/openid-connect/certs",
)

# Where an administrator's `kubectl port-forward svc/keycloak-http 8080:80` ends.
ADMIN_ADDRESS = "http://localhost:8080"

BOOTSTRAP_USER = "gpulab-bootstrap"
BOOTSTRAP_SECRET = "keycloak-bootstrap"  # noqa: S105 (a Secret's name)
DATABASE_SECRET = "keycloak-database"  # noqa: S105 (a Secret's name)
PASSWORD_KEY = "password"  # noqa: S105 (a Secret's key)

# Seconds: the first start makes the database's schema, on a node that may have to come first.
RELEASE_TIMEOUT = 900


@dataclass(frozen=True, kw_only=True)
class KeycloakArgs:
    """What Keycloak is started with. `memory` is in GiB; `image` replaces Keycloak's own, at the same version.

    Keycloak's own is taken by its digest with `by_digest`, where contracts have one.
    `secrets` are the Secrets with the passwords of the database and of the bootstrap administrator.
    """

    namespace: pulumi.Input[str]
    addresses: Addresses
    database: Connection
    replicas: int
    memory: int
    image: str | None = None
    by_digest: bool = False
    charts: Mapping[str, ChartSource] = field(default_factory=dict)


class Keycloak(pulumi.ComponentResource):
    """The servers. They share sessions through their database."""

    release: kubernetes.helm.v3.Release

    def __init__(self, name: str, args: KeycloakArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Keycloak", name, None, opts)
        self.release = kubernetes.helm.v3.Release(
            name,
            name=NAME,
            namespace=args.namespace,
            timeout=RELEASE_TIMEOUT,
            values=keycloak_values(args),
            opts=pulumi.ResourceOptions(parent=self),
            **release_args("keycloakx", args.charts),
        )
        self.register_outputs({"release": self.release.name})


def internal_url() -> str:
    """The realm as tools in the cluster have it."""
    return f"http://{SERVICE}.{NAMESPACE}.svc.cluster.local/realms/{REALM}"


def start_options(addresses: Addresses) -> list[str]:
    """How `kc.sh` is called; what the chart does not say itself.

    Tokens and links name the public address, whoever asks. Tools in the cluster ask the Service and get its addresses
    for what they ask by themselves ("Configuring the hostname (v2)").
    """
    return [
        "start",
        f"--hostname={addresses.sign_in}",
        f"--hostname-admin={ADMIN_ADDRESS}",
        "--hostname-backchannel-dynamic=true",
    ]


def keycloak_values(args: KeycloakArgs) -> dict[str, Any]:
    """The values of the chart `keycloakx`. Its default command starts nothing, and its path is not Keycloak's."""
    memory = f"{args.memory}Gi"
    repository, tag = name_and_tag(pinned(IMAGE, by_digest=args.by_digest))
    if args.image is not None:
        repository, tag = args.image, KEYCLOAK_VERSION
    return {
        "fullnameOverride": NAME,
        "image": {"repository": repository, "tag": tag},
        "replicas": args.replicas,
        "command": ["/opt/keycloak/bin/kc.sh", *start_options(args.addresses)],
        "http": {"relativePath": "/"},
        # TLS ends at the load balancer, which says so in X-Forwarded-*.
        "proxy": {"enabled": True, "mode": "xforwarded", "http": {"enabled": True}},
        "health": {"enabled": True},
        "metrics": {"enabled": True},
        "database": {
            "vendor": "postgres",
            "hostname": args.database.host,
            "port": args.database.port,
            "database": args.database.database,
            "username": args.database.username,
            "existingSecret": DATABASE_SECRET,
            "existingSecretKey": PASSWORD_KEY,
        },
        # The chart puts this text at the end of a list: it has to be items of one, a line each.
        "extraEnv": "\n".join(f"- {json.dumps(variable)}" for variable in environment()),
        "resources": {"requests": {"cpu": "500m", "memory": memory}, "limits": {"memory": memory}},
        "tolerations": [SYSTEM_TOLERATION],
        "podDisruptionBudget": {"maxUnavailable": 1} if args.replicas > 1 else {},
        # It asks nothing of Kubernetes.
        "serviceAccount": {"automountServiceAccountToken": False},
        "enableServiceLinks": False,
        "securityContext": restricted(),
    }


def environment() -> list[dict[str, Any]]:
    """The variables of Keycloak's container beside the chart's own."""
    return [
        {"name": "JAVA_OPTS_KC_HEAP", "value": "-XX:InitialRAMPercentage=50 -XX:MaxRAMPercentage=65"},
        {"name": "KC_DB_URL_PROPERTIES", "value": "?sslmode=require"},
        {"name": "KC_BOOTSTRAP_ADMIN_USERNAME", "value": BOOTSTRAP_USER},
        {"name": "KC_BOOTSTRAP_ADMIN_PASSWORD", "valueFrom": secret_key(BOOTSTRAP_SECRET, PASSWORD_KEY)},
    ]


def secret_key(name: str, key: str) -> dict[str, Any]:
    """The source of a variable: a key of a Secret."""
    return {"secretKeyRef": {"name": name, "key": key}}


def restricted(user: int = 1000) -> dict[str, Any]:
    """A container's security context that Pod Security's `restricted` admits."""
    return {
        "runAsUser": user,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
