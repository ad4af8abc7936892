"""Ends all notebooks when the hub is destroyed: only the hub knows them, and without it nobody could reach or end one.

The hub makes the notebooks' pods, so Pulumi does not know them. `pulumi destroy` does not run the program, so a dynamic
provider ends them. Pulumi keeps its module and class name in the state. Rename neither while a stack refers to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import Resource

from components.gates.access import api_client, problem
from components.gates.remembered import RememberedProvider
from components.gates.volume_gate import DELETE_UNREACHABLE

NOTEBOOKS = "component=singleuser-server"
"""The label selector of notebooks, as KubeSpawner labels them."""

_REQUEST_SECONDS = 30


class NotebooksUnreachableError(Exception):
    """The API server does not answer, so notebooks cannot be ended. The message says what to do."""


class NotebookEndProvider(RememberedProvider):
    """Ends the notebooks when its resource is deleted, and does nothing else."""

    id: ClassVar[str] = "notebooks"
    keys: ClassVar[tuple[str, ...]] = ("kubeconfig", "namespaces")

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Ends the notebooks. If the cluster was deleted by hand, they have ended with it.

        Raises NotebooksUnreachableError, and the Kubernetes client's ApiException.
        """
        try:
            end_notebooks(json.loads(_props["kubeconfig"]), _props["namespaces"])
        except NotebooksUnreachableError:
            if os.environ.get(DELETE_UNREACHABLE) != "true":
                raise
            print(f"{DELETE_UNREACHABLE} is set and the API server does not answer: its notebooks have ended with it.")


class NotebookEnd(Resource, module="gpulab", name="NotebookEnd"):
    """Ends the notebooks after the hub is gone, so that it cannot start new ones: the hub's release depends on it."""

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        namespaces: Sequence[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`kubeconfig` is the cluster's (`components.gates.access`); `namespaces` are those of the teams."""
        super().__init__(
            NotebookEndProvider(), name, {"kubeconfig": kubeconfig, "namespaces": sorted(namespaces)}, opts
        )


def end_notebooks(kubeconfig: dict[str, Any], namespaces: Sequence[str]) -> None:
    """Deletes the pods of all notebooks in the namespaces, each with its grace period. Homes stay.

    A namespace that does not exist counts as empty. Raises NotebooksUnreachableError, and the Kubernetes client's
    ApiException.
    """
    # Loading the client takes a second and 60 MB, so it is imported only for this call.
    import kubernetes  # noqa: PLC0415

    try:
        with api_client(kubeconfig) as client:
            api = kubernetes.client.CoreV1Api(client)
            for namespace in namespaces:
                api.delete_collection_namespaced_pod(
                    namespace, label_selector=NOTEBOOKS, _request_timeout=_REQUEST_SECONDS
                )
    except kubernetes.client.ApiException:
        raise
    except Exception as error:  # many types: from the network, from the credential plugin
        raise NotebooksUnreachableError(
            f"Cannot end the notebooks of {', '.join(namespaces)}: {problem(error)}. Run `pulumi destroy` where it can "
            f"be reached; if the cluster is gone, set {DELETE_UNREACHABLE}=true (docs/destroy.md)."
        ) from error
