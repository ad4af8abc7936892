"""Secrets: a program contains no secret in plain text, and no well-known password."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pulumi_policy.proxy import UnknownValueError

from policies.reading import helm
from policies.reading.pods import containers, pod_spec
from policies.reading.resources import (
    NotDecidedError,
    NotYetKnown,
    Resource,
    SecretText,
    Stack,
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
from policies.rules import (
    CRITICAL,
    HIGH,
    Finding,
    Found,
    Limits,
    about,
    best_practices,
    cis,
    resource_policy,
    stack_policy,
)

_SECRETS = best_practices("Security: Data encryption and secrets management, secrets management")
# The last words of keys whose values are secrets: clientSecret, KC_DB_PASSWORD, api_key.
_SECRET_KEY = re.compile(
    r"(password|passwd|secret|token|api_?key|private_?key|access_?key|credential|cookie_?secret|proxy_?auth_?token)s?$",
    re.IGNORECASE,
)
# Keys that look like secrets but hold a reference to one, or a fact about one.
_REFERENCE = re.compile(
    r"(existing|name|pull|ref|file|path|mount|from|policy|url|type|class|expir|ttl|lifespan|key_?id|rotation|create|enabled|checksum)",
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


_RANDOM_BYTES = "random:index/randomBytes:RandomBytes"
# Their value is their ID, and a state does not encrypt IDs: internal/provider/resource_*.go of Terraform's random
# provider 3.9, computeRandomBytesID of pulumi-random 4.21. The ID of a RandomPassword is "none".
_KNOWN_BY_THEIR_VALUE: Mapping[str, tuple[str, ...]] = {
    _RANDOM_BYTES: ("base64", "hex"),
    "random:index/randomId:RandomId": ("b64Std", "b64Url", "dec", "hex"),
    "random:index/randomString:RandomString": ("result",),
    "random:index/randomUuid:RandomUuid": ("result",),
    "random:index/randomUuid4:RandomUuid4": ("result",),
    "random:index/randomUuid7:RandomUuid7": ("result",),
}


_CONCERNED = either(helm.RELEASES, is_kind(*_RELEASES_AND_WORKLOADS, "Secret"), is_type(*_AWS_SECRETS))


@resource_policy(
    "literal-secret",
    "A program and a chart's values contain no secret in plain text",
    fix="Take it from a RandomPassword or a secret in Pulumi's config, or name a Secret that holds it (existingSecret)",
    severity=CRITICAL,
    concerns=_CONCERNED,
    framework=_SECRETS,
)
def literal_secret(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Everybody who can read the repository or the state has it. Pulumi encrypts values that it knows as secrets."""
    for place, value in _secrets(resource):
        if isinstance(value, NotYetKnown):
            yield value
        elif _is_literal(value):
            yield f"{place} contains a secret in plain text"


@resource_policy(
    "default-password",
    "No password is a well-known default",
    fix="Take it from a RandomPassword, or name a Secret that holds it (existingSecret)",
    severity=CRITICAL,
    concerns=_CONCERNED,
    framework=_SECRETS,
)
def default_password(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Attackers try `admin` and `changeme` first, so Pulumi secrets are checked too."""
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
    if helm.is_release(resource):
        for place, layer in helm.own_values(resource):
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
    # Secrets of other types also hold names and certificates.
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
    """The secrets in a text of YAML or JSON, such as keycloakx's variables or a realm."""
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
    """Everybody with read access to a namespace can read its ConfigMaps. Secrets need a separate permission."""
    for key, value in ((key, _value(at(config.props, "data", {}), key)) for key in at(config.props, "data", {})):
        if _is_secret_key(key) and not isinstance(value, NotYetKnown):
            yield f"data.{key} holds a secret"
        elif isinstance(value, SecretText):
            yield f"data.{key} is made from a Pulumi secret"


@resource_policy(
    "secret-as-resource-id",
    "The ID of a resource is not a secret",
    fix="Use a RandomPassword, whose ID is `none`: for 64 hex digits set length=64, upper=False, lower=False, "
    'override_special="abcdef"',
    severity=CRITICAL,
    concerns=is_type(*_KNOWN_BY_THEIR_VALUE),
    framework=_SECRETS,
)
def secret_as_resource_id(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Pulumi encrypts properties, never IDs, so the value is readable in the state, in exports and in event logs.

    RandomBytes is for secrets only. The other types also make names; they are secrets if the program marks their
    outputs as secret.
    """
    if resource.resource_type == _RANDOM_BYTES:
        yield "the ID of RandomBytes is its bytes, and the state does not encrypt IDs"
    elif secret_outputs := resource.opts.additional_secret_outputs:
        yield f"{', '.join(secret_outputs)} is marked as secret but is also the ID, and the state does not encrypt IDs"


@stack_policy(
    "secret-from-resource-id",
    "No secret is made from the ID of a resource",
    fix="Use a RandomPassword, whose ID is `none`; RandomId and RandomString are for names",
    severity=CRITICAL,
    framework=_SECRETS,
)
def secret_from_resource_id(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """A RandomId is fine as the end of a name. As a password it would be readable in the state, as the ID."""
    if open_values := {one.urn: one for one in stack.of_type(*_KNOWN_BY_THEIR_VALUE)}:
        for resource in stack.resources:
            if _CONCERNED(resource.resource_type):
                yield from about(resource, _made_of(resource, open_values))


def _made_of(resource: Any, open_values: Mapping[str, Any]) -> Iterator[Found]:
    """The secrets of a resource that are made from such values. A preview knows only what a property depends on."""
    for place, value in _secrets_and_unknown(resource):
        key = re.split(r"[.\[]", place, maxsplit=1)[0]
        # If a release's values are all unknown, nobody can say which of them are secrets.
        is_secret = place != key or not helm.is_release(resource)
        sources = resource.property_dependencies.get(key) or resource.dependencies
        used = [open_values[one.urn] for one in sources if one.urn in open_values]
        if isinstance(value, NotYetKnown):
            if is_secret and used and len(used) == len(sources):
                yield f"{place} is made from {_named(used)}"
            elif used:
                yield value
        elif isinstance(value, str):
            contained = [one for one in used if any(text in value for text in _spellings(one))]
            if contained:
                yield f"{place} is made from {_named(contained)}"


def _secrets_and_unknown(resource: Resource) -> Iterator[tuple[str, Any]]:
    """The same as `_secrets`. If a whole property is unknown, its place is the last item."""
    try:
        yield from _secrets(resource)
    except NotDecidedError:
        raise
    except UnknownValueError as error:
        place = ".".join(error.props)
        yield place, NotYetKnown(place)


def _spellings(source: Any) -> Iterator[str]:
    """The texts that such a value can appear as, including base64 in a Secret."""
    for key in _KNOWN_BY_THEIR_VALUE[source.resource_type]:
        text = _value(source.props, key) if key in set(source.props) else None
        if isinstance(text, str) and text:
            yield from (text, base64.b64encode(text.encode()).decode())


def _named(sources: list[Any]) -> str:
    return ", ".join(f"{one.resource_type.rpartition(':')[2]} {one.name}" for one in sources)
