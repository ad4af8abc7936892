"""Checks of the cluster: its API, its nodes, the programs of the platform, storage, and GPUs on offer."""

from __future__ import annotations

from datetime import UTC, datetime

from components.hub.values import HUB_NAMESPACE
from components.identity.keycloak import NAMESPACE as IDENTITY_NAMESPACE
from reports.node_claims import stuck
from settings import Settings
from settings.people.names import namespace_of
from settings.pools.gpu_shares import shares
from verify.checks import Check, Failed, Skipped, Steps, checks_of
from verify.cluster_api import ClusterApi, Object, conditions, names
from verify.sections import Section

GROUP = "cluster"
_NODES = "/api/v1/nodes"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# What a workload's status calls the pods that it should have and those that are ready.
_COUNTS = {
    "deployments": ("replicas", "readyReplicas"),
    "statefulsets": ("replicas", "readyReplicas"),
    "daemonsets": ("desiredNumberScheduled", "numberReady"),
}


def checks(api: ClusterApi, settings: Settings) -> list[Check]:
    """All of them, in the order in which one explains the next."""
    steps: Steps = {
        "the API server answers": (lambda: api_answers(api), Section.NOT_REACHED),
        "nodes are ready": (lambda: nodes_are_ready(api), Section.NODE_DOES_NOT_JOIN),
        "Karpenter's nodes have joined": (lambda: node_claims_joined(api), Section.NODE_DOES_NOT_JOIN),
        "the platform's programs run": (lambda: programs_run(api), Section.PENDING),
        "there is one default storage class": (lambda: one_default_class(api), Section.STORAGE),
        "teams' volumes are there": (lambda: volumes_are_bound(api, settings), Section.STORAGE),
        "nodes offer the GPUs of their pools": (lambda: gpus_are_offered(api, settings), Section.NO_GPUS),
    }
    return checks_of(GROUP, steps)


def api_answers(api: ClusterApi) -> str:
    """The API server is ready, with its database."""
    said = str(api.request("GET", "/readyz"))
    if said.strip() != "ok":
        raise Failed(f"{api.server} is not ready", Section.NOT_REACHED, said)
    return api.server


def nodes_are_ready(api: ClusterApi) -> str:
    """Each node's kubelet reports that it is ready."""
    nodes = api.list(_NODES)
    for node in nodes:
        ready = conditions(node).get("Ready", {})
        if ready.get("status") != "True":
            name = node["metadata"]["name"]
            raise Failed(f"the node {name} is not ready", Section.NODE_DOES_NOT_JOIN, ready.get("message", ""))
    if not nodes:
        raise Failed("the cluster has no node", Section.NODE_DOES_NOT_JOIN)
    return f"{len(nodes)} nodes"


def node_claims_joined(api: ClusterApi) -> str:
    """No node that Karpenter bought waits longer than 15 minutes to be of use."""
    if not api.serves("karpenter.sh/v1"):
        raise Skipped("the cluster has no Karpenter")
    claims = api.list("/apis/karpenter.sh/v1/nodeclaims")
    waiting = list(stuck(claims, datetime.now(UTC)))
    if waiting:
        said = "\n".join(f"{one}\n{one.command}" for one in waiting)
        raise Failed(f"{len(waiting)} nodes were bought and never became ready", Section.NODE_DOES_NOT_JOIN, said)
    return f"{len(claims)} NodeClaims"


def programs_run(api: ClusterApi) -> str:
    """Each Deployment, StatefulSet and DaemonSet of the platform's namespaces has all its pods ready."""
    counted = 0
    namespaces = {one["metadata"]["name"] for one in api.list("/api/v1/namespaces")}
    for namespace in sorted(namespaces & {"kube-system", "gpu-operator", HUB_NAMESPACE, IDENTITY_NAMESPACE}):
        for plural, (wanted, ready) in _COUNTS.items():
            for workload in api.list(f"/apis/apps/v1/namespaces/{namespace}/{plural}"):
                counted += 1
                _is_ready(api, namespace, workload, wanted, ready)
    return f"{counted} programs in {', '.join(sorted(namespaces & {HUB_NAMESPACE, IDENTITY_NAMESPACE})) or 'no hub'}"


def one_default_class(api: ClusterApi) -> str:
    """Claims that name no storage class get one."""
    classes = api.list("/apis/storage.k8s.io/v1/storageclasses")
    default = [one for one in classes if one["metadata"].get("annotations", {}).get(_DEFAULT_CLASS) == "true"]
    if len(default) != 1:
        found = names(default) or "none"
        raise Failed(f"one storage class should be the default; {found} of {names(classes)} is", Section.STORAGE)
    return names(default)


def volumes_are_bound(api: ClusterApi, settings: Settings) -> str:
    """Each claim of a team's namespace has its volume, unless it waits for its first pod."""
    waiting = {
        one["metadata"]["name"]
        for one in api.list("/apis/storage.k8s.io/v1/storageclasses")
        if one.get("volumeBindingMode") == "WaitForFirstConsumer"
    }
    counted = 0
    for team in settings.teams:
        for claim in api.list(f"/api/v1/namespaces/{namespace_of(team)}/persistentvolumeclaims"):
            counted += 1
            name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
            phase = claim["status"].get("phase")
            if phase != "Bound" and claim["spec"].get("storageClassName") not in waiting:
                said = api.events(namespace, name)
                raise Failed(f"the claim {namespace}/{name} is {phase}, not Bound", Section.STORAGE, said)
    return f"{counted} claims of {len(settings.teams)} teams"


def gpus_are_offered(api: ClusterApi, settings: Settings) -> str:
    """Each ready node of a GPU pool offers at least one of what the pool's pods ask for."""
    pools = {name: pool for name, pool in settings.node_pools.items() if pool.is_gpu}
    if not pools:
        raise Skipped("the stack has no GPU pool")
    found, nodes = [], api.list(_NODES)
    for name, pool in pools.items():
        for node in nodes:
            if not pool.node_selector(name).items() <= node["metadata"].get("labels", {}).items():
                continue
            offered, wanted = node["status"].get("allocatable", {}), list(shares(pool))
            amounts = {resource: offered[resource] for resource in wanted if int(offered.get(resource, 0))}
            if not amounts:
                which = node["metadata"]["name"]
                raise Failed(f"{which} of pool {name} offers no {' or '.join(wanted)}", Section.NO_GPUS)
            found.append(f"{name}: {', '.join(f'{amount} {resource}' for resource, amount in amounts.items())}")
    if not found:
        raise Skipped(f"no node of {', '.join(pools)} runs right now")
    return "; ".join(found)


def _is_ready(api: ClusterApi, namespace: str, workload: Object, wanted: str, ready: str) -> None:
    status, name = workload.get("status", {}), workload["metadata"]["name"]
    expected = status.get(wanted, workload["spec"].get("replicas", 0))
    has = status.get(ready, 0)
    if has >= expected:
        return
    labels = workload["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = api.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
    late = [pod for pod in pods if conditions(pod).get("Ready", {}).get("status") != "True"]
    said = "\n".join(filter(None, (api.events(namespace, pod["metadata"]["name"]) for pod in late[:3])))
    said = said or api.events(namespace, name)
    raise Failed(f"{namespace}/{name} has {has} of {expected} pods ready", Section.PENDING, said)
