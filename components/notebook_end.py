"""The end of all notebooks when the hub goes: it alone knows of them, and without it nobody could reach or end one.

The hub makes the notebooks' pods, so Pulumi does not know them. `pulumi destroy` runs no program: the deletion is a
dynamic provider's, which Pulumi keeps in the state by the name of this module and class. Neither can be renamed while a
stack refers to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.volume_gate import DELETE_UNREACHABLE

NOTEBOOKS = "component=singleuser-server"
"""The label selector of notebooks, as KubeSpawner labels them."""

_ID = "notebooks"
_REQUEST_SECONDS = 30


class NotebooksUnreachableError(Exception):
    """The API server does not answer, so that no notebook can be ended. The message says what to do."""


class NotebookEndProvider(ResourceProvider):
    """Nothing but a deletion, which ends the notebooks."""

    # There is no secret in it: a kubeconfig of EKS says how to ask for a token.
    serialize_as_secret_always: ClassVar[bool] = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """There is nothing to make."""
        return CreateResult(_ID, _own(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """How to reach the cluster, and where notebooks run, are kept up to date."""
        return DiffResult(changes=_own(_olds) != _own(_news))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Takes what is new."""
        return UpdateResult(_own(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Ends them. Those of a cluster that was deleted by hand have ended with it.

        Raises NotebooksUnreachableError, and the Kubernetes client's ApiException.
        """
        try:
            end_notebooks(json.loads(_props["kubeconfig"]), _props["namespaces"])
        except NotebooksUnreachableError:
            if os.environ.get(DELETE_UNREACHABLE) != "true":
                raise
            print(f"{DELETE_UNREACHABLE} is set and the API server does not answer: its notebooks have ended with it.")


class NotebookEnd(Resource, module="gpulab", name="NotebookEnd"):
    """The hub's release depends on it: once the hub is gone, so that it starts none anew, its notebooks go."""

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        namespaces: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`kubeconfig` is the cluster's as JSON, `namespaces` those of the teams."""
        super().__init__(
            NotebookEndProvider(), name, {"kubeconfig": kubeconfig, "namespaces": sorted(namespaces)}, opts
        )


def end_notebooks(kubeconfig: dict[str, Any], namespaces: Sequence[str]) -> None:
    """Has all notebooks of the namespaces end, with the time that each has for it. Homes stay.

    A namespace that is gone has none. Raises NotebooksUnreachableError, and the Kubernetes client's ApiException.
    """
    # The client takes a second to load and 60 MB: for the one call, not for each run of the program.
    import kubernetes  # noqa: PLC0415

    try:
        with kubernetes.config.new_client_from_config_dict(kubeconfig) as client:
            api = kubernetes.client.CoreV1Api(client)
            for namespace in namespaces:
                api.delete_collection_namespaced_pod(
                    namespace, label_selector=NOTEBOOKS, _request_timeout=_REQUEST_SECONDS
                )
    except kubernetes.client.ApiException:
        raise
    except Exception as error:  # of many kinds: the network's, the credential plugin's
        raise NotebooksUnreachableError(
            f"Cannot end the notebooks of {', '.join(namespaces)}: the API server does not answer ({error}). Run "
            f"`pulumi destroy` where it can be reached; if the cluster is gone, set {DELETE_UNREACHABLE}=true "
            "(docs/destroy.md)."
        ) from error


def _own(props: dict[str, Any]) -> dict[str, Any]:
    return {key: props.get(key) for key in ("kubeconfig", "namespaces")}
