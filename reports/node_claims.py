"""Finds nodes that Karpenter bought and that do not become ready. They cost money until they expire.

If a node joins the cluster and lacks what its pods request (GPUs that an old driver does not know), Karpenter waits
forever and does not replace it (kubernetes-sigs/karpenter, issue 3242: `Registered` has a limit of 15 minutes,
`Initialized` has none).
"""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from .account import Account

READY_WITHIN = timedelta(minutes=15)
_PATH = "/apis/karpenter.sh/v1/nodeclaims"
_ANSWER_SECONDS = 5
_TOKEN_SECONDS = 60
_TYPE, _POOL = "node.kubernetes.io/instance-type", "karpenter.sh/nodepool"


@dataclass(frozen=True, kw_only=True)
class StuckNode:
    """A NodeClaim that is not initialized. `since` is its creation time, `why` is Karpenter's message."""

    name: str
    pool: str
    instance_type: str
    since: datetime
    why: str

    @property
    def command(self) -> str:
        """The command that deletes the node. Karpenter buys another one if a pod still needs it."""
        return f"kubectl delete nodeclaim {self.name}"

    def __str__(self) -> str:
        since = f"{self.since:%Y-%m-%d %H:%M} UTC"
        return f"{self.name} ({self.instance_type}, pool {self.pool}): since {since}; {self.why}"


def stuck(claims: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[StuckNode]:
    """The claims that are older than 15 minutes, are not being deleted, and are not initialized."""
    for claim in claims:
        metadata = claim["metadata"]
        since = datetime.fromisoformat(metadata["creationTimestamp"])
        conditions = {item["type"]: item for item in claim.get("status", {}).get("conditions") or ()}
        initialized = conditions.get("Initialized", {})
        if initialized.get("status") == "True" or "deletionTimestamp" in metadata or now - since < READY_WITHIN:
            continue
        labels = metadata.get("labels", {})
        yield StuckNode(
            name=metadata["name"],
            pool=labels.get(_POOL, "unknown"),
            instance_type=labels.get(_TYPE, "no type yet"),
            since=since,
            why=initialized.get("message") or initialized.get("reason") or "Karpenter gives no reason",
        )


def stuck_nodes(account: Account, cluster: Mapping[str, Any]) -> list[StuckNode]:
    """The stuck nodes of a cluster, as EKS describes it. Raises OSError if its API does not answer or refuses."""
    request = urllib.request.Request(
        cluster["endpoint"] + _PATH, headers={"Authorization": f"Bearer {_token(account, cluster['name'])}"}
    )
    authority = base64.b64decode(cluster["certificateAuthority"]["data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    # Python 3.13 turns this check on, and EKS's certificates fail it (no Authority Key Identifier).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS, context=context) as answer:
            claims = json.load(answer)["items"]
    except HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return []  # a cluster without Karpenter
    return list(stuck(claims, datetime.now(UTC)))


def _token(account: Account, cluster: str) -> str:
    """A token like that of `aws eks get-token`: a signed request to STS for the caller's identity."""
    suffix = "amazonaws.com.cn" if account.region.startswith("cn-") else "amazonaws.com"
    url = f"https://sts.{account.region}.{suffix}/?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest(method="GET", url=url, headers={"x-k8s-aws-id": cluster})
    SigV4QueryAuth(account.credentials, "sts", account.region, expires=_TOKEN_SECONDS).add_auth(request)
    return "k8s-aws-v1." + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")
