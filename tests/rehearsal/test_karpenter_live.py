"""The real Karpenter on the dev lab's pools: what it buys, what it refuses and why, and what it removes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from karpenter_account import REGION
from karpenter_lab import Lab, passing_pods, running_lab, until

import contracts
from rehearsal.cloud.capacity import SPOT
from rehearsal.cloud.starting import be_out_of, furnish
from rehearsal.controllers.world import NODES, place
from rehearsal.machine.toolchain import Toolchain

pytestmark = pytest.mark.seconds(150)

INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
# There is no release of a day that is to come.
NEWER_IMAGE = f"al2023@v{datetime.now(UTC):%Y%m%d}"


@pytest.fixture(scope="module")
def lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with the dev stack's pools."""
    with running_lab(toolchain, tmp_path_factory.mktemp("karpenter")) as made:
        for pool in ("cpu", "gpu"):
            made.make_pool(pool)
        for pool in ("cpu", "gpu"):
            until(lambda pool=pool: made.is_ready(pool), f"{pool} is ready")
        yield made


@pytest.fixture
def pods(lab: Lab) -> Iterator[Callable[..., str]]:
    """Runs pods, which are deleted after the test, with their nodes."""
    with passing_pods(lab) as run:
        yield run


def test_gpu_pod_gets_the_cheapest_spot_instance_that_fits(lab: Lab, pods: Callable[..., str]) -> None:
    pod = pods("gpu", gpus=1)
    node = lab.runs(pod)
    labels = node["metadata"]["labels"]
    fitting = [one for one in contracts.instance_types().values() if one.gpu_count and one.arch == "x86_64"]
    fitting = [one for one in fitting if one.category in ("g", "p") and one.generation >= 4 and one.price]
    cheapest = min(fitting, key=lambda one: one.price or 0)
    assert labels[INSTANCE_TYPE] == cheapest.name
    assert labels[CAPACITY_TYPE] == "spot"
    assert labels["gpulab.dev/pool"] == "gpu"

    (instance,) = until(lab.instances, "it has an instance")
    assert instance["InstanceType"] == cheapest.name
    assert instance["InstanceLifecycle"] == "spot"
    assert instance["Placement"]["AvailabilityZone"] == labels["topology.kubernetes.io/zone"]
    assert instance["Tags"]["karpenter.sh/nodepool"] == "gpu"
    assert instance["Tags"]["kubernetes.io/cluster/gpulab-dev"] == "owned"
    assert instance["Tags"]["Owner"] == "tests"
    until(lambda: lab.instances()[0]["Tags"].get("Name") == node["metadata"]["name"], "it has the node's name")


def test_cpu_pod_is_never_on_a_gpu_node(lab: Lab, pods: Callable[..., str]) -> None:
    with_gpu = pods("with-gpu", gpus=1)
    lab.runs(with_gpu)
    pod = pods("cpu")
    node = lab.runs(pod)
    assert node["metadata"]["labels"]["gpulab.dev/pool"] == "cpu"
    assert "nvidia.com/gpu" not in node["status"]["capacity"]


def test_what_cannot_be_bought_stays_pending_with_a_reason(lab: Lab, pods: Callable[..., str]) -> None:
    intolerant = pods("intolerant", gpus=1, tolerates=False)
    taint = "did not tolerate taint (taint=nvidia.com/gpu=true:NoSchedule)"
    until(lambda: taint in lab.events(intolerant), "Karpenter says why")

    # The pool may have 16 GPUs: as many as two of these pods ask for.
    eights = [pods(f"eight-{number}", gpus=8) for number in range(3)]
    until(lambda: sum(lab.node_of(pod) is not None for pod in eights) == 2, "two of them run")
    (above,) = [pod for pod in eights if not lab.node_of(pod)]
    # All three may be promised a node at first, before Karpenter has counted the GPUs of the other two.
    until(lambda: "limit" in lab.events(above), "Karpenter says why")
    assert not lab.node_of(above)
    assert not lab.node_of(intolerant)


def test_a_second_pod_uses_the_rest_of_a_node(lab: Lab, pods: Callable[..., str]) -> None:
    """The node has all resources of its instance, not only those that its first pod requested."""
    first = pods("first", gpus=3)
    node = lab.runs(first)
    until(lambda: _capacity(lab, node["metadata"]["name"]) == "4", "the node has all GPUs")
    second = pods("second", gpus=1)
    assert lab.runs(second)["metadata"]["name"] == node["metadata"]["name"]


def test_empty_node_goes(lab: Lab, pods: Callable[..., str]) -> None:
    pod = pods("short-lived", gpus=1)
    lab.runs(pod)
    until(lab.instances, "it has an instance")
    lab.delete_pod(pod)
    until(lambda: not lab.nodes("gpu") and not lab.instances(), "the node and its instance are gone")


def test_newer_image_waits_for_the_maintenance_window(lab: Lab, pods: Callable[..., str]) -> None:
    """A GPU pool that has no window keeps its nodes, although they drift from the class."""
    lab.make_pool("aged", like="gpu")
    until(lambda: lab.is_ready("aged"), "the pool is ready")
    pod = pods("notebook", gpus=1, pool="aged", lasting=True)
    node = lab.runs(pod)
    lab.make_pool("aged", like="gpu", amiSelectorTerms=[{"alias": NEWER_IMAGE}])
    until(lambda: "AMIDrift" in str(lab.claim_of(node)), "the node is out of date")
    until(lambda: "reason Drifted" in lab.events("aged"), "Karpenter says that the budget holds it")
    assert lab.runs(pod)["metadata"]["uid"] == node["metadata"]["uid"]
    lab.delete_class("aged")
    lab.delete_pool("aged")
    until(lambda: not lab.is_left("aged"), "nothing of the pool is left")


def test_interruption_that_aws_announces_moves_pods(lab: Lab, pods: Callable[..., str]) -> None:
    """The warning is on the event bus: the stack's rules bring it to Karpenter's queue."""
    pod = pods("interrupted", gpus=1)
    node = lab.runs(pod)
    id = node["spec"]["providerID"].rpartition("/")[2]
    warning = {"instance-id": id, "instance-action": "terminate"}
    lab.client("events").put_events(
        Entries=[
            {
                "Source": "aws.ec2",
                "DetailType": "EC2 Spot Instance Interruption Warning",
                "Detail": json.dumps(warning),
            }
        ]
    )
    until(lambda: id not in [one["InstanceId"] for one in lab.instances()], "the instance is gone")
    until(lambda: node["metadata"]["name"] not in lab.node_names(), "so is its node")


def test_reserved_capacity_is_used_up_to_its_end(lab: Lab, pods: Callable[..., str]) -> None:
    """One machine is reserved: the first pod gets it, the second waits."""
    id = "cr-0123456789abcdef0"
    reservation = {"id": id, "instanceType": "p4d.24xlarge", "zone": "us-east-1b"}
    furnish(lab.aws_url, {"region": REGION, "reservations": [reservation]})
    reserved = {"families": ["p4d"], "categories": [], "gpus": {"min": 8, "max": 8}, "maxPrice": 150}
    reserved |= {"capacityTypes": ["reserved"], "capacityReservations": [id]}
    lab.make_pool("reserved", pool=lab.pool_like("gpu", **reserved))
    until(lambda: lab.is_ready("reserved"), "the pool is ready")
    first, second = (pods(f"reserved-{number}", gpus=8, pool="reserved") for number in range(2))
    until(lambda: any(map(lab.node_of, (first, second))), "one of them runs")
    (node,) = filter(None, map(lab.node_of, (first, second)))
    assert node["metadata"]["labels"][CAPACITY_TYPE] == "reserved"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "us-east-1b"
    (instance,) = [one for one in lab.instances() if one["Tags"]["karpenter.sh/nodepool"] == "reserved"]
    assert instance["CapacityReservationId"] == id
    until(lambda: any(map(lab.events, (first, second))), "Karpenter says why the other waits")
    assert len(lab.nodes("reserved")) == 1


def test_pool_that_finds_no_subnet_is_not_ready(lab: Lab) -> None:
    lab.make_pool("astray", like="gpu", cluster="another")
    until(lambda: "SubnetsNotFound" in str(lab.node_class("astray")), "its class says why")
    until(lambda: "NodeClassReady" in str(lab.pool("astray")), "the pool says it too")
    assert not lab.is_ready("astray")
    lab.delete_pool("astray")
    lab.delete_class("astray")
    until(lambda: not lab.is_left("astray"), "nothing of it is left")


def test_deletion_of_a_pool_ends_with_pods_that_must_not_be_disrupted(lab: Lab, pods: Callable[..., str]) -> None:
    lab.make_pool("short", like="gpu")
    until(lambda: lab.is_ready("short"), "the pool is ready")
    lasting = [pods("lasting", gpus=1, pool="short", lasting=True), pods("other", gpus=1, pool="short")]
    until(lambda: all(lab.node_of(pod) for pod in lasting), "the pods run")
    # The class goes last, by itself: its nodes hold it.
    lab.delete_class("short")
    lab.delete_pool("short")
    until(lambda: not lab.is_left("short"), "nothing of the pool is left")


def test_pool_waits_for_karpenter(lab: Lab, pods: Callable[..., str]) -> None:
    """A destroy in the wrong order hangs: only Karpenter removes its nodes."""
    lab.make_pool("held", like="gpu")
    until(lambda: lab.is_ready("held"), "the pool is ready")
    pod = pods("held", gpus=1, pool="held")
    lab.runs(pod)
    until(lab.instances, "it has an instance")
    lab.uninstall_karpenter()
    until(lambda: not lab.karpenter_runs(), "Karpenter ends")
    lab.delete_pod(pod)
    lab.delete_pool("held")
    lab.delete_class("held")
    until(lambda: "deletionTimestamp" in (lab.pool("held") or {}).get("metadata", {}), "it begins to go")
    assert lab.is_left("held")
    assert lab.instances()
    lab.install_karpenter()
    until(lambda: not lab.is_left("held"), "it goes once Karpenter is back")


def test_on_demand_is_bought_while_spot_is_out(lab: Lab, pods: Callable[..., str]) -> None:
    """Karpenter remembers for three minutes what was out, so this is the last test."""
    be_out_of(lab.aws_url, SPOT)
    try:
        pod = pods("on-demand", gpus=1, pool="gpu")
        node = lab.runs(pod)
        assert node["metadata"]["labels"][CAPACITY_TYPE] == "on-demand"
    finally:
        be_out_of(lab.aws_url)


def _capacity(lab: Lab, node: str) -> str | None:
    found = lab.kubernetes.get(place(NODES, node))
    return found["status"]["allocatable"].get("nvidia.com/gpu") if found else None
