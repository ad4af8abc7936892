"""Placeholders: a notebook takes their place, and a schedule scales only them."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from gpu_pools import P4D, cpu_pool, gpu_pool

from components.ground.system_nodes import SYSTEM_TAINT
from components.nodes import warm
from components.nodes.node_pools import node_pool_spec
from rehearsal.controllers.selectors import tolerates
from settings import NodePool
from settings.pools.gpu_shares import shares

SCHEDULE = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5"}
SCHEDULED = {"replicas": 3, "schedule": SCHEDULE, "timeZone": "Europe/Berlin"}
TAINT = {"key": "example.com/team", "value": "ml", "effect": "NoSchedule"}


def deploy(mocks: Any, **pools: NodePool) -> None:
    def program() -> warm.Warm:
        provider = kubernetes.Provider("lab", kubeconfig="{}")
        return warm.Warm("lab-warm", warm.WarmArgs(pools=pools), pulumi.ResourceOptions(providers=[provider]))

    mocks.deploy(program)


def pod_of(deployment: Any) -> dict[str, Any]:
    return deployment.inputs["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "sharing",
    [{}, {"sharing": "time-slicing", "replicas": 4}, {"sharing": "mig", "profile": "1g.5gb"}],
    ids=["whole", "shared", "sliced"],
)
def test_placeholder_holds_what_a_notebook_of_the_pool_asks_for(mocks: Any, sharing: dict[str, Any]) -> None:
    pool = gpu_pool(**P4D, taints=[TAINT], gpu={**sharing, "warm": {"replicas": 2, "cpu": 4, "memory": 16}})
    deploy(mocks, gpu=pool)
    deployment = mocks.one("kubernetes:apps/v1:Deployment")
    pod = pod_of(deployment)
    (resource,) = shares(pool)
    assert pod["containers"][0]["resources"]["limits"] == {resource: "1", "cpu": "4", "memory": "16Gi"}
    assert pod["nodeSelector"].items() <= node_pool_spec("gpu", pool)["template"]["metadata"]["labels"].items()
    for taint in node_pool_spec("gpu", pool)["template"]["spec"]["taints"]:
        assert any(tolerates(one, taint) for one in pod["tolerations"])
    assert deployment.inputs["spec"]["replicas"] == 2


def test_any_pod_takes_a_placeholders_place_at_once(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(gpu={"warm": {"replicas": 1}}))
    priority = mocks.one("kubernetes:scheduling.k8s.io/v1:PriorityClass").inputs
    pod = pod_of(mocks.one("kubernetes:apps/v1:Deployment"))
    assert priority["value"] < 0
    assert priority["preemptionPolicy"] == "Never"
    assert pod["priorityClassName"] == priority["metadata"]["name"]
    assert pod["terminationGracePeriodSeconds"] == 0


def test_schedule_decides_how_many_there_are_and_pulumi_does_not(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(gpu={"warm": SCHEDULED}))
    deployment = mocks.one("kubernetes:apps/v1:Deployment")
    assert deployment.inputs["spec"]["replicas"] == 0
    assert deployment.ignore_changes == ["spec.replicas"]
    jobs = {one.inputs["spec"]["schedule"]: one.inputs["spec"] for one in mocks.all("kubernetes:batch/v1:CronJob")}
    assert jobs.keys() == set(SCHEDULE.values())
    assert {job["timeZone"] for job in jobs.values()} == {"Europe/Berlin"}
    for moment, replicas in ((SCHEDULE["start"], 3), (SCHEDULE["end"], 0)):
        (container,) = jobs[moment]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["command"][:2] == ["kubectl", "scale"]
        assert f"deployment/{deployment.inputs['metadata']['name']}" in container["command"]
        assert f"--replicas={replicas}" in container["command"]


def test_without_schedule_nobody_may_scale(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(gpu={"warm": {"replicas": 1}}))
    assert mocks.one("kubernetes:apps/v1:Deployment").ignore_changes == []
    for kind in ("batch/v1:CronJob", "rbac.authorization.k8s.io/v1:Role", "core/v1:ServiceAccount"):
        assert mocks.all(f"kubernetes:{kind}") == []


def test_jobs_may_scale_their_own_deployment_alone(mocks: Any) -> None:
    deploy(mocks, one=gpu_pool(gpu={"warm": SCHEDULED}), two=gpu_pool(gpu={"warm": SCHEDULED}))
    jobs = mocks.all("kubernetes:batch/v1:CronJob")
    assert len(jobs) == 4
    for job in jobs:
        pod = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        (binding,) = [
            one
            for one in mocks.all("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
            if one.inputs["subjects"][0]["name"] == pod["serviceAccountName"]
        ]
        (role,) = [
            one
            for one in mocks.all("kubernetes:rbac.authorization.k8s.io/v1:Role")
            if one.inputs["metadata"]["name"] == binding.inputs["roleRef"]["name"]
        ]
        (scaled,) = {name for rule in role.inputs["rules"] for name in rule["resourceNames"]}
        assert f"deployment/{scaled}" in pod["containers"][0]["command"]
        assert not {"*", "delete", "create"} & {verb for rule in role.inputs["rules"] for verb in rule["verbs"]}
        assert mocks.needs(job, binding)


def test_jobs_run_on_system_nodes(mocks: Any) -> None:
    """Buying nodes must not need another new node."""
    deploy(mocks, gpu=gpu_pool(gpu={"warm": SCHEDULED}))
    for job in mocks.all("kubernetes:batch/v1:CronJob"):
        pod = job.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        assert any(tolerates(one, SYSTEM_TAINT) for one in pod["tolerations"])
        assert "karpenter.sh/nodepool" in str(pod["affinity"])


def test_images_come_from_the_mirror(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(gpu={"warm": {**SCHEDULED, "registry": "mirror.example.com/k8s"}}))
    pods = [pod_of(mocks.one("kubernetes:apps/v1:Deployment"))]
    pods += [
        one.inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        for one in mocks.all("kubernetes:batch/v1:CronJob")
    ]
    for pod in pods:
        assert pod["containers"][0]["image"].startswith("mirror.example.com/k8s/")


def test_up_does_not_wait_for_gpus(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(gpu={"warm": {"replicas": 1}}))
    annotations = mocks.one("kubernetes:apps/v1:Deployment").inputs["metadata"]["annotations"]
    assert annotations["pulumi.com/skipAwait"] == "true"


def test_nothing_is_made_where_no_pool_is_kept_warm(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool(), cpu=cpu_pool())
    assert [one.type for one in mocks.resources if one.type.startswith("kubernetes:")] == []
