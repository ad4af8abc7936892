"""The realm's clients: the tools that people sign in to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.identity.realm.providers import ASKED_AGAIN, BROKER, READ_TOKEN
from components.identity.realm.secrets import client_secret, placeholder
from settings.people.identity import KUBERNETES_CLIENT, OWN_CLIENTS
from settings.people.names import ROLES

if TYPE_CHECKING:
    from components.platform_urls import PlatformUrls
    from settings import Identity

HUB_CLIENT, GRAFANA_CLIENT = OWN_CLIENTS
HUB_BASE_URL = "/jupyter"
GRAFANA_BASE_URL = "/grafana"

# Where `kubectl oidc-login` (int128/kubelogin) waits for the browser; the second one if the first port is in use.
_KUBECTL_REDIRECTS = ["http://localhost:8000", "http://localhost:18000"]

# Without `roles`, which would put every role of a person into the token, and more audiences.
_SCOPES = ["basic", "profile", "email", "acr"]


def client_representations(identity: Identity, urls: PlatformUrls, *, kubectl: bool = False) -> list[dict[str, Any]]:
    """The platform's own clients, those of the stack file, and a client of Keycloak whose default is too open.

    `kubectl`: people sign in to the Kubernetes API too.
    """
    hub = f"{urls.platform}{HUB_BASE_URL}"
    grafana = f"{urls.platform}{GRAFANA_BASE_URL}"
    return [
        _client(HUB_CLIENT, [f"{hub}/hub/oauth_callback"], [f"{hub}/"]),
        _client(GRAFANA_CLIENT, [f"{grafana}/login/generic_oauth"], [f"{grafana}/login"]),
        *([_client(KUBERNETES_CLIENT, _KUBECTL_REDIRECTS, [], public=True)] if kubectl else []),
        *(
            _client(name, list(client.redirect_uris), list(client.post_logout_redirect_uris), public=client.public)
            for name, client in sorted(identity.clients.items())
        ),
        # By default it accepts passwords without a browser and one-time codes, from anybody who reaches the token
        # endpoint.
        {"clientId": "admin-cli", "directAccessGrantsEnabled": False},
    ]


def scope_mappings(identity: Identity, *, kubectl: bool = False) -> list[dict[str, Any]]:
    """The roles that a client's tokens contain: the platform's, not Keycloak's own.

    So a token that is stolen from a tool gives no access to Keycloak's admin API, whoever it belongs to.
    """
    names = (*OWN_CLIENTS, *([KUBERNETES_CLIENT] if kubectl else []), *sorted(identity.clients))
    return [{"client": name, "roles": list(ROLES)} for name in names]


def client_scope_mappings(identity: Identity) -> dict[str, list[dict[str, Any]]]:
    """The hub may get people's provider tokens from Keycloak, to check that the provider still knows them."""
    if not any(provider.kind in ASKED_AGAIN for provider in identity.providers.values()):
        return {}
    return {BROKER: [{"client": HUB_CLIENT, "roles": [READ_TOKEN]}]}


def _client(
    client_id: str, redirect_uris: list[str], post_logout_redirect_uris: list[str], *, public: bool = False
) -> dict[str, Any]:
    """A client that allows only the authorization code flow, with PKCE and exact redirect addresses."""
    client = {
        "clientId": client_id,
        "name": client_id,
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": public,
        "standardFlowEnabled": True,
        "implicitFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": False,
        "consentRequired": False,
        "fullScopeAllowed": False,
        "redirectUris": redirect_uris,
        # A public client's page requests tokens in the browser; other tools request them from their server.
        "webOrigins": ["+"] if public else [],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            # Keycloak's notation: "-" means none; if it is empty, Keycloak uses the redirect URIs.
            "post.logout.redirect.uris": "##".join(post_logout_redirect_uris) or "-",
            "oauth2.device.authorization.grant.enabled": "false",
            "oidc.ciba.grant.enabled": "false",
        },
        "defaultClientScopes": _SCOPES,
        # Without `offline_access` no token outlives the session.
        "optionalClientScopes": [],
        "protocolMappers": _mappers(),
    }
    if not public:
        client |= {"clientAuthenticatorType": "client-secret", "secret": placeholder(client_secret(client_id))}
    return client


def _mappers() -> list[dict[str, Any]]:
    """The additional claims: `groups` (full paths), `roles`, and `identity_provider` if the person came from one.

    With the last one, a tool knows who signed in with GitHub, and can ask GitHub for organisation and teams.
    """
    everywhere = {"id.token.claim": "true", "access.token.claim": "true", "userinfo.token.claim": "true"}
    text = {"jsonType.label": "String"}
    return [
        _mapper("groups", "oidc-group-membership-mapper", {"full.path": "true", **everywhere}),
        _mapper("roles", "oidc-usermodel-realm-role-mapper", {"multivalued": "true", **text, **everywhere}),
        _mapper(
            "identity_provider",
            "oidc-usersessionmodel-note-mapper",
            {"user.session.note": "identity_provider", **text, **everywhere},
        ),
        # Empty unless the client may have that role and the person has it.
        _mapper(
            f"resource_access.{BROKER}.roles",
            "oidc-usermodel-client-role-mapper",
            {
                "usermodel.clientRoleMapping.clientId": BROKER,
                "multivalued": "true",
                "access.token.claim": "true",
                "id.token.claim": "false",
                "userinfo.token.claim": "false",
                **text,
            },
        ),
    ]


def _mapper(claim: str, kind: str, config: dict[str, str]) -> dict[str, Any]:
    return {
        "name": claim,
        "protocol": "openid-connect",
        "protocolMapper": kind,
        "config": {"claim.name": claim, **config},
    }
