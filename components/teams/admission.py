"""What the API server refuses in teams' namespaces, for everybody: ValidatingAdmissionPolicies for all of them.

Pods stay on the pools that their team may use, which its namespace names, and have no token of the Kubernetes API. On
GPU nodes they get only the GPUs that they request, which quotas count. Teams cannot publish anything except through the
platform's load balancer. People in the team may not change the namespace.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.system_nodes import SYSTEM_TAINT
from components.manifests import Spec
from components.teams.names import NODE_POOLS_ANNOTATION, NOTEBOOK_SERVICE_ACCOUNT, TEAM_LABEL
from settings.notebooks.profiles import DEVICE_VARIABLES
from settings.pools.gpu_shares import GPU_TAINT
from settings.pools.labels import POOL_LABEL

if TYPE_CHECKING:
    from settings.pools.pool import Pool

PODS, SERVICES, INGRESSES = "gpulab-team-pods", "gpulab-team-services", "gpulab-team-ingresses"

_SYSTEM = SYSTEM_TAINT["key"]
# For fields that cannot change later. A pod that runs when its team's pools change keeps running and can end normally.
_LATER = "request.operation != 'CREATE'"

# The audience of the tokens that EKS Pod Identity puts into pods. The Kubernetes API does not accept it.
_POD_IDENTITY_AUDIENCE = "pods.eks.amazonaws.com"

_AFFINITY = "object.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
# Terms are alternatives, so each must keep the pod on the team's pools. CEL stops at an && that is already false.
_BY_AFFINITY = (
    f"has(object.spec.affinity) && has(object.spec.affinity.nodeAffinity) && has({_AFFINITY}) "
    f"&& {_AFFINITY}.nodeSelectorTerms.all(term, has(term.matchExpressions) && term.matchExpressions.exists("
    f"one, one.key == '{POOL_LABEL}' && one.operator == 'In' && one.values.all(pool, pool in variables.pools)))"
)
_BY_SELECTOR = (
    f"has(object.spec.nodeSelector) && '{POOL_LABEL}' in object.spec.nodeSelector "
    f"&& object.spec.nodeSelector['{POOL_LABEL}'] in variables.pools"
)
# For pools whose nodes have labels of others: `{known}` are these, by the pool's name.
_TEAMS = "variables.pools.exists(pool, pool in {known} && {known}[pool].all(key, "
_BY_LABELS = (
    "has(object.spec.nodeSelector) && "
    + _TEAMS
    + "key in object.spec.nodeSelector && object.spec.nodeSelector[key] == {known}[pool][key]))"
)
_BY_ANY_TERM = (
    f"has(object.spec.affinity) && has(object.spec.affinity.nodeAffinity) && has({_AFFINITY}) "
    f"&& {_AFFINITY}.nodeSelectorTerms.all(term, has(term.matchExpressions) && (term.matchExpressions.exists("
    f"one, one.key == '{POOL_LABEL}' && one.operator == 'In' && one.values.all(pool, pool in variables.pools)) || "
    + _TEAMS
    + "term.matchExpressions.exists(one, one.key == key && one.operator == 'In' "
    "&& one.values == [{known}[pool][key]])))))"
)
_OPENS_THE_API = (
    "has(volume.projected) && has(volume.projected.sources) && volume.projected.sources.exists(source, "
    "has(source.serviceAccountToken) && !(has(source.serviceAccountToken.audience) "
    f"&& source.serviceAccountToken.audience == '{_POD_IDENTITY_AUDIENCE}'))"
)
# A container that does not set this variable gets its image's value, and CUDA's images have `all`. So it must request a
# GPU (the device plugin then sets it) or set it to none. And at least one container must request a GPU: otherwise the
# pod would keep a GPU node running, and no quota would count it.
_VISIBLE = DEVICE_VARIABLES[0]
_HIDES_GPUS = f"one.name == '{_VISIBLE}' && has(one.value) && one.value in ['void', 'none']"


def _tolerates_gpus(pod: str) -> str:
    return (
        f"(has({pod}.spec.tolerations) && {pod}.spec.tolerations.exists(one, has(one.key) "
        f"&& one.key == '{GPU_TAINT.key}'))"
    )


# Tolerations can be added to a pending pod. A pod that already had this one may change in other ways.
_REACHES_GPUS = f"{_tolerates_gpus('object')} && !(request.operation == 'UPDATE' && {_tolerates_gpus('oldObject')})"
_ASKS_FOR_A_GPU = (
    "has(container.resources) && has(container.resources.limits) && container.resources.limits.exists(name, "
    "name.startsWith('nvidia.com/') && quantity(string(container.resources.limits[name])).isGreaterThan(quantity('0')))"
)


_TOLERATES, _MAY_REACH = f"tolerates {GPU_TAINT.key}", "may run on a node with GPUs"
_OF_TOLERANT_PODS = {
    "expression": f"!variables.reachesGpus || variables.containers.exists(container, {_ASKS_FOR_A_GPU})",
    "message": f"the pod {_TOLERATES}, so it must request a GPU (resources.limits), which "
    "quotas count: remove the toleration if it needs no GPU",
    "reason": "Forbidden",
}


def _pinned(pools: Mapping[str, Pool]) -> tuple[str, str]:
    """The expression for a pod that is pinned to one of the team's pools, and the labels that do it, in words."""
    selectors = {name: dict(pool.node_selector(name)) for name, pool in pools.items()}
    others = {name: labels for name, labels in selectors.items() if labels != {POOL_LABEL: name}}
    ways = [f"({_BY_SELECTOR})", f"({_BY_AFFINITY})"]
    words = [POOL_LABEL] if len(others) < len(selectors) else []
    if others:
        known = json.dumps(others)  # JSON is CEL too
        ways = [f"({_BY_SELECTOR})", f"({_BY_LABELS.format(known=known)})", f"({_BY_ANY_TERM.format(known=known)})"]
        words += [" and ".join(f"{key}={value}" for key, value in labels.items()) for labels in others.values()]
    return " || ".join(ways), " or ".join(words)


def pod_policy(pools: Mapping[str, Pool]) -> Spec:
    """The `spec` for pods in a stack with these pools. It reads the namespace's metadata when the pod is admitted."""
    pinned, labels = _pinned(pools)
    # Without the taint, a pod gets to GPUs wherever it runs.
    guarded = not any(pool.is_gpu and pool.is_open for pool in pools.values())
    reaches, who = (_REACHES_GPUS, _TOLERATES) if guarded else (f"!({_LATER})", _MAY_REACH)
    return {
        "failurePolicy": "Fail",
        "matchConstraints": _on("", "pods"),
        "variables": [
            {
                "name": "pools",
                "expression": f"namespaceObject.metadata.?annotations[?'{NODE_POOLS_ANNOTATION}']"
                ".orValue('').split(',').filter(pool, pool != '')",
            },
            {
                "name": "containers",
                "expression": "object.spec.containers "
                "+ (has(object.spec.initContainers) ? object.spec.initContainers : [])",
            },
            {"name": "reachesGpus", "expression": reaches},
        ],
        "validations": [
            {
                "expression": f"{_LATER} || {pinned}",
                "messageExpression": "'the pod must be pinned to a node pool that the team may use (' + "
                f"variables.pools.join(', ') + '): set nodeSelector {labels}, or require it by node affinity'",
                "reason": "Forbidden",
            },
            {
                "expression": f"{_LATER} || !has(object.spec.nodeName) || object.spec.nodeName == ''",
                "message": "the pod must not name its node: the scheduler finds one on the team's node pools",
                "reason": "Forbidden",
            },
            {
                "expression": "!has(object.spec.tolerations) || !object.spec.tolerations.exists(one, "
                f"!has(one.key) || one.key == '' || one.key == '{_SYSTEM}')",
                "message": f"the pod must not tolerate {_SYSTEM} or every taint: it must not run on system nodes",
                "reason": "Forbidden",
            },
            {
                "expression": f"{_LATER} || !has(object.spec.volumes) "
                f"|| !object.spec.volumes.exists(volume, {_OPENS_THE_API})",
                "message": "the pod must not have a token of the Kubernetes API: set automountServiceAccountToken to "
                f"false, or use the service account {NOTEBOOK_SERVICE_ACCOUNT}",
                "reason": "Forbidden",
            },
            *([_OF_TOLERANT_PODS] if guarded else []),
            {
                "expression": "!variables.reachesGpus || variables.containers.all(container, "
                f"({_ASKS_FOR_A_GPU}) || (has(container.env) && container.env.exists(one, {_HIDES_GPUS})))",
                "message": f"the pod {who}, so each of its containers must request a GPU "
                f"(resources.limits), or set {_VISIBLE} to void",
                "reason": "Forbidden",
            },
            {
                "expression": f"{_LATER} || variables.containers.all(container, !has(container.env) "
                f"|| container.env.all(one, !(one.name in {list(DEVICE_VARIABLES)}) || ({_HIDES_GPUS})))",
                "message": f"the pod must not set {', '.join(DEVICE_VARIABLES)}: it would get GPUs that it did not "
                "request",
                "reason": "Forbidden",
            },
            {
                "expression": "!variables.reachesGpus || variables.containers.all(container, !has(container.envFrom))",
                "message": f"a pod that {who} must set its variables one by one (env), not from "
                f"a ConfigMap or Secret (envFrom), which may contain {_VISIBLE}",
                "reason": "Forbidden",
            },
        ],
    }


def service_policy() -> Spec:
    """The `spec` for Services: only those inside the cluster are allowed."""
    return {
        "failurePolicy": "Fail",
        "matchConstraints": _on("", "services"),
        "validations": [
            {
                "expression": "!has(object.spec.type) || !(object.spec.type in ['LoadBalancer', 'NodePort'])",
                "message": "teams can't publish Services: the type must be ClusterIP or ExternalName",
                "reason": "Forbidden",
            },
            {
                "expression": "!has(object.spec.externalIPs) || size(object.spec.externalIPs) == 0",
                "message": "a Service must not have externalIPs: it could receive traffic that is meant for others",
                "reason": "Forbidden",
            },
        ],
    }


def ingress_policy() -> Spec:
    """The `spec` for Ingresses: none are allowed."""
    return {
        "failurePolicy": "Fail",
        "matchConstraints": _on("networking.k8s.io", "ingresses"),
        "validations": [
            {
                "expression": "false",
                "message": "teams can't publish Ingresses: these would bypass the platform's sign-in",
                "reason": "Forbidden",
            }
        ],
    }


def binding(policy: str) -> Spec:
    """The `spec` that enforces a policy in the namespaces of teams."""
    return {
        "policyName": policy,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchExpressions": [{"key": TEAM_LABEL, "operator": "Exists"}]}},
    }


class TeamAdmission(pulumi.ComponentResource):
    """The policies with their bindings, in a stack with these pools. The namespaces of teams depend on it."""

    def __init__(self, name: str, pools: Mapping[str, Pool], opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:TeamAdmission", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        api = kubernetes.admissionregistration.v1
        for policy, spec in ((PODS, pod_policy(pools)), (SERVICES, service_policy()), (INGRESSES, ingress_policy())):
            made = api.ValidatingAdmissionPolicy(f"{name}-{policy}", metadata={"name": policy}, spec=spec, opts=child)
            api.ValidatingAdmissionPolicyBinding(
                f"{name}-{policy}",
                metadata={"name": policy},
                spec=binding(policy),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
            )
        self.register_outputs({})


def _on(group: str, resource: str) -> dict[str, Any]:
    return {
        "resourceRules": [
            {
                "apiGroups": [group],
                "apiVersions": ["*"],
                "operations": ["CREATE", "UPDATE"],
                "resources": [resource],
            }
        ]
    }
