"""The connection of all resource types to the cluster in the configuration of the provider."""

from __future__ import annotations

import threading
from typing import Any, NoReturn, cast

from rehearsal.providers.protocol.model import Properties, Refused, Request

from . import configuration
from .client import ApiError, Cluster, Unreachable

_RERUN = (
    "If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation with the"
    ' PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)


class Connection:
    """A cluster and the switches of its provider. It connects when an operation first needs the cluster."""

    def __init__(self) -> None:
        self.settings = configuration.Settings.of({})
        self._config: Properties = {}
        self._cluster: Cluster | None = None
        self._unreachable: str | None = "the provider is not configured"
        self._lock = threading.Lock()

    def configure(self, config: Properties) -> None:
        """Takes the configuration, which has been checked."""
        self.settings = configuration.Settings.of(config)
        self._config = config
        self._unreachable = None

    @property
    def namespace(self) -> str:
        """The namespace of objects without one."""
        try:
            return configuration.namespace(self._config)
        except configuration.NoAccess:
            return "default"

    @property
    def unreachable(self) -> str:
        """The reason why the cluster cannot be reached, or empty. The first call connects."""
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

    def kubeconfig(self) -> dict[str, Any]:
        """The kubeconfig of the cluster, for other programs. Raises NoAccess."""
        return configuration.kubeconfig(self._config)

    @property
    def cluster(self) -> Cluster:
        """The cluster of the configuration, reachable or not. Raises Refused for an unusable configuration."""
        if self.unreachable and self._cluster is None:
            self._refuse_unreachable()
        return cast("Cluster", self._cluster)

    def reachable_cluster(self) -> Cluster:
        """The cluster. Raises Refused if it cannot be reached."""
        if self.unreachable:
            self._refuse_unreachable()
        return self.cluster

    def _refuse_unreachable(self) -> NoReturn:
        raise Refused(f"configured Kubernetes cluster is unreachable: {self.unreachable}")

    def gives_up_unreachable(self, request: Request) -> bool:
        """Whether to forget resources of a cluster that cannot be reached. Adds a warning then."""
        request.provider.warn(request.urn, f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        if self.settings.delete_unreachable:
            message = "deleteUnreachable is set: deleting the unreachable resource from Pulumi state"
            request.provider.warn(request.urn, message)
        return self.settings.delete_unreachable

    def unreachable_refusal(self) -> Refused:
        """The error of a deletion in a cluster that cannot be reached, with a solution."""
        return Refused(f"configured Kubernetes cluster is unreachable: {self.unreachable}. {_RERUN}")

    def unread(self, inputs: Properties, olds: Properties, request: Request) -> tuple[Properties, Properties]:
        """The unchanged state, if the cluster cannot be reached and skipUpdateUnreachable is set. Raises Refused."""
        if not self.settings.skip_update_unreachable:
            raise Refused(f"failed to read resource state due to unreachable cluster: {self.unreachable}. {_RERUN}")
        message = "skipUpdateUnreachable is set: the state may not show what is in the cluster"
        request.provider.warn(request.urn, message)
        return inputs, olds
