"""The token review of the rehearsal's API server: decides like EKS's webhook about tokens of `aws eks get-token`.

A token is `k8s-aws-v1.` and a presigned URL of sts:GetCallerIdentity, whose signature covers the header `x-k8s-aws-id`
with the cluster's name. AWS's authenticator sends it to STS. Here the signature is computed again for each cluster of
the simulated EKS, with the secret that the simulated IAM issued. Format:
https://github.com/kubernetes-sigs/aws-iam-authenticator#api-authorization-from-outside-a-cluster.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.eks.models import eks_backends

from rehearsal.cloud import access, caller_identity
from rehearsal.cloud.eks.state import Cluster

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
# The authenticator accepts a token for 15 minutes, even if X-Amz-Expires is 60 s.
_LIFETIME = timedelta(minutes=15)
_CLOCK_SKEW = timedelta(minutes=5)


class NotAuthenticated(Exception):
    """A token is not accepted; the message says why."""


def review(token_review: dict[str, Any]) -> dict[str, Any]:
    """The answer to a TokenReview (authentication.k8s.io/v1)."""
    try:
        status = {"authenticated": True, "user": _user(token_review["spec"]["token"])}
    except NotAuthenticated as why:
        status = {"authenticated": False, "error": str(why)}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def _user(token: str) -> dict[str, Any]:
    query, region, url = _presigned(token)
    key_id = query["X-Amz-Credential"].partition("/")[0]
    secret = caller_identity.secret_of(key_id)
    if secret is None:
        raise NotAuthenticated(f"the access key {key_id} is unknown to the simulated IAM")
    session = query.get("X-Amz-Security-Token")
    cluster = next(
        (cluster for cluster in _clusters() if _signed_for(cluster.name, url, query, region, secret, session)), None
    )
    if cluster is None:
        raise NotAuthenticated("the signature is not for any existing cluster")
    caller = caller_identity.principal(key_id)
    principal = caller_identity.iam_arn(caller)
    found = cluster.access_entries.get(principal)
    if found is None:
        raise NotAuthenticated(f"{principal} has no access entry in the cluster {cluster.name}")
    name = found.entry["username"].replace("{{SessionName}}", caller.rpartition("/")[2])
    return {
        "username": name,
        "uid": f"aws-iam-authenticator:{DEFAULT_ACCOUNT_ID}:{key_id}",
        "groups": [*found.entry["kubernetesGroups"], *access.groups_of(found.policies)],
        "extra": {"arn": [caller], "principalArn": [principal], "accessKeyId": [key_id]},
    }


def _presigned(token: str) -> tuple[dict[str, str], str, str]:
    """The query of the token's URL, its region, and the URL. Raises NotAuthenticated if it is invalid or expired."""
    if not token.startswith(PREFIX):
        raise NotAuthenticated("not an EKS token")
    encoded = token.removeprefix(PREFIX)
    try:
        url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError as error:
        raise NotAuthenticated("the token is not the base64 of a URL") from error
    query = dict(parse_qsl(urlsplit(url).query))
    try:
        signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        region = query["X-Amz-Credential"].split("/")[2]
        headers = query["X-Amz-SignedHeaders"].split(";")
    except (KeyError, ValueError, IndexError) as error:
        raise NotAuthenticated(f"the token's URL is not presigned: {error}") from error
    if query.get("Action") != "GetCallerIdentity":
        raise NotAuthenticated("the token's URL is not for sts:GetCallerIdentity")
    if CLUSTER_HEADER not in headers:
        raise NotAuthenticated(f"the token's signature does not cover {CLUSTER_HEADER}")
    age = datetime.now(UTC) - signed
    if age > _LIFETIME or age < -_CLOCK_SKEW:
        raise NotAuthenticated(f"the token was signed at {query['X-Amz-Date']}: it is valid for 15 minutes")
    return query, region, url


def _clusters() -> Iterator[Cluster]:
    for backend in list(eks_backends[DEFAULT_ACCOUNT_ID].values()):
        for cluster in list(backend.clusters.values()):
            if isinstance(cluster, Cluster) and cluster.access_config["authenticationMode"] != "CONFIG_MAP":
                yield cluster


def _signed_for(cluster: str, url: str, query: dict[str, str], region: str, secret: str, session: str | None) -> bool:
    """Whether the URL's signature was made with this secret for this cluster's name."""
    unsigned = {name: value for name, value in query.items() if not name.startswith("X-Amz-")}
    base = f"{url.partition('?')[0]}?{urlencode(unsigned)}"
    request = AWSRequest(method="GET", url=base, headers={CLUSTER_HEADER: cluster})
    key_id = query["X-Amz-Credential"].partition("/")[0]
    signer = SigV4QueryAuth(Credentials(key_id, secret, session), "sts", region, expires=int(query["X-Amz-Expires"]))
    request.context["timestamp"] = query["X-Amz-Date"]
    signer._modify_request_before_signing(request)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return hmac.compare_digest(str(signature), query.get("X-Amz-Signature", ""))
