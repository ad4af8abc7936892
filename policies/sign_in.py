"""Sign-in: Keycloak as a production server, its realm for people, and where a login may lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.reading import releases as charts
from policies.reading.pods import containers, pod_spec
from policies.reading.resources import (
    NotDecidedError,
    NotYetKnown,
    Resource,
    at,
    either,
    is_kind,
    is_true,
    items,
    kind_of,
    leaves,
    mappings,
    parsed,
    secret_texts,
    texts,
)
from policies.rules import CRITICAL, HIGH, MEDIUM, Found, Limits, best_practices, resource_policy

_IDENTITY = best_practices("Security: Identity and access management")
KEYCLOAK = ("keycloakx", "keycloak")
_WORKLOADS = ("Pod", "Deployment", "StatefulSet")
_START_DEV = "start-dev"


@resource_policy(
    "keycloak-dev-mode",
    "Keycloak is started as a production server",
    fix="Set command to kc.sh start with --hostname (values.command of keycloakx), without start-dev",
    severity=CRITICAL,
    concerns=either(charts.RELEASES, is_kind(*_WORKLOADS)),
    where=charts.of_chart(*KEYCLOAK),
    framework=_IDENTITY,
)
def keycloak_dev_mode(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """start-dev takes any host name and plain HTTP. The chart's own default starts nothing: it needs a command."""
    if charts.is_release(resource):
        values = charts.values(resource)
        words = [*texts(at(values, "command", [])), *texts(at(values, "args", []))]
        if any(_START_DEV in word for word in words):
            yield "values.command starts it in dev mode"
        elif charts.chart_name(resource) == "keycloakx" and not words:
            yield "values.command is empty, and the image by itself starts nothing"
        return
    for place, container in containers(pod_spec(resource) or {}):
        words = [*texts(container.get("command")), *texts(container.get("args"))]
        if any(_START_DEV in word.split() or word == _START_DEV for word in words):
            yield f"{place} starts Keycloak in dev mode"


@resource_policy(
    "keycloak-master-realm",
    "People have a realm of their own in Keycloak, not master",
    fix="Name a realm of your own in the URLs (/realms/REALM/) and in realm.json",
    severity=HIGH,
    concerns=either(charts.RELEASES, is_kind("ConfigMap", "Secret")),
    framework=_IDENTITY,
)
def keycloak_master_realm(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Whoever administers master administers every realm."""
    if charts.is_release(resource):
        for path, value in leaves(at(resource.props, "values", {}), "values"):
            if isinstance(value, str) and re.search(r"/realms/master(/|$|\s)", value):
                yield f"{path} signs people in by the realm master"
        return
    for place, realm in _realms(resource):
        if realm.get("realm") == "master" and (realm.get("users") or realm.get("clients") or realm.get("groups")):
            yield f"{place} puts people or clients into the realm master"


def _realms(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The realms that a ConfigMap or a Secret holds for an import, one a document."""
    of_config_map = leaves(at(resource.props, "data", {}), "data")
    for place, text in secret_texts(resource) if kind_of(resource) == "Secret" else of_config_map:
        if isinstance(text, NotYetKnown):
            raise UnknownValueError(UNKNOWN_STRING_VALUE, [place])
        if isinstance(text, str) and ('"realm"' in text or "realm:" in text):
            document = parsed(text)
            if isinstance(document, Mapping) and "realm" in document:
                yield place, document
            elif document is None and '"realm"' in text:
                raise NotDecidedError(f"the realm in {place} of {resource.name}, which is neither JSON nor YAML")


@resource_policy(
    "wildcard-redirect",
    "A login leads back to named hosts alone",
    fix="Name each address in redirectUris of the client, with its scheme and host",
    severity=HIGH,
    concerns=either(charts.RELEASES, is_kind("ConfigMap", "Secret")),
    framework=_IDENTITY,
)
def wildcard_redirect(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Whoever owns a host that matches gets the codes of people who follow a link. A path may end in a wildcard."""
    for place, client in _clients(resource):
        for address in texts(client.get("redirectUris")):
            if _leads_anywhere(address):
                yield f"{place}: the client {client.get('clientId')} leads back to {address}"


def _clients(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if charts.is_release(resource):
        for path, mapping in mappings(at(resource.props, "values", {}), "values"):
            if "redirectUris" in set(mapping):
                yield path, mapping
    else:
        for place, realm in _realms(resource):
            for client in items(realm.get("clients")):
                yield place, client


def _leads_anywhere(address: str) -> bool:
    if address.startswith("/"):
        return False  # of the client's own root address
    host = address.partition("://")[2].partition("/")[0]
    return "*" in (host or address)


@resource_policy(
    "keycloak-brute-force",
    "A realm locks out who guesses passwords",
    fix="Set bruteForceProtected to true in the realm",
    severity=MEDIUM,
    concerns=is_kind("ConfigMap", "Secret"),
    framework=_IDENTITY,
)
def keycloak_brute_force(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Keycloak's default is off."""
    for place, realm in _realms(resource):
        if realm.get("realm") != "master" and realm.get("clients") and not is_true(realm.get("bruteForceProtected")):
            yield f"{place}: anybody may guess passwords of the realm {realm.get('realm')}"


@resource_policy(
    "public-client-without-pkce",
    "A client of Keycloak asks for PKCE",
    fix="Set attributes.'pkce.code.challenge.method' to S256 and directAccessGrantsEnabled to false in the client",
    severity=MEDIUM,
    concerns=is_kind("ConfigMap", "Secret"),
    framework=_IDENTITY,
)
def public_client_without_pkce(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """A code that is stolen on its way opens the account. Clients that no browser uses need no code."""
    for place, client in _clients(resource):
        by_code = client.get("standardFlowEnabled") is not False and client.get("bearerOnly") is not True
        method = (client.get("attributes") or {}).get("pkce.code.challenge.method")
        if by_code and texts(client.get("redirectUris")) and method != "S256":
            yield f"{place}: the client {client.get('clientId')} takes codes without PKCE"
