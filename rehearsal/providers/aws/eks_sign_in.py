"""EKS: the OpenID Connect provider by which people sign in to a cluster's API."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.base import known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.eks import EksResource, finished
from rehearsal.providers.serving import Properties, Refused, Request

_KIND = "oidc"


class IdentityProviderConfig(EksResource):
    """Lets the people of an issuer use a cluster's API, with the groups that their tokens name."""

    token = "aws:eks/identityProviderConfig:IdentityProviderConfig"
    force_new = frozenset({"clusterName", "oidc"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        oidc = known(inputs.get("oidc")) or {}
        issuer = known(oidc.get("issuerUrl"))
        if issuer is not None and not issuer.startswith("https://"):
            yield Refused(f"the issuer {issuer} has to begin with https://", "oidc.issuerUrl")
        for prefix in ("usernamePrefix", "groupsPrefix"):
            if str(known(oidc.get(prefix)) or "").startswith("system:"):
                yield Refused("the prefix system: is Kubernetes' own", f"oidc.{prefix}")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cluster, oidc = inputs["clusterName"], inputs["oidc"]
        made = cloud.client("eks").associate_identity_provider_config(
            clusterName=cluster, oidc=oidc, tags=inputs.get("tagsAll") or {}
        )
        finished(cloud, request, cluster, made["update"])
        return f"{cluster}:{oidc['identityProviderConfigName']}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cluster, _, name = id.partition(":")
        found = cloud.client("eks").describe_identity_provider_config(
            clusterName=cluster, identityProviderConfig={"type": _KIND, "name": name}
        )["identityProviderConfig"][_KIND]
        own = ("clusterName", "identityProviderConfigArn", "status", "tags")
        return {
            "clusterName": cluster,
            "arn": found["identityProviderConfigArn"],
            "status": found["status"],
            "oidc": {key: value for key, value in found.items() if key not in own},
            "tags": found["tags"],
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cluster, _, name = id.partition(":")
        gone = cloud.client("eks").disassociate_identity_provider_config(
            clusterName=cluster, identityProviderConfig={"type": _KIND, "name": name}
        )
        finished(cloud, request, cluster, gone["update"])
