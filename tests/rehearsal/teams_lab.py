"""Two teams of a rehearsed platform, and what stands for their people and pods: what the tests of teams start from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError

STACK_FILE = Path(__file__).parent / "programs" / "teams" / "Pulumi.teams.yaml"
RESEARCH, VISION = "team-research", "team-vision"
PODS = "/api/v1/pods"
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def notebook(
    name: str, namespace: str, pool: str = "cpu", *, limits: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A pod as the hub makes notebooks, in what admission looks at."""
    resources = {"limits": {"memory": "1Gi", **(limits or {})}, "requests": {"cpu": "100m"}}
    container = {"name": "notebook", "image": "notebook", "resources": resources, "securityContext": dict(RESTRICTED)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": "notebook",
            "nodeSelector": {"gpulab.dev/pool": pool},
            "tolerations": [GPU_TOLERATION] if any(name.startswith("nvidia.com/") for name in limits or ()) else [],
            "containers": [container],
            **spec,
        },
    }


def create(api: Kubernetes, collection: str, obj: Object) -> None:
    api.create(place(collection, obj["metadata"]["name"], obj["metadata"]["namespace"]), obj)


def refusal(api: Kubernetes, obj: Object, collection: str = PODS) -> str:
    """What the API server says as it refuses an object; the status is 403 or 422."""
    with pytest.raises(ApiError) as refused:
        create(api, collection, obj)
    assert refused.value.status in (403, 422), refused.value
    return str(refused.value)


def whole_gpus(count: int) -> dict[str, str]:
    return {"nvidia.com/gpu": str(count)}


def token_of(api: Kubernetes, namespace: str, account: str) -> str:
    """A token of a service account, as its pods would have it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    return api.request("POST", path, body)["status"]["token"]


def can(api: Kubernetes, verb: str, resource: str, namespace: str | None, *, user: str, groups: list[str]) -> bool:
    """As `kubectl auth can-i --as USER --as-group GROUP`, decided by the API server's own authorizer."""
    name, _, subresource = resource.partition("/")
    group = {"deployments": "apps", "jobs": "batch", "networkpolicies": "networking.k8s.io"}.get(name, "")
    rbac = {"rolebindings": "rbac.authorization.k8s.io", "clusterroles": "rbac.authorization.k8s.io"}
    attributes = {"verb": verb, "group": rbac.get(name, group), "resource": name, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": [*groups, "system:authenticated"],
            "resourceAttributes": {**attributes, **({"namespace": namespace} if namespace else {})},
        },
    }
    return api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def account_can(api: Kubernetes, verb: str, resource: str, namespace: str | None, account: str) -> bool:
    """The same for a service account, NAMESPACE:NAME."""
    own = account.partition(":")[0]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{own}"]
    return can(api, verb, resource, namespace, user=f"system:serviceaccount:{account}", groups=groups)
