"""EKS: the OpenID Connect provider with which users sign in to the API of a cluster."""

from __future__ import annotations

from collections.abc import Iterator

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import fields
from rehearsal.providers.aws.eks import EksResource
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused

_WHICH = {"identityProviderConfig": {"type": "oidc", "name": "{identityProviderConfigName}"}}


class IdentityProviderConfig(EksResource):
    """Lets the users of an issuer use the API of a cluster, with the groups in their tokens."""

    token = "aws:eks/identityProviderConfig:IdentityProviderConfig"
    force_new = frozenset({"clusterName", "oidc"})
    id_form = "{clusterName}:{identityProviderConfigName}"
    create_call = Call("associate_identity_provider_config", "clusterName oidc tags")
    read_call = Call("describe_identity_provider_config", "clusterName", **_WHICH)
    found, outputs = "identityProviderConfig.oidc", fields("status tags", arn="identityProviderConfigArn", oidc="@")
    delete_call = Call("disassociate_identity_provider_config", "clusterName", **_WHICH)
    ready, waits_until_gone = "status=='ACTIVE'", True

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        oidc = known(inputs.get("oidc")) or {}
        issuer = known(oidc.get("issuerUrl"))
        if issuer is not None and not issuer.startswith("https://"):
            yield Refused(f"the issuer {issuer} must begin with https://", "oidc.issuerUrl")
        for prefix in ("usernamePrefix", "groupsPrefix"):
            if str(known(oidc.get(prefix)) or "").startswith("system:"):
                yield Refused("the prefix system: is reserved for Kubernetes", f"oidc.{prefix}")

    def given(self, inputs: Properties) -> Properties:
        name = inputs["oidc"]["identityProviderConfigName"]
        return {**super().given(inputs), "identityProviderConfigName": name}
