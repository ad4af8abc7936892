"""Checks of the cluster: its API, its nodes, the programs of the platform, storage, and GPUs on offer."""

from __future__ import annotations

from datetime import UTC, datetime

from components.hub.inside.sections import Section
from components.hub.values import HUB_NAMESPACE
from components.identity.keycloak import NAMESPACE as IDENTITY_NAMESPACE
from reports.node_claims import stuck
from settings import EksSettings, Settings
from settings.people.names import namespace_of
from settings.pools.gpu_shares import shares
from verify.checks import Check, Failed, Skipped, Steps, checks_of
from verify.cluster_api import RUNS, ClusterApi, Object, conditions, names

GROUP = "cluster"
_NODES = "/api/v1/nodes"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_DNS_SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
_PRODUCT = "nvidia.com/gpu.product"
# A kubelet renews its lease each 10 s.
_SECONDS_APART = 60
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
        "clocks agree": (lambda: clocks_agree(api), Section.CLOCK),
        "DNS answers": (lambda: dns_answers(api), Section.DNS),
        "the platform's programs run": (lambda: programs_run(api), Section.PENDING),
        "there is one default storage class": (lambda: one_default_class(api), Section.STORAGE),
        "teams' volumes are there": (lambda: volumes_are_bound(api, settings), Section.STORAGE),
        "nodes offer the GPUs of their pools": (lambda: gpus_are_offered(api, settings), Section.NO_GPUS),
        "feature discovery describes the GPUs": (lambda: gpus_are_described(api, settings), Section.NO_GPUS),
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


def clocks_agree(api: ClusterApi) -> str:
    """Each kubelet renews its lease by its node's clock, some seconds ago by the clock here."""
    apart: dict[str, float] = {}
    ready = {one["metadata"]["name"] for one in api.list(_NODES) if _is_true(one, "Ready")}
    for lease in api.list(_LEASES):
        name, renewed = lease["metadata"]["name"], lease["spec"].get("renewTime")
        if name in ready and renewed:
            apart[name] = (datetime.fromisoformat(renewed) - datetime.now(UTC)).total_seconds()
    wrong = {name: seconds for name, seconds in apart.items() if abs(seconds) > _SECONDS_APART}
    if wrong:
        told = ", ".join(f"{name} by {seconds:+.0f} s" for name, seconds in wrong.items())
        whose = "the clock here is wrong, or that of each node" if len(wrong) == len(apart) > 1 else "clocks differ"
        raise Failed(f"{whose}: {told}", Section.CLOCK)
    if not apart:
        raise Skipped("no kubelet has a lease")
    return f"{len(apart)} nodes"


def dns_answers(api: ClusterApi) -> str:
    """The cluster's DNS has at least one pod that is ready."""
    slices = api.list(_DNS_SLICES, labelSelector="kubernetes.io/service-name=kube-dns")
    ready = [one for each in slices for one in each.get("endpoints") or () if one.get("conditions", {}).get("ready")]
    if not ready:
        raise Failed("the Service kube-system/kube-dns has no pod that is ready", Section.DNS)
    return f"{len(ready)} pods"


def programs_run(api: ClusterApi) -> str:
    """Each Deployment, StatefulSet and DaemonSet of the platform's namespaces has all its pods ready."""
    counted = 0
    namespaces = {one["metadata"]["name"] for one in api.list("/api/v1/namespaces")}
    ours = namespaces & {"kube-system", "gpu-operator", "cnpg-system", HUB_NAMESPACE, IDENTITY_NAMESPACE}
    on_sites = {one for one in namespaces if one.startswith("gpulab-") and not one.startswith(RUNS)}
    for namespace in sorted(ours | on_sites):
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


def gpus_are_described(api: ClusterApi, settings: Settings) -> str:
    """Each node of a GPU pool has labels with its product, unless its image has the device plugin built in."""
    pools = {
        name: pool
        for name, pool in settings.node_pools.items()
        if pool.is_gpu and not (isinstance(settings, EksSettings) and settings.node_pools[name].ami.family != "AL2023")
    }
    if not pools:
        raise Skipped("no pool has nodes on which feature discovery runs")
    products, nodes = set(), api.list(_NODES)
    for name, pool in pools.items():
        for node in nodes:
            labels = node["metadata"].get("labels", {})
            if not pool.node_selector(name).items() <= labels.items():
                continue
            if _PRODUCT not in labels:
                which = node["metadata"]["name"]
                raise Failed(f"{which} of pool {name} has no label {_PRODUCT}", Section.NO_GPUS)
            products.add(labels[_PRODUCT])
    if not products:
        raise Skipped(f"no node of {', '.join(pools)} runs right now")
    return ", ".join(sorted(products))


def _is_true(obj: Object, condition: str) -> bool:
    return conditions(obj).get(condition, {}).get("status") == "True"


def _is_ready(api: ClusterApi, namespace: str, workload: Object, wanted: str, ready: str) -> None:
    status, name = workload.get("status", {}), workload["metadata"]["name"]
    expected = status.get(wanted, workload["spec"].get("replicas", 0))
    has = status.get(ready, 0)
    if has >= expected:
        return
    labels = workload["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    pods = api.list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)
    late = [pod for pod in pods if not _is_true(pod, "Ready")]
    said = "\n".join(filter(None, (api.events(namespace, pod["metadata"]["name"]) for pod in late[:3])))
    said = said or api.events(namespace, name)
    raise Failed(f"{namespace}/{name} has {has} of {expected} pods ready", Section.PENDING, said)
