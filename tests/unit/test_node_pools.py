from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import jsonschema
import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from hypothesis import given
from hypothesis import strategies as st

import contracts
from components.nodes.node_pools import (
    NodePools,
    NodePoolsArgs,
    disruption_budgets,
    ec2_node_class_spec,
    node_pool_spec,
)
from policies.cost import instance_price
from policies.reading.node_pools import instance_types
from settings import NodePool
from settings.pools.gpu_shares import GPU_TAINT
from settings.pools.instance_choice import LAB_PRICE, PRODUCTION_PRICE

TAGS = {"Owner": "ml@example.com", "Stack": "dev"}
WEEK = 7 * 24 * 60


def pool(**changed: Any) -> NodePool:
    """A CPU pool, or with `gpus` a GPU pool, written as in the stack file."""
    gpu = "gpus" in changed
    section: dict[str, Any] = {
        "categories": ["g", "p"] if gpu else ["c", "m", "r"],
        "capacityTypes": ["spot", "on-demand"],
        "zones": ["us-east-1a", "us-east-1b"],
        "limits": {"gpus": 8} if gpu else {"cpu": 128},
        "rootVolume": {"size": 100},
        "expireAfter": "720h",
        "terminationGracePeriod": "10m",
        "consolidation": {"policy": "WhenEmpty", "after": "5m"},
        "ami": {"family": "AL2023", "alias": "al2023@v20260930"},
    }
    return NodePool.model_validate({**section, **changed})


GPU_POOL: dict[str, Any] = {"gpus": {"min": 1, "max": 8}}
FULL_POOL: dict[str, Any] = {
    "categories": [],
    "families": ["g6", "p5"],
    "minGeneration": 5,
    "sizes": ["xlarge", "48xlarge"],
    "architectures": ["x86_64"],
    "capacityTypes": ["reserved", "spot", "on-demand"],
    "capacityReservations": ["cr-0123456789abcdef0"],
    "limits": {"cpu": 128, "memory": 512, "gpus": 8},
    "gpus": {"min": 1, "max": 8},
    "rootVolume": {"size": 200, "iops": 4000, "throughput": 250},
    "labels": {"example.com/team": "ml"},
    "taints": [{"key": "example.com/only", "value": "ml", "effect": "NoExecute"}],
    "startupTaints": [{"key": "example.com/not-ready", "effect": "NoSchedule"}],
    "budgets": [{"nodes": "10%", "reasons": ["Empty"], "schedule": "0 9 * * 1-5", "duration": "8h"}],
    "maintenanceWindow": {"schedule": "0 3 * * 6", "duration": "4h"},
    "ami": {"family": "Bottlerocket", "alias": "bottlerocket@v1.40.0"},
    "weight": 10,
}


def admit(plural: str, spec: dict[str, Any]) -> None:
    """Fail unless the CRD's schema takes the spec, with no key that it does not know."""
    version = next(v for v in contracts.crd(plural)["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.Draft202012Validator(schema).validate(spec)


def strict(schema: Any) -> Any:
    """The schema with unknown keys refused, as a strict API server refuses them."""
    schema = copy.deepcopy(schema)
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            if isinstance(node.get("properties"), dict) and node.get("type") == "object":
                node.setdefault("additionalProperties", False)
            waiting += node.values()
    return schema


def node_class(pool: NodePool, **changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"cluster_name": "lab", "node_role_name": "lab-node", "tags": TAGS}
    return ec2_node_class_spec(pool, **{**given, **changed})


@pytest.mark.parametrize("section", [{}, GPU_POOL, FULL_POOL], ids=["cpu", "gpu", "full"])
def test_crds_admit_every_pool(section):
    admit("nodepools.karpenter.sh", node_pool_spec("a", pool(**section)))
    admit("ec2nodeclasses.karpenter.k8s.aws", node_class(pool(**section)))
    admit("ec2nodeclasses.karpenter.k8s.aws", node_class(pool(**section), instance_profile_name="lab-node"))


def requirement(spec: dict[str, Any], key: str) -> list[tuple[str, list[str]]]:
    found = [r for r in spec["template"]["spec"]["requirements"] if r["key"] == key]
    return [(r["operator"], r.get("values", [])) for r in found]


def test_gpu_pool_is_tainted_limited_and_buys_nvidia_alone():
    spec = node_pool_spec("gpu", pool(gpus={"min": 1, "max": 4}))
    assert GPU_TAINT.model_dump() in spec["template"]["spec"]["taints"]
    assert spec["limits"] == {"nvidia.com/gpu": "8"}
    assert requirement(spec, "karpenter.k8s.aws/instance-gpu-count") == [("Gt", ["0"]), ("Lt", ["5"])]
    assert requirement(spec, "karpenter.k8s.aws/instance-gpu-manufacturer") == [("In", ["nvidia"])]


def test_cpu_pool_buys_no_gpu_and_has_no_gpu_taint():
    spec = node_pool_spec("cpu", pool(limits={"cpu": 128, "memory": 512}))
    assert requirement(spec, "karpenter.k8s.aws/instance-gpu-count") == [("DoesNotExist", [])]
    assert "taints" not in spec["template"]["spec"]
    assert spec["limits"] == {"cpu": "128", "memory": "512Gi"}


FAMILY, TYPE = "karpenter.k8s.aws/instance-family", "node.kubernetes.io/instance-type"


@pytest.mark.parametrize("section", [{}, GPU_POOL, FULL_POOL, {"maxPrice": 1}, {**GPU_POOL, "maxPrice": 15}])
def test_karpenter_buys_what_the_catalogue_has_for_the_pool_and_nothing_else(section):
    section = pool(minGeneration=5, **section) if "minGeneration" not in section else pool(**section)
    spec = node_pool_spec("a", section)
    ((operator, families),) = requirement(spec, FAMILY)
    known = {one.family: one.generation for one in contracts.instance_types().values()}
    assert operator == "In"
    assert all(known[family] >= 5 for family in families)
    read: Any = SimpleNamespace(props={"spec": spec})
    assert set(instance_types(read)) == set(section.instance_types)


def test_a_pool_of_gpus_with_a_ceiling_names_what_is_below_it():
    spec = node_pool_spec("gpu", pool(maxPrice=15, **GPU_POOL))
    ((operator, names),) = requirement(spec, TYPE)
    prices = {name: contracts.instance_types()[name].price for name in names}
    assert operator == "In"
    assert max(price or 0 for price in prices.values()) <= 15
    # In a category, what has no price in us-east-1 may cost anything; who names the family means it.
    assert "p5e.48xlarge" not in names
    named = pool(categories=[], families=["p5e"], maxPrice=15, **GPU_POOL)
    assert [one.name for one in named.instance_types] == ["p5e.48xlarge"]


def test_the_ceilings_of_open_ended_pools_are_such_as_the_policy_pack_takes():
    assert instance_price.config_schema
    allowed = instance_price.config_schema.properties["usdAnHour"]["default"]
    assert LAB_PRICE < PRODUCTION_PRICE <= allowed
    assert allowed < max(one.price or 0 for one in contracts.instance_types().values())


def test_a_pool_of_cpus_with_a_ceiling_names_what_is_above_it():
    spec = node_pool_spec("cpu", pool(maxPrice=15))
    ((operator, names),) = requirement(spec, TYPE)
    assert operator == "NotIn"
    assert min(contracts.instance_types()[name].price or 0 for name in names) > 15
    assert requirement(node_pool_spec("cpu", pool(maxPrice=1000)), TYPE) == []


def test_architectures_have_the_names_of_kubernetes():
    spec = node_pool_spec("cpu", pool(architectures=["x86_64", "arm64"]))
    assert requirement(spec, "kubernetes.io/arch") == [("In", ["amd64", "arm64"])]


def test_pods_find_a_pool_by_its_label_which_no_label_of_the_stack_file_hides():
    spec = node_pool_spec("cpu", pool(labels={"example.com/team": "ml"}))
    assert spec["template"]["metadata"]["labels"] == {"example.com/team": "ml", "gpulab.dev/pool": "cpu"}


def test_pods_cannot_ask_for_a_nodes_credentials():
    options = node_class(pool())["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)


def test_root_volume_of_bottlerocket_is_the_one_for_images():
    volumes = node_class(pool(**FULL_POOL))["blockDeviceMappings"]
    assert {volume["deviceName"]: volume["ebs"]["volumeSize"] for volume in volumes} == {
        "/dev/xvda": "4Gi",
        "/dev/xvdb": "200Gi",
    }
    assert all(volume["ebs"]["encrypted"] for volume in volumes)


def test_nodes_get_a_profile_where_iam_cannot_be_reached():
    assert node_class(pool())["role"] == "lab-node"
    isolated = node_class(pool(), instance_profile_name="lab-profile")
    assert isolated["instanceProfile"] == "lab-profile"
    assert "role" not in isolated


def test_reservations_are_named_by_id():
    terms = node_class(pool(**FULL_POOL))["capacityReservationSelectorTerms"]
    assert terms == [{"id": "cr-0123456789abcdef0"}]


def budgets(**changed: Any) -> list[dict[str, Any]]:
    return node_pool_spec("a", pool(**changed))["disruption"]["budgets"]


def test_gpu_nodes_are_never_replaced_by_drift_without_a_window():
    assert {"nodes": "0", "reasons": ["Drifted"]} in budgets(**GPU_POOL)
    assert {"nodes": "0", "reasons": ["Drifted"]} not in budgets()


def test_budgets_of_the_stack_file_replace_karpenters_default():
    assert budgets() == [{"nodes": "10%"}]
    assert budgets(budgets=[{"nodes": "1"}]) == [{"nodes": "1"}]


def minutes(duration: str) -> int:
    hours, minutes = duration.removesuffix("m").split("h")
    return int(hours) * 60 + int(minutes)


def minutes_bound(budgets: list[dict[str, Any]]) -> set[int]:
    """The minutes of a week (from Sunday 00:00) in which one of the budgets binds.

    A budget binds from each time of its schedule until its duration is over (pkg/apis/v1/nodepool.go, IsActive).
    """
    bound: set[int] = set()
    for budget in budgets:
        minute, hour, _, _, day = map(int, budget["schedule"].replace("*", "0").split())
        start = day * 1440 + hour * 60 + minute
        bound.update((start + passed) % WEEK for passed in range(minutes(budget["duration"])))
    return bound


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    days=st.sets(st.integers(0, 6), min_size=1),
    length=st.integers(1, WEEK - 1),
)
def test_drift_is_forbidden_at_exactly_the_minutes_outside_the_window(minute, hour, days, length):
    starts = sorted(day * 1440 + hour * 60 + minute for day in days)
    between = [b - a for a, b in zip(starts, [*starts[1:], starts[0] + WEEK], strict=True)]
    length = min(length, *between) - (length >= min(between))
    window = {"schedule": f"{minute} {hour} * * {','.join(map(str, days))}", "duration": f"{length}m"}

    default, *closed = disruption_budgets(pool(**GPU_POOL, maintenanceWindow=window))

    assert default == {"nodes": "10%"}
    assert all((budget["nodes"], budget["reasons"]) == ("0", ["Drifted"]) for budget in closed)
    is_open = {(start + passed) % WEEK for start in starts for passed in range(length)}
    assert minutes_bound(closed) == set(range(WEEK)) - is_open


@pytest.mark.parametrize(
    ("changed", "policy"),
    [({"families": ["g5"], "categories": []}, "RAID0"), ({"families": ["g5", "p3"], "categories": []}, "RAID0")],
)
def test_instances_own_disks_are_used_where_a_pool_has_some(changed, policy):
    spec = ec2_node_class_spec(pool(**{**GPU_POOL, **changed}), cluster_name="lab", node_role_name="node", tags=TAGS)
    assert spec["instanceStorePolicy"] == policy


def test_a_pool_without_disks_of_its_own_says_nothing_of_them():
    """Any additional text would make every node of the pool drift."""
    spec = ec2_node_class_spec(
        pool(families=["m7i"], categories=[]), cluster_name="lab", node_role_name="node", tags=TAGS
    )
    assert "instanceStorePolicy" not in spec


def deploy(mocks: Any, **pools: NodePool) -> NodePools:
    def program() -> NodePools:
        provider = kubernetes.Provider("lab", kubeconfig="{}")
        args = NodePoolsArgs(cluster_name="lab", pools=pools, node_role_name="lab-node", tags=TAGS)
        return NodePools("lab", args, pulumi.ResourceOptions(providers=[provider]))

    return mocks.deploy(program)


def test_pools_are_made_in_the_cluster_and_go_before_their_class(mocks):
    deploy(mocks, gpu=pool(**GPU_POOL))
    (node_pool,) = mocks.all("kubernetes:karpenter.sh/v1:NodePool")
    (node_class,) = mocks.all("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    provider = mocks.one("pulumi:providers:kubernetes")
    assert node_pool.provider.startswith(provider.urn)
    assert node_pool.inputs["spec"]["template"]["spec"]["nodeClassRef"]["name"] == node_class.inputs["metadata"]["name"]
    assert mocks.needs(node_pool, node_class)


def test_deletion_waits_for_the_nodes_and_their_grace_period(mocks):
    deploy(mocks, gpu=pool(**GPU_POOL, terminationGracePeriod="1h30m"))
    (node_pool,) = mocks.all("kubernetes:karpenter.sh/v1:NodePool")
    annotations = node_pool.inputs["metadata"]["annotations"]
    assert annotations["pulumi.com/deletionPropagationPolicy"] == "foreground"
    assert node_pool.inputs["spec"]["template"]["spec"]["terminationGracePeriod"] == "1h30m"
    assert node_pool.custom_timeouts == {"delete": f"{90 * 60 + 15 * 60}s"}


def test_every_pool_of_the_stack_file_gets_a_node_pool(mocks):
    deploy(mocks, cpu=pool(), gpu=pool(**GPU_POOL))
    assert {p.inputs["metadata"]["name"] for p in mocks.all("kubernetes:karpenter.sh/v1:NodePool")} == {"cpu", "gpu"}
