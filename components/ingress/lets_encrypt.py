"""cert-manager with an issuer of Let's Encrypt, for a cluster that has no cert-manager."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.ground.placement import Placement
from components.ground.secrets import SecretReader
from components.images import with_digests
from components.manifests import Spec

if TYPE_CHECKING:
    from settings import ChartSource
    from settings.certificates import CertManager, Dns01

CHART = "cert-manager"
NAMESPACE = "cert-manager"
API_VERSION = "cert-manager.io/v1"
ISSUER = "gpulab-letsencrypt"

# "Staging environment" and "ACME directory URLs", letsencrypt.org/docs.
SERVERS = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
_ACCOUNT_SECRET = "gpulab-letsencrypt-account"  # noqa: S105 (a Secret's name)
_DNS_SECRET, _DNS_KEY = "gpulab-dns01", "secret"
# Seconds: its last hook waits until the webhook answers.
RELEASE_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class LetsEncryptArgs:
    """`ingress_class` serves the answers of HTTP-01; None: the default class. `secret` reads the secret of DNS-01."""

    settings: CertManager
    ingress_class: str | None
    secret: SecretReader
    placement: Placement
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    by_digest: bool = False


class LetsEncrypt(pulumi.ComponentResource):
    """The release and a ClusterIssuer. A destroy leaves the CRDs, with which all certificates would be deleted."""

    issuer: kubernetes.apiextensions.CustomResource

    def __init__(self, name: str, args: LetsEncryptArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LetsEncrypt", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=child,
        )
        needed: list[pulumi.Resource] = [namespace]
        release = kubernetes.helm.v3.Release(
            name,
            name=CHART,
            namespace=NAMESPACE,
            values=with_digests(CHART, cert_manager_values(args.placement), args.charts, by_digest=args.by_digest),
            timeout=RELEASE_TIMEOUT,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
            **release_args(CHART, args.charts),
        )
        needed.append(release)
        dns01 = args.settings.dns01
        if dns01 is not None:
            credentials = kubernetes.core.v1.Secret(
                f"{name}-dns01",
                # Where cert-manager looks for what a ClusterIssuer names.
                metadata={"name": _DNS_SECRET, "namespace": NAMESPACE},
                string_data={_DNS_KEY: args.secret(dns01.secret, self)},
                opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
            )
            needed.append(credentials)
        self.issuer = kubernetes.apiextensions.CustomResource(
            name,
            api_version=API_VERSION,
            kind="ClusterIssuer",
            metadata={"name": ISSUER},
            spec=issuer_spec(args.settings, args.ingress_class),
            # Its webhook admits issuers.
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        self.register_outputs({"issuer": ISSUER})


def cert_manager_values(placement: Placement) -> dict[str, Any]:
    """The values of the chart `cert-manager`."""
    resources = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    part = {**placement.pod, "resources": resources}
    return {
        "crds": {"enabled": True, "keep": True},
        # Otherwise it makes a Role in kube-system.
        "global": {"leaderElection": {"namespace": NAMESPACE}},
        **part,
        "webhook": part,
        "cainjector": part,
        "startupapicheck": placement.pod,
    }


def issuer_spec(settings: CertManager, ingress_class: str | None) -> Spec:
    """The `spec` of a ClusterIssuer (cert-manager.io/v1)."""
    if settings.dns01 is not None:
        solver = {"dns01": dns01_solver(settings.dns01)}
    else:
        solver = {"http01": {"ingress": {"ingressClassName": ingress_class} if ingress_class else {}}}
    return {
        "acme": {
            "server": SERVERS[settings.lets_encrypt],
            **({"email": settings.email} if settings.email else {}),
            "privateKeySecretRef": {"name": _ACCOUNT_SECRET},
            "solvers": [solver],
        }
    }


def dns01_solver(dns01: Dns01) -> Spec:
    """The part of a solver that says who serves the domain's DNS."""
    secret = {"name": _DNS_SECRET, "key": _DNS_KEY}
    match dns01.provider:
        case "cloudflare":
            spec: Spec = {"apiTokenSecretRef": secret}
        case "digitalocean":
            spec = {"tokenSecretRef": secret}
        case "route53":
            zone = {"hostedZoneID": dns01.hosted_zone_id} if dns01.hosted_zone_id else {}
            spec = {
                "region": dns01.region,
                "accessKeyID": dns01.access_key_id,
                "secretAccessKeySecretRef": secret,
                **zone,
            }
        case "rfc2136":
            spec = {
                "nameserver": dns01.nameserver,
                "tsigKeyName": dns01.tsig_key_name,
                "tsigAlgorithm": dns01.tsig_algorithm or "HMACSHA512",
                "tsigSecretSecretRef": secret,
            }
    return {dns01.provider: spec}
