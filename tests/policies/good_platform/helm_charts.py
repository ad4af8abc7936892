"""The Helm releases of the platform: JupyterHub, the GPU Operator and Keycloak."""

from __future__ import annotations

import json

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random
from kubernetes_objects import ON_GPU_NODES


def make_releases(in_cluster: pulumi.ResourceOptions) -> None:
    """JupyterHub, the GPU Operator and Keycloak."""
    k8s.helm.v3.Release(
        "hub",
        chart="jupyterhub",
        version="4.4.2",
        namespace="hub",
        repository_opts={"repo": "https://hub.jupyter.org/helm-chart/"},
        values={
            "hub": {
                "config": {
                    "GenericOAuthenticator": {
                        "allowed_groups": ["/team"],
                        "admin_groups": ["/administrators"],
                        "client_id": "hub",
                    },
                    "JupyterHub": {
                        "authenticator_class": "generic-oauth",
                        "subdomain_host": "https://hub.example.com",
                    },
                },
                "loadRoles": {"mentors": {"scopes": ["access:servers!group=team"], "groups": ["mentors"]}},
            },
            "proxy": {
                "service": {"type": "ClusterIP"},
                "secretToken": random.RandomPassword("proxy", length=64).result,
            },
            "singleuser": {
                "cloudMetadata": {"blockWithIptables": False},
                "storage": {"dynamic": {"storageClass": "homes"}},
            },
            "cull": {"maxAge": 86400},
        },
        opts=in_cluster,
    )
    k8s.helm.v3.Release(
        "gpu-operator",
        chart="gpu-operator",
        version="v26.7.0",
        namespace="gpus",
        values={
            "driver": {"enabled": False},
            "toolkit": {"enabled": False},
            "daemonsets": {"tolerations": ON_GPU_NODES},
            "node-feature-discovery": {"worker": {"tolerations": ON_GPU_NODES}},
            "migManager": {"env": [{"name": "HOST_KUBELET_SYSTEMD_SERVICE", "value": ""}]},
        },
        opts=in_cluster,
    )
    k8s.helm.v3.Release(
        "keycloak",
        chart="keycloakx",
        version="7.1.11",
        namespace="hub",
        values={
            "command": ["/opt/keycloak/bin/kc.sh", "start", "--hostname=https://auth.example.com"],
            "database": {"existingSecret": "keycloak-database", "existingSecretKey": "password"},
            "extraEnv": json.dumps([{"name": "OIDC_ISSUER", "value": "https://auth.example.com/realms/people"}]),
        },
        opts=in_cluster,
    )
