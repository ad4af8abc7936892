"""A notebook's pod as the hub makes it: from the traits that it gives KubeSpawner, which is not installed here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from components.hub.inside import pod
from components.hub.inside.catalogue import Catalogue, Pool
from components.hub.inside.choices import Choice
from rehearsal.checks.pods import TRIED
from rehearsal.controllers.world import Object
from settings.pools.labels import POOL_LABEL


def notebook(catalogue: Catalogue, choice: Choice, name: str, claims: Collection[str]) -> Object:
    """The pod of a choice for a person who has the name of the pod; `claims` are those of the team's namespace."""
    missing = [
        volume["name"]
        for volume in choice.team.volumes
        if volume["name"] in choice.team.optional and volume["persistentVolumeClaim"]["claimName"] not in claims
    ]
    traits = _filled(pod.overrides(catalogue, choice, datetime.now(UTC), missing=missing), name)
    resources = {
        "requests": {
            "cpu": str(traits["cpu_guarantee"]),
            "memory": str(traits["mem_guarantee"]),
            **traits["extra_resource_guarantees"],
        },
        "limits": {"memory": str(traits["mem_limit"]), **traits["extra_resource_limits"]},
    }
    container = {
        "name": "notebook",
        "image": traits["image"],
        "env": [{"name": key, "value": value} for key, value in traits["environment"].items()],
        "resources": resources,
        "volumeMounts": traits["volume_mounts"],
        "securityContext": {
            **pod.CONTAINER_SECURITY_CONTEXT,
            "allowPrivilegeEscalation": False,
            "runAsUser": pod.UID,
            "runAsGroup": pod.GID,
        },
    }
    affinity = {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": traits["node_affinity_required"]}
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**traits["extra_labels"], TRIED: name},
            "annotations": {**traits["extra_annotations"], "hub.jupyter.org/username": name},
        },
        "spec": {
            "containers": [container],
            "volumes": traits["volumes"],
            "nodeSelector": traits["node_selector"],
            "affinity": {"nodeAffinity": affinity},
            "tolerations": traits["tolerations"],
            "serviceAccountName": traits["service_account"],
            "automountServiceAccountToken": False,
            "priorityClassName": pod.PRIORITY_CLASS,
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {**pod.POD_SECURITY_CONTEXT, "fsGroup": pod.GID},
            **traits.get("extra_pod_config", {}),
        },
    }


def home(catalogue: Catalogue, name: str) -> Object | None:
    """The claim of a person's home, which the hub makes before the first notebook; None where homes are shared."""
    homes = catalogue.homes
    if not homes.per_person:
        return None
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": f"{homes.size}Gi"}},
    }
    if homes.storage_class:
        spec["storageClassName"] = homes.storage_class
    return {"metadata": {"name": _filled(pod.HOME_CLAIM, name)}, "spec": spec}


def selected_by(pool: Pool, node: Object) -> bool:
    """Whether pods of a pool get to a node, as far as its labels say."""
    wanted = pool.node_selector or {POOL_LABEL: pool.name}
    return wanted.items() <= node["metadata"].get("labels", {}).items()


def _filled(value: Any, person: str) -> Any:
    """The traits with the person's name, as KubeSpawner fills it in."""
    if isinstance(value, str):
        return value.replace("{username}", person).replace("{{", "{").replace("}}", "}")
    if isinstance(value, Mapping):
        return {key: _filled(one, person) for key, one in value.items()}
    return [_filled(one, person) for one in value] if isinstance(value, list) else value
