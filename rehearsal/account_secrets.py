"""What a stack file takes for given in AWS Secrets Manager: its secrets are made in the simulated account."""

from __future__ import annotations

import json
import secrets
import urllib.request

from settings import Identity
from settings.secret_reference import SecretReference

from .leftovers import Account

_ANSWER_SECONDS = 30


def references(identity: Identity | None) -> list[SecretReference]:
    """The references of an identity section to Secrets Manager."""
    if identity is None:
        return []
    found = [provider.client_secret for provider in identity.providers.values()]
    found += [identity.ldap.bind_password if identity.ldap else None, identity.mail.password if identity.mail else None]
    return [one for one in found if one is not None and one.secrets_manager is not None]


def put(aws_url: str, identity: Identity | None) -> None:
    """Makes the secrets in the AWS at `aws_url`, each with a value of its own, under the keys asked for."""
    wanted: dict[str, dict[str, str] | str] = {}
    for reference in references(identity):
        arn, value = reference.secrets_manager or "", secrets.token_urlsafe(24)
        if reference.key is None:
            wanted[arn] = value
        else:
            held = wanted.setdefault(arn, {})
            if isinstance(held, dict):
                held[reference.key] = value
    for arn, value in wanted.items():
        text = value if isinstance(value, str) else json.dumps(value)
        content = json.dumps({"arn": arn, "value": text}).encode()
        request = urllib.request.Request(f"{aws_url}/gpulab/secrets", data=content, method="POST")
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
            pass


def values(account: Account, identity: Identity | None) -> dict[str, str]:
    """The secrets that the stack file names, each value by its ARN and key."""
    found: dict[str, str] = {}
    for reference in references(identity):
        text = account.client("secretsmanager").get_secret_value(SecretId=reference.secrets_manager)["SecretString"]
        value = text if reference.key is None else json.loads(text)[reference.key]
        found[f"{reference.secrets_manager} {reference.key or ''}".strip()] = value
    return found
