"""Sign-in: Keycloak runs in production mode, people have their own realm, and a login redirects to known hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.exposure import NETWORK, RULES, in_conditions
from policies.reading import helm
from policies.reading.pods import containers, pod_spec
from policies.reading.resources import (
    NotDecided,
    NotDecidedError,
    NotYetKnown,
    Resource,
    Stack,
    at,
    either,
    is_kind,
    is_true,
    is_type,
    items,
    kind_of,
    leaves,
    mappings,
    parsed,
    secret_texts,
    texts,
)
from policies.rules import (
    CRITICAL,
    HIGH,
    MEDIUM,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    resource_policy,
    stack_policy,
)

_IDENTITY = best_practices("Security: Identity and access management")
_RECORD = "aws:route53/record:Record"
KEYCLOAK = ("keycloakx", "keycloak")
_WORKLOADS = ("Pod", "Deployment", "StatefulSet")
_START_DEV = "start-dev"
_ADMINISTRATION = ("/admin", "/auth/admin", "/realms/master", "/auth/realms/master", "/metrics")
# Usual host names of Keycloak. A rule for every path at another host need not lead to Keycloak.
_SIGN_IN_HOSTS = tuple(f"{name}." for name in ("auth", "iam", "id", "identity", "idp", "keycloak", "login", "sso"))


@resource_policy(
    "keycloak-dev-mode",
    "Keycloak starts in production mode",
    fix="Set command to kc.sh start with --hostname (values.command of keycloakx), without start-dev",
    severity=CRITICAL,
    concerns=either(helm.RELEASES, is_kind(*_WORKLOADS)),
    where=helm.of_chart(*KEYCLOAK),
    framework=_IDENTITY,
)
def keycloak_dev_mode(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """start-dev accepts any host name and plain HTTP. The chart's default starts nothing, so it needs a command."""
    if helm.is_release(resource):
        values = helm.values(resource)
        words = [*texts(at(values, "command", [])), *texts(at(values, "args", []))]
        if any(_START_DEV in word for word in words):
            yield "values.command starts Keycloak in dev mode"
        elif helm.chart_name(resource) == "keycloakx" and not words:
            yield "values.command is empty, and the image has no default command that starts Keycloak"
        return
    for place, container in containers(pod_spec(resource) or {}):
        words = [*texts(container.get("command")), *texts(container.get("args"))]
        if any(_START_DEV in word.split() or word == _START_DEV for word in words):
            yield f"{place} starts Keycloak in dev mode"


@resource_policy(
    "keycloak-master-realm",
    "People sign in to their own Keycloak realm, not to master",
    fix="Use your own realm in the URLs (/realms/REALM/) and in realm.json",
    severity=HIGH,
    concerns=either(helm.RELEASES, is_kind("ConfigMap", "Secret")),
    framework=_IDENTITY,
)
def keycloak_master_realm(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Administrators of master control every realm."""
    if helm.is_release(resource):
        for path, value in leaves(at(resource.props, "values", {}), "values"):
            if isinstance(value, str) and re.search(r"/realms/master(/|$|\s)", value):
                yield f"{path} signs people in to the realm master"
        return
    for place, realm in _realms(resource):
        if realm.get("realm") == "master" and (realm.get("users") or realm.get("clients") or realm.get("groups")):
            yield f"{place} puts people or clients into the realm master"


def _realms(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The realms that a ConfigMap or a Secret holds for an import, one in each document."""
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
    "A login redirects only to named hosts",
    fix="Name each address in redirectUris of the client, with its scheme and host",
    severity=HIGH,
    concerns=either(helm.RELEASES, is_kind("ConfigMap", "Secret")),
    framework=_IDENTITY,
)
def wildcard_redirect(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Owners of a matching host can steal login codes with a link. A wildcard at the end of a path is accepted."""
    for place, client in _clients(resource):
        for address in texts(client.get("redirectUris")):
            if _has_wildcard_host(address):
                yield f"{place}: the client {client.get('clientId')} may redirect to {address}"


def _clients(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if helm.is_release(resource):
        for path, mapping in mappings(at(resource.props, "values", {}), "values"):
            if "redirectUris" in set(mapping):
                yield path, mapping
    else:
        for place, realm in _realms(resource):
            for client in items(realm.get("clients")):
                yield place, client


def _has_wildcard_host(address: str) -> bool:
    if address.startswith("/"):
        return False  # relative to the client's own root address
    host = address.partition("://")[2].partition("/")[0]
    return "*" in (host or address)


@resource_policy(
    "keycloak-brute-force",
    "A realm locks accounts after failed logins",
    fix="Set bruteForceProtected to true in the realm",
    severity=MEDIUM,
    concerns=is_kind("ConfigMap", "Secret"),
    framework=_IDENTITY,
)
def keycloak_brute_force(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Keycloak's default is off."""
    for place, realm in _realms(resource):
        if realm.get("realm") != "master" and realm.get("clients") and not is_true(realm.get("bruteForceProtected")):
            yield f"{place}: the realm {realm.get('realm')} does not limit password guesses"


@resource_policy(
    "public-client-without-pkce",
    "A Keycloak client requires PKCE",
    fix="Set attributes.'pkce.code.challenge.method' to S256 and directAccessGrantsEnabled to false in the client",
    severity=MEDIUM,
    concerns=is_kind("ConfigMap", "Secret"),
    framework=_IDENTITY,
)
def public_client_without_pkce(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Without PKCE a stolen code opens the account. Clients without browser logins use no codes."""
    for place, client in _clients(resource):
        by_code = client.get("standardFlowEnabled") is not False and client.get("bearerOnly") is not True
        method = (client.get("attributes") or {}).get("pkce.code.challenge.method")
        if by_code and texts(client.get("redirectUris")) and method != "S256":
            yield f"{place}: the client {client.get('clientId')} accepts codes without PKCE"


@stack_policy(
    "wildcard-host",
    "A published name has no wildcard, except for JupyterHub's subdomains for people",
    fix="Name each host in conditions[].hostHeader, spec.rules[].host or the record's name; if *.HOST is for "
    "people's notebooks, set values.hub.config.JupyterHub.subdomain_host of JupyterHub to https://HOST",
    severity=MEDIUM,
    framework=NETWORK,
)
def wildcard_host(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """Otherwise any name under the domain leads here, with the domain's cookies. Certificates may have wildcards."""
    for resource in (*stack.of_type(*RULES, _RECORD), *stack.of_kind("Ingress")):
        yield from about(resource, _wildcards(resource, stack))


def _wildcards(resource: Resource, stack: Stack) -> Iterator[Found]:
    if resource.resource_type in RULES:
        hosts, expressions = in_conditions(resource, "hostHeader")
        if expressions:
            yield NotDecided(
                f"the hosts of {resource.name}: no policy can read the expression {', '.join(expressions)}"
            )
    elif kind_of(resource) == "Ingress":
        hosts = [str(rule.get("host", "")) for rule in at(resource.props, "spec.rules", [])]
    else:
        hosts = [str(resource.props.get("name"))] if resource.props.get("type") in ("A", "AAAA", "CNAME") else []
    for host in hosts:
        if host.startswith("*") and host not in _names_of_people(stack):
            yield f"it publishes {host}"


def _names_of_people(stack: Stack) -> Iterator[str]:
    """`*.HOST` of each JupyterHub that serves each person's notebooks on a subdomain, where they share no cookies."""
    for hub in helm.releases(stack, "jupyterhub"):
        if host := at(helm.values(hub), "hub.config.JupyterHub.subdomain_host"):
            yield f"*.{urlsplit(host if '://' in host else f'//{host}').hostname}"


@resource_policy(
    "admin-path-published",
    "No rule publishes Keycloak's admin console, realm master or metrics",
    fix="Name the paths in conditions[].pathPattern: /realms/REALM/*, /resources/*, /.well-known/*",
    severity=HIGH,
    concerns=either(is_type(*RULES), is_kind("Ingress", "HTTPRoute"), helm.RELEASES),
    where=helm.of_chart("keycloakx", "keycloak"),
    framework=NETWORK,
)
def admin_path_published(rule: Resource, _limits: Limits) -> Iterator[Found]:
    """A password guessed there gives control over every account. A rule without paths publishes all paths."""
    for found in _published(rule):
        if isinstance(found, NotDecided):
            yield found
        elif found[1].startswith(_ADMINISTRATION):
            yield f"{found[0]} publishes {found[1]}"


def _published(rule: Resource) -> Iterator[tuple[str, str] | NotDecided]:
    if rule.resource_type in RULES:
        yield from _by_conditions(rule)
    elif kind_of(rule) == "Ingress":
        yield from _of_rules(at(rule.props, "spec.rules", []), "spec.rules")
    elif kind_of(rule) == "HTTPRoute":
        for one in at(rule.props, "spec.rules", []):
            yield from (("spec.rules", str(at(match, "path.value", "/"))) for match in items(one.get("matches")))
    else:
        values = helm.values(rule)
        for place in ("ingress.console", "httpRoute.console"):
            if at(values, f"{place}.enabled") is True:
                yield f"values.{place}", "/admin"
        if at(values, "ingress.enabled") is True:
            prefix = str(at(values, "http.relativePath", "")).rstrip("/")
            for place, path in _of_rules(at(values, "ingress.rules", []), "values.ingress.rules"):
                # The chart's default path is Keycloak's root, which includes the admin console.
                shown = "/admin" if path.startswith("{{") or path.rstrip("/") in ("", prefix) else path
                yield place, shown


def _by_conditions(rule: Resource) -> Iterator[tuple[str, str] | NotDecided]:
    """What a listener rule publishes."""
    hosts, unread_hosts = in_conditions(rule, "hostHeader")
    paths, unread_paths = in_conditions(rule, "pathPattern")
    if unread := unread_hosts + unread_paths:
        yield NotDecided(f"what {rule.name} publishes: no policy can read the expression {', '.join(unread)}")
    everything = [path for path in paths if path in ("*", "/*")]
    for path in paths:
        # ELB's wildcards are a shell's wildcards without sets of characters.
        pattern = path.replace("[", "[[]")
        opened = [one for one in _ADMINISTRATION if any(fnmatchcase(one + end, pattern) for end in ("", "/", "/x"))]
        if path not in everything:
            yield "conditions", f"{opened[0]} by {path}" if opened else path
    if everything or not (paths or unread_paths):
        yield from (("conditions", f"/admin at {host}") for host in hosts if host.startswith(_SIGN_IN_HOSTS))


def _of_rules(rules: Any, place: str) -> Iterator[tuple[str, str]]:
    for rule in items(rules):
        for path in items(at(rule, "http.paths", rule.get("paths"))):
            yield place, str(path.get("path", "/"))
