"""Secrets of others, which a stack file only points at: what a ground's store holds of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

import pulumi
import pulumi_aws as aws

from components.gates.access import api_client
from settings.language.secret_reference import CONFIG_NAMESPACE

if TYPE_CHECKING:
    from settings.language.secret_reference import SecretReference

SecretReader: TypeAlias = "Callable[[SecretReference, pulumi.Resource], pulumi.Output[str]]"
"""Gives the value behind a reference to the ground's store, asked as a child of a resource; a secret in the state."""

_REQUEST_SECONDS = 20


def from_secrets_manager(reference: SecretReference, parent: pulumi.Resource) -> pulumi.Output[str]:
    """The current value of a secret in AWS Secrets Manager, or of one of its keys, or an encrypted one of the stack.

    It is encrypted in the state too.
    """
    if reference.config is not None:
        return from_config(reference.config)
    version = aws.secretsmanager.get_secret_version_output(
        secret_id=reference.secrets_manager or "", opts=pulumi.InvokeOptions(parent=parent)
    )
    return pulumi.Output.secret(version.secret_string).apply(lambda text: value_of(text, reference))


class SecretMissingError(pulumi.RunError):
    """A Secret that the stack file names can't be read. The message says why, and what to do."""


@dataclass(frozen=True)
class ClusterSecrets:
    """Secrets that a cluster has already, and encrypted values of the stack. `access` is for `components.gates.access`.

    The program reads them itself: a resource that is only read has its data in the state in plain text after a refresh.
    """

    access: Mapping[str, str]

    def __call__(self, reference: SecretReference, _parent: pulumi.Resource) -> pulumi.Output[str]:
        """The current value of a key of a Secret. Raises SecretMissingError, or pulumi.RunError for a missing value."""
        if reference.config is not None:
            return from_config(reference.config)
        namespace, name, key = reference.namespace or "", reference.kubernetes_secret or "", reference.key or ""
        data = self.data(namespace, name)
        if key not in data:
            known = ", ".join(sorted(data)) or "none"
            raise SecretMissingError(f"Secret {namespace}/{name} has no key {key}: set a key that it has ({known})")
        return pulumi.Output.secret(base64.b64decode(data[key]).decode())

    def data(self, namespace: str, name: str) -> Mapping[str, str]:
        """A Secret's data, in base64. Raises SecretMissingError."""
        try:
            return read_secret(self.access, namespace, name)
        except Exception as error:  # many types: from the client, the network, the credential plugin
            missing = getattr(error, "status", None) == HTTPStatus.NOT_FOUND
            why = "is not in the cluster: make it first" if missing else f"can't be read: {error}"
            raise SecretMissingError(f"Secret {namespace}/{name}, which the stack file names, {why}") from None


def read_secret(access: Mapping[str, str], namespace: str, name: str) -> Mapping[str, str]:
    """A Secret's data, in base64. Raises what the Kubernetes client raises."""
    with api_client(dict(access)) as client:
        from kubernetes.client import CoreV1Api  # noqa: PLC0415 (`api_client` says why)

        found: Any = CoreV1Api(client).read_namespaced_secret(name, namespace, _request_timeout=_REQUEST_SECONDS)
        return found.data or {}


def from_config(name: str) -> pulumi.Output[str]:
    """An encrypted value of the stack file. Raises pulumi.RunError if there is none."""
    value = pulumi.Config(CONFIG_NAMESPACE).get_secret(name)
    if value is None:
        key = f"{CONFIG_NAMESPACE}:{name}"
        raise pulumi.RunError(f"{key}: is missing: set it by `pulumi config set --secret {key}`")
    return value


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
