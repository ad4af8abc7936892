"""Reads a cluster that exists, by its kubeconfig and context. It only lists, and of Secrets only their metadata.

Loading the Kubernetes client takes a second and 60 MB, so that is done when a cluster is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.ground.existing.found import FoundCluster
from components.ground.existing.kubeconfig import CONTEXT_KEY, FILE_KEY, ClusterError, check_context, path_of

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from settings.ground import ExistingGround

__all__ = ["ClusterError", "read_cluster"]

# Seconds to connect and to wait for an answer: a person waits for the preview.
_TIMEOUT = (5, 20)
_PAGE = 500
# Kubernetes API concepts, "Metadata-only fetches": the content of Secrets and the schemas of CRDs stay where they are.
_ONLY_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True)
class _Listed:
    """Objects to list: their kind, the class of the client's API, its method, and the resource as rights name it."""

    kind: str
    api: str
    method: str
    resource: str
    whole: bool = True
    """Whether more is read than metadata."""
    selectors: tuple[tuple[str, str], ...] = ()


_LISTED = (
    _Listed("Node", "CoreV1Api", "list_node", "nodes"),
    _Listed("StorageClass", "StorageV1Api", "list_storage_class", "storageclasses.storage.k8s.io"),
    _Listed("CSIDriver", "StorageV1Api", "list_csi_driver", "csidrivers.storage.k8s.io", whole=False),
    _Listed("IngressClass", "NetworkingV1Api", "list_ingress_class", "ingressclasses.networking.k8s.io"),
    _Listed("RuntimeClass", "NodeV1Api", "list_runtime_class", "runtimeclasses.node.k8s.io"),
    _Listed("DaemonSet", "AppsV1Api", "list_daemon_set_for_all_namespaces", "daemonsets.apps"),
    _Listed("Deployment", "AppsV1Api", "list_deployment_for_all_namespaces", "deployments.apps"),
    _Listed(
        "Service",
        "CoreV1Api",
        "list_service_for_all_namespaces",
        "services",
        selectors=(("field_selector", "metadata.namespace=default,metadata.name=kubernetes"),),
    ),
    _Listed(
        "EndpointSlice",
        "DiscoveryV1Api",
        "list_endpoint_slice_for_all_namespaces",
        "endpointslices.discovery.k8s.io",
        selectors=(("label_selector", "kubernetes.io/service-name=kubernetes"),),
    ),
    _Listed("Namespace", "CoreV1Api", "list_namespace", "namespaces", whole=False),
    _Listed(
        "CustomResourceDefinition",
        "ApiextensionsV1Api",
        "list_custom_resource_definition",
        "customresourcedefinitions.apiextensions.k8s.io",
        whole=False,
    ),
    _Listed(
        "ClusterRole",
        "RbacAuthorizationV1Api",
        "list_cluster_role",
        "clusterroles.rbac.authorization.k8s.io",
        whole=False,
    ),
    _Listed(
        "ClusterRoleBinding",
        "RbacAuthorizationV1Api",
        "list_cluster_role_binding",
        "clusterrolebindings.rbac.authorization.k8s.io",
        whole=False,
    ),
    _Listed(
        "PriorityClass", "SchedulingV1Api", "list_priority_class", "priorityclasses.scheduling.k8s.io", whole=False
    ),
    _Listed(
        "ValidatingAdmissionPolicy",
        "AdmissionregistrationV1Api",
        "list_validating_admission_policy",
        "validatingadmissionpolicies.admissionregistration.k8s.io",
        whole=False,
    ),
    _Listed(
        "ValidatingAdmissionPolicyBinding",
        "AdmissionregistrationV1Api",
        "list_validating_admission_policy_binding",
        "validatingadmissionpolicybindings.admissionregistration.k8s.io",
        whole=False,
    ),
    _Listed(
        "Secret",
        "CoreV1Api",
        "list_secret_for_all_namespaces",
        "secrets",
        whole=False,
        selectors=(("field_selector", "type=helm.sh/release.v1"), ("label_selector", "owner=helm")),
    ),
)


def read_cluster(ground: ExistingGround, folder: Path) -> FoundCluster:
    """What the cluster of a ground has. `folder` is the project's, from which a relative kubeconfig counts.

    Raises ClusterError: for the kubeconfig, the context, an API server that can't be reached or refuses the
    credentials, and rights that are missing.
    """
    path = path_of(ground, folder)
    check_context(ground, path)
    with _client(ground, path) as client:
        version = _get(ground, client, _version)["gitVersion"]
        manifests = [*_objects(ground, client, path)]
    return FoundCluster.of(manifests, version=version)


def _client(ground: ExistingGround, path: Path) -> ApiClient:
    import kubernetes  # noqa: PLC0415

    configuration = kubernetes.client.Configuration()
    configuration.retries = False
    try:
        return kubernetes.config.new_client_from_config(
            config_file=str(path),
            context=ground.context,
            client_configuration=configuration,
            persist_config=False,
        )
    except Exception as error:  # whatever the file's values and credential plugins cause
        raise ClusterError(f"{CONTEXT_KEY}: the context {ground.context} of {path} can't be used: {error}") from error


def _objects(ground: ExistingGround, client: ApiClient, path: Path) -> Iterator[dict[str, Any]]:
    forbidden = []
    for listed in _LISTED:
        try:
            for item in _list(ground, client, listed):
                yield {**item, "kind": listed.kind}
        except PermissionError:
            forbidden.append(listed.resource)
    if forbidden:
        raise ClusterError(
            f"{CONTEXT_KEY}: the user of the context {ground.context} may not list {', '.join(forbidden)}: a stack "
            "needs a user who administers the cluster. "
            f"`kubectl --kubeconfig {path} --context {ground.context} auth can-i list {forbidden[0]} --all-namespaces` "
            "checks it"
        )


def _list(ground: ExistingGround, client: ApiClient, listed: _Listed) -> Iterator[dict[str, Any]]:
    import kubernetes  # noqa: PLC0415

    client.set_default_header("Accept", "application/json" if listed.whole else _ONLY_METADATA)
    method = getattr(getattr(kubernetes.client, listed.api)(client), listed.method)
    following = None
    while True:
        options: dict[str, Any] = {"limit": _PAGE, **dict(listed.selectors)}
        if following:
            options["_continue"] = following
        answer = _get(ground, client, lambda _, more=options: method(**more, **_REQUEST))
        yield from answer["items"] or ()  # null where there are none
        following = answer.get("metadata", {}).get("continue")
        if not following:
            return


_REQUEST: dict[str, Any] = {"_preload_content": False, "_request_timeout": _TIMEOUT}


def _version(client: ApiClient) -> Any:
    import kubernetes  # noqa: PLC0415

    return kubernetes.client.VersionApi(client).get_code(**_REQUEST)


def _get(ground: ExistingGround, client: ApiClient, ask: Callable[[ApiClient], Any]) -> dict[str, Any]:
    """The answer to a request. Raises PermissionError for a missing right, ClusterError for all else that fails."""
    import urllib3  # noqa: PLC0415
    from kubernetes.client.exceptions import ApiException  # noqa: PLC0415

    server = client.configuration.host
    try:
        return json.loads(ask(client).data)
    except ApiException as error:
        if error.status == 403:
            raise PermissionError from None
        if error.status == 401:
            raise ClusterError(
                f"{CONTEXT_KEY}: {server} does not accept the credentials of the context {ground.context} (401). They "
                "may have expired, or the command that gets them failed: sign in again, or get a new kubeconfig"
            ) from None
        problem = error.reason if not error.status else f"it answered {error.status} {error.reason}"
        raise _unreachable(ground, server, problem) from None
    except urllib3.exceptions.HTTPError as error:
        raise _unreachable(ground, server, error) from None
    except ValueError:
        raise _unreachable(ground, server, "it answers, and not as a Kubernetes API server does") from None


def _unreachable(ground: ExistingGround, server: str, problem: object) -> ClusterError:
    elsewhere = (
        f". 127.0.0.1 is right only on the cluster's own machine: elsewhere, put its address into {FILE_KEY}"
        if "//127.0.0.1" in server or "//localhost" in server
        else ""
    )
    return ClusterError(
        f"{CONTEXT_KEY}: the API server of the context {ground.context}, {server}, can't be used from here: {problem}. "
        f"Check that the cluster runs and that this machine reaches it (VPN, firewall){elsewhere}"
    )
