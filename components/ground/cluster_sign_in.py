"""Sign-in to the Kubernetes API: EKS accepts Keycloak's tokens, so that people use `kubectl` with their roles.

While EKS makes the association, it fetches the issuer's keys from its public address. So Keycloak must answer there
first ("Grant users access to Kubernetes with an external OIDC provider", EKS user guide).
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.teams.rbac import GROUP_PREFIX
from settings.people.identity import KUBERNETES_CLIENT

CONFIG_NAME = "keycloak"
# Unlike an e-mail address, nobody can change it, and it identifies people in the API's logs.
USERNAME_CLAIM = "preferred_username"
GROUPS_CLAIM = "groups"


@dataclass(frozen=True, kw_only=True)
class ClusterSignInArgs:
    """Which cluster accepts the tokens of which issuer.

    `issuer_url` is an https address that the internet can reach.
    """

    cluster_name: pulumi.Input[str]
    issuer_url: str


class ClusterSignIn(pulumi.ComponentResource):
    """Associates the cluster with the realm. It must depend on sign-in and on what publishes it."""

    login_command: str
    """The command that sets up `kubectl` with the plugin `oidc-login`; the user then signs in with the browser."""

    def __init__(self, name: str, args: ClusterSignInArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:ClusterSignIn", name, None, opts)
        aws.eks.IdentityProviderConfig(
            name,
            cluster_name=args.cluster_name,
            oidc={
                "identity_provider_config_name": CONFIG_NAME,
                "issuer_url": args.issuer_url,
                "client_id": KUBERNETES_CLIENT,
                "username_claim": USERNAME_CLAIM,
                "username_prefix": GROUP_PREFIX,
                "groups_claim": GROUPS_CLAIM,
                "groups_prefix": GROUP_PREFIX,
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.login_command = login_command(args.issuer_url)
        self.register_outputs({"login_command": self.login_command})


def login_command(issuer_url: str) -> str:
    """See `ClusterSignIn.login_command`."""
    arguments = (
        "oidc-login",
        "get-token",
        f"--oidc-issuer-url={issuer_url}",
        f"--oidc-client-id={KUBERNETES_CLIENT}",
        "--oidc-pkce-method=S256",
    )
    return " ".join(
        (
            "kubectl config set-credentials gpulab --exec-api-version=client.authentication.k8s.io/v1",
            "--exec-interactive-mode=IfAvailable --exec-command=kubectl",
            *(f"--exec-arg={argument}" for argument in arguments),
        )
    )
