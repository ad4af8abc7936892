"""Volumes that are folders of nodes: Rancher's local-path-provisioner, beside one that the cluster may have.

k3s and others bring one, under the names of Rancher's own manifests. A second one with these names would take the
first one's rights away (its ClusterRoleBinding has one service account), and both would serve the same classes. This
one has names of its own, and another name as a provisioner.

Source: deploy/local-path-storage.yaml of rancher/local-path-provisioner v0.0.37 (Apache-2.0), 2026-08-05, and what its
main.go and provisioner.go call: of pods, logs and ConfigMaps only those of its own namespace.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.placement import Placement
from components.images import pinned
from components.manifests import Spec

IMAGE, HELPER_IMAGE = "local-path-provisioner", "busybox"
NAME = "gpulab-local-path-provisioner"
PROVISIONER = "gpulab.dev/local-path"
"""Whom its storage class names. Rancher's own is `rancher.io/local-path`."""

_CONFIG_MAP = "gpulab-local-path-config"
_CONFIG_FOLDER = "/etc/config"
_HEALTH_PORT = 8080
_LABELS = {"app": NAME}
# Of the image, which has nothing but the program: nobody.
_USER = 65534


@dataclass(frozen=True, kw_only=True)
class LocalPathArgs:
    """In which namespace it runs (one that admits hostPath), and in which folder of each node volumes are made."""

    namespace: pulumi.Input[str]
    path: str
    placement: Placement
    by_digest: bool = False


class LocalPathProvisioner(pulumi.ComponentResource):
    """The provisioner. It makes and deletes each volume by a pod of its own on the volume's node."""

    deployment: kubernetes.apps.v1.Deployment

    def __init__(self, name: str, args: LocalPathArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LocalPathProvisioner", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        metadata: Spec = {"name": NAME, "namespace": args.namespace, "labels": _LABELS}
        config = kubernetes.core.v1.ConfigMap(
            name,
            metadata={"name": _CONFIG_MAP, "namespace": args.namespace, "labels": _LABELS},
            data=config_files(args.path, helper_image=pinned(HELPER_IMAGE, by_digest=args.by_digest)),
            opts=child,
        )
        account = kubernetes.core.v1.ServiceAccount(name, metadata=metadata, opts=child)
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": args.namespace}
        rbac, group = kubernetes.rbac.v1, "rbac.authorization.k8s.io"
        role = rbac.Role(name, metadata=metadata, rules=ROLE, opts=child)
        binding = rbac.RoleBinding(
            name,
            metadata=metadata,
            role_ref={"api_group": group, "kind": "Role", "name": role.metadata.name},
            subjects=[subject],
            opts=child,
        )
        cluster_role = rbac.ClusterRole(
            name, metadata={"name": NAME, "labels": _LABELS}, rules=CLUSTER_ROLE, opts=child
        )
        cluster_binding = rbac.ClusterRoleBinding(
            name,
            metadata={"name": NAME, "labels": _LABELS},
            role_ref={"api_group": group, "kind": "ClusterRole", "name": cluster_role.metadata.name},
            subjects=[subject],
            opts=child,
        )
        self.deployment = kubernetes.apps.v1.Deployment(
            name,
            metadata=metadata,
            spec=deployment(args.placement, image=pinned(IMAGE, by_digest=args.by_digest)),
            # Without its rights it is not ready; a destroy needs it until the last volume is deleted.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config, account, binding, cluster_binding]),
        )
        self.register_outputs({})


ROLE: Spec = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
]
"""What it may do in its own namespace."""

CLUSTER_ROLE: Spec = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "update"]},
    {
        "apiGroups": [""],
        "resources": ["persistentvolumes"],
        "verbs": ["get", "list", "watch", "create", "patch", "update", "delete"],
    },
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
]
"""What it may do in the whole cluster."""


def config_files(path: str, *, helper_image: str) -> dict[str, str]:
    """Its configuration: the folder on nodes, and the pods that make and delete a volume there."""
    helper = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod", "labels": {"app": f"{NAME}-helper"}},
        "spec": {
            # It goes to the volume's node, whatever taints that has.
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "helper-pod",
                    "image": helper_image,
                    "imagePullPolicy": "IfNotPresent",
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                }
            ],
        },
    }
    # YAML contains JSON.
    return {
        "config.json": json.dumps({"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [path]}]}),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(helper),
    }


def deployment(placement: Placement, *, image: str) -> Spec:
    """The `spec` of its Deployment."""
    return {
        "replicas": 1,
        # Two at once would both make a volume.
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _LABELS},
        "template": {"metadata": {"labels": _LABELS}, "spec": _pod(placement, image)},
    }


def _pod(placement: Placement, image: str) -> Spec:
    program = ["local-path-provisioner", "start", "--config", f"{_CONFIG_FOLDER}/config.json"]
    options = {"--provisioner-name": PROVISIONER, "--service-account-name": NAME, "--configmap-name": _CONFIG_MAP}
    probe = {"path": "/ready", "port": "health"}
    return {
        "serviceAccountName": NAME,
        **placement.pod,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "provisioner",
                "image": image,
                "command": [*program, *(part for option in options.items() for part in option)],
                "env": [
                    {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                    {"name": "CONFIG_MOUNT_PATH", "value": f"{_CONFIG_FOLDER}/"},
                    {"name": "HEALTH_PORT", "value": str(_HEALTH_PORT)},
                ],
                "ports": [{"name": "health", "containerPort": _HEALTH_PORT}],
                "readinessProbe": {"httpGet": probe, "periodSeconds": 5},
                "livenessProbe": {"httpGet": {**probe, "path": "/health"}, "initialDelaySeconds": 10},
                "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "config", "mountPath": _CONFIG_FOLDER, "readOnly": True}],
            }
        ],
        "volumes": [{"name": "config", "configMap": {"name": _CONFIG_MAP}}],
    }
