"""The credentials that pods get by EKS Pod Identity, as its agent on a node answers them.

A pod sends the token of its service account; the API server says whose it is, and the cluster's associations which role
it has. Protocol: "Container credential provider", AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

import json
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.eks.models import eks_backends
from moto.sts.models import sts_backends

from rehearsal.cloud import api_server
from rehearsal.cloud.caller_identity import PARTITION
from rehearsal.cloud.eks.state import Cluster

AUDIENCE = "pods.eks.amazonaws.com"
_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNTS = "system:serviceaccount:"
_SECONDS = 6 * 3600

# The role of each access key that was given out.
_roles: dict[str, str] = {}


def answer(environ: dict[str, Any]) -> dict[str, Any]:
    """Credentials of the role of the service account whose token the request has, or the reason why there are none."""
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": environ.get("HTTP_AUTHORIZATION", ""), "audiences": [AUDIENCE]},
    }
    answered = api_server.call("POST", _REVIEWS, review)
    user = json.loads(answered)["status"].get("user", {}).get("username", "") if answered else ""
    namespace, _, account = user.removeprefix(_ACCOUNTS).partition(":")
    arn = _role_of(namespace, account)
    if arn is None:
        return {"code": "AccessDeniedException", "message": f"no association for {user or 'the token'}"}
    session = sts_backends[DEFAULT_ACCOUNT_ID][PARTITION].assume_role(
        region_name=PARTITION,
        role_session_name=f"eks-{account}",
        role_arn=arn,
        policy="",
        duration=_SECONDS,
        external_id="",
    )
    _roles[session.access_key_id] = arn
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": session.expiration.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def roles() -> dict[str, str]:
    """The ARN of the role of each access key that a pod has."""
    return dict(_roles)


def _role_of(namespace: str, account: str) -> str | None:
    for backend in list(eks_backends[DEFAULT_ACCOUNT_ID].values()):
        for cluster in list(backend.clusters.values()):
            if isinstance(cluster, Cluster):
                for one in list(cluster.pod_identity_associations.values()):
                    if (one["namespace"], one["serviceAccount"]) == (namespace, account):
                        return one["roleArn"]
    return None
