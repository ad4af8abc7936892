"""Makes the secrets that a stack file expects in its account, at its ARNs.

Secrets Manager itself adds random suffixes.
"""

from __future__ import annotations

from typing import Any

from moto.secretsmanager.models import secretsmanager_backends


def put(secret: dict[str, Any]) -> dict[str, Any]:
    """Makes a secret with the ARN `arn` and the text `value`."""
    arn: str = secret["arn"]
    _, _, _, region, account, _, name = arn.split(":", 6)
    backend = secretsmanager_backends[account][region]
    backend.create_secret(
        # Secrets Manager adds a hyphen and six characters.
        name=name[:-7],
        secret_string=secret["value"],
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
