"""What applies the realm where keycloak-config-cli can't be had: its placeholders filled, by Keycloak's admin API.

It makes the realm in one import. Applied again, it does what keycloak-config-cli promises (docs/MANAGED.md): settings,
clients and flows are set, groups of teams that are gone are removed, and accounts that exist are left alone.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

from components.realm import REALM

if TYPE_CHECKING:
    from keycloak_lab import KeycloakLab

_PLACEHOLDER = re.compile(r"\$\(file:UTF-8:[^)]*/(\w+)\)")
_PARTS = (
    *("roles", "groups", "clients", "scopeMappings", "clientScopeMappings", "components", "users"),
    *("authenticationFlows", "authenticatorConfig", "browserFlow", "identityProviders", "identityProviderMappers"),
)


def apply(keycloak: KeycloakLab, document: dict[str, Any], secrets: dict[str, str]) -> None:
    """Makes the realm, or changes it. KeyError: a placeholder without a secret. HTTPError: Keycloak's."""
    realm = json.loads(_PLACEHOLDER.sub(lambda found: json.dumps(secrets[found[1]])[1:-1], json.dumps(document)))
    settings = {name: value for name, value in realm.items() if name not in _PARTS}
    try:
        keycloak.ask("")
    except HTTPError as error:
        if error.code != 404:
            raise
        keycloak.admin("POST", "", settings)
        keycloak._asked = 0
        keycloak.admin("POST", f"/{REALM}/partialImport", {"ifResourceExists": "SKIP", "roles": realm["roles"]})
    else:
        keycloak.admin("PUT", f"/{REALM}", settings)
    _clients(keycloak, realm)
    _groups(keycloak, realm["groups"])
    _flows(keycloak, realm)
    _people(keycloak, realm["users"])
    parts = {"identityProviders": realm["identityProviders"]}
    keycloak.admin("POST", f"/{REALM}/partialImport", {"ifResourceExists": "SKIP", **parts})
    have = {(mapper["identityProviderAlias"], mapper["name"]) for mapper in _mappers(keycloak)}
    for mapper in realm["identityProviderMappers"]:
        if (mapper["identityProviderAlias"], mapper["name"]) not in have:
            path = f"/{REALM}/identity-provider/instances/{mapper['identityProviderAlias']}/mappers"
            keycloak.admin("POST", path, mapper)
    _components(keycloak, realm["components"])


def _clients(keycloak: KeycloakLab, realm: dict[str, Any]) -> None:
    for client in realm["clients"]:
        found = keycloak.ask(f"/clients?clientId={client['clientId']}")
        if found:
            keycloak.admin("PUT", f"/{REALM}/clients/{found[0]['id']}", {**found[0], **client})
        else:
            keycloak.admin("POST", f"/{REALM}/clients", client)
    for mapping in realm["scopeMappings"]:
        client = keycloak.ask(f"/clients?clientId={mapping['client']}")[0]
        roles = [keycloak.ask(f"/roles/{name}") for name in mapping["roles"]]
        keycloak.admin("POST", f"/{REALM}/clients/{client['id']}/scope-mappings/realm", roles)


def _groups(keycloak: KeycloakLab, groups: list[dict[str, Any]]) -> None:
    wanted = {group["name"] for group in groups}
    for group in keycloak.ask("/groups"):
        if group["name"] in keycloak.imported_groups - wanted:
            keycloak.admin("DELETE", f"/{REALM}/groups/{group['id']}")
    keycloak.imported_groups = wanted
    keycloak.admin("POST", f"/{REALM}/partialImport", {"ifResourceExists": "SKIP", "groups": groups})
    for group in groups:
        for role_group in group["subGroups"]:
            for below in role_group["subGroups"]:
                if below["path"] not in keycloak.all_groups():
                    parent = keycloak.ask(f"/group-by-path{role_group['path']}")
                    keycloak.admin("POST", f"/{REALM}/groups/{parent['id']}/children", {"name": below["name"]})


def _people(keycloak: KeycloakLab, people: list[dict[str, Any]]) -> None:
    have = {person["username"] for person in keycloak.ask("/users")}
    for person in people:
        if person["username"] in have:
            continue
        plain = {name: value for name, value in person.items() if name not in ("realmRoles", "clientRoles")}
        keycloak.admin("POST", f"/{REALM}/users", plain)
        path = f"/{REALM}/users/{keycloak.person(person['username'])['id']}/role-mappings"
        keycloak.admin("POST", f"{path}/realm", [keycloak.ask(f"/roles/{name}") for name in person["realmRoles"]])
        for client_id, names in person.get("clientRoles", {}).items():
            client = keycloak.ask(f"/clients?clientId={client_id}")[0]["id"]
            roles = [keycloak.ask(f"/clients/{client}/roles/{name}") for name in names]
            keycloak.admin("POST", f"{path}/clients/{client}", roles)


def _flows(keycloak: KeycloakLab, realm: dict[str, Any]) -> None:
    """Made once, and from then on left: no test changes them."""
    if any(flow["alias"] == realm["browserFlow"] for flow in keycloak.ask("/authentication/flows")):
        return
    top, *below = realm["authenticationFlows"]
    made = {top["alias"]}
    keycloak.admin("POST", f"/{REALM}/authentication/flows", {**top, "authenticationExecutions": []})
    waiting = [top, *below]
    for flow in waiting:
        assert flow["alias"] in made, f"{flow['alias']} is in no flow above"
        for execution in flow["authenticationExecutions"]:
            path = f"/{REALM}/authentication/flows/{flow['alias'].replace(' ', '%20')}/executions"
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
                    keycloak.admin("POST", f"/{REALM}/authentication/executions/{found[-1]['id']}/config", config)
    keycloak.admin("PUT", f"/{REALM}", {"browserFlow": realm["browserFlow"]})


def _mappers(keycloak: KeycloakLab) -> list[dict[str, Any]]:
    return [
        mapper
        for provider in keycloak.ask("/identity-provider/instances")
        for mapper in keycloak.ask(f"/identity-provider/instances/{provider['alias']}/mappers")
    ]


def _components(keycloak: KeycloakLab, components: dict[str, list[dict[str, Any]]]) -> None:
    have = {one["name"]: one["id"] for one in keycloak.ask("/components")}
    for kind, wanted in components.items():
        for component in wanted:
            if component["name"] in have:
                continue
            below = component["subComponents"]
            plain = {name: value for name, value in component.items() if name != "subComponents"}
            keycloak.admin("POST", f"/{REALM}/components", {**plain, "providerType": kind})
            parent = next(one["id"] for one in keycloak.ask("/components") if one["name"] == component["name"])
            for below_kind, mappers in below.items():
                for mapper in mappers:
                    new = {**mapper, "providerType": below_kind, "parentId": parent}
                    keycloak.admin("POST", f"/{REALM}/components", new)
