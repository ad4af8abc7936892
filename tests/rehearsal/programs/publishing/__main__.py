"""The platform, and two Services behind its load balancer: a program to rehearse with `--project`."""

from __future__ import annotations

import datetime

import pulumi
import pulumi_kubernetes as kubernetes

import settings
from components.ground.system_nodes import SYSTEM_TAINT
from components.ingress.published_service import PublishedService
from components.platform import Platform

NAMESPACE = "default"


def published(domain: str) -> list[PublishedService]:
    """A service with its own host, and one that shares a host and has health checks at another port."""
    return [
        PublishedService(
            name="echo",
            host=f"echo.{domain}",
            priority=100,
            namespace=NAMESPACE,
            service="echo",
            port=80,
            target_port=8080,
        ),
        PublishedService(
            name="echo-reports",
            host=f"echo.{domain}",
            priority=50,
            namespace=NAMESPACE,
            service="reports",
            port=8081,
            target_port=8081,
            paths=("/reports/", "/reports/*"),
            health_check_path="/healthz",
            health_check_port=9000,
            health_check_codes="200-399",
        ),
    ]


def serve(name: str, port: int, target_port: int, opts: pulumi.ResourceOptions) -> None:
    """A Deployment of two pods, and the Service of them."""
    labels = {"app": name}
    kubernetes.apps.v1.Deployment(
        name,
        metadata={"name": name, "namespace": NAMESPACE},
        spec={
            "replicas": 2,
            "selector": {"match_labels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [
                        {
                            "name": name,
                            "image": f"example.com/{name}:1",
                            "ports": [{"name": "http", "container_port": target_port}],
                        }
                    ],
                    "tolerations": [{"key": SYSTEM_TAINT["key"], "operator": "Exists"}],
                },
            },
        },
        opts=opts,
    )
    kubernetes.core.v1.Service(
        name,
        metadata={"name": name, "namespace": NAMESPACE},
        spec={"selector": labels, "ports": [{"name": "http", "port": port, "target_port": "http"}]},
        opts=opts,
    )


def main() -> None:
    """Deploy the platform with both services."""
    stack = settings.on_eks(
        settings.load(
            pulumi.runtime.get_config_env(), stack=pulumi.get_stack(), today=datetime.date.fromisoformat("2026-09-01")
        )
    )
    services = published(stack.ingress.domain or "example.com")
    platform = Platform(stack.cluster.name, stack, published=services)
    in_cluster = pulumi.ResourceOptions(provider=platform.ground.provider, depends_on=[platform])
    for service in services:
        serve(str(service.service), service.port, service.target_port, in_cluster)
    pulumi.export("kubeconfig", platform.ground.outputs["kubeconfig"])
    pulumi.export("urls", platform.urls)
    pulumi.export("portForward", platform.port_forward_commands)


main()
