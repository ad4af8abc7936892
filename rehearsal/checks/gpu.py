"""What must hold of a running stack's GPUs: their resources, DaemonSets and placeholders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.error import HTTPError

from components.nodes import warm
from components.nodes.gpu_sharing import is_managed
from contracts import InstanceType
from rehearsal.controllers.deployed import DeployedRelease, deployed_release
from rehearsal.controllers.device_plugins import CHART, gpu_resources
from rehearsal.controllers.selectors import tolerates
from settings import NodePool

from .checking import Subject, require
from .overlays import expected_gpus
from .overlays import labels as instance_labels

_KARPENTER = "/apis/karpenter.sh/v1"
_SECRETS = "/api/v1/secrets?labelSelector=owner%3Dhelm%2Cstatus%3Ddeployed"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_GPU_PREFIX = "nvidia.com/"


def shares_agree(subject: Subject) -> str:
    """For each GPU pool, Karpenter, the device plugin and the pool's limits have the same GPU resources.

    Karpenter's come from the NodeOverlays, the device plugin's from the configuration that the pool's labels or its
    user data select.
    """
    overlays = _items(subject, "/apis/karpenter.sh/v1alpha1/nodeoverlays")
    classes = {one["metadata"]["name"]: one for one in _items(subject, "/apis/karpenter.k8s.aws/v1/ec2nodeclasses")}
    node_pools = {one["metadata"]["name"]: one for one in _items(subject, f"{_KARPENTER}/nodepools")}
    operator = _operator(subject)
    found = []
    for name, pool in _gpu_pools(subject).items():
        node_pool, node_class = node_pools[name], classes[name]["spec"]
        for one in _one_for_each_count(pool):
            labels = {
                **instance_labels(one),
                **node_pool["spec"]["template"]["metadata"]["labels"],
                "node.kubernetes.io/instance-type": one.name,
                "karpenter.sh/nodepool": name,
            }
            wanted = expected_gpus(one, labels, overlays)
            has = gpu_resources(labels, one, pool.ami.alias, node_class.get("userData", ""), operator)
            require(has == wanted, f"{one.name} of {name} has {has}, but Karpenter expects {wanted}")
            limits = {key for key in node_pool["spec"]["limits"] if key.startswith(_GPU_PREFIX)}
            require(
                limits == set(has), f"the limits of {name} count {sorted(limits)}, but its nodes have {sorted(has)}"
            )
            found.append(f"{one.name} of {name}: {', '.join(f'{count} {key}' for key, count in has.items())}")
    return "; ".join(found) or "the stack has no GPU pool"


def operands_tolerate(subject: Subject) -> str:
    """The DaemonSets of the GPU Operator and of node feature discovery tolerate every taint of every GPU pool."""
    operator = _operator(subject)
    managed = {name: pool for name, pool in _gpu_pools(subject).items() if is_managed(pool)}
    if operator is None:
        require(not managed, f"the GPU Operator is not deployed, but these pools need it: {', '.join(managed)}")
        return "no pool needs the GPU Operator"
    tolerations = {
        "daemonsets": operator.values["daemonsets"]["tolerations"],
        "node-feature-discovery worker": operator.values["node-feature-discovery"]["worker"]["tolerations"],
    }
    seen = 0
    for node_pool in _items(subject, f"{_KARPENTER}/nodepools"):
        if node_pool["metadata"]["name"] not in managed:
            continue
        template = node_pool["spec"]["template"]["spec"]
        for taint in [*template.get("taints", []), *template.get("startupTaints", [])]:
            seen += 1
            for of, given in tolerations.items():
                tolerated = any(tolerates(one, taint) for one in given)
                require(tolerated, f"{of} do not tolerate {taint} of {node_pool['metadata']['name']}")
    return f"{seen} taints of {', '.join(managed)} are tolerated"


def placeholders_scale(subject: Subject) -> str:
    """The schedule of each pool may scale the pool's placeholders, and do nothing else."""
    found = []
    for name, pool in _gpu_pools(subject).items():
        if pool.gpu.warm is None:
            continue
        deployment = warm.placeholders_name(name)
        path = f"/apis/apps/v1/namespaces/{warm.NAMESPACE}/deployments/{deployment}"
        priority = subject.plane.request("GET", path)["spec"]["template"]["spec"]["priorityClassName"]
        value = subject.plane.request("GET", f"/apis/scheduling.k8s.io/v1/priorityclasses/{priority}")["value"]
        require(value < 0, f"the placeholders of {name} have priority {value}: notebooks cannot replace them")
        if pool.gpu.warm.schedule is None:
            found.append(f"{name}: always {pool.gpu.warm.replicas}")
            continue
        jobs = _items(subject, f"/apis/batch/v1/namespaces/{warm.NAMESPACE}/cronjobs")
        zones = {one["spec"]["timeZone"] for one in jobs if one["metadata"]["name"].startswith(f"{deployment}-")}
        require(zones == {pool.gpu.warm.time_zone}, f"the jobs of {name} use the time zones {sorted(zones)}")
        for verb, resource, subresource, object_name, may in (
            ("get", "deployments", "", deployment, True),
            ("patch", "deployments", "scale", deployment, True),
            ("patch", "deployments", "scale", "another", False),
            ("patch", "deployments", "", deployment, False),
            ("delete", "deployments", "", deployment, False),
        ):
            action = {"verb": verb, "group": "apps", "resource": resource, "subresource": subresource}
            allowed = _allowed(subject, deployment, {**action, "name": object_name, "namespace": warm.NAMESPACE})
            words = f"{verb} {resource}/{subresource} {object_name}".replace("/ ", " ")
            require(allowed == may, f"the jobs of {name} may {'' if allowed else 'not '}{words}")
        schedule = pool.gpu.warm.schedule
        hours = f"{schedule.start} to {schedule.end} {pool.gpu.warm.time_zone}"
        found.append(f"{name}: {pool.gpu.warm.replicas} from {hours}, by an account that may only scale them")
    return "; ".join(found) or "no pool is kept warm"


def _gpu_pools(subject: Subject) -> dict[str, NodePool]:
    return {name: pool for name, pool in subject.settings.node_pools.items() if pool.is_gpu}


def _items(subject: Subject, path: str) -> list[dict[str, Any]]:
    """The objects of a collection; none if the API server does not have the kind."""
    try:
        return subject.plane.request("GET", path)["items"]
    except HTTPError as error:
        if error.code == 404:
            return []
        raise


def _operator(subject: Subject) -> DeployedRelease | None:
    releases = map(deployed_release, _items(subject, _SECRETS))
    return next((release for release in releases if release.chart == CHART), None)


def _one_for_each_count(pool: NodePool) -> Iterable[InstanceType]:
    """The cheapest instance type of the pool for each number of GPUs that it takes."""
    return {one.gpu_count: one for one in reversed(pool.instance_types)}.values()


def _allowed(subject: Subject, account: str, attributes: Mapping[str, str]) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{warm.NAMESPACE}:{account}",
            "resourceAttributes": dict(attributes),
        },
    }
    return subject.plane.request("POST", _REVIEWS, review)["status"]["allowed"]


GPU_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "nodes have the GPUs that Karpenter expects": shares_agree,
    "GPU DaemonSets tolerate every GPU pool": operands_tolerate,
    "placeholders are scaled by schedule": placeholders_scale,
}
