"""OpenID Connect providers with which people sign in to a cluster's API."""

from __future__ import annotations

import uuid
from typing import Any

from moto.core.responses import ActionResult

from rehearsal.cloud.eks.issuer import access_problem
from rehearsal.cloud.eks.state import Cluster, Operations, in_use, invalid, missing

_KIND = "oidc"


class IdentityProviderOperations(Operations):
    """The operations on identity provider configurations. EKS accepts one per cluster."""

    def associate_identity_provider_config(self) -> ActionResult:
        cluster, oidc = self.cluster(), self.parameter(_KIND)
        name = oidc["identityProviderConfigName"]
        if cluster.identity_providers:
            raise in_use(
                f"Cluster {cluster.name} already has an identity provider config of type {_KIND}",
                clusterName=cluster.name,
            )
        if not oidc["issuerUrl"].startswith("https://"):
            raise invalid("issuerUrl must begin with https://", clusterName=cluster.name)
        if problem := access_problem(oidc["issuerUrl"]):
            raise invalid(
                f"issuerUrl {oidc['issuerUrl']} must be publicly accessible over the internet: {problem}",
                clusterName=cluster.name,
            )
        for prefix in ("usernamePrefix", "groupsPrefix"):
            if oidc.get(prefix, "").startswith("system:"):
                raise invalid(f"{prefix} must not be system:, which is Kubernetes' own", clusterName=cluster.name)
        cluster.identity_providers[name] = {
            "identityProviderConfigArn": self.arn(
                f"identityproviderconfig/{cluster.name}/{_KIND}/{name}/{uuid.uuid4()}"
            ),
            "clusterName": cluster.name,
            "status": "ACTIVE",
            "tags": self.parameter("tags", {}),
            **oidc,
        }
        update = cluster.updated("AssociateIdentityProviderConfig", {"IdentityProviderConfig": oidc})
        return ActionResult({"update": update, "tags": self.parameter("tags", {})})

    def describe_identity_provider_config(self) -> ActionResult:
        return ActionResult({"identityProviderConfig": {_KIND: self._provider(self.cluster())}})

    def list_identity_provider_configs(self) -> ActionResult:
        found = [{"type": _KIND, "name": name} for name in self.cluster().identity_providers]
        return ActionResult({"identityProviderConfigs": found})

    def disassociate_identity_provider_config(self) -> ActionResult:
        cluster = self.cluster()
        name = self._provider(cluster)["identityProviderConfigName"]
        del cluster.identity_providers[name]
        return ActionResult({"update": cluster.updated("DisassociateIdentityProviderConfig", {"Name": name})})

    def _provider(self, cluster: Cluster) -> dict[str, Any]:
        named = self.parameter("identityProviderConfig")
        if named["type"] != _KIND or named["name"] not in cluster.identity_providers:
            raise missing(f"No identity provider config found for name: {named['name']}.", clusterName=cluster.name)
        return cluster.identity_providers[named["name"]]
