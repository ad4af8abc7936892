"""What the chart `jupyterhub` sets on KubeSpawner before it runs `hub.extraConfig`, from its values.

From jupyterhub/files/hub/jupyterhub_config.py of zero-to-jupyterhub 4.4.0, without what does not affect pods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import contracts
from components.hub.values import CHART
from components.teams.names import HUB_NAMESPACE
from rehearsal.providers.kubernetes.chart_values import coalesced

# Traits of KubeSpawner, and the value below `singleuser` that each gets, unless that is null.
_TRAITS = {
    "pod_name_template": "podNameTemplate",
    "start_timeout": "startTimeout",
    "image_pull_policy": "image.pullPolicy",
    "events_enabled": "events",
    "extra_labels": "extraLabels",
    "extra_annotations": "extraAnnotations",
    "uid": "uid",
    "fs_gid": "fsGid",
    "service_account": "serviceAccountName",
    "storage_extra_labels": "storage.extraLabels",
    "node_selector": "nodeSelector",
    "node_affinity_required": "extraNodeAffinity.required",
    "node_affinity_preferred": "extraNodeAffinity.preferred",
    "pod_affinity_required": "extraPodAffinity.required",
    "pod_affinity_preferred": "extraPodAffinity.preferred",
    "pod_anti_affinity_required": "extraPodAntiAffinity.required",
    "pod_anti_affinity_preferred": "extraPodAntiAffinity.preferred",
    "lifecycle_hooks": "lifecycleHooks",
    "init_containers": "initContainers",
    "extra_containers": "extraContainers",
    "mem_limit": "memory.limit",
    "mem_guarantee": "memory.guarantee",
    "cpu_limit": "cpu.limit",
    "cpu_guarantee": "cpu.guarantee",
    "extra_resource_limits": "extraResource.limits",
    "extra_resource_guarantees": "extraResource.guarantees",
    "environment": "extraEnv",
    "profile_list": "profileList",
    "extra_pod_config": "extraPodConfig",
}
_USER_NODES = {"matchExpressions": [{"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["user"]}]}


def set_by_chart(c: Any, given: Mapping[str, Any]) -> None:
    """Sets on `c` what a hub of these values finds there. Raises ValueError for what is left out."""
    chart = contracts.chart(CHART)
    values = coalesced(given, chart.values)
    user = values["singleuser"]
    if user["cloudMetadata"]["blockWithIptables"] or user["storage"]["type"] != "none" or user["extraFiles"]:
        raise ValueError(
            "containers and volumes that the chart adds to notebooks are not modelled: see the chart's file"
        )
    ours = c.KubeSpawner
    ours.common_labels = {
        **dict.fromkeys(("app.kubernetes.io/name", "app"), values["nameOverride"] or chart.name),
        **dict.fromkeys(("app.kubernetes.io/instance", "release"), CHART),
        **dict.fromkeys(("helm.sh/chart", "chart"), f"{chart.name}-{chart.version}"),
        "app.kubernetes.io/managed-by": "kubespawner",
    }
    ours.namespace = HUB_NAMESPACE
    c.Spawner.consecutive_failure_limit = values["hub"]["consecutiveFailureLimit"]
    for trait, path in _TRAITS.items():
        value: Any = user
        for key in path.split("."):
            value = value[key]
        if value is not None:
            setattr(ours, trait, value)
    image = user["image"]
    ours.image = f"{image['name']}:{image['tag']}" if image["tag"] else image["name"]
    ours.allow_privilege_escalation = user["allowPrivilegeEscalation"]
    if secrets := [*values["imagePullSecrets"], *image["pullSecrets"]]:
        ours.image_pull_secrets = secrets
    _schedule(ours, values["scheduling"], user)
    ours.volumes = ours.volume_mounts = {}
    c.Spawner.cmd = user["cmd"]
    if user["defaultUrl"] is not None:
        c.Spawner.default_url = user["defaultUrl"]


def _schedule(ours: Any, scheduling: Mapping[str, Any], user: Mapping[str, Any]) -> None:
    if scheduling["userScheduler"]["enabled"]:
        ours.scheduler_name = "user-scheduler"
    if scheduling["podPriority"]["enabled"]:
        ours.priority_class_name = CHART
    purpose = scheduling["userPods"]["nodeAffinity"]["matchNodePurpose"]
    if purpose == "prefer":
        ours.node_affinity_preferred = [
            *user["extraNodeAffinity"]["preferred"],
            {"weight": 100, "preference": _USER_NODES},
        ]
    elif purpose == "require":
        ours.node_affinity_required = [*user["extraNodeAffinity"]["required"], _USER_NODES]
    if tolerations := [*scheduling["userPods"]["tolerations"], *user["extraTolerations"]]:
        ours.tolerations = tolerations
