"""Keycloak itself: codecentric's chart `keycloakx`, and which paths of it the load balancer publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.ground.placement import Placement
from components.identity.realm.realm import REALM
from components.identity.trust import TrustedCertificates, pod_annotations, pod_volumes
from components.identity.trust import environment as trust_environment
from components.images import name_and_tag, pinned
from components.platform_urls import PlatformUrls

if TYPE_CHECKING:
    from components.storage.database import Connection
    from settings import ChartSource
    from settings.people.identity import Server

IMAGE = "keycloak"
# The chart's own version is older and has known vulnerabilities.
KEYCLOAK_VERSION = name_and_tag(pinned(IMAGE, by_digest=False))[1]

NAMESPACE = "identity"
NAME = "keycloak"
SERVICE = f"{NAME}-http"
SERVICE_PORT = 80
# Ports of the pods: for requests, and for health and metrics.
SERVER_PORT = 8080
HEALTH_PORT = 9000
HEALTH_PATH = "/health/ready"

# What the load balancer passes on. Not `/admin/`, not the realm `master`, not `/metrics`: those stay in the cluster.
PUBLIC_PATHS = (f"/realms/{REALM}/", "/resources/", "/.well-known/")
# What everybody who checks the realm's tokens reads: where its keys are, and the keys (OpenID Connect Discovery).
DISCOVERY_PATHS = (
    f"/realms/{REALM}/.well-known/openid-configuration",
    f"/realms/{REALM}/protocol/openid-connect/certs",
)

# The local address of an administrator's `kubectl port-forward svc/keycloak-http 8080:80`.
ADMIN_ADDRESS = "http://localhost:8080"

BOOTSTRAP_USER = "gpulab-bootstrap"
BOOTSTRAP_SECRET = "keycloak-bootstrap"  # noqa: S105 (a Secret's name)
DATABASE_SECRET = "keycloak-database"  # noqa: S105 (a Secret's name)
PASSWORD_KEY = "password"  # noqa: S105 (a Secret's key)

# Seconds: the first start makes the database's schema, and its node may still have to start.
RELEASE_TIMEOUT = 900


@dataclass(frozen=True, kw_only=True)
class KeycloakArgs:
    """What Keycloak is started with.

    With `by_digest`, Keycloak's own image is pinned by its digest, if contracts has one. `trusted` are certificates of
    authorities that it trusts in addition to public ones.
    """

    settings: Server
    namespace: pulumi.Input[str]
    urls: PlatformUrls
    database: Connection
    placement: Placement
    by_digest: bool = False
    trusted: TrustedCertificates | None = None
    charts: Mapping[str, ChartSource] = field(default_factory=dict)


class Keycloak(pulumi.ComponentResource):
    """The Keycloak servers. They share sessions through their database."""

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
    """The realm's address for tools in the cluster."""
    return f"http://{SERVICE}.{NAMESPACE}.svc.cluster.local/realms/{REALM}"


def start_options(urls: PlatformUrls) -> list[str]:
    """The arguments of `kc.sh` that the chart does not set.

    Tokens and links always name the public address. Tools in the cluster call the Service, and get its address for
    their own calls ("Configuring the hostname (v2)").
    """
    return [
        "start",
        f"--hostname={urls.sign_in}",
        f"--hostname-admin={ADMIN_ADDRESS}",
        "--hostname-backchannel-dynamic=true",
    ]


def keycloak_values(args: KeycloakArgs) -> dict[str, Any]:
    """The values of the chart `keycloakx`.

    Its default command starts nothing, and its default path is not Keycloak's.
    """
    memory = f"{args.settings.memory}Gi"
    repository, tag = name_and_tag(keycloak_image(args.settings.image, by_digest=args.by_digest))
    return {
        "fullnameOverride": NAME,
        "image": {"repository": repository, "tag": tag},
        "replicas": args.settings.replicas,
        "command": ["/opt/keycloak/bin/kc.sh", *start_options(args.urls)],
        "http": {"relativePath": "/"},
        # TLS ends at the load balancer, which sets the X-Forwarded-* headers.
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
        # The chart appends this text to a list, so it must be list items, one per line.
        "extraEnv": "\n".join(f"- {json.dumps(variable)}" for variable in environment(args.trusted)),
        "resources": {"requests": {"cpu": "500m", "memory": memory}, "limits": {"memory": memory}},
        # Nodes of pools come and go, spot ones with two minutes' notice. Each time, nobody could sign in for a while.
        **args.placement.pod,
        "podAnnotations": {**args.placement.annotations, **(pod_annotations(args.trusted) if args.trusted else {})},
        "podDisruptionBudget": {"maxUnavailable": 1} if args.settings.replicas > 1 else {},
        # It does not use the Kubernetes API.
        "serviceAccount": {"automountServiceAccountToken": False},
        "enableServiceLinks": False,
        "securityContext": restricted(),
        **(pod_volumes(args.trusted) if args.trusted else {}),
    }


def keycloak_image(own: str | None, *, by_digest: bool) -> str:
    """Keycloak's image with its tag or digest; `own` is the name of an image that replaces it, at the same version."""
    return pinned(IMAGE, by_digest=by_digest) if own is None else f"{own}:{KEYCLOAK_VERSION}"


def environment(trusted: TrustedCertificates | None) -> list[dict[str, Any]]:
    """The environment variables of Keycloak's container, in addition to the chart's."""
    return [
        *([trust_environment(trusted)] if trusted else []),
        {"name": "JAVA_OPTS_KC_HEAP", "value": "-XX:InitialRAMPercentage=50 -XX:MaxRAMPercentage=65"},
        {"name": "KC_DB_URL_PROPERTIES", "value": "?sslmode=require"},
        {"name": "KC_BOOTSTRAP_ADMIN_USERNAME", "value": BOOTSTRAP_USER},
        {"name": "KC_BOOTSTRAP_ADMIN_PASSWORD", "valueFrom": secret_key(BOOTSTRAP_SECRET, PASSWORD_KEY)},
    ]


def secret_key(name: str, key: str) -> dict[str, Any]:
    """The source of an environment variable: a key of a Secret."""
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
