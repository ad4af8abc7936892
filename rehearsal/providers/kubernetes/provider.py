"""The provider: its configuration, and the resource type of a token."""

from __future__ import annotations

import threading
from typing import ClassVar

from rehearsal.providers.protocol.model import Properties, Provider, Refused, ResourceType

from . import configuration
from .connection import Connection
from .patches import SUFFIX, PatchObject
from .release import Release
from .resource import KubernetesObject, SecretObject

_SECRETS = "kubernetes:core/v1:Secret"
# Components, which the real plugin expands into objects.
_UNMODELLED_MODULES = ("helm.sh/", "kustomize", "yaml")


class KubernetesProvider(Provider):
    """Stands in for pulumi-resource-kubernetes."""

    name: ClassVar[str] = "kubernetes"
    version: ClassVar[str] = "4.34.2"

    def __init__(self) -> None:
        super().__init__()
        self.connection = Connection()
        self._types: dict[str, ResourceType] = {}
        self._types_lock = threading.Lock()

    def check_config(self, config: Properties) -> None:
        """Refuses unknown keys, and keys that the stand-in does not support."""
        configuration.check(config)

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """The keys whose change means another cluster."""
        return configuration.replaces(olds, news)

    def configure(self, config: Properties) -> None:
        """Takes the configuration. It connects only when an operation needs the cluster."""
        configuration.check(config)
        self.connection.configure(config)

    def resource_type(self, token: str) -> ResourceType:
        """The kind in the token, or a Helm release. Raises Refused for components."""
        with self._types_lock:
            if token not in self._types:
                self._types[token] = self._make_type(token)
            return self._types[token]

    def _make_type(self, token: str) -> ResourceType:
        if token == Release.token:
            return Release(self.connection)
        if token.split(":")[1].startswith(_UNMODELLED_MODULES):
            raise Refused(f"the rehearsal's kubernetes provider does not support {token}")
        if token.endswith(SUFFIX):
            return PatchObject(self.connection, token)
        of_token = SecretObject if token == _SECRETS else KubernetesObject
        return of_token(self.connection, token)
