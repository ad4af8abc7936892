"""Traefik, for a cluster that has no ingress controller: it serves one ingress class, and nobody else's Ingresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.ground.placement import Placement
from components.images import with_digests

if TYPE_CHECKING:
    from settings import ChartSource

CHART = "traefik"
NAMESPACE = "gpulab-ingress"
RELEASE = "gpulab-traefik"

# Seconds: the Service also waits for its address.
RELEASE_TIMEOUT = 600
# How long a request may take: people upload files of many GB, and kernels are silent for long.
_LONGEST_REQUEST = "3600s"


@dataclass(frozen=True, kw_only=True)
class TraefikArgs:
    """`load_balancer_ip` is the address that it asks the site's load balancer for; None: any."""

    ingress_class: str
    load_balancer_ip: str | None
    placement: Placement
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    by_digest: bool = False


class Traefik(pulumi.ComponentResource):
    """The controller with its class and a Service of type LoadBalancer. Port 80 leads to port 443."""

    release: kubernetes.helm.v3.Release

    def __init__(self, name: str, args: TraefikArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Traefik", name, None, opts)
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.release = kubernetes.helm.v3.Release(
            name,
            name=RELEASE,
            namespace=NAMESPACE,
            values=with_digests(CHART, traefik_values(args), args.charts, by_digest=args.by_digest),
            # Its CRDs are for routes that are no Ingresses, and another traefik may have brought them.
            skip_crds=True,
            timeout=RELEASE_TIMEOUT,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[namespace]),
            **release_args(CHART, args.charts),
        )
        self.register_outputs({"release": self.release.name})


def traefik_values(args: TraefikArgs) -> dict[str, Any]:
    """The values of the chart `traefik`."""
    address = {"loadBalancerIP": args.load_balancer_ip} if args.load_balancer_ip else {}
    return {
        # The default class is the cluster's affair.
        "ingressClass": {"enabled": True, "isDefaultClass": False, "name": args.ingress_class},
        "providers": {
            "kubernetesIngress": {"enabled": True, "ingressClass": args.ingress_class},
            "kubernetesCRD": {"enabled": False},
        },
        "gateway": {"enabled": False},
        "gatewayClass": {"enabled": False},
        "ports": {
            "web": {"http": {"redirections": {"entryPoint": {"to": "websecure", "scheme": "https"}}}},
            "websecure": {"transport": {"respondingTimeouts": {"readTimeout": _LONGEST_REQUEST}}},
        },
        "service": {"spec": {"type": "LoadBalancer", **address}},
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        **args.placement.pod,
    }
