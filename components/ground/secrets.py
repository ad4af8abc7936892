"""Secrets of others, which a stack file only points at: what a ground's store holds of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import pulumi
import pulumi_aws as aws

if TYPE_CHECKING:
    from settings.language.secret_reference import SecretReference

SecretReader: TypeAlias = "Callable[[SecretReference, pulumi.Resource], pulumi.Output[str]]"
"""Gives the value behind a reference to the ground's store, asked as a child of a resource; a secret in the state."""


def from_secrets_manager(reference: SecretReference, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The current value of a secret in AWS Secrets Manager, or of one of its keys. It is encrypted in the state too."""
    version = aws.secretsmanager.get_secret_version_output(
        secret_id=reference.secrets_manager or "", opts=pulumi.InvokeOptions(parent=parent)
    )
    return pulumi.Output.secret(version.secret_string).apply(lambda text: value_of(text, reference))


def value_of(text: str, reference: SecretReference) -> str:
    """The value that a reference means in a secret's text.

    Raises ValueError, whose message does not contain the text.
    """
    if reference.key is None:
        return text
    try:
        return str(json.loads(text)[reference.key])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{reference.secrets_manager} is not a JSON object with the key {reference.key}: set a key that it has"
        ) from None
