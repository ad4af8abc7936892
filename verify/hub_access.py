"""The way to a stack's hub: the token of its service for verify, and the proxy's port."""

from __future__ import annotations

import asyncio
import base64
from urllib.parse import urlsplit

from components.hub.inside import verify_account
from components.hub.inside.verify_client import Hub
from components.hub.values import SECRETS
from components.identity.realm.clients import HUB_BASE_URL
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE
from verify.cluster_api import ClusterApi
from verify.forwarding import Forwarded

PROXY = {"app": "jupyterhub", "component": "proxy"}
PROXY_PORT = 8000
_SECRET = f"/api/v1/namespaces/{HUB_NAMESPACE}/secrets/{SECRETS}"


class NoToken(Exception):
    """The hub has no service for verify; its text says what to do."""


def forwarded(api: ClusterApi) -> Forwarded:
    """The proxy, at an address of this machine during its block."""
    return Forwarded(api, HUB_NAMESPACE, PROXY, PROXY_PORT)


def hub_at(api: ClusterApi, address: str, domain: str | None) -> Hub:
    """The hub by the proxy's address, with the service's token. Raises NoToken, and what ClusterApi raises."""
    secret = api.get(_SECRET)
    token = (secret or {}).get("data", {}).get(verify_account.TOKEN_KEY)
    if not token:
        text = f"the Secret {HUB_NAMESPACE}/{SECRETS} has no {verify_account.TOKEN_KEY}"
        raise NoToken(f"{text}: the hub is of an older gpulab; run `pulumi up`")
    host = urlsplit(PlatformUrls.of(domain).platform).netloc
    return Hub(address, host, HUB_BASE_URL, base64.b64decode(token).decode())


def end(api: ClusterApi, domain: str | None, seconds: float) -> None:
    """Deletes the hub's user of a run, with their notebook and tokens.

    Raises TimeoutError after so many seconds, and what `Hub.end` and `hub_at` raise.
    """
    with forwarded(api) as proxy:
        asyncio.run(asyncio.wait_for(hub_at(api, proxy.address, domain).end(), seconds))
