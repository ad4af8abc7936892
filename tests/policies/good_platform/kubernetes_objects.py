"""The objects of the platform's cluster: nodes, teams and workloads."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pulumi_random as random

GPU_TAINT: Any = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
ON_GPU_NODES: Any = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "example.com/not-ready", "operator": "Exists", "effect": "NoSchedule"},
]
CATEGORY = "karpenter.k8s.aws/instance-category"
BY_VARIABLE = "accept-nvidia-visible-devices-envvar-when-unprivileged"

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
PROFILES = [
    {
        "slug": "gpu",
        "kubespawner_override": {
            "cpu_guarantee": 2,
            "mem_guarantee": "8G",
            "node_selector": {"gpulab.dev/pool": "gpu"},
            "extra_resource_limits": {"nvidia.com/gpu": 1},
            "tolerations": ON_GPU_NODES[:1],
            "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-10",
            "uid": 1000,
            "allow_privilege_escalation": False,
            "environment": {"CUDA_VISIBLE_DEVICES": "0"},
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}],
            "volume_mounts": [{"name": "shm", "mountPath": "/dev/shm"}],
        },
    }
]
REALM = {
    "realm": "people",
    "bruteForceProtected": True,
    "clients": [
        {
            "clientId": "hub",
            "secret": "$(env:HUB_CLIENT_SECRET)",
            "redirectUris": ["https://platform.example.com/hub/oauth_callback"],
            "attributes": {"pkce.code.challenge.method": "S256"},
        }
    ],
}
CONFINED: Any = {
    "privileged": False,
    "allowPrivilegeEscalation": False,
    "runAsUser": 1000,
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
MODEST: Any = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}}


def _custom(name: str, api_version: str, kind: str, spec: dict, in_cluster: pulumi.ResourceOptions) -> None:
    """A custom resource of that name."""
    k8s.apiextensions.CustomResource(
        name, api_version=api_version, kind=kind, metadata={"name": name}, spec=spec, opts=in_cluster
    )


def _node_pool(
    name: str,
    limits: dict,
    taints: list,
    *requirements: dict,
    in_cluster: pulumi.ResourceOptions,
    node_class: str = "nodes",
) -> None:
    """A NodePool of notebooks."""
    _custom(
        name,
        "karpenter.sh/v1",
        "NodePool",
        {
            "template": {
                "metadata": {"labels": {"gpulab.dev/pool": name, "nvidia.com/mig.config": "all-1g.10gb"}},
                "spec": {
                    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": node_class},
                    "requirements": [
                        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
                        *requirements,
                    ],
                    "taints": taints,
                    "startupTaints": [{"key": "example.com/not-ready", "effect": "NoSchedule"}] if taints else [],
                    "expireAfter": "720h",
                    "terminationGracePeriod": "4h",
                },
            },
            "limits": limits,
            "disruption": {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": "10m",
                "budgets": [{"nodes": "10%"}, {"nodes": "0", "reasons": ["Drifted"]}],
            },
        },
        in_cluster=in_cluster,
    )


def make_nodes(in_cluster: pulumi.ResourceOptions) -> None:
    """Node pools, their node classes, and the overlay of the shared GPUs."""
    _node_pool(
        "cpu",
        {"cpu": "128", "memory": "512Gi"},
        [],
        {"key": CATEGORY, "operator": "In", "values": ["c", "m"]},
        in_cluster=in_cluster,
    )
    _node_pool(
        "gpu",
        {"nvidia.com/gpu": "16"},
        [GPU_TAINT],
        {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g5", "g6"]},
        in_cluster=in_cluster,
    )
    _node_pool(
        "shared",
        {"nvidia.com/gpu.shared": "16"},
        [GPU_TAINT],
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge", "g6.xlarge"]},
        node_class="sharing-nodes",
        in_cluster=in_cluster,
    )
    _custom(
        "shares",
        "karpenter.sh/v1alpha1",
        "NodeOverlay",
        {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["shared"]}],
            "capacity": {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"},
        },
        in_cluster=in_cluster,
    )
    _custom(
        "nodes",
        "karpenter.k8s.aws/v1",
        "EC2NodeClass",
        {
            "amiSelectorTerms": [{"alias": "al2023@v20260930"}],
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi", "encrypted": True}}],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "userData": f"#!/bin/bash\nnvidia-ctk config --in-place --set {BY_VARIABLE}=false\n",
        },
        in_cluster=in_cluster,
    )
    _custom(
        "sharing-nodes",
        "karpenter.k8s.aws/v1",
        "EC2NodeClass",
        {
            "amiSelectorTerms": [{"alias": "bottlerocket@v1.66.0"}],
            "blockDeviceMappings": [{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": "200Gi", "encrypted": True}}],
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "userData": '[settings.kubelet-device-plugins.nvidia]\ndevice-sharing-strategy = "time-slicing"\n',
        },
        in_cluster=in_cluster,
    )


def make_teams(in_cluster: pulumi.ResourceOptions) -> None:
    """Namespaces with their limits, notebook profiles and the realm."""
    for name in ("team", "hub"):
        k8s.core.v1.Namespace(name, metadata={"name": name, "labels": RESTRICTED}, opts=in_cluster)
        k8s.core.v1.ResourceQuota(
            name,
            metadata={"name": name, "namespace": name},
            spec={
                "hard": {
                    "requests.cpu": "32",
                    "requests.memory": "128Gi",
                    "requests.nvidia.com/gpu": "4",
                    "requests.nvidia.com/gpu.shared": "8",
                    "pods": "40",
                }
            },
            opts=in_cluster,
        )
        k8s.core.v1.LimitRange(
            name,
            metadata={"name": name, "namespace": name},
            spec={"limits": [{"type": "Container", "max": {"memory": "64Gi"}}]},
            opts=in_cluster,
        )
    k8s.core.v1.ConfigMap(
        "settings",
        metadata={"name": "settings", "namespace": "hub", "labels": {"gpulab.dev/profiles": "team"}},
        data={"profiles.yaml": json.dumps(PROFILES)},
        opts=in_cluster,
    )
    k8s.core.v1.ConfigMap(
        "realm",
        metadata={"name": "realm", "namespace": "hub"},
        data={"people.json": json.dumps(REALM), "clientSecretName": "hub-client"},
        opts=in_cluster,
    )


def make_workloads(in_cluster: pulumi.ResourceOptions) -> None:
    """Pods of every kind, the class of their disks, and roles."""
    k8s.core.v1.Secret(
        "token",
        metadata={"name": "token", "namespace": "team"},
        string_data={"token": random.RandomPassword("token", length=40).result},
        opts=in_cluster,
    )
    k8s.apps.v1.Deployment(
        "jobs",
        metadata={"name": "jobs", "namespace": "team"},
        spec={  # type: ignore[arg-type]
            "selector": {"matchLabels": {"app": "jobs"}},
            "template": {
                "metadata": {"labels": {"app": "jobs"}},
                "spec": {
                    "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                    "containers": [
                        {
                            "name": "jobs",
                            "image": "example.com/jobs:1.4.2",
                            "securityContext": CONFINED,
                            "resources": MODEST,
                            "env": [{"name": "DB_PASSWORD_FILE", "value": "/run/secrets/db/password"}],
                            "volumeMounts": [{"name": "db", "mountPath": "/run/secrets/db", "readOnly": True}],
                        }
                    ],
                    "volumes": [{"name": "db", "secret": {"secretName": "db"}}],
                },
            },
        },
        opts=in_cluster,
    )
    for pod, namespace, pool, asked in (
        ("cuda", "team", "gpu", "nvidia.com/gpu"),
        ("share-of-team", "team", "shared", "nvidia.com/gpu.shared"),
        ("share-of-hub", "hub", "shared", "nvidia.com/gpu.shared"),
    ):
        k8s.core.v1.Pod(
            pod,
            metadata={"name": pod, "namespace": namespace},
            spec={  # type: ignore[arg-type]
                "nodeSelector": {"gpulab.dev/pool": pool},
                "tolerations": ON_GPU_NODES[:1],
                "containers": [
                    {
                        "name": "cuda",
                        "image": "nvidia/cuda:13.0.1",
                        "securityContext": CONFINED,
                        "resources": {**MODEST, "limits": {**MODEST["limits"], asked: "1"}},
                    }
                ],
            },
            opts=in_cluster,
        )
    k8s.apps.v1.DaemonSet(
        "plugin",
        metadata={"name": "plugin", "namespace": "kube-system"},
        spec={  # type: ignore[arg-type]
            "selector": {"matchLabels": {"app": "plugin"}},
            "template": {
                "metadata": {"labels": {"app": "plugin"}},
                "spec": {
                    "tolerations": ON_GPU_NODES,
                    "containers": [{"name": "plugin", "image": "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"}],
                },
            },
        },
        opts=in_cluster,
    )
    k8s.storage.v1.StorageClass(
        "homes",
        metadata={"name": "homes"},
        provisioner="ebs.csi.aws.com",
        parameters={"type": "gp3", "encrypted": "true"},
        reclaim_policy="Retain",
        opts=in_cluster,
    )
    k8s.rbac.v1.ClusterRole(
        "reader",
        metadata={"name": "reader"},
        rules=[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],  # type: ignore[arg-type]
        opts=in_cluster,
    )
    k8s.rbac.v1.Role(
        "own-secret",
        metadata={"name": "own-secret", "namespace": "hub"},
        rules=[{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["hub"], "verbs": ["get"]}],  # type: ignore[arg-type]
        opts=in_cluster,
    )
