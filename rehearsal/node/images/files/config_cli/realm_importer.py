"""Applies a realm through Keycloak's admin API, as keycloak-config-cli does, where its jar can't be had.

Applied again, it does what keycloak-config-cli promises (docs/MANAGED.md): settings, clients, roles and groups are set.
Groups that are not in the document stay, as the Job's settings say. It runs in an image that has Python only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol
from urllib.error import HTTPError

_PLACEHOLDER = re.compile(r"\$\(file:UTF-8:([^)]*)\)")
_PARTS = (
    *("roles", "groups", "clients", "scopeMappings", "clientScopeMappings", "components"),
    *("authenticationFlows", "authenticatorConfig", "browserFlow", "identityProviders", "identityProviderMappers"),
)


class AdminApi(Protocol):
    """Keycloak's admin API. `realm` is the name of the realm that is applied."""

    realm: str

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        """Calls it; `path` begins after `/admin/realms`. Raises HTTPError."""

    def ask(self, path: str) -> Any:
        """What it has at a path of the realm. Raises HTTPError."""

    def renew(self) -> None:
        """Signs in again before the next call: a token has no rights in a realm that is newer."""


def apply(keycloak: AdminApi, document: str, text_of: Callable[[str], str]) -> None:
    """Makes the realm of a JSON document, or changes it. `text_of` is what replaces the placeholder of a file.

    Raises HTTPError, and what `text_of` raises.
    """
    realm = json.loads(_PLACEHOLDER.sub(lambda found: text_of(found[1]), document))
    settings = {name: value for name, value in realm.items() if name not in _PARTS}
    try:
        keycloak.ask("")
    except HTTPError as error:
        if error.code != 404:
            raise
        keycloak.admin("POST", "", settings)
        keycloak.renew()
    else:
        keycloak.admin("PUT", f"/{keycloak.realm}", settings)
    _roles(keycloak, realm["roles"]["realm"])
    _clients(keycloak, realm)
    for group in realm["groups"]:
        _group(keycloak, group, "/groups")
    _flows(keycloak, realm)
    parts = {"identityProviders": realm["identityProviders"]}
    keycloak.admin("POST", f"/{keycloak.realm}/partialImport", {"ifResourceExists": "SKIP", **parts})
    have = {(mapper["identityProviderAlias"], mapper["name"]) for mapper in _mappers(keycloak)}
    for mapper in realm["identityProviderMappers"]:
        if (mapper["identityProviderAlias"], mapper["name"]) not in have:
            path = f"/{keycloak.realm}/identity-provider/instances/{mapper['identityProviderAlias']}/mappers"
            keycloak.admin("POST", path, mapper)
    _components(keycloak, realm["components"])


def _clients(keycloak: AdminApi, realm: dict[str, Any]) -> None:
    for client in realm["clients"]:
        found = keycloak.ask(f"/clients?clientId={client['clientId']}")
        if found:
            keycloak.admin("PUT", f"/{keycloak.realm}/clients/{found[0]['id']}", {**found[0], **client})
        else:
            keycloak.admin("POST", f"/{keycloak.realm}/clients", client)
    for mapping in realm["scopeMappings"]:
        client = keycloak.ask(f"/clients?clientId={mapping['client']}")[0]
        roles = [keycloak.ask(f"/roles/{name}") for name in mapping["roles"]]
        keycloak.admin("POST", f"/{keycloak.realm}/clients/{client['id']}/scope-mappings/realm", roles)
    for of, mappings in realm["clientScopeMappings"].items():
        owner = keycloak.ask(f"/clients?clientId={of}")[0]["id"]
        for mapping in mappings:
            client = keycloak.ask(f"/clients?clientId={mapping['client']}")[0]["id"]
            roles = [keycloak.ask(f"/clients/{owner}/roles/{name}") for name in mapping["roles"]]
            keycloak.admin("POST", f"/{keycloak.realm}/clients/{client}/scope-mappings/clients/{owner}", roles)


def _roles(keycloak: AdminApi, roles: list[dict[str, Any]]) -> None:
    have = {role["name"] for role in keycloak.ask("/roles")}
    for role in roles:
        if role["name"] not in have:
            keycloak.admin(
                "POST", f"/{keycloak.realm}/roles", {"name": role["name"], "description": role["description"]}
            )
        for client_id, names in role.get("composites", {}).get("client", {}).items():
            client = keycloak.ask(f"/clients?clientId={client_id}")[0]["id"]
            within = [keycloak.ask(f"/clients/{client}/roles/{name}") for name in names]
            keycloak.admin("POST", f"/{keycloak.realm}/roles/{role['name']}/composites", within)


def _group(keycloak: AdminApi, group: dict[str, Any], beside: str) -> None:
    """Makes or changes a group; `beside` is the API path of its siblings."""
    found = {one["name"]: one["id"] for one in keycloak.ask(beside)}
    plain = {"name": group["name"], "attributes": group["attributes"]}
    if group["name"] in found:
        id = found[group["name"]]
        keycloak.admin("PUT", f"/{keycloak.realm}/groups/{id}", plain)
    else:
        keycloak.admin("POST", f"/{keycloak.realm}{beside}", plain)
        id = next(one["id"] for one in keycloak.ask(beside) if one["name"] == group["name"])
    path = f"/groups/{id}/role-mappings/realm"
    have = {role["name"]: role for role in keycloak.ask(path)}
    gone = [role for name, role in have.items() if name not in group["realmRoles"]]
    keycloak.admin("DELETE", f"/{keycloak.realm}{path}", gone)
    new = [keycloak.ask(f"/roles/{name}") for name in group["realmRoles"] if name not in have]
    keycloak.admin("POST", f"/{keycloak.realm}{path}", new)
    for below in group["subGroups"]:
        _group(keycloak, below, f"/groups/{id}/children")


def _flows(keycloak: AdminApi, realm: dict[str, Any]) -> None:
    """Made only once, because no test changes them."""
    if any(flow["alias"] == realm["browserFlow"] for flow in keycloak.ask("/authentication/flows")):
        return
    top, *below = realm["authenticationFlows"]
    made = {top["alias"]}
    keycloak.admin("POST", f"/{keycloak.realm}/authentication/flows", {**top, "authenticationExecutions": []})
    waiting = [top, *below]
    for flow in waiting:
        assert flow["alias"] in made, f"{flow['alias']} is in no flow above"
        for execution in flow["authenticationExecutions"]:
            path = f"/{keycloak.realm}/authentication/flows/{flow['alias'].replace(' ', '%20')}/executions"
            if execution["authenticatorFlow"]:
                new = {"alias": execution["flowAlias"], "type": "basic-flow", "provider": "registration-page-form"}
                keycloak.admin("POST", f"{path}/flow", new)
                made.add(execution["flowAlias"])
            else:
                keycloak.admin("POST", f"{path}/execution", {"provider": execution["authenticator"]})
            name = execution.get("flowAlias") or execution["authenticator"]
            found = [
                one for one in keycloak.admin("GET", path) if name in (one.get("displayName"), one.get("providerId"))
            ]
            keycloak.admin("PUT", path, {**found[-1], "requirement": execution["requirement"]})
            for config in realm["authenticatorConfig"]:
                if config["alias"] == execution.get("authenticatorConfig"):
                    keycloak.admin(
                        "POST", f"/{keycloak.realm}/authentication/executions/{found[-1]['id']}/config", config
                    )
    keycloak.admin("PUT", f"/{keycloak.realm}", {"browserFlow": realm["browserFlow"]})


def _mappers(keycloak: AdminApi) -> list[dict[str, Any]]:
    return [
        mapper
        for provider in keycloak.ask("/identity-provider/instances")
        for mapper in keycloak.ask(f"/identity-provider/instances/{provider['alias']}/mappers")
    ]


def _components(keycloak: AdminApi, components: dict[str, list[dict[str, Any]]]) -> None:
    have = {one["name"]: one["id"] for one in keycloak.ask("/components")}
    for kind, wanted in components.items():
        for component in wanted:
            if component["name"] in have:
                continue
            below = component["subComponents"]
            plain = {name: value for name, value in component.items() if name != "subComponents"}
            keycloak.admin("POST", f"/{keycloak.realm}/components", {**plain, "providerType": kind})
            parent = next(one["id"] for one in keycloak.ask("/components") if one["name"] == component["name"])
            for below_kind, mappers in below.items():
                for mapper in mappers:
                    new = {**mapper, "providerType": below_kind, "parentId": parent}
                    keycloak.admin("POST", f"/{keycloak.realm}/components", new)
