"""Shared, partitioned and warm GPUs on the real Karpenter and scheduler: what is bought for whom, and what is not.

Kubelets are KWOK's: no container runs. What the device plugin reports of a node is taken from the configuration that
the GPU Operator's release gives it. What a job's container would do is done here, with its service account's token;
jobs of CronJobs are started by hand, as their hours are not ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from karpenter_lab import Lab, passing_pods, running_lab, until

import contracts
from components.ground.system_nodes import SYSTEM_NODES, SYSTEM_TAINT
from components.nodes import warm
from components.nodes.gpu import gpu_operator_values
from rehearsal.controllers.world import NODE_CLAIMS, NODES, PODS, Object, place
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.providers.kubernetes.client import ApiError
from rehearsal.run import Options
from settings.pools.gpu import Warm
from tests.rehearsal import labs

pytestmark = pytest.mark.seconds(150)

SHARED = "nvidia.com/gpu.shared"
SLICE = "nvidia.com/mig-1g.5gb"
DEPLOYMENTS, DAEMON_SETS = "/apis/apps/v1/deployments", "/apis/apps/v1/daemonsets"
JOBS, CRON_JOBS = "/apis/batch/v1/jobs", "/apis/batch/v1/cronjobs"
NAMESPACES, ACCOUNTS = "/api/v1/namespaces", "/api/v1/serviceaccounts"
ROLES = "/apis/rbac.authorization.k8s.io/v1/roles"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/rolebindings"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
MERGE_PATCH = "application/merge-patch+json"
BOTTLEROCKET = {"family": "Bottlerocket", "alias": "bottlerocket@v1.66.0"}
LAYOUT = {"sharing": "mig", "layout": {"1g.10gb": 4, "3g.40gb": 1}}


@pytest.fixture(scope="module")
def lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with pools of every kind."""
    with running_lab(toolchain, tmp_path_factory.mktemp("gpus")) as made:
        made.make_pool("gpu")
        made.make_pool("gpu-shared", pool=made.pool_like("gpu-shared", limits={"gpus": 2}))
        mig: dict[str, Any] = {"families": ["p4d"], "categories": [], "gpus": {"min": 8, "max": 8}, "maxPrice": 150}
        made.make_pool("sliced", pool=made.pool_like("gpu", **mig, gpu={"sharing": "mig", "profile": "1g.5gb"}))
        single = {**mig, "families": ["p5"], "sizes": ["4xlarge"], "gpus": {"min": 1, "max": 1}}
        made.make_pool("sliced-singly", pool=made.pool_like("gpu", **single, gpu=LAYOUT, limits={"gpus": 2}))
        for pool in ("gpu", "gpu-shared", "sliced", "sliced-singly"):
            until(lambda pool=pool: made.is_ready(pool), f"{pool} is ready")
        yield made


@pytest.fixture
def pods(lab: Lab) -> Iterator[Callable[..., str]]:
    """Runs pods, which are deleted after the test, with their nodes."""
    with passing_pods(lab) as run:
        yield run


def has_all(lab: Lab, node: Object, resource: str, amount: str) -> None:
    """Waits until a node reports all of a resource: at first it has what its first pod requested."""
    path = place(NODES, name_of(node))
    until(
        lambda: (lab.kubernetes.get(path) or {})["status"]["allocatable"].get(resource) == amount,
        f"{amount} {resource}",
    )


def name_of(node: Object) -> str:
    return node["metadata"]["name"]


def test_four_notebooks_share_one_gpu_and_the_fifth_gets_another(lab: Lab, pods: Callable[..., str]) -> None:
    """Each pod starts after the previous one runs: the node has all its shares, not only those of its first pod."""
    first = lab.runs(pods("share-0", gpus=1, resource=SHARED))
    assert contracts.instance_types()[first["metadata"]["labels"]["node.kubernetes.io/instance-type"]].gpu_count == 1
    has_all(lab, first, SHARED, "4")
    for number in range(1, 4):
        assert name_of(lab.runs(pods(f"share-{number}", gpus=1, resource=SHARED))) == name_of(first)
    assert len(lab.nodes("gpu-shared")) == 1

    fifth = lab.runs(pods("share-4", gpus=1, resource=SHARED))
    assert name_of(fifth) != name_of(first)
    assert fifth["metadata"]["labels"]["gpulab.dev/pool"] == "gpu-shared"


def test_pool_of_shared_gpus_ends_at_its_limit_in_gpus(lab: Lab, pods: Callable[..., str]) -> None:
    """Two GPUs with four shares each: the ninth notebook waits, and the event says why."""
    notebooks = [pods(f"limited-{number}", gpus=1, resource=SHARED) for number in range(9)]
    until(lambda: sum(lab.node_of(pod) is not None for pod in notebooks) == 8, "eight of them run")
    assert len(lab.nodes("gpu-shared")) == 2
    (above,) = [pod for pod in notebooks if not lab.node_of(pod)]
    until(lambda: "limit" in lab.events(above), "Karpenter says why")
    assert not lab.node_of(above)


def test_who_asks_for_a_whole_gpu_gets_no_shared_one(lab: Lab, pods: Callable[..., str]) -> None:
    shared = lab.runs(pods("with-others", gpus=1, resource=SHARED))
    whole = lab.runs(pods("alone", gpus=1))
    assert whole["metadata"]["labels"]["gpulab.dev/pool"] == "gpu"
    node = lab.kubernetes.get(place(NODES, name_of(shared)))
    assert node
    assert "nvidia.com/gpu" not in node["status"]["capacity"]


def test_without_sharing_four_notebooks_take_four_gpus(lab: Lab, pods: Callable[..., str]) -> None:
    nodes = [lab.runs(pods(f"whole-{number}", gpus=1)) for number in range(4)]
    types = {name_of(one): one["metadata"]["labels"]["node.kubernetes.io/instance-type"] for one in nodes}
    assert sum(contracts.instance_types()[name].gpu_count for name in types.values()) == 4


def test_slices_of_a_partitioned_gpu(lab: Lab, pods: Callable[..., str]) -> None:
    """A p4d has eight GPUs, each of seven slices."""
    node = lab.runs(pods("slice-0", gpus=1, resource=SLICE))
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "p4d.24xlarge"
    has_all(lab, node, SLICE, "56")
    for number in range(1, 7):
        assert name_of(lab.runs(pods(f"slice-{number}", gpus=1, resource=SLICE))) == name_of(node)
    assert len(lab.nodes("sliced")) == 1


def test_layout_gives_so_many_slices_of_each_kind(lab: Lab, pods: Callable[..., str]) -> None:
    small, large = "nvidia.com/mig-1g.10gb", "nvidia.com/mig-3g.40gb"
    node = lab.runs(pods("large-0", gpus=1, resource=large))
    has_all(lab, node, small, "4")
    together = [lab.runs(pods(f"small-{number}", gpus=1, resource=small)) for number in range(4)]
    assert {name_of(one) for one in together} == {name_of(node)}
    assert name_of(lab.runs(pods("small-4", gpus=1, resource=small))) != name_of(node)


def test_bottlerocket_shares_a_gpu_by_its_own_settings(lab: Lab, pods: Callable[..., str]) -> None:
    """Its user data has them as TOML, which Karpenter merges with its own; no operator runs there."""
    pool = lab.pool_like("gpu-shared", ami=BOTTLEROCKET, limits={"gpus": 1})
    lab.make_pool("bottled", pool=pool)
    until(lambda: lab.is_ready("bottled"), "the pool is ready")
    first = lab.runs(pods("bottled-0", gpus=1, resource=SHARED, pool="bottled"))
    assert first["status"]["nodeInfo"]["osImage"] == "Bottlerocket OS"
    assert first["metadata"]["labels"]["gpulab.dev/pool"] == "bottled"
    assert {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"} in first["spec"]["taints"]
    has_all(lab, first, SHARED, "4")
    assert name_of(lab.runs(pods("bottled-1", gpus=1, resource=SHARED, pool="bottled"))) == name_of(first)
    (instance,) = [one for one in lab.instances() if one["Tags"]["karpenter.sh/nodepool"] == "bottled"]
    (image,) = lab.client("ec2").describe_images(ImageIds=[instance["ImageId"]])["Images"]
    assert image["Name"].startswith("bottlerocket-aws-k8s-1.36-nvidia-x86_64-v1.66.0")


class Placeholders:
    """The component's objects for one pool with a schedule, and who runs its jobs."""

    def __init__(self, lab: Lab, pool: str, settings: Warm) -> None:
        self.lab = lab
        self.name = warm.placeholders_name(pool)
        namespaced = {"name": self.name, "namespace": warm.NAMESPACE}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": self.name}
        account = {"kind": "ServiceAccount", **namespaced}
        pod_security = {"pod-security.kubernetes.io/enforce": "restricted"}
        objects: list[tuple[str, Object]] = [
            (NAMESPACES, {"metadata": {"name": warm.NAMESPACE, "labels": pod_security}}),
            (
                PRIORITIES,
                {
                    "metadata": {"name": warm.PRIORITY_CLASS},
                    "value": warm.PRIORITY,
                    "preemptionPolicy": "Never",
                },
            ),
            (ACCOUNTS, {"metadata": namespaced}),
            (ROLES, {"metadata": namespaced, "rules": warm.scaler_rules(self.name)}),
            (BINDINGS, {"metadata": namespaced, "roleRef": role, "subjects": [account]}),
            (
                DEPLOYMENTS,
                {
                    "metadata": namespaced,
                    "spec": warm.placeholders_spec(pool, lab.settings.node_pools[pool], settings),
                },
            ),
            *(
                (CRON_JOBS, {"metadata": {**namespaced, "name": f"{self.name}-{moment}"}, "spec": spec})
                for moment, spec in warm.scaling_specs(self.name, settings).items()
            ),
        ]
        for collection, obj in objects:
            metadata = obj["metadata"]
            lab.kubernetes.create(place(collection, metadata["name"], metadata.get("namespace")), obj)

    def run_job(self, moment: str) -> None:
        """Runs the CronJob's job now: its pod is scheduled, and its command uses the account's token."""
        cron_job = self.lab.kubernetes.get(place(CRON_JOBS, f"{self.name}-{moment}", warm.NAMESPACE))
        assert cron_job
        name = f"{self.name}-{moment}-now"
        spec = cron_job["spec"]["jobTemplate"]["spec"]
        job = {"metadata": {"name": name, "namespace": warm.NAMESPACE}, "spec": spec}
        self.lab.kubernetes.create(place(JOBS, name, warm.NAMESPACE), job)
        until(lambda: self._job(name)["status"].get("succeeded"), f"job {moment} runs on a system node")
        (container,) = spec["template"]["spec"]["containers"]
        *_, deployment, replicas = container["command"]
        self.as_account("GET", place(DEPLOYMENTS, deployment.removeprefix("deployment/"), warm.NAMESPACE))
        self.scale(int(replicas.removeprefix("--replicas=")))

    def scale(self, replicas: int, deployment: str | None = None) -> None:
        """The requests of `kubectl scale`."""
        path = f"{place(DEPLOYMENTS, deployment or self.name, warm.NAMESPACE)}/scale"
        self.as_account("PATCH", path, {"spec": {"replicas": replicas}})

    def as_account(self, method: str, path: str, body: Any = None) -> Any:
        """A request with the token that the job's pod has. Raises ApiError."""
        account = f"{place(ACCOUNTS, self.name, warm.NAMESPACE)}/token"
        token = self.lab.kubernetes.request("POST", account, {"spec": {}})["status"]["token"]
        return self.lab.kubernetes.request(method, path, body, MERGE_PATCH, token=token)

    def pods(self) -> list[Object]:
        """Those that are not on their way out."""
        selector = f"{warm.NAME_LABEL}={self.name}"
        found = self.lab.kubernetes.list(PODS, labelSelector=selector)
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def nodes(self) -> list[str]:
        """Where they run."""
        return [one["spec"]["nodeName"] for one in self.pods() if one["status"].get("phase") == "Running"]

    def _job(self, name: str) -> Object:
        return self.lab.kubernetes.get(place(JOBS, name, warm.NAMESPACE)) or {"status": {}}


def test_notebook_takes_the_place_of_a_placeholder(lab: Lab, pods: Callable[..., str]) -> None:
    lab.make_system_node(SYSTEM_TAINT)
    schedule = {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5"}
    settings = Warm.model_validate({"replicas": 1, "schedule": schedule, "timeZone": "Europe/Berlin"})
    placeholders = Placeholders(lab, "gpu", settings)
    assert not placeholders.pods(), "none before the schedule begins"

    placeholders.run_job("start")
    (warm_node,) = until(placeholders.nodes, "a placeholder has a GPU")
    assert len(lab.nodes("gpu")) == 1

    notebook = lab.runs(pods("notebook", gpus=1))
    assert name_of(notebook) == warm_node, "it runs on the warm node"
    assert "should schedule on" not in lab.events("notebook"), "no node was bought for it"

    (second,) = until(lambda: [one for one in placeholders.nodes() if one != warm_node], "a new placeholder has a GPU")
    until(lambda: {name_of(one) for one in lab.nodes("gpu")} == {warm_node, second}, "on a second node")

    placeholders.run_job("end")
    until(lambda: not placeholders.pods(), "placeholders are gone")
    until(lambda: {name_of(one) for one in lab.nodes("gpu")} == {warm_node}, "so is the node that they held")
    lab.delete_pod("notebook")
    until(lambda: not lab.nodes("gpu") and not lab.kubernetes.list(NODE_CLAIMS), "and the other, once it is empty")

    for forbidden in (
        lambda: placeholders.scale(1, deployment="another"),
        lambda: placeholders.as_account("PATCH", place(DEPLOYMENTS, placeholders.name, warm.NAMESPACE), {"spec": {}}),
        lambda: placeholders.as_account("GET", f"/api/v1/namespaces/{warm.NAMESPACE}/secrets"),
        lambda: placeholders.as_account("DELETE", place(DEPLOYMENTS, placeholders.name, warm.NAMESPACE)),
    ):
        with pytest.raises(ApiError, match="is forbidden"):
            forbidden()


def test_operands_run_on_nodes_with_a_taint_of_the_stack_file(lab: Lab, pods: Callable[..., str]) -> None:
    """DaemonSets with the operator's tolerations: an unknown taint keeps them off a node."""
    taint = {"key": "example.com/team", "value": "ml", "effect": "NoSchedule"}
    pool = lab.pool_like("gpu", taints=[taint])
    lab.make_pool("team", pool=pool)
    until(lambda: lab.is_ready("team"), "the pool is ready")
    values = gpu_operator_values({"team": pool}, SYSTEM_NODES)
    for name, tolerations in {
        "operand": values["daemonsets"]["tolerations"],
        "discovery": values["node-feature-discovery"]["worker"]["tolerations"],
        "ignorant": gpu_operator_values({"gpu": lab.settings.node_pools["gpu"]}, SYSTEM_NODES)["daemonsets"][
            "tolerations"
        ],
    }.items():
        labels = {"app": name}
        spec = {
            "tolerations": tolerations,
            "nodeSelector": {"gpulab.dev/pool": "team"},
            "containers": [{"name": "main", "image": "main"}],
        }
        template = {"metadata": {"labels": labels}, "spec": spec}
        daemon_set = {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
        lab.kubernetes.create(place(DAEMON_SETS, name, "default"), daemon_set)
    node = lab.runs(pods("of-the-team", gpus=1, pool="team", also_tolerates=[taint]))

    def on_node(name: str) -> bool:
        found = lab.kubernetes.list(PODS, labelSelector=f"app={name}")
        return any(one["spec"].get("nodeName") == name_of(node) for one in found)

    until(lambda: on_node("operand") and on_node("discovery"), "both run on the node")
    assert not on_node("ignorant")
    for name in ("operand", "discovery", "ignorant"):
        lab.kubernetes.delete(place(DAEMON_SETS, name, "default"))


POOLS = """
    gaming: {categories: [g], minGeneration: 5, gpus: {min: 1, max: 8}, limits: {gpus: 16}}
    greedy: {categories: [g], minGeneration: 5, gpus: {min: 1, max: 8}, limits: {gpus: 17}}
    training: {families: [p4d], gpus: {min: 8, max: 8}, limits: {gpus: 8}, capacityTypes: [spot, on-demand]}
    either: {categories: [g, p], minGeneration: 4, gpus: {min: 1, max: 8}, limits: {gpus: 8}}
    cpu: {categories: [m], limits: {cpu: 64}}
"""


def test_preview_warns_of_the_pools_that_quotas_keep_from_growing(toolchain: Toolchain, tmp_path: Any) -> None:
    """An account with 64 vCPUs for G and none for P."""
    stack_file = tmp_path / "Pulumi.quota.yaml"
    head, _, _ = (PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8").partition("  gpulab:nodePools:")
    stack_file.write_text(f"{head}  gpulab:nodePools:{POOLS}", encoding="utf-8")
    quotas = {"L-DB2E81BA": 64, "L-3819A6DF": 64, "L-417A185B": 0, "L-7212CCBC": 0, "L-C4BD4855": 0}
    options = Options(stack_file=stack_file, stack="quota", quotas=quotas)
    with labs.lab(options) as rehearsal:
        rehearsal.preview()
        warnings = rehearsal.report.warnings
    greedy = [one for one in warnings if "node pool greedy " in one]
    training = [one for one in warnings if "node pool training " in one]
    assert sorted(warnings) == sorted([*greedy, *training]), "of no other pool"
    assert len(greedy) == 1
    assert "L-DB2E81BA" in greedy[0]
    assert "is 64 vCPU, and the pool at its limit needs 68" in greedy[0]
    assert [("L-7212CCBC" in one, "L-417A185B" in one) for one in training] == [(True, False), (False, True)]
