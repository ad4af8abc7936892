"""Admission on the real API server: what is refused in a team's namespace, whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from teams_lab import (
    GPU_TOLERATION,
    PODS,
    RESEARCH,
    RESTRICTED,
    VISION,
    create,
    notebook,
    refusal,
    token_of,
    whole_gpus,
)

from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError

pytestmark = pytest.mark.seconds(100)

CASES = Path(__file__).parents[2] / "cases"
SERVICES = "/api/v1/services"
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"


def test_a_privileged_pod_is_refused(api: Kubernetes) -> None:
    pod = notebook("privileged", RESEARCH)
    pod["spec"]["containers"][0]["securityContext"] |= {"privileged": True, "allowPrivilegeEscalation": True}
    assert 'violates PodSecurity "restricted' in refusal(api, pod)


def test_a_pod_stays_on_the_pools_that_its_team_may_use(api: Kubernetes) -> None:
    said = refusal(api, notebook("away", VISION, "gpu"))
    assert "pinned to a node pool that the team may use (cpu, gpu-shared)" in said
    anywhere = notebook("anywhere", VISION)
    del anywhere["spec"]["nodeSelector"]
    assert "pinned to a node pool that the team may use" in refusal(api, anywhere)
    create(api, PODS, notebook("away", RESEARCH, "gpu"))


def by_affinity(*terms: list[str]) -> dict[str, Any]:
    """A pod's spec that requires one of the terms, each of them some pools."""
    expressions = [{"matchExpressions": [{"key": "gpulab.dev/pool", "operator": "In", "values": one}]} for one in terms]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": expressions}}
    return {"nodeSelector": {}, "affinity": {"nodeAffinity": required}}


def test_affinity_keeps_a_pod_on_its_pools_too_when_each_of_its_terms_does(api: Kubernetes) -> None:
    create(api, PODS, notebook("both", VISION, **by_affinity(["cpu", "gpu-shared"])))
    for terms in ([["cpu", "gpu"]], [["cpu"], ["gpu"]]):
        assert "pinned to a node pool" in refusal(api, notebook("more", VISION, **by_affinity(*terms)))
    without_pool = by_affinity(["cpu"])
    required = without_pool["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}
    required["nodeSelectorTerms"].append({"matchExpressions": [zone]})
    assert "pinned to a node pool" in refusal(api, notebook("zone", VISION, **without_pool))


def test_no_way_leads_around_the_scheduler_or_onto_system_nodes(api: Kubernetes) -> None:
    assert "must not name its node" in refusal(api, notebook("named", RESEARCH, nodeName="somewhere"))
    for toleration in ({"operator": "Exists"}, {"key": "CriticalAddonsOnly", "operator": "Exists"}):
        said = refusal(api, notebook("everywhere", RESEARCH, tolerations=[toleration]))
        assert "must not tolerate CriticalAddonsOnly" in said
    create(api, PODS, notebook("later", RESEARCH))
    path = place(PODS, "later", RESEARCH)
    tolerations = [*(api.get(path) or {})["spec"].get("tolerations", ()), {"operator": "Exists"}]
    with pytest.raises(ApiError, match="must not tolerate"):
        api.patch(path, {"spec": {"tolerations": tolerations}})
    # What does not concern it may change, as when a team's pools become fewer while its notebooks run.
    api.patch(path, {"metadata": {"labels": {"changed": "true"}}})


def test_what_reaches_gpu_nodes_asks_for_a_gpu(api: Kubernetes) -> None:
    idle = yaml.safe_load((CASES / "pod-without-gpu-on-gpu-pool.yaml").read_text(encoding="utf-8"))
    idle["metadata"]["namespace"] = RESEARCH
    idle["spec"]["containers"][0]["securityContext"] = dict(RESTRICTED)
    assert "it must request a GPU (resources.limits)" in refusal(api, idle)
    # To see none of them is not enough: it would keep the node, and no quota would count that.
    (variable,) = idle["spec"]["containers"][0]["env"]
    variable["value"] = "void"
    assert "it must request a GPU (resources.limits)" in refusal(api, idle)
    del idle["spec"]["tolerations"]
    variable["value"] = "all"
    assert "must not set NVIDIA_VISIBLE_DEVICES" in refusal(api, idle)
    none = notebook("none", RESEARCH, "gpu", limits=whole_gpus(0))
    assert "must request a GPU" in refusal(api, none)

    beside = notebook("beside", RESEARCH, "gpu", limits=whole_gpus(1))
    helper = notebook("helper", RESEARCH)["spec"]["containers"][0] | {"name": "helper"}
    beside["spec"]["containers"].append(helper)
    assert "each of its containers must request a GPU (resources.limits), or set NVIDIA_VISIBLE_DEVICES to void" in (
        refusal(api, beside)
    )
    helper["env"] = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
    create(api, PODS, beside)

    hidden = notebook("hidden", RESEARCH, "gpu", limits=whole_gpus(1))
    hidden["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "variables"}}]
    assert "must set its variables one by one" in refusal(api, hidden)
    # Tolerations can be added to a pod that waits.
    create(api, PODS, notebook("waits", RESEARCH, "gpu"))
    path = place(PODS, "waits", RESEARCH)
    tolerations = [*(api.get(path) or {})["spec"].get("tolerations", ()), GPU_TOLERATION]
    with pytest.raises(ApiError, match="must request a GPU"):
        api.patch(path, {"spec": {"tolerations": tolerations}})
    # What has a GPU may still be changed, and be given its labels.
    api.patch(place(PODS, "beside", RESEARCH), {"metadata": {"labels": {"changed": "true"}}})


def test_it_does_not_matter_who_makes_a_pod(api: Kubernetes) -> None:
    pod = notebook("of-the-job", VISION, "gpu")["spec"]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "away", "namespace": VISION},
        "spec": {"backoffLimit": 0, "template": {"spec": {**pod, "restartPolicy": "Never"}}},
    }
    # The job is fine; the controller that makes its pods is refused.
    create(api, "/apis/batch/v1/jobs", job)
    made = f"/api/v1/namespaces/{VISION}/pods"
    template = {**notebook("as-the-controller", VISION, "gpu"), "kind": "Pod"}
    token = token_of(api, "kube-system", "job-controller")
    with pytest.raises(ApiError, match="pinned to a node pool"):
        api.request("POST", made, template, token=token)
    api.delete(place("/apis/batch/v1/jobs", "away", VISION))


def test_no_pod_brings_a_token_of_the_kubernetes_api(api: Kubernetes) -> None:
    default = notebook("default", RESEARCH, serviceAccountName="default")
    assert "must not have a token of the Kubernetes API" in refusal(api, default)
    asked = notebook("asked", RESEARCH, automountServiceAccountToken=True)
    assert "must not have a token of the Kubernetes API" in refusal(api, asked)

    def with_token(audience: str) -> Object:
        token = {"audience": audience, "path": "token"}
        volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}
        return notebook("pod-identity", RESEARCH, volumes=[volume])

    assert "must not have a token" in refusal(api, with_token("https://kubernetes.default.svc"))
    create(api, PODS, with_token("pods.eks.amazonaws.com"))


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_no_team_publishes_a_service(api: Kubernetes, kind: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "open", "namespace": RESEARCH},
        "spec": {"type": kind, "ports": [{"port": 80}], "selector": {"app": "x"}},
    }
    assert "teams can't publish" in refusal(api, service, SERVICES)
    inside = {**service, "spec": {**service["spec"], "type": "ClusterIP"}}
    create(api, SERVICES, inside)
    path = place(SERVICES, "open", RESEARCH)
    with pytest.raises(ApiError, match="teams can't publish"):
        api.patch(path, {"spec": {"type": kind}})
    with pytest.raises(ApiError, match="must not have externalIPs"):
        api.patch(path, {"spec": {"externalIPs": ["203.0.113.7"]}})
    api.delete(path)


def test_no_team_publishes_an_ingress(api: Kubernetes) -> None:
    backend = {"service": {"name": "x", "port": {"number": 80}}}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "open", "namespace": RESEARCH},
        "spec": {"defaultBackend": backend},
    }
    assert "teams can't publish" in refusal(api, ingress, INGRESSES)
