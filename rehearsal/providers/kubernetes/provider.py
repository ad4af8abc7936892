"""The provider: its cluster and its switches, and which resource type stands for which token."""

from __future__ import annotations

import threading
from typing import Any, ClassVar, NoReturn, cast

from rehearsal.providers.serving import Properties, Provider, Refused, Request, ResourceType

from . import config as configuration
from .client import ApiError, Cluster, Unreachable
from .patches import SUFFIX, PatchObject
from .release import Release
from .resource import KubernetesObject, SecretObject

_SECRETS = "kubernetes:core/v1:Secret"
# Components that the real plugin expands into objects by itself.
_UNMODELLED_MODULES = ("helm.sh/", "kustomize", "yaml")
_RERUN = (
    "If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation with the"
    ' PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)


class KubernetesProvider(Provider):
    """Stands in for pulumi-resource-kubernetes."""

    name: ClassVar[str] = "kubernetes"
    version: ClassVar[str] = "4.34.2"

    def __init__(self) -> None:
        super().__init__()
        self.settings = configuration.Settings.of({})
        self._config: Properties = {}
        self._cluster: Cluster | None = None
        self._unreachable: str | None = "the provider is not configured"
        self._types: dict[str, ResourceType] = {}
        self._lock = threading.Lock()
        self._types_lock = threading.Lock()

    def check_config(self, config: Properties) -> None:
        """Refuses keys that nobody knows or that the stand-in does not model."""
        configuration.check(config)

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """The keys that say another cluster."""
        return configuration.replaces(olds, news)

    def configure(self, config: Properties) -> None:
        """Takes the configuration. Whether the cluster can be reached is asked by the first operation that needs it."""
        configuration.check(config)
        self.settings = configuration.Settings.of(config)
        self._config = config
        self._unreachable = None

    @property
    def namespace(self) -> str:
        """The namespace of objects that name none."""
        try:
            return configuration.namespace(self._config)
        except configuration.NoAccess:
            return "default"

    @property
    def unreachable(self) -> str:
        """Why the cluster can't be reached; empty when it can. The first to ask connects."""
        with self._lock:
            if self._unreachable is None:
                self._unreachable = self._connect()
            return self._unreachable

    def _connect(self) -> str:
        try:
            self._cluster = Cluster(configuration.access(self._config))
            self._cluster.kind("v1", "Namespace")
        except (configuration.NoAccess, Unreachable) as error:
            return str(error)
        except ApiError as error:
            server = self._cluster.server if self._cluster else ""
            return f"unable to load schema information from the API server {server}: {error}"
        return ""

    def resource_type(self, token: str) -> ResourceType:
        """The kind in the token, or a Helm release. Raises Refused for what expands into objects."""
        with self._types_lock:
            if token not in self._types:
                self._types[token] = self._make_type(token)
            return self._types[token]

    def _make_type(self, token: str) -> ResourceType:
        if token == Release.token:
            return Release(self)
        if token.split(":")[1].startswith(_UNMODELLED_MODULES):
            raise Refused(f"the rehearsal's kubernetes provider does not model {token}")
        if token.endswith(SUFFIX):
            return PatchObject(self, token)
        return SecretObject(self, token) if token == _SECRETS else KubernetesObject(self, token)

    def kubeconfig(self) -> dict[str, Any]:
        """The kubeconfig of the cluster, for a program that is to work on it too. Raises NoAccess."""
        return configuration.kubeconfig(self._config)

    @property
    def cluster(self) -> Cluster:
        """The cluster of the configuration, reachable or not. Raises Refused when there is no way to it at all."""
        if self.unreachable and self._cluster is None:
            self._refuse_unreachable()
        return cast("Cluster", self._cluster)

    def reachable_cluster(self) -> Cluster:
        """The cluster, to work on. Raises Refused when it can't be reached."""
        if self.unreachable:
            self._refuse_unreachable()
        return self.cluster

    def _refuse_unreachable(self) -> NoReturn:
        raise Refused(f"configured Kubernetes cluster is unreachable: {self.unreachable}")

    def gives_up_unreachable(self, request: Request) -> bool:
        """Whether resources of a cluster that can't be reached are to be forgotten; says so in the diagnostics."""
        self.warn(request.urn, f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        if self.settings.delete_unreachable:
            self.warn(request.urn, "deleteUnreachable is set: deleting the unreachable resource from Pulumi state")
        return self.settings.delete_unreachable

    def unreachable_refusal(self) -> Refused:
        """The error of a deletion in a cluster that can't be reached, with the way out."""
        return Refused(f"configured Kubernetes cluster is unreachable: {self.unreachable}. {_RERUN}")

    def unread(self, inputs: Properties, olds: Properties, request: Request) -> tuple[Properties, Properties]:
        """The state as it was, for a read that can't reach the cluster, with skipUpdateUnreachable. Raises Refused."""
        if not self.settings.skip_update_unreachable:
            raise Refused(f"failed to read resource state due to unreachable cluster: {self.unreachable}. {_RERUN}")
        self.warn(request.urn, "skipUpdateUnreachable is set: the state may not show what is in the cluster")
        return inputs, olds
