"""The secrets that a stack file names on a site: Secrets of others, a certificate, encrypted values of the file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from components.platform_urls import PlatformUrls
from rehearsal.account_secrets import pull_secrets, references_in
from rehearsal.authority import Authority
from rehearsal.controllers.world import Object
from settings import ExistingSettings
from settings.language.secret_reference import CONFIG_NAMESPACE


@dataclass(frozen=True)
class Given:
    """The Secrets to make, the encrypted values by their configuration key, and every value by its name."""

    objects: list[Object]
    config: Mapping[str, str]
    values: Mapping[str, str]


def given(settings: ExistingSettings) -> Given:
    """A value of its own for each secret that the stack file names."""
    pulls = pull_secrets(settings.hub)
    stored: dict[tuple[str, str], dict[str, str]] = {}
    config: dict[str, str] = {}
    values: dict[str, str] = {}
    for reference in references_in(settings):
        value = secrets.token_hex(24)
        if reference in pulls:
            value = json.dumps({"auths": {"registry.example.com": {"auth": value}}})
        if reference.config:
            value = config.setdefault(f"{CONFIG_NAMESPACE}:{reference.config}", value)
            values[reference.config] = value
        elif reference.kubernetes_secret and reference.namespace and reference.key:
            place = reference.namespace, reference.kubernetes_secret
            value = stored.setdefault(place, {}).setdefault(reference.key, value)
            values[f"{'/'.join(place)} {reference.key}"] = value
    certificate = settings.ingress.certificate
    if certificate and certificate.secret and certificate.namespace:
        signed = Authority().signed(settings.ingress.domain or "", _names(settings))
        values["the certificate's key"] = signed.key
        stored[certificate.namespace, certificate.secret] = {"tls.crt": signed.certificate, "tls.key": signed.key}
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        for name in sorted({namespace for namespace, _ in stored})
    ]
    made = [_secret(*place, data) for place, data in stored.items()]
    return Given([*namespaces, *made], config, values)


def _names(settings: ExistingSettings) -> list[str]:
    """The names that people open, with those below the platform's."""
    urls = PlatformUrls.of(settings.ingress.domain)
    hosts = [urlsplit(url).hostname or "" for url in (urls.platform, urls.sign_in)]
    return [*hosts, f"*.{hosts[0]}"]


def _secret(namespace: str, name: str, data: Mapping[str, str]) -> Object:
    kind = "kubernetes.io/tls" if "tls.key" in data else "Opaque"
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": dict(data)}
