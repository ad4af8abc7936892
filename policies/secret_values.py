"""Secrets: none is written down in a program, and none is the one that everybody knows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_policy.proxy import UnknownValueError

from policies.reading import releases as charts
from policies.reading.pods import containers, pod_spec
from policies.reading.resources import (
    NotYetKnown,
    Resource,
    SecretText,
    at,
    either,
    is_kind,
    is_type,
    items,
    kind_of,
    leaves,
    mappings,
    parsed,
    secret_texts,
    undecided_by,
)
from policies.rules import CRITICAL, HIGH, Found, Limits, best_practices, cis, resource_policy

_SECRETS = best_practices("Security: Data encryption and secrets management, secrets management")
# The last words of keys whose values are secrets: clientSecret, KC_DB_PASSWORD, api_key.
_SECRET_KEY = re.compile(
    r"(password|passwd|secret|token|api_?key|private_?key|access_?key|credential|cookie_?secret|proxy_?auth_?token)s?$",
    re.IGNORECASE,
)
# Keys that look so and say where a secret is, or something about it.
_REFERENCE = re.compile(
    r"(existing|name|ref|file|path|mount|from|policy|url|type|class|expir|ttl|lifespan|key_?id|rotation|create|enabled|checksum)",
    re.IGNORECASE,
)
_DEFAULTS = frozenset(
    [
        "admin",
        "password",
        "changeme",
        "change-me",
        "change_me",
        "secret",
        "keycloak",
        "prom-operator",
        "grafana",
        "postgres",
        "root",
        "jupyter",
        "jovyan",
        "test",
        "test123",
        "admin123",
        "password123",
        "123456",
        "letmein",
        "default",
        "example",
        "minioadmin",
        "dummy",
    ]
)
_RELEASES_AND_WORKLOADS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ConfigMap")


_AWS_SECRETS: Mapping[str, tuple[str, ...]] = {
    "aws:rds/instance:Instance": ("password",),
    "aws:rds/cluster:Cluster": ("masterPassword",),
    "aws:secretsmanager/secretVersion:SecretVersion": ("secretString",),
    "aws:ssm/parameter:Parameter": ("value",),
}


_CONCERNED = either(charts.RELEASES, is_kind(*_RELEASES_AND_WORKLOADS, "Secret"), is_type(*_AWS_SECRETS))


@resource_policy(
    "literal-secret",
    "No secret is written down in a program or a chart's values",
    fix="Take it from a RandomPassword or a secret of Pulumi's config, or name a Secret that holds it (existingSecret)",
    severity=CRITICAL,
    concerns=_CONCERNED,
    framework=_SECRETS,
)
def literal_secret(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Whoever reads the repository or the state has it. What Pulumi knows to be a secret is encrypted in the state."""
    for place, value in _secrets(resource):
        if isinstance(value, NotYetKnown):
            yield value
        elif _is_literal(value):
            yield f"{place} has a secret that is written down"


@resource_policy(
    "default-password",
    "No password is the one that everybody knows",
    fix="Take it from a RandomPassword, or name a Secret that holds it (existingSecret)",
    severity=CRITICAL,
    concerns=_CONCERNED,
    framework=_SECRETS,
)
def default_password(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Secret or not: `admin` and `changeme` are tried first."""
    for place, value in _secrets(resource):
        if isinstance(value, NotYetKnown):
            yield value
        elif isinstance(value, str) and value.lower() in _DEFAULTS and _is_secret_key(_last_key(place)):
            yield f"{place} is a well-known password"


def _is_literal(value: Any) -> bool:
    if not isinstance(value, str) or isinstance(value, SecretText):
        return False
    # Templates, and references of Kubernetes and of keycloak-config-cli: $(env:NAME), ${NAME}, {{ .Values }}.
    is_reference = value.startswith(("$(", "${", "{{", "arn:"))
    return bool(value.strip()) and not is_reference and value.lower() not in ("true", "false") and not value.isdecimal()


def _secrets(resource: Resource) -> Iterator[tuple[str, Any]]:
    """The values of keys that hold secrets, each with its place."""
    kind = kind_of(resource)
    if charts.is_release(resource):
        for place, layer in charts.own_values(resource):
            yield from _in_values(layer, place)
    elif kind == "Secret":
        yield from _of_secret(resource)
    elif kind == "ConfigMap":
        for key in at(resource.props, "data", {}):
            yield from _in_text(f"data.{key}", _value(resource.props["data"], key))
    elif kind:
        for place, container in containers(pod_spec(resource) or {}):
            yield from _in_environment(items(container.get("env")), f"{place}.env")
    else:
        for key in _AWS_SECRETS[resource.resource_type]:
            if key in set(resource.props) and at(resource.props, "type") not in ("String", "StringList"):
                yield key, _value(resource.props, key)


def _of_secret(secret: Resource) -> Iterator[tuple[str, Any]]:
    # Other types have a form: names and certificates beside what is secret.
    if "type" not in set(secret.props) or secret.props["type"] == "Opaque":
        yield from secret_texts(secret)


def _value(mapping: Mapping[str, Any], key: str) -> Any:
    try:
        return mapping[key]
    except UnknownValueError as error:
        return undecided_by(error)


def _in_values(values: Any, place: str) -> Iterator[tuple[str, Any]]:
    for path, mapping in mappings(values, place):
        yield from _in_environment([mapping], path.rpartition(".")[0])
    for path, value in leaves(values, place):
        key = _last_key(path)
        if _is_secret_key(key):
            yield path, value
        elif isinstance(value, str) and ("\n" in value or _looks_structured(value)):
            yield from _in_text(path, value)


def _last_key(path: str) -> str:
    """The last key of a path, indexes of lists left out."""
    return re.sub(r"(\.[0-9]+)+$", "", path).rpartition(".")[2]


def _is_secret_key(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _REFERENCE.search(key)


def _looks_structured(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and not value.lstrip().startswith("{{")


def _in_text(place: str, text: Any) -> Iterator[tuple[str, Any]]:
    """A text that holds YAML or JSON: keycloakx takes variables so, and realms are such documents."""
    if isinstance(text, NotYetKnown):
        yield place, text
        return
    if not isinstance(text, str) or isinstance(text, SecretText):
        return
    document = parsed(text)
    if isinstance(document, list):
        yield from _in_environment(document, place)
    if isinstance(document, dict | list):
        for path, value in leaves(document, place):
            if _is_secret_key(path.rpartition(".")[2]):
                yield path, value


def _in_environment(variables: list[Any], place: str) -> Iterator[tuple[str, Any]]:
    for variable in variables:
        if isinstance(variable, Mapping) and "value" in set(variable) and _is_secret_key(str(variable.get("name"))):
            yield f"{place}.{variable.get('name')}", _value(variable, "value")


@resource_policy(
    "secret-in-configmap",
    "No ConfigMap holds a secret",
    fix="Move the key to a Secret's stringData",
    severity=HIGH,
    concerns=is_kind("ConfigMap"),
    framework=cis("4.4.1"),
)
def secret_in_configmap(config: Resource, _limits: Limits) -> Iterator[Found]:
    """Whoever may look at a namespace may read its ConfigMaps; of Secrets that is granted apart."""
    for key, value in ((key, _value(at(config.props, "data", {}), key)) for key in at(config.props, "data", {})):
        if _is_secret_key(key) and not isinstance(value, NotYetKnown):
            yield f"data.{key} holds a secret"
        elif isinstance(value, SecretText):
            yield f"data.{key} is made of a Pulumi secret"
