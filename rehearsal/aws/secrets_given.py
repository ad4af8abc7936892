"""Secrets that an account has from the first, at ARNs that a stack file names: Secrets Manager makes up their ends."""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.models import secretsmanager_backends


def put(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes a secret: `arn` and `value`."""
    arn: str = asked["arn"]
    _, _, _, region, account, _, name = arn.split(":", 6)
    backend = secretsmanager_backends[account][region]
    backend.create_secret(
        # A hyphen and six characters are Secrets Manager's.
        name=name[:-7],
        secret_string=asked["value"],
        secret_binary=None,
        description=None,
        tags=None,
        kms_key_id=None,
        client_request_token=None,
        replica_regions=[],
        force_overwrite=False,
    )
    backend.secrets[name[:-7]].arn = arn
    return {"arn": arn}
