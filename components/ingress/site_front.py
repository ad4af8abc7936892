"""The front of a site: an Ingress for each published service, and what serves and certifies it, where asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.placement import Placement
from components.ground.secrets import SecretReader
from components.ingress.lets_encrypt import API_VERSION, ISSUER, LetsEncrypt, LetsEncryptArgs
from components.ingress.published_service import PublishedService
from components.ingress.traefik import Traefik, TraefikArgs
from components.manifests import Spec

if TYPE_CHECKING:
    from settings import ChartSource
    from settings.site_ingress import SiteIngress

_TLS_KEYS = ("tls.crt", "tls.key")

# Seconds: as on EKS. Kernels can be silent for long, and people upload files of many GB.
_IDLE_TIMEOUT = "3600"
ANNOTATIONS: Mapping[str, str] = {
    # Some controllers never write the address that the provider would wait for.
    "pulumi.com/skipAwait": "true",
    # NGINX ends connections after 60 s of silence, and refuses uploads of more than 1 MiB. The cookies and tokens of
    # a sign-in need larger buffers than its own ("Annotations", docs of ingress-nginx).
    "nginx.ingress.kubernetes.io/proxy-read-timeout": _IDLE_TIMEOUT,
    "nginx.ingress.kubernetes.io/proxy-send-timeout": _IDLE_TIMEOUT,
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    "nginx.ingress.kubernetes.io/proxy-buffer-size": "16k",
    # Traefik would serve it by HTTP too ("Traefik & Kubernetes with Ingress", its docs). k3s has this entry point.
    "traefik.ingress.kubernetes.io/router.entrypoints": "websecure",
    "traefik.ingress.kubernetes.io/router.tls": "true",
}
"""For the controllers that sites have most; others ignore them."""


@dataclass(frozen=True, kw_only=True)
class SiteFrontArgs:
    """What is published, and how. The settings have access `ingress`, and so a domain.

    `secret` reads the secret of DNS-01, `data` the data of a Secret by its namespace and name. With `by_digest`, images
    are pinned by known digests.
    """

    settings: SiteIngress
    published: Sequence[PublishedService]
    secret: SecretReader
    data: Callable[[str, str], Mapping[str, str]]
    placement: Placement
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    by_digest: bool = False


class SiteFront(pulumi.ComponentResource):
    """Publishes services by Ingresses in their namespaces, with HTTPS only."""

    urls: Mapping[str, str]
    """The address of each published service, by its name."""

    def __init__(self, name: str, args: SiteFrontArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:SiteFront", name, None, opts)
        settings, install = args.settings, args.settings.install
        child = pulumi.ResourceOptions(parent=self)
        # A destroy deletes Ingresses and certificates while their controllers run.
        needed: list[pulumi.Resource] = []
        if install.traefik:
            traefik = TraefikArgs(
                ingress_class=settings.class_name or "",
                load_balancer_ip=install.traefik.load_balancer_ip,
                placement=args.placement,
                charts=args.charts,
                by_digest=args.by_digest,
            )
            needed.append(Traefik(f"{name}-traefik", traefik, opts=child))
        issuer = settings.certificate.issuer if settings.certificate else None
        if install.cert_manager:
            lets_encrypt = LetsEncryptArgs(
                settings=install.cert_manager,
                ingress_class=settings.class_name,
                secret=args.secret,
                placement=args.placement,
                charts=args.charts,
                by_digest=args.by_digest,
            )
            needed.append(LetsEncrypt(f"{name}-certificates", lets_encrypt, opts=child))
            issuer = ISSUER
        self._within = pulumi.ResourceOptions(parent=self, depends_on=needed)
        own = self._own_certificate(args)
        for service in args.published:
            certificate = (
                self._certificate(name, service, issuer) if issuer else self._copied_certificate(name, service, own)
            )
            kubernetes.networking.v1.Ingress(
                f"{name}-{service.name}",
                metadata={
                    "name": service.name,
                    "namespace": service.namespace,
                    "annotations": {**ANNOTATIONS, **settings.annotations},
                },
                spec=ingress_spec(service, ingress_class=settings.class_name),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[certificate]),
            )
        self.urls = {service.name: f"https://{service.host}" for service in args.published}
        self.register_outputs({"urls": self.urls})

    def _certificate(self, name: str, service: PublishedService, issuer: str) -> pulumi.Resource:
        """cert-manager puts it into the Secret that the Ingress names, and renews it there."""
        return kubernetes.apiextensions.CustomResource(
            f"{name}-{service.name}",
            api_version=API_VERSION,
            kind="Certificate",
            metadata={"name": service.name, "namespace": service.namespace},
            spec=certificate_spec(service, issuer),
            opts=self._within,
        )

    def _own_certificate(self, args: SiteFrontArgs) -> pulumi.Output[Mapping[str, str]] | None:
        """The site's own, read from its Secret."""
        certificate = args.settings.certificate
        if certificate is None or certificate.secret is None:
            return None
        namespace = certificate.namespace or ""
        data = args.data(namespace, certificate.secret)
        return pulumi.Output.secret(tls_data(data, f"{namespace}/{certificate.secret}"))

    def _copied_certificate(
        self, name: str, service: PublishedService, data: pulumi.Output[Mapping[str, str]] | None
    ) -> pulumi.Resource:
        """An Ingress reads only Secrets of its own namespace."""
        return kubernetes.core.v1.Secret(
            f"{name}-{service.name}",
            metadata={"name": tls_secret(service), "namespace": service.namespace},
            type="kubernetes.io/tls",
            data=data,
            opts=self._within,
        )


def tls_secret(service: PublishedService) -> str:
    """The name of the Secret with the certificate of a service."""
    return f"{service.name}-tls"


def tls_data(data: Mapping[str, str] | None, identifier: str) -> Mapping[str, str]:
    """The certificate and its key in a Secret's data. Raises ValueError for a Secret without them."""
    missing = [key for key in _TLS_KEYS if not (data or {}).get(key)]
    if missing:
        raise ValueError(
            f"the Secret {identifier} of gpulab:ingress.certificate has no {', '.join(missing)}: make it with "
            "`kubectl create secret tls`"
        )
    return {key: (data or {})[key] for key in _TLS_KEYS}


def certificate_spec(service: PublishedService, issuer: str) -> Spec:
    """The `spec` of a Certificate (cert-manager.io/v1) for a service's names."""
    return {
        "secretName": tls_secret(service),
        "dnsNames": list(service.hosts),
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
        # A new key with each certificate.
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
    }


def ingress_spec(service: PublishedService, *, ingress_class: str | None) -> Spec:
    """The `spec` of an Ingress: the service's paths at its host, and those below it at `*.HOST`. Nothing else is there.

    Its class is None for the cluster's default class.
    """
    backend = {"service": {"name": service.service, "port": {"number": service.port}}}
    paths = {service.host: service.paths}
    if service.paths_below:
        paths[f"*.{service.host}"] = service.paths_below
    return {
        **({"ingressClassName": ingress_class} if ingress_class else {}),
        "tls": [{"hosts": list(service.hosts), "secretName": tls_secret(service)}],
        "rules": [
            {"host": host, "http": {"paths": [{**path_match(path), "backend": backend} for path in wanted]}}
            for host, wanted in paths.items()
        ],
    }


def path_match(pattern: str) -> Mapping[str, str]:
    """A path of a published service (`/realms/gpulab/*`) as an Ingress has it. Raises ValueError for what it can't."""
    path = pattern.removesuffix("*")
    if set(path) & {"*", "?"} or (path != pattern and not path.endswith("/")):
        raise ValueError(f"{pattern}: an Ingress has exact paths, and such as end in /* for all that begin like that")
    return {"path": path, "pathType": "Exact" if path == pattern else "Prefix"}
