"""Warm capacity: placeholder pods that keep GPU nodes ready, and give way to notebooks at once.

A placeholder has a lower priority than any other pod. It makes Karpenter buy a node, and occupies a GPU or a share
there. A notebook that finds no other room preempts it and runs on that node within seconds. The placeholder is then
pending again, and Karpenter buys the next node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s

from components.ground.system_nodes import SYSTEM_NODES
from components.images import mirrored, pinned
from components.manifests import Spec
from components.nodes.gpu_sharing import tolerations
from components.quantities import canonical
from settings.pools.gpu_shares import shares
from settings.pools.labels import POOL_LABEL

if TYPE_CHECKING:
    from settings import NodePool
    from settings.pools.gpu import Warm as WarmSettings

NAMESPACE = "gpulab-warm"
PRIORITY_CLASS = "gpulab-placeholder"
# Pods without a priority class have 0.
PRIORITY = -10
NAME_LABEL = "app.kubernetes.io/name"

# From the registry that the stack file names. kubectl works with API servers one minor version older and newer.
PAUSE_IMAGE = "pause"
KUBECTL_IMAGE = "kubectl"
# The unprivileged user of distroless images.
UID = 65532
# Seconds after its scheduled time within which a job may still start, if the controller was down.
STARTING_DEADLINE = 600


@dataclass(frozen=True, kw_only=True)
class WarmArgs:
    """The stack file's pools; some may have `gpu.warm`.

    With `by_digest`, images are pinned by their digests, if contracts has them.
    """

    pools: Mapping[str, NodePool]
    by_digest: bool = False


class Warm(pulumi.ComponentResource):
    """A Deployment of placeholders for each warm pool, scaled by CronJobs if the pool has a schedule.

    It depends on the node pools: a destroy deletes placeholders before the pools whose nodes they occupy.
    """

    def __init__(self, name: str, args: WarmArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Warm", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        kept = {pool_name: pool.gpu.warm for pool_name, pool in args.pools.items() if pool.gpu.warm is not None}
        if kept:
            priority = k8s.scheduling.v1.PriorityClass(
                name,
                metadata={"name": PRIORITY_CLASS},
                value=PRIORITY,
                # A placeholder never preempts another pod.
                preemption_policy="Never",
                description="Placeholders, which any other pod may push aside",
                opts=child,
            )
            namespace = k8s.core.v1.Namespace(
                name,
                metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
                opts=child,
            )
            within = pulumi.ResourceOptions(parent=self, depends_on=[namespace, priority])
            for pool_name, warm in kept.items():
                scheduled = pulumi.ResourceOptions(ignore_changes=["spec.replicas"] if warm.schedule else [])
                k8s.apps.v1.Deployment(
                    f"{name}-{pool_name}",
                    metadata={
                        "name": placeholders_name(pool_name),
                        "namespace": NAMESPACE,
                        # A node takes minutes, and the rest must not fail if AWS has no capacity.
                        "annotations": {"pulumi.com/skipAwait": "true"},
                    },
                    spec=placeholders_spec(pool_name, args.pools[pool_name], warm, by_digest=args.by_digest),
                    opts=pulumi.ResourceOptions.merge(within, scheduled),
                )
                if warm.schedule:
                    jobs = scaling_specs(placeholders_name(pool_name), warm, by_digest=args.by_digest)
                    self._scale(f"{name}-{pool_name}", placeholders_name(pool_name), jobs, within)
        self.register_outputs({"pools": list(kept)})

    def _scale(self, name: str, deployment: str, jobs: Mapping[str, Spec], within: pulumi.ResourceOptions) -> None:
        """The jobs that add and remove a pool's placeholders, with their permissions."""
        metadata: Spec = {"name": deployment, "namespace": NAMESPACE}
        k8s.core.v1.ServiceAccount(name, metadata=metadata, automount_service_account_token=False, opts=within)
        role = k8s.rbac.v1.Role(name, metadata=metadata, rules=scaler_rules(deployment), opts=within)
        binding = k8s.rbac.v1.RoleBinding(
            name,
            metadata=metadata,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": deployment},
            subjects=[{"kind": "ServiceAccount", "name": deployment, "namespace": NAMESPACE}],
            opts=pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=[role])),
        )
        for moment, spec in jobs.items():
            k8s.batch.v1.CronJob(
                f"{name}-{moment}",
                metadata={"name": f"{deployment}-{moment}", "namespace": NAMESPACE},
                spec=spec,
                opts=pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=[binding])),
            )


def placeholders_name(pool_name: str) -> str:
    """The name of a pool's Deployment of placeholders, and of the service account that scales it."""
    return f"warm-{pool_name}"


def placeholders_spec(pool_name: str, pool: NodePool, warm: WarmSettings, *, by_digest: bool = False) -> Spec:
    """The `spec` of a pool's Deployment of placeholders.

    With a schedule it starts with 0 replicas, and the CronJobs scale it.
    """
    labels = {NAME_LABEL: placeholders_name(pool_name)}
    (resource,) = shares(pool)
    requests = {
        resource: "1",
        "cpu": canonical(warm.cpu or "10m"),
        "memory": canonical(f"{warm.memory}Gi" if warm.memory else "16Mi"),
    }
    return {
        "replicas": 0 if warm.schedule else warm.replicas,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "priorityClassName": PRIORITY_CLASS,
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "nodeSelector": {POOL_LABEL: pool_name},
                "tolerations": tolerations({pool_name: pool}),
                "securityContext": _UNPRIVILEGED,
                "containers": [
                    {
                        "name": "placeholder",
                        "image": mirrored(pinned(PAUSE_IMAGE, by_digest=by_digest), warm.registry),
                        "resources": {"requests": requests, "limits": requests},
                        "securityContext": _CONFINED,
                    }
                ],
            },
        },
    }


def scaler_rules(deployment: str) -> list[Spec]:
    """What `kubectl scale` needs for this Deployment only: read it, and change its number of replicas."""
    of_deployment: Spec = {"apiGroups": ["apps"], "resourceNames": [deployment]}
    return [
        {**of_deployment, "resources": ["deployments"], "verbs": ["get"]},
        {**of_deployment, "resources": ["deployments/scale"], "verbs": ["get", "patch", "update"]},
    ]


def scaling_specs(deployment: str, warm: WarmSettings, *, by_digest: bool = False) -> dict[str, Spec]:
    """The `spec`s of a schedule's CronJobs: `start` adds the placeholders, `end` removes them."""
    if warm.schedule is None:
        return {}
    image = mirrored(pinned(KUBECTL_IMAGE, by_digest=by_digest), warm.registry)
    moments = {"start": (warm.schedule.start, warm.replicas), "end": (warm.schedule.end, 0)}
    return {
        moment: {
            "schedule": schedule,
            "timeZone": warm.time_zone,
            # A job that hangs must not block the next one.
            "concurrencyPolicy": "Replace",
            "startingDeadlineSeconds": STARTING_DEADLINE,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {
                "spec": {"backoffLimit": 4, "template": {"spec": _scaling_pod(deployment, image, replicas)}}
            },
        }
        for moment, (schedule, replicas) in moments.items()
    }


def _scaling_pod(deployment: str, image: str, replicas: int) -> Spec:
    requests = {"cpu": "10m", "memory": "64Mi"}
    return {
        "serviceAccountName": deployment,
        "automountServiceAccountToken": True,
        "restartPolicy": "OnFailure",
        # It must not make Karpenter buy a node.
        **SYSTEM_NODES.off_pools,
        "securityContext": _UNPRIVILEGED,
        "containers": [
            {
                "name": "scale",
                "image": image,
                "command": ["kubectl", "scale", f"deployment/{deployment}", f"--replicas={replicas}"],
                "resources": {"requests": requests, "limits": {"memory": requests["memory"]}},
                "securityContext": _CONFINED,
            }
        ],
    }


# Pod Security Standards, "Restricted".
_UNPRIVILEGED = {
    "runAsNonRoot": True,
    "runAsUser": UID,
    "runAsGroup": UID,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONFINED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
