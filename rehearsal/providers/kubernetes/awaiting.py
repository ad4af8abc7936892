"""Decides for each kind when an object is ready. It follows provider/pkg/await of the real plugin."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from rehearsal.providers.protocol.model import Refused, Request

from . import objects
from .client import ApiError, Cluster, NoSuchKind
from .objects import Object

_TIMEOUT_SECONDS = 600.0
_TIMEOUTS_BY_KIND = {
    ("v1", "PersistentVolume"): 300.0,
    ("v1", "PersistentVolumeClaim"): 300.0,
    ("v1", "ResourceQuota"): 60.0,
    ("v1", "Secret"): 5.0,
}
_EVENTS_SHOWN = 5


class NotReady(Exception):
    """The object did not become ready: it failed, the time ran out, or the engine cancelled. `reasons` explain it."""

    def __init__(self, obj: Object, reasons: list[str]) -> None:
        super().__init__("; ".join(reasons))
        self.object = obj
        self.reasons = reasons


class Failed(Exception):
    """The object will never become ready."""


# Why an object is not ready yet; nothing when it is. Raises Failed.
Awaiter = Callable[[Cluster, Object], list[str]]


def timeout(obj: Object, default: float = _TIMEOUT_SECONDS) -> float:
    """The seconds to wait for `obj` without a custom timeout: those in its annotation, or `default`."""
    seconds = objects.annotation(obj, objects.TIMEOUT_SECONDS)
    return float(seconds) if seconds.isdigit() else default


def until_ready(cluster: Cluster, inputs: Object, live: Object, request: Request) -> Object:
    """Waits until the object `live` is ready, and returns its new state. Raises NotReady, Refused."""
    if objects.annotation(inputs, objects.SKIP_AWAIT) == "true":
        return live
    awaiter = _awaiter_of(live)
    if awaiter is None:
        return live
    seen: tuple[Object, list[str]] = live, []

    def ready() -> bool:
        nonlocal seen
        current = cluster.get(live)
        reasons = awaiter(cluster, current)
        if reasons and reasons != seen[1]:
            request.log(reasons[0])
        seen = current, reasons
        return not reasons

    kind = live["apiVersion"], live["kind"]
    if awaiter is _claim and not live["spec"].get("storageClassName"):
        request.provider.warn(request.urn, f'no storage class found for "{objects.name_of(live)}"')
    try:
        request.wait(
            ready,
            seconds=timeout(inputs, _TIMEOUTS_BY_KIND.get(kind, _TIMEOUT_SECONDS)),
            what=f"'{objects.name_of(live)}' timed out waiting to be Ready",
        )
    except (TimeoutError, InterruptedError, Failed) as error:
        obj, reasons = seen
        raise NotReady(obj, [str(error), *reasons, *_events(cluster, obj)]) from error
    return seen[0]


def problems(cluster: Cluster, inputs: Object, live: Object) -> list[str]:
    """The reasons why the object `live` is not ready. Empty if it is, or if its kind is not awaited."""
    custom = objects.annotation(live, objects.WAIT_FOR)
    if custom or objects.annotation(inputs, objects.SKIP_AWAIT) == "true":
        return []
    awaiter = _READ_TOO.get((live["apiVersion"], live["kind"]))
    try:
        return awaiter(cluster, live) if awaiter else []
    except Failed as failed:
        return [str(failed)]


def _awaiter_of(live: Object) -> Awaiter | None:
    custom = objects.annotation(live, objects.WAIT_FOR)
    return _custom_awaiter(custom) if custom else _AWAITERS.get((live["apiVersion"], live["kind"]))


def _custom_awaiter(expression: str) -> Awaiter:
    """The expressions in the annotation pulumi.com/waitFor: `condition=` or `jsonpath=`, or a JSON list of them."""
    expressions = json.loads(expression) if expression.startswith("[") else [expression]
    checks = [_custom_check(item) for item in expressions]

    def awaiter(_: Cluster, obj: Object) -> list[str]:
        return [f"Waiting for {one}" for one, holds in zip(expressions, checks, strict=True) if not holds(obj)]

    return awaiter


def _custom_check(expression: str) -> Callable[[Object], bool]:
    how, _, rest = expression.partition("=")
    if how == "condition":
        type, _, status = rest.partition("=")
        return lambda obj: _condition(obj, type).get("status") == (status or "True")
    # Only the JSONPaths of one field: `{.status.phase}`, `{.status.items[0].name}=value`.
    path = re.fullmatch(r"\{?((?:\.[\w-]+|\[\d+\]|\['[^']+'\])+)\}?(?:=(.*))?", rest)
    if how != "jsonpath" or not path:
        raise Refused(
            f"{expression!r}: expected condition=TYPE[=STATUS] or jsonpath={{.one.field}}[=VALUE]",
            f'metadata.annotations["{objects.WAIT_FOR}"]',
        )
    parts = re.findall(r"\.([\w-]+)|\[(\d+)\]|\['([^']+)'\]", path[1])

    def holds(obj: Object) -> bool:
        value: Any = obj
        for field, index, quoted in parts:
            key = int(index) if index else field or quoted
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return False
        return path[2] is None or (str(value).lower() if isinstance(value, bool) else str(value)) == path[2]

    return holds


def _condition(obj: Object, type: str) -> dict[str, Any]:
    # A new definition has null here.
    conditions = obj.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == type), {})


def _is_observed(obj: Object) -> bool:
    """Whether the controller has seen the object's latest change."""
    return obj.get("status", {}).get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)


def _deployment(cluster: Cluster, obj: Object) -> list[str]:
    if not _is_observed(obj):
        return ["Waiting for the Deployment controller"]
    reasons = []
    wanted = obj["spec"].get("replicas", 1)
    updated, available = (obj["status"].get(name, 0) for name in ("updatedReplicas", "availableReplicas"))
    if updated < wanted or available < wanted:
        reasons.append(f"Waiting for app ReplicaSet be available ({available}/{wanted} Pods available)")
    for type in ("Progressing", "Available"):
        condition = _condition(obj, type)
        if condition.get("status") == "False":
            reasons.append(f"[{condition.get('reason')}] {condition.get('message')}")
    return reasons + (_pod_problems(cluster, obj) if reasons else [])


def _stateful_set(cluster: Cluster, obj: Object) -> list[str]:
    if not _is_observed(obj):
        return ["Waiting for the StatefulSet controller"]
    wanted, status = obj["spec"].get("replicas", 1), obj["status"]
    ready = status.get("readyReplicas", 0)
    if ready < wanted:
        reason = f"Failed to observe the expected number of ready replicas ({ready}/{wanted})"
        return [reason, *_pod_problems(cluster, obj)]
    rolling = obj["spec"].get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    if rolling and status.get("currentRevision") != status.get("updateRevision"):
        return [".status.currentRevision does not match .status.updateRevision", *_pod_problems(cluster, obj)]
    return []


def _daemon_set(cluster: Cluster, obj: Object) -> list[str]:
    if not _is_observed(obj):
        return ["Waiting for the DaemonSet controller"]
    status = obj["status"]
    wanted = status.get("desiredNumberScheduled", 0)
    updated, available = (status.get(name, 0) for name in ("updatedNumberScheduled", "numberAvailable"))
    if min(updated, available) < wanted:
        return [f"Waiting for Pods ({available}/{wanted} available)", *_pod_problems(cluster, obj)]
    return []


def _job(cluster: Cluster, obj: Object) -> list[str]:
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        raise Failed(f"[{failed.get('reason')}] {failed.get('message')}")
    if _condition(obj, "Complete").get("status") == "True":
        return []
    return [f"Waiting for Job {objects.object_id(obj)} to succeed", *_pod_problems(cluster, obj)]


def _pod(_: Cluster, obj: Object) -> list[str]:
    phase = obj.get("status", {}).get("phase")
    if phase == "Failed":
        status = obj["status"]
        raise Failed(f"Pod {objects.object_id(obj)} failed: {status.get('message') or status.get('reason')}")
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return []
    return _pod_reasons(obj) or [f"Waiting for Pod {objects.object_id(obj)} to be ready"]


def _pod_problems(cluster: Cluster, owner: Object) -> list[str]:
    """The reasons why the pods of a workload do not run."""
    labels = owner["spec"].get("selector", {}).get("matchLabels", {})
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    if not selector:
        return []
    pods = cluster.objects(cluster.kind("v1", "Pod"), objects.namespace_of(owner), labelSelector=selector)
    return list(dict.fromkeys(reason for pod in pods for reason in _pod_reasons(pod)))


def _pod_reasons(pod: Object) -> list[str]:
    status, name = pod.get("status", {}), objects.name_of(pod)
    scheduled = _condition(pod, "PodScheduled")
    reasons = []
    if scheduled.get("status") == "False":
        reasons.append(f"[Pod {name}]: {scheduled.get('reason')}: {scheduled.get('message')}")
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("message"):
            reasons.append(f"[Pod {name}]: {container['name']}: {waiting.get('reason')}: {waiting['message']}")
    return reasons


def _claim(cluster: Cluster, obj: Object) -> list[str]:
    phase = obj.get("status", {}).get("phase")
    if phase == "Bound":
        return []
    storage_class = obj["spec"].get("storageClassName")
    if phase == "Pending" and storage_class:
        wanted = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": storage_class}}
        try:
            if cluster.get(wanted).get("volumeBindingMode") == "WaitForFirstConsumer":
                return []
        except ApiError as error:
            return [f'getting storageclass "{storage_class}": {error}']
    return [f"PersistentVolumeClaim {objects.object_id(obj)} is {phase}, not Bound"]


def _volume(_: Cluster, obj: Object) -> list[str]:
    phase = obj.get("status", {}).get("phase")
    return [] if phase in ("Available", "Bound") else [f"PersistentVolume {objects.name_of(obj)} is {phase}"]


def _service(cluster: Cluster, obj: Object) -> list[str]:
    spec = obj["spec"]
    type = spec.get("type", "ClusterIP")
    reasons = []
    if type == "LoadBalancer" and not obj.get("status", {}).get("loadBalancer", {}).get("ingress"):
        reasons.append("Service was not allocated an IP address; does your cloud provider support this?")
    if type != "ExternalName" and spec.get("clusterIP") != "None" and spec.get("selector"):
        reasons += _endpoint_problems(cluster, obj)
    return reasons


def _endpoint_problems(cluster: Cluster, service: Object) -> list[str]:
    wanted = {"apiVersion": "v1", "kind": "Endpoints", "metadata": service["metadata"]}
    try:
        subsets = cluster.get(wanted).get("subsets") or []
    except ApiError as error:
        if not error.is_not_found:
            raise
        return [f"Service {objects.object_id(service)} has no Endpoints yet"]
    if any(subset.get("notReadyAddresses") for subset in subsets):
        return [f"Some Pods that Service {objects.object_id(service)} targets are not ready"]
    return []


def _ingress(cluster: Cluster, obj: Object) -> list[str]:
    reasons = []
    for rule in obj["spec"].get("rules", []):
        for path in rule.get("http", {}).get("paths", []):
            name = path.get("backend", {}).get("service", {}).get("name")
            reasons += _backend_problems(cluster, objects.namespace_of(obj), name) if name else []
    if not obj.get("status", {}).get("loadBalancer", {}).get("ingress"):
        reasons.append("Ingress .status.loadBalancer field was not updated with a hostname/IP address.")
    return reasons


def _backend_problems(cluster: Cluster, namespace: str, name: str) -> list[str]:
    wanted = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}}
    try:
        service = cluster.get(wanted)
    except ApiError as error:
        return [f"Ingress has at least one rule that does not target any Service: {error}"]
    return [] if service["spec"].get("type") == "ExternalName" else _endpoint_problems(cluster, service)


def _definition(_: Cluster, obj: Object) -> list[str]:
    if _condition(obj, "Established").get("status") == "True":
        return []
    names = _condition(obj, "NamesAccepted")
    reason = names.get("message") if names.get("status") == "False" else "not Established yet"
    return [f"CustomResourceDefinition {objects.name_of(obj)}: {reason}"]


def _quota(_: Cluster, obj: Object) -> list[str]:
    if obj["spec"].get("hard") == obj.get("status", {}).get("hard"):
        return []
    return [f"ResourceQuota {objects.object_id(obj)} is not in force yet"]


def _secret(_: Cluster, obj: Object) -> list[str]:
    if obj.get("type") != "kubernetes.io/service-account-token" or obj.get("data"):
        return []
    return [f"Secret {objects.object_id(obj)} has no token yet: is there a ServiceAccount of that name?"]


_READ_TOO: dict[tuple[str, str], Awaiter] = {
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "StatefulSet"): _stateful_set,
    ("batch/v1", "Job"): _job,
    ("networking.k8s.io/v1", "Ingress"): _ingress,
    ("v1", "Pod"): _pod,
    ("v1", "Service"): _service,
}
_AWAITERS: dict[tuple[str, str], Awaiter] = {
    **_READ_TOO,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): _definition,
    ("v1", "PersistentVolume"): _volume,
    ("v1", "PersistentVolumeClaim"): _claim,
    ("v1", "ResourceQuota"): _quota,
    ("v1", "Secret"): _secret,
}


def _events(cluster: Cluster, obj: Object) -> list[str]:
    """The latest warnings about an object."""
    selector = f"involvedObject.uid={obj['metadata']['uid']},type=Warning"
    try:
        events = cluster.objects(cluster.kind("v1", "Event"), objects.namespace_of(obj), fieldSelector=selector)
    except (ApiError, NoSuchKind):
        return []
    return [f"{event.get('reason')}: {event.get('message')}" for event in events[-_EVENTS_SHOWN:]]
