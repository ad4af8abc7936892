"""Teams on the real API server: what quota, admission and rights refuse, and what is left when a team goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import team_rbac
from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.pods import DO_NOT_DISRUPT, until
from rehearsal.providers.kubernetes.client import ApiError
from rehearsal.run import Options, Rehearsal
from rehearsal.toolchain import Toolchain
from tests.rehearsal import bare_pods
from tests.rehearsal.labs import lab

pytestmark = pytest.mark.seconds(100)

STACK_FILE = Path(__file__).parent / "programs" / "teams" / "Pulumi.teams.yaml"
CASES = Path(__file__).parents[1] / "cases"
RESEARCH, VISION = "team-research", "team-vision"
PODS, SERVICES, QUOTAS = "/api/v1/pods", "/api/v1/services", "/api/v1/resourcequotas"
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture(scope="module")
def teams(toolchain: Toolchain) -> Iterator[Rehearsal]:
    """The platform with two teams, up."""
    with lab(Options(stack_file=STACK_FILE, stack="teams")) as rehearsal:
        rehearsal.up()
        yield rehearsal


@pytest.fixture
def api(teams: Rehearsal) -> Iterator[Kubernetes]:
    """The API server, called as the cluster's administrator; pods of a test go with it."""
    kubernetes = Kubernetes(teams.plane.kubeconfig)
    yield kubernetes
    for namespace in (RESEARCH, VISION):
        kubernetes.request("DELETE", f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0")
    # What is gone counts for a moment longer.
    until(lambda: not pods_counted(kubernetes), "the quotas count no pod", seconds=60)


def pods_counted(kubernetes: Kubernetes) -> int:
    quotas = (one for one in kubernetes.list(QUOTAS) if one["metadata"]["namespace"] in (RESEARCH, VISION))
    return sum(int(one.get("status", {}).get("used", {}).get("pods", 0)) for one in quotas)


def notebook(
    name: str, namespace: str, pool: str = "cpu", *, limits: dict[str, str] | None = None, **spec: Any
) -> Object:
    """A pod as the hub makes notebooks, in what admission looks at."""
    resources = {"limits": {"memory": "1Gi", **(limits or {})}, "requests": {"cpu": "100m"}}
    container = {"name": "notebook", "image": "notebook", "resources": resources, "securityContext": dict(RESTRICTED)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": "notebook",
            "nodeSelector": {"gpulab.dev/pool": pool},
            "tolerations": [GPU_TOLERATION] if any(name.startswith("nvidia.com/") for name in limits or ()) else [],
            "containers": [container],
            **spec,
        },
    }


def create(api: Kubernetes, collection: str, obj: Object) -> None:
    api.create(place(collection, obj["metadata"]["name"], obj["metadata"]["namespace"]), obj)


def refusal(api: Kubernetes, obj: Object, collection: str = PODS) -> str:
    """What the API server says as it refuses an object; the status is 403 or 422."""
    with pytest.raises(ApiError) as refused:
        create(api, collection, obj)
    assert refused.value.status in (403, 422), refused.value
    return str(refused.value)


def whole_gpus(count: int) -> dict[str, str]:
    return {"nvidia.com/gpu": str(count)}


# What a team may have.


def test_the_third_whole_gpu_is_refused_by_a_quota_of_two(api: Kubernetes) -> None:
    create(api, PODS, notebook("one", RESEARCH, "gpu", limits=whole_gpus(1)))
    create(api, PODS, notebook("two", RESEARCH, "gpu", limits=whole_gpus(1)))
    said = refusal(api, notebook("three", RESEARCH, "gpu", limits=whole_gpus(1)))
    assert "exceeded quota: team" in said
    assert "requests.nvidia.com/gpu=1" in said
    assert "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2" in said


def test_a_slice_is_refused_where_none_is_granted_and_given_where_some_are(api: Kubernetes) -> None:
    share = {"nvidia.com/gpu.shared": "1"}
    said = refusal(api, notebook("slice", RESEARCH, "gpu-shared", limits=share))
    assert "exceeded quota: team" in said
    assert "limited: requests.nvidia.com/gpu.shared=0" in said
    create(api, PODS, notebook("slice", VISION, "gpu-shared", limits=share))


def test_a_team_runs_no_more_notebooks_than_it_may(api: Kubernetes) -> None:
    for number in range(2):
        create(api, PODS, notebook(f"notebook-{number}", VISION))
    assert "limited: pods=2" in refusal(api, notebook("one-too-many", VISION))


def test_memory_counts_whether_it_is_requested_or_only_allowed(api: Kubernetes) -> None:
    greedy = notebook("greedy", RESEARCH, limits={"memory": "65Gi"})
    greedy["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Gi"
    assert "maximum memory usage per Container is 64Gi" in refusal(api, greedy)
    for number in range(2):
        half = notebook(f"half-{number}", RESEARCH, limits={"memory": "33Gi"})
        half["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Gi"
        if number == 0:
            create(api, PODS, half)
    assert "limited: limits.memory=64Gi" in refusal(api, half)


def test_who_asks_for_nothing_gets_little(api: Kubernetes) -> None:
    silent = notebook("silent", RESEARCH)
    del silent["spec"]["containers"][0]["resources"]
    create(api, PODS, silent)
    made = api.get(place(PODS, "silent", RESEARCH))
    assert made
    (container,) = made["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert container["resources"]["requests"]["memory"] == "256Mi"


# What is refused whoever asks.


def test_a_privileged_pod_is_refused(api: Kubernetes) -> None:
    pod = notebook("privileged", RESEARCH)
    pod["spec"]["containers"][0]["securityContext"] |= {"privileged": True, "allowPrivilegeEscalation": True}
    assert 'violates PodSecurity "restricted' in refusal(api, pod)


def test_a_pod_stays_on_the_pools_that_its_team_may_use(api: Kubernetes) -> None:
    said = refusal(api, notebook("away", VISION, "gpu"))
    assert "kept on a node pool that the team may use, which are cpu, gpu-shared" in said
    anywhere = notebook("anywhere", VISION)
    del anywhere["spec"]["nodeSelector"]
    assert "kept on a node pool that the team may use" in refusal(api, anywhere)
    create(api, PODS, notebook("away", RESEARCH, "gpu"))


def by_affinity(*terms: list[str]) -> dict[str, Any]:
    """A pod's spec that requires one of the terms, each of them some pools."""
    expressions = [{"matchExpressions": [{"key": "gpulab.dev/pool", "operator": "In", "values": one}]} for one in terms]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": expressions}}
    return {"nodeSelector": {}, "affinity": {"nodeAffinity": required}}


def test_affinity_keeps_a_pod_on_its_pools_too_when_each_of_its_terms_does(api: Kubernetes) -> None:
    create(api, PODS, notebook("both", VISION, **by_affinity(["cpu", "gpu-shared"])))
    for terms in ([["cpu", "gpu"]], [["cpu"], ["gpu"]]):
        assert "kept on a node pool" in refusal(api, notebook("more", VISION, **by_affinity(*terms)))
    without_pool = by_affinity(["cpu"])
    required = without_pool["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    zone = {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}
    required["nodeSelectorTerms"].append({"matchExpressions": [zone]})
    assert "kept on a node pool" in refusal(api, notebook("zone", VISION, **without_pool))


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
    assert "must ask for a GPU (resources.limits), or set NVIDIA_VISIBLE_DEVICES to void" in refusal(api, idle)
    del idle["spec"]["tolerations"]
    assert "must not set NVIDIA_VISIBLE_DEVICES" in refusal(api, idle)
    none = notebook("none", RESEARCH, "gpu", limits=whole_gpus(0))
    assert "must ask for a GPU" in refusal(api, none)

    beside = notebook("beside", RESEARCH, "gpu", limits=whole_gpus(1))
    helper = notebook("helper", RESEARCH)["spec"]["containers"][0] | {"name": "helper"}
    beside["spec"]["containers"].append(helper)
    assert "must ask for a GPU" in refusal(api, beside)
    helper["env"] = [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}]
    create(api, PODS, beside)

    hidden = notebook("hidden", RESEARCH, "gpu", limits=whole_gpus(1))
    hidden["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "variables"}}]
    assert "must name its variables one by one" in refusal(api, hidden)
    # Tolerations can be added to a pod that waits.
    create(api, PODS, notebook("waits", RESEARCH, "gpu"))
    path = place(PODS, "waits", RESEARCH)
    tolerations = [*(api.get(path) or {})["spec"].get("tolerations", ()), GPU_TOLERATION]
    with pytest.raises(ApiError, match="must ask for a GPU"):
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
    with pytest.raises(ApiError, match="kept on a node pool"):
        api.request("POST", made, template, token=token)
    api.delete(place("/apis/batch/v1/jobs", "away", VISION))


def test_no_pod_brings_a_token_of_the_kubernetes_api(api: Kubernetes) -> None:
    default = notebook("default", RESEARCH, serviceAccountName="default")
    assert "must not bring a token of the Kubernetes API" in refusal(api, default)
    asked = notebook("asked", RESEARCH, automountServiceAccountToken=True)
    assert "must not bring a token of the Kubernetes API" in refusal(api, asked)

    def with_token(audience: str) -> Object:
        token = {"audience": audience, "path": "token"}
        volume = {"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}
        return notebook("pod-identity", RESEARCH, volumes=[volume])

    assert "must not bring a token" in refusal(api, with_token("https://kubernetes.default.svc"))
    create(api, PODS, with_token("pods.eks.amazonaws.com"))


@pytest.mark.parametrize("kind", ["LoadBalancer", "NodePort"])
def test_no_team_publishes_a_service(api: Kubernetes, kind: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "open", "namespace": RESEARCH},
        "spec": {"type": kind, "ports": [{"port": 80}], "selector": {"app": "x"}},
    }
    assert "teams publish nothing" in refusal(api, service, SERVICES)
    inside = {**service, "spec": {**service["spec"], "type": "ClusterIP"}}
    create(api, SERVICES, inside)
    path = place(SERVICES, "open", RESEARCH)
    with pytest.raises(ApiError, match="teams publish nothing"):
        api.patch(path, {"spec": {"type": kind}})
    with pytest.raises(ApiError, match="must have no externalIPs"):
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
    assert "teams publish nothing" in refusal(api, ingress, INGRESSES)


# Who may do what.


def token_of(api: Kubernetes, namespace: str, account: str) -> str:
    """A token of a service account, as its pods would have it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    return api.request("POST", path, body)["status"]["token"]


def can(api: Kubernetes, verb: str, resource: str, namespace: str | None, *, user: str, groups: list[str]) -> bool:
    """As `kubectl auth can-i --as USER --as-group GROUP`, decided by the API server's own authorizer."""
    name, _, subresource = resource.partition("/")
    group = {"deployments": "apps", "jobs": "batch", "networkpolicies": "networking.k8s.io"}.get(name, "")
    rbac = {"rolebindings": "rbac.authorization.k8s.io", "clusterroles": "rbac.authorization.k8s.io"}
    attributes = {"verb": verb, "group": rbac.get(name, group), "resource": name, "subresource": subresource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": [*groups, "system:authenticated"],
            "resourceAttributes": {**attributes, **({"namespace": namespace} if namespace else {})},
        },
    }
    return api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


def account_can(api: Kubernetes, verb: str, resource: str, namespace: str | None, account: str) -> bool:
    """The same for a service account, NAMESPACE:NAME."""
    own = account.partition(":")[0]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{own}"]
    return can(api, verb, resource, namespace, user=f"system:serviceaccount:{account}", groups=groups)


def test_one_teams_account_reads_no_pods_of_its_own_or_anothers(api: Kubernetes) -> None:
    create(api, PODS, notebook("secret-work", VISION))
    token = token_of(api, RESEARCH, "notebook")
    for namespace in (VISION, RESEARCH, "kube-system"):
        with pytest.raises(ApiError) as refused:
            api.request("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)
        assert refused.value.status == 403
    for verb, resource in (("get", "pods"), ("list", "secrets"), ("create", "pods"), ("get", "configmaps")):
        for namespace in (VISION, RESEARCH, None):
            assert not account_can(api, verb, resource, namespace, f"{RESEARCH}:notebook")
            assert not account_can(api, verb, resource, namespace, f"{RESEARCH}:default")


def test_the_hub_starts_notebooks_in_teams_namespaces_and_nothing_anywhere_else(api: Kubernetes) -> None:
    for namespace in (RESEARCH, VISION):
        for verb in ("get", "list", "watch", "create", "delete"):
            assert account_can(api, verb, "pods", namespace, "hub:hub")
        assert account_can(api, "get", "resourcequotas", namespace, "hub:hub")
        assert account_can(api, "list", "events", namespace, "hub:hub")
        assert account_can(api, "create", "secrets", namespace, "hub:hub")
        for verb, resource in (
            ("get", "secrets"),
            ("list", "secrets"),
            ("delete", "secrets"),
            ("create", "pods/exec"),
            ("patch", "pods"),
            ("create", "persistentvolumeclaims"),
            ("update", "resourcequotas"),
            ("create", "rolebindings"),
        ):
            assert not account_can(api, verb, resource, namespace, "hub:hub"), f"{verb} {resource}"
    for namespace in ("default", "kube-system", None):
        assert not account_can(api, "list", "pods", namespace, "hub:hub")
        assert not account_can(api, "create", "pods", namespace, "hub:hub")


# The table of components/team_rbac.py, by role: what each may do in its team's namespace.
READ = ("get", "list", "watch")
LOOKS = {(verb, one) for verb in READ for one in ("pods", "persistentvolumeclaims", "services", "events")}
MANAGES = LOOKS | {("delete", "pods")} | {(verb, one) for verb in READ for one in ("resourcequotas", "limitranges")}
ADMINISTERS = (
    MANAGES
    | {
        (verb, one)
        for verb in (*READ, "create", "update", "patch", "delete")
        for one in ("pods", "persistentvolumeclaims", "services", "configmaps", "deployments", "jobs")
    }
    | {("get", "pods/log"), ("create", "pods/exec"), ("get", "pods/exec"), ("create", "pods/portforward")}
    | {("get", "pods/portforward")}
)
TABLE = {
    "developer": LOOKS,
    "data-scientist": LOOKS,
    "project-manager": MANAGES,
    "administrator": ADMINISTERS,
}
VERBS = (*READ, "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *("pods", "pods/log", "pods/exec", "pods/portforward", "persistentvolumeclaims", "services", "events"),
    *("configmaps", "secrets", "serviceaccounts", "resourcequotas", "limitranges", "deployments", "jobs"),
    *("networkpolicies", "rolebindings", "namespaces"),
)


@pytest.fixture(scope="module")
def bound(teams: Rehearsal) -> Iterator[Kubernetes]:
    """The bindings of `cluster.oidc`, which asks for a domain that this stack has not."""
    api = Kubernetes(teams.plane.kubeconfig)
    collection = "/apis/rbac.authorization.k8s.io/v1/rolebindings"
    for name in team_rbac.CLUSTER_ROLES:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": RESEARCH},
            "roleRef": team_rbac.role_ref("ClusterRole", name),
            "subjects": team_rbac.subjects("research", name, {}),
        }
        create(api, collection, binding)
    # The API server decides by a copy of the bindings, which follows them.
    for role in TABLE:
        until(lambda role=role: can(api, "get", "pods", RESEARCH, **somebody(role)), f"{role} is bound", seconds=60)
    yield api
    for name in team_rbac.CLUSTER_ROLES:
        api.delete(place(collection, name, RESEARCH))


def somebody(role: str) -> dict[str, Any]:
    """A person of the team research, as the API server's sign-in describes them."""
    return {"user": "gpulab:ada", "groups": [f"gpulab:/research/{role}"]}


@pytest.mark.parametrize("role", TABLE)
def test_each_role_can_exactly_what_the_table_says(bound: Kubernetes, role: str) -> None:
    person = somebody(role)
    found = {(verb, one) for verb in VERBS for one in RESOURCES if can(bound, verb, one, RESEARCH, **person)}
    assert found == {(verb, one) for verb, one in TABLE[role] if one in RESOURCES}
    for namespace in (VISION, "kube-system", None):
        assert not [one for verb in VERBS for one in RESOURCES if can(bound, verb, one, namespace, **person)]


# The whole of it.


def test_a_team_that_leaves_takes_its_namespace_and_leaves_the_others(teams: Rehearsal, api: Kubernetes) -> None:
    """Last, as it changes the stack: the team's objects and its role go, another team's pod stays."""
    stays = notebook("stays", VISION)
    stays["metadata"]["annotations"] = {DO_NOT_DISRUPT: "true"}
    bare_pods.run(api, place(PODS, "stays", VISION), stays, seconds=180)
    create(api, PODS, notebook("goes", RESEARCH))
    document = yaml.safe_load(teams.workspace.stack_file.read_text(encoding="utf-8"))
    del document["config"]["gpulab:teams"]["research"]
    teams.workspace.stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    preview = teams.engine.run("preview")
    assert preview.ok, preview.output
    assert "Team research leaves" in preview.output
    assert "Team vision leaves" not in preview.output
    assert "Its files in /teams/research of the file system are kept" in preview.output
    teams.up()
    assert api.get(f"/api/v1/namespaces/{RESEARCH}") is None
    assert api.get(place(PODS, "stays", VISION))
    roles = [one["RoleName"] for one in teams.account.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if "research" in name]
    again = teams.engine.run("preview")
    assert "leaves" not in again.output
    teams.destroy()
    teams.look_for_leftovers()
    assert teams.report.left is not None
    assert teams.report.left.as_json()["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
