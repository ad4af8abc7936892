"""The realm's clients: the tools that people sign in to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.realm_secrets import client_secret, placeholder
from settings.identity import KUBERNETES_CLIENT, OWN_CLIENTS
from settings.team_names import ROLES

if TYPE_CHECKING:
    from components.realm import Addresses
    from settings import Identity

HUB_CLIENT, GRAFANA_CLIENT = OWN_CLIENTS
HUB_BASE_URL = "/jupyter"
GRAFANA_BASE_URL = "/grafana"

# Where `kubectl oidc-login` (int128/kubelogin) waits for the browser: the second one if the first port is taken.
_KUBECTL_REDIRECTS = ["http://localhost:8000", "http://localhost:18000"]

# Keycloak's client whose role opens the tokens that providers gave ("Retrieving external IDP tokens").
_BROKER, _READ_TOKEN = "broker", "read-token"

# `roles` is not among them: it would put every role of a person into the token, and its audience with them.
_SCOPES = ["basic", "profile", "email", "acr"]


def client_representations(identity: Identity, addresses: Addresses, *, kubectl: bool = False) -> list[dict[str, Any]]:
    """The platform's own clients, those of the stack file, and Keycloak's own where its default is too open.

    `kubectl`: people sign in to the Kubernetes API too.
    """
    hub = f"{addresses.platform}{HUB_BASE_URL}"
    grafana = f"{addresses.platform}{GRAFANA_BASE_URL}"
    return [
        _client(HUB_CLIENT, [f"{hub}/hub/oauth_callback"], [f"{hub}/"]),
        _client(GRAFANA_CLIENT, [f"{grafana}/login/generic_oauth"], [f"{grafana}/login"]),
        *([_client(KUBERNETES_CLIENT, _KUBECTL_REDIRECTS, [], public=True)] if kubectl else []),
        *(
            _client(name, list(client.redirect_uris), list(client.post_logout_redirect_uris), public=client.public)
            for name, client in sorted(identity.clients.items())
        ),
        # It takes passwords without a browser: past one-time codes, and from anybody who reaches the token endpoint.
        {"clientId": "admin-cli", "directAccessGrantsEnabled": False},
    ]


def scope_mappings(identity: Identity, *, kubectl: bool = False) -> list[dict[str, Any]]:
    """The roles that a client gets to know of: the platform's, and none of Keycloak's own.

    So a token of a tool, stolen from it, opens nothing of Keycloak's admin API, whoever it belongs to.
    """
    names = (*OWN_CLIENTS, *([KUBERNETES_CLIENT] if kubectl else []), *sorted(identity.clients))
    return [{"client": name, "roles": list(ROLES)} for name in names]


def client_scope_mappings(identity: Identity) -> dict[str, list[dict[str, Any]]]:
    """Where people come by GitHub, the hub may ask Keycloak for their token at GitHub: it checks their organisation."""
    if not any(provider.kind == "github" for provider in identity.providers.values()):
        return {}
    return {_BROKER: [{"client": HUB_CLIENT, "roles": [_READ_TOKEN]}]}


def _client(
    client_id: str, redirect_uris: list[str], post_logout_redirect_uris: list[str], *, public: bool = False
) -> dict[str, Any]:
    """A client of the authorization code flow with PKCE and exact addresses, and of no other flow."""
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
        # A page asks for its tokens itself; a server's tool asks from its server.
        "webOrigins": ["+"] if public else [],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            # Keycloak's notation: "-" for none, and none is not the redirect URIs.
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
    """The claims beside the usual ones: `groups` (full paths), `roles`, and `identity_provider` of who was vouched for.

    By the last a tool can tell who came by GitHub, and ask GitHub for organisation and teams before it lets them in.
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
        # Empty, unless the client is allowed that role and the person has it.
        _mapper(
            f"resource_access.{_BROKER}.roles",
            "oidc-usermodel-client-role-mapper",
            {
                "usermodel.clientRoleMapping.clientId": _BROKER,
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
