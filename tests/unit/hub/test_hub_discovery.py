"""Which GPUs a profile offers that discovers them, and which one a notebook gets."""

from __future__ import annotations

from typing import Any

import pytest
from hub_catalogue import NOON, choice
from hub_gpus import (
    A100,
    GPU,
    GPU_TOLERATION,
    L40S,
    PROFILE,
    RTX,
    SHARED,
    SLICE,
    l40s,
    node,
    pod,
    pool,
    quota,
    rtx,
    site,
)

from components.hub.inside.catalogue import POOL_LABEL, Catalogue
from components.hub.inside.choices import Choice
from components.hub.inside.discovery import ANY, find, gpu_pools, machines, offers, shown
from components.hub.inside.nodes import usable
from components.hub.inside.pod import overrides, pools_for, requests
from components.hub.inside.refusals import granted

SITE = {"cpu": pool(gpu=False), "desks": pool(), "racks": pool()}
NODES = [node("control", "cpu"), rtx(), l40s()]


class Found:
    """What a team finds on these nodes, with these pods, by its quota."""

    def __init__(
        self,
        nodes: list[dict[str, Any]],
        pods: list[dict[str, Any]] | None = None,
        *,
        catalogue: Catalogue | None = None,
        team: str = "research",
        quota: dict[str, Any] = quota(),  # noqa: B008 (nobody changes it)
    ) -> None:
        self.catalogue = catalogue or site(SITE)
        self.choice = choice(f"{team}_{PROFILE}", catalogue=self.catalogue)
        self.granted = granted([quota])
        there = machines(gpu_pools(self.catalogue, self.choice), usable(nodes), {"vision": pods or []})
        discovery = self.choice.profile.discovery
        assert discovery
        self.offers = offers(there, self.granted, by_node=discovery.by_node)

    @property
    def lines(self) -> list[str]:
        """As in the form."""
        return [shown(one, self.granted) for one in self.offers]

    def get(self, wanted: str | None = None) -> Choice | str:
        key = next((one.key for one in self.offers if one.name.startswith(wanted or "any")), wanted)
        return find(self.choice, key, self.offers, self.granted)

    def pod(self, wanted: str | None = None) -> dict[str, Any]:
        """KubeSpawner's traits for the GPU that it gets."""
        got = self.get(wanted)
        assert isinstance(got, Choice), got
        return overrides(self.catalogue, got, NOON)

    def refusal(self, wanted: str | None = None) -> str:
        got = self.get(wanted)
        assert isinstance(got, str)
        return got


def test_the_form_lists_what_nodes_have_and_how_much_of_it_is_free() -> None:
    seven = [pod("desk", {SHARED: 1}, person=f"p{number}") for number in range(7)]
    found = Found(NODES, [*seven, pod("rack", {GPU: 1}), pod("control")])
    assert found.lines == [
        "any free GPU: 2 of 10 free",
        f"{RTX}, 24 GiB, shared by 8: 1 of 8 free",
        f"{L40S}, 45 GiB: 1 of 2 free",
    ]


def test_a_gpu_is_asked_for_by_its_product_and_by_the_name_that_its_node_has_it_as() -> None:
    for product, resource, in_pool in ((RTX, SHARED, "desks"), (L40S, GPU, "racks")):
        made = Found(NODES).pod(product)
        (term,) = made["node_affinity_required"]
        assert {"key": f"{GPU}.product", "operator": "In", "values": [product]} in term["matchExpressions"]
        assert made["node_selector"] == {POOL_LABEL: in_pool}
        assert {key for key in made["extra_resource_limits"] if key.startswith("nvidia")} == {resource}
        assert made["extra_resource_guarantees"][resource] == "1"
        assert GPU_TOLERATION in made["tolerations"]
        assert "NVIDIA_VISIBLE_DEVICES" not in made["environment"]


def test_the_ninth_on_a_shared_card_is_refused_with_what_is_free_where() -> None:
    eight = [pod("desk", {SHARED: 1}, person=f"p{number}") for number in range(8)]
    said = Found(NODES, eight).refusal(RTX)
    assert said.startswith(f"No GPU is free of your choice, {RTX}, 24 GiB, shared by 8: all 8 are in use (vision 8).")
    assert f"Free now: 2 of 2 {L40S}, 45 GiB (pool racks)." in said
    alone = Found([rtx()], eight).refusal()
    assert alone.startswith("No GPU is free: all 8 are in use (vision 8).")
    assert "wait until a notebook ends" in alone


def test_any_free_gpu_is_one_of_a_pool_that_has_one() -> None:
    busy = [pod("rack", {GPU: 2}), *(pod("desk", {SHARED: 1}) for _ in range(7))]
    assert Found(NODES, busy).pod()["extra_resource_limits"][SHARED] == "1"
    assert Found(NODES, [pod("desk", {SHARED: 8})]).pod()["extra_resource_limits"][GPU] == "1"
    # A share is free too, but the team may have no more of them.
    used_up = quota({SHARED: 2}, shared=2)
    assert Found(NODES, quota=used_up).pod()["extra_resource_limits"][GPU] == "1"


def test_a_team_is_offered_what_its_quota_grants_in_pools_that_it_may_use() -> None:
    assert [L40S in line for line in Found(NODES, quota=quota(shared=0)).lines] == [False, True]
    assert "used up its quota" in Found(NODES, quota=quota({GPU: 1}, gpu=1)).lines[-1]
    other = Found(NODES, team="vision")
    assert other.lines == []
    assert "No node that the team may use has a GPU" in other.refusal()


def test_slices_are_listed_by_their_profile() -> None:
    labels = {"kubernetes.io/hostname": "big", POOL_LABEL: "racks", f"{GPU}.product": A100, f"{SLICE}.memory": "4864"}
    mixed = node("big", "racks", {GPU: 0, SLICE: 7})
    mixed["metadata"]["labels"] = labels
    found = Found([mixed], [pod("big", {SLICE: 1})])
    assert found.lines[1:] == [f"slice 1g.5gb of {A100}, 5 GiB: 6 of 7 free"]
    assert found.pod(f"slice 1g.5gb of {A100}")["extra_resource_limits"][SLICE] == "1"
    single = node("big", "racks", {GPU: 7}, product=f"{A100}-MIG-1g.5gb", memory=4864)
    assert Found([single]).lines[1:] == [f"slice 1g.5gb of {A100}, 5 GiB: 7 of 7 free"]


def test_shares_of_a_plugin_that_does_not_rename_them_are_no_whole_gpus() -> None:
    shared = node("desk", "desks", {GPU: 4}, product=f"{RTX}-SHARED", memory=24564, replicas=4)
    found = Found([shared])
    assert found.lines[1:] == [f"{RTX}, 24 GiB, shared by 4: 4 of 4 free"]
    (term,) = found.pod(RTX)["node_affinity_required"]
    assert term["matchExpressions"][-1]["values"] == [f"{RTX}-SHARED"]


def test_by_node_each_node_is_listed_too() -> None:
    catalogue = site(SITE, by_node=True)
    found = Found([l40s("rack-1"), l40s("rack-2")], [pod("rack-1", {GPU: 2})], catalogue=catalogue)
    assert found.lines[2:] == [
        f"GPU on rack-1: {L40S}, 45 GiB: 0 of 2 free",
        f"GPU on rack-2: {L40S}, 45 GiB: 2 of 2 free",
    ]
    (term,) = found.pod("GPU on rack-2")["node_affinity_required"]
    assert term["matchExpressions"][-1] == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["rack-2"]}
    assert "all 2 are in use" in found.refusal("GPU on rack-1")
    assert f"2 of 4 {L40S}" in found.refusal("GPU on rack-1")


def test_nodes_without_the_labels_of_feature_discovery_are_described_by_the_stack_file() -> None:
    gpus = {"product": "NVIDIA-T4", "memory": 16, "sharing": "none", "replicas": 1}
    own_pool = pool(gpus=gpus, nodeSelector={"role": "gpu"}, runtimeClass="nvidia")
    catalogue = site({"own": own_pool, "cpu": pool(gpu=False)})
    own = node("one", "", {GPU: 1})
    own["metadata"]["labels"] = {"kubernetes.io/hostname": "one", "role": "gpu"}
    found = Found([own, l40s()], catalogue=catalogue)
    assert found.lines[1:] == ["NVIDIA-T4, 16 GiB: 1 of 1 free"]
    made = found.pod("NVIDIA-T4")
    (term,) = made["node_affinity_required"]
    assert term["matchExpressions"][-1] == {"key": "kubernetes.io/hostname", "operator": "In", "values": ["one"]}
    assert {"key": "role", "operator": "In", "values": ["gpu"]} in term["matchExpressions"]
    assert made["extra_pod_config"]["runtimeClassName"] == "nvidia"


@pytest.mark.parametrize("why", ["cordoned", "not ready", "tainted"])
def test_a_node_that_takes_no_notebook_has_no_gpu_to_offer(why: str) -> None:
    one = l40s()
    if why == "cordoned":
        one["spec"]["unschedulable"] = True
    elif why == "not ready":
        one["status"]["conditions"][0]["status"] = "Unknown"
    else:
        one["spec"]["taints"].append({"key": "maintenance", "effect": "NoSchedule"})
    assert [L40S in line for line in Found([one, rtx()]).lines] == [False, False]


def test_a_free_gpu_beside_too_little_memory_is_no_free_gpu() -> None:
    full = [pod("rack", {GPU: 1})]
    full[0]["spec"]["containers"][0]["resources"]["requests"]["memory"] = "62Gi"
    said = Found([l40s()], full).refusal(L40S)
    assert "A GPU is free on rack" in said
    assert "only 2 GiB of memory, and this needs 4 GiB of memory" in said


def test_a_pod_that_has_no_node_yet_has_its_gpu_already() -> None:
    waiting = pod(None, {GPU: 1}, nodeSelector={POOL_LABEL: "racks"})
    assert Found(NODES, [waiting]).lines[-1] == f"{L40S}, 45 GiB: 1 of 2 free"
    elsewhere = pod(None, {GPU: 1}, nodeSelector={POOL_LABEL: "others"})
    assert Found(NODES, [elsewhere]).lines[-1] == f"{L40S}, 45 GiB: 2 of 2 free"
    over = pod("rack", {GPU: 1})
    over["status"]["phase"] = "Succeeded"
    assert Found(NODES, [over]).lines[-1] == f"{L40S}, 45 GiB: 2 of 2 free"


def test_dev_shm_is_the_daemons_where_pods_share_a_gpu_by_mps() -> None:
    gpus = {"product": None, "memory": None, "sharing": "mps", "replicas": 8}
    found = Found([rtx()], catalogue=site({**SITE, "desks": pool(gpus=gpus)}))
    assert found.lines[1:] == [f"{RTX}, 3 GiB, shared by 8: 8 of 8 free"]
    assert all(one["mountPath"] != "/dev/shm" for one in found.pod()["volume_mounts"])
    assert any(one["mountPath"] == "/dev/shm" for one in Found([rtx()]).pod()["volume_mounts"])


def test_what_was_chosen_and_is_gone_is_refused_with_what_is_there() -> None:
    said = Found(NODES).refusal("NVIDIA-H100/nvidia.com/gpu/1")
    assert "is not there any more" in said
    assert L40S in said


def test_a_choice_without_its_gpu_yet_stays_off_cpu_nodes() -> None:
    found = Found(NODES)
    assert [pool.name for pool in pools_for(found.catalogue, found.choice)] == ["desks", "racks"]
    got = found.get(ANY)
    assert isinstance(got, Choice)
    assert got.slug == found.choice.slug
    assert len(pools_for(found.catalogue, got)) == 1
    assert sum(number for name, number in requests(got).items() if name.startswith("nvidia")) == 1
