"""Creates the secrets that a stack file expects in AWS Secrets Manager, in the simulated account."""

from __future__ import annotations

import json
import secrets
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from settings import Hub, Identity
from settings.language.secret_reference import SecretReference

from .checks.leftovers import Account

_ANSWER_SECONDS = 30


def references(identity: Identity | None, hub: Hub | None) -> list[SecretReference]:
    """The references of the sections identity and hub to Secrets Manager."""
    return [one for part in (identity, hub) for one in references_in(part) if one.secrets_manager is not None]


def references_in(part: Any) -> Iterator[SecretReference]:
    """All references in a part of the settings."""
    if isinstance(part, SecretReference):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from references_in(getattr(part, name))
    elif is_dataclass(part):
        for one in fields(part):
            yield from references_in(getattr(part, one.name))
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from references_in(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from references_in(value)


def pull_secrets(hub: Hub | None) -> list[SecretReference]:
    """The registry's pull secret. Its value must be a JSON document, because the API server accepts nothing else."""
    return [hub.registry.pull_secret] if hub and hub.registry and hub.registry.pull_secret else []


def put(aws_url: str, identity: Identity | None, hub: Hub | None) -> None:
    """Creates the secrets in the AWS at `aws_url`, each with its own value, with the keys that the stack file names."""
    wanted: dict[str, dict[str, str] | str] = {}
    for reference in references(identity, hub):
        arn, value = reference.secrets_manager or "", secrets.token_urlsafe(24)
        if reference in pull_secrets(hub):
            value = json.dumps({"auths": {"registry.example.com": {"auth": value}}})
        if reference.key is None:
            wanted[arn] = value
        else:
            document = wanted.setdefault(arn, {})
            if isinstance(document, dict):
                document[reference.key] = value
    for arn, value in wanted.items():
        text = value if isinstance(value, str) else json.dumps(value)
        content = json.dumps({"arn": arn, "value": text}).encode()
        request = urllib.request.Request(f"{aws_url}/gpulab/secrets", data=content, method="POST")
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
            pass


def values(account: Account, identity: Identity | None, hub: Hub | None) -> dict[str, str]:
    """The values of the secrets that the stack file names, by ARN and key."""
    found: dict[str, str] = {}
    for reference in references(identity, hub):
        text = account.client("secretsmanager").get_secret_value(SecretId=reference.secrets_manager)["SecretString"]
        value = text if reference.key is None else json.loads(text)[reference.key]
        found[f"{reference.secrets_manager} {reference.key or ''}".strip()] = value
    return found
