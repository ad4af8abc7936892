"""The Kubernetes API of an EKS cluster, with the identity that runs the step."""

from __future__ import annotations

from typing import Any

import boto3
import kubernetes
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ci.actions import StepFailed

_GROUP, _VERSION = "karpenter.sh", "v1"
_REQUEST_SECONDS = 30
# The client's default is a JSON patch.
_MERGE_PATCH = "application/merge-patch+json"


class Reached:
    """See `ci.parking.Cluster`."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._karpenter: Any = kubernetes.client.CustomObjectsApi(client)
        self._pods: Any = kubernetes.client.CoreV1Api(client)

    def list(self, plural: str) -> list[dict[str, Any]]:
        """Karpenter's objects of a kind."""
        return self._call(self._karpenter.list_cluster_custom_object, _GROUP, _VERSION, plural)["items"]

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        """Applies a merge patch to one of them."""
        self._call(
            self._karpenter.patch_cluster_custom_object,
            _GROUP,
            _VERSION,
            plural,
            name,
            body,
            _content_type=_MERGE_PATCH,
        )

    def delete(self, plural: str, name: str) -> None:
        """Deletes one of them, and does not wait for the end."""
        self._call(self._karpenter.delete_cluster_custom_object, _GROUP, _VERSION, plural, name)

    def end_pods(self, namespace: str, selector: str) -> int:
        """Deletes pods with their own grace period. Returns how many there were."""
        found = self._call(self._pods.list_namespaced_pod, namespace, label_selector=selector).items
        self._call(self._pods.delete_collection_namespaced_pod, namespace, label_selector=selector)
        return len(found)

    @staticmethod
    def _call(call: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named, _request_timeout=_REQUEST_SECONDS)
        except ApiException as error:
            raise StepFailed(f"the cluster refuses: {error.status} {error.reason}: {error.body}") from error
        except HTTPError as error:
            raise StepFailed(
                f"the cluster does not answer: {error}. The step has to run where `pulumi up` does"
            ) from error


def kubeconfig(session: boto3.Session, cluster_name: str) -> dict[str, Any]:
    """The kubeconfig of a cluster, with tokens of the `aws` CLI. It holds no secret."""
    found = session.client("eks").describe_cluster(name=cluster_name)["cluster"]
    command = ["eks", "get-token", "--cluster-name", cluster_name, "--region", session.region_name]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [
            {
                "name": "it",
                "cluster": {
                    "server": found["endpoint"],
                    "certificate-authority-data": found["certificateAuthority"]["data"],
                },
            }
        ],
        "users": [
            {
                "name": "it",
                "user": {
                    "exec": {
                        "apiVersion": "client.authentication.k8s.io/v1beta1",
                        "command": "aws",
                        "args": [*command, "--output", "json"],
                    }
                },
            }
        ],
    }


def reached(session: boto3.Session, cluster_name: str) -> Reached:
    """The API of a cluster."""
    return Reached(kubernetes.config.new_client_from_config_dict(kubeconfig(session, cluster_name)))
