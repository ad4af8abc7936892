"""Warm capacity: placeholders that keep GPUs at hand, and give way to a notebook at once.

A placeholder is a pod of lower priority than any other. It makes Karpenter buy a node and holds a GPU, or a share of
one, there. A notebook that finds no other room preempts it and runs on that node within seconds; the placeholder comes
back and has Karpenter buy the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s

from components.cluster import SYSTEM_TOLERATION
from components.gpu import ON_SYSTEM_NODES
from components.gpu_sharing import tolerations
from components.images import mirrored, pinned
from components.manifests import Spec
from components.node_pools import POOL_LABEL
from components.quantities import canonical
from settings.gpu_shares import shares

if TYPE_CHECKING:
    from settings import NodePool
    from settings.gpu import Warm as WarmSettings

NAMESPACE = "gpulab-warm"
PRIORITY_CLASS = "gpulab-placeholder"
# Pods without a class have 0.
PRIORITY = -10
NAME_LABEL = "app.kubernetes.io/name"

# Of the registry that the stack file names. kubectl works with API servers one minor version older and newer.
PAUSE_IMAGE = "pause"
KUBECTL_IMAGE = "kubectl"
# An unprivileged user's, that of distroless images.
UID = 65532
# Seconds after its time in which a job may still begin, when the controller was away.
STARTING_DEADLINE = 600


@dataclass(frozen=True, kw_only=True)
class WarmArgs:
    """The stack file's pools, of which some may have `gpu.warm`.

    Images are taken by their digests with `by_digest`, where contracts have them.
    """

    pools: Mapping[str, NodePool]
    by_digest: bool = False


class Warm(pulumi.ComponentResource):
    """A Deployment of placeholders for each pool that is to be kept warm, scaled by CronJobs where it has a schedule.

    It depends on the node pools: placeholders are gone before the pools whose nodes they hold.
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
                # It takes nobody's place.
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
                        # A node takes minutes, and one that cannot be had is no reason for the rest to fail.
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
        """The jobs that bring a pool's placeholders and take them away, with what they may do."""
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
    """What a pool's Deployment of placeholders, and the service account that scales it, are called."""
    return f"warm-{pool_name}"


def placeholders_spec(pool_name: str, pool: NodePool, warm: WarmSettings, *, by_digest: bool = False) -> Spec:
    """The `spec` of a pool's Deployment of placeholders. With a schedule it begins with none: the schedule decides."""
    labels = {NAME_LABEL: placeholders_name(pool_name)}
    (resource,) = shares(pool)
    asked = {
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
                        "resources": {"requests": asked, "limits": asked},
                        "securityContext": _CONFINED,
                    }
                ],
            },
        },
    }


def scaler_rules(deployment: str) -> list[Spec]:
    """What `kubectl scale` does, for one Deployment alone: it reads it, and changes the number of its replicas."""
    of_deployment: Spec = {"apiGroups": ["apps"], "resourceNames": [deployment]}
    return [
        {**of_deployment, "resources": ["deployments"], "verbs": ["get"]},
        {**of_deployment, "resources": ["deployments/scale"], "verbs": ["get", "patch", "update"]},
    ]


def scaling_specs(deployment: str, warm: WarmSettings, *, by_digest: bool = False) -> dict[str, Spec]:
    """The `spec`s of the CronJobs of a schedule: `start` brings the placeholders, `end` takes them away."""
    if warm.schedule is None:
        return {}
    image = mirrored(pinned(KUBECTL_IMAGE, by_digest=by_digest), warm.registry)
    moments = {"start": (warm.schedule.start, warm.replicas), "end": (warm.schedule.end, 0)}
    return {
        moment: {
            "schedule": schedule,
            "timeZone": warm.time_zone,
            # The last word counts: a job that hangs must not keep the next one from it.
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
    asked = {"cpu": "10m", "memory": "64Mi"}
    return {
        "serviceAccountName": deployment,
        "automountServiceAccountToken": True,
        "restartPolicy": "OnFailure",
        # No node has to be bought for it.
        "affinity": ON_SYSTEM_NODES,
        "tolerations": [SYSTEM_TOLERATION],
        "securityContext": _UNPRIVILEGED,
        "containers": [
            {
                "name": "scale",
                "image": image,
                "command": ["kubectl", "scale", f"deployment/{deployment}", f"--replicas={replicas}"],
                "resources": {"requests": asked, "limits": {"memory": asked["memory"]}},
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
