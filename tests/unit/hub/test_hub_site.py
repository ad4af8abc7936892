"""The hub on nodes that were there before: labels of others, a runtime class, resources that nobody counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import site_lab
from hub_catalogue import NOON, choice, dev

from components.hub import catalogue_from_settings
from components.hub.inside.catalogue import Catalogue, document, parse
from components.hub.inside.pod import POOL_LABEL, overrides, pools_for, requests
from components.hub.inside.refusals import never_fits, pools_full

SLUG = "research_pytorch"


def on_site(**changed: Any) -> Catalogue:
    """The catalogue of dev with its GPU pool on nodes of a site."""
    found = dev()
    changed = {"node_selector": {"role": "gpu"}, "runtime_class": "nvidia", "tolerations": (), **changed}
    pool = dataclasses.replace(found.pools["gpu"], **changed)
    return dataclasses.replace(found, pools={**found.pools, "gpu": pool})


def pod_of(catalogue: Catalogue, slug: str = SLUG) -> dict[str, Any]:
    return overrides(catalogue, choice(slug, catalogue=catalogue), NOON)


def keys(found: dict[str, Any]) -> list[set[str]]:
    return [{one["key"] for one in term["matchExpressions"]} for term in found["node_affinity_required"]]


def test_a_notebook_with_gpus_gets_to_the_sites_nodes_with_their_runtime_class() -> None:
    found = pod_of(on_site())
    assert keys(found) == [{"role"}]
    assert found["node_selector"] == {}
    assert found["extra_pod_config"] == {"runtimeClassName": "nvidia"}


def test_other_notebooks_have_no_runtime_class_not_even_that_of_the_start_before() -> None:
    """KubeSpawner merges it into what the last start left, and takes out what is None."""
    for catalogue, slug in ((on_site(), "research_python"), (dev(), SLUG)):
        assert pod_of(catalogue, slug)["extra_pod_config"] == {"runtimeClassName": None}


def test_a_pool_with_gpus_for_all_takes_notebooks_without() -> None:
    catalogue = on_site(for_all=True)
    found = pod_of(catalogue, "research_python")
    assert keys(found) == [{POOL_LABEL}, {"role"}]
    assert found["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert [pool.name for pool in pools_for(on_site(), choice("research_python"))] == ["cpu"]


def test_the_document_says_it_and_the_hub_reads_it() -> None:
    wanted = on_site(for_all=True)
    assert parse(document(wanted)) == wanted
    assert not {"nodeSelector", "runtimeClass", "forAll"} & document(dev())["pools"]["gpu"].keys()


def test_the_hub_knows_whether_machines_are_bought() -> None:
    assert dev().buys_machines
    pools = {name: dataclasses.replace(pool, capacity_types=()) for name, pool in dev().pools.items()}
    assert not parse(document(dataclasses.replace(dev(), pools=pools))).buys_machines
    assert not parse(catalogue_from_settings.catalogue(site_lab.load())).buys_machines


def running(resource: str, amount: str, affinity: list[dict[str, Any]]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": affinity}}
    return {
        "metadata": {"name": "pod", "labels": {}},
        "spec": {
            "containers": [{"resources": {"requests": {resource: amount}}}],
            "affinity": {"nodeAffinity": required},
        },
    }


def test_a_ninth_share_of_a_card_is_refused_in_words() -> None:
    share = "nvidia.com/gpu.shared"
    limits = {share: "8"}
    catalogue = dev()
    card = dataclasses.replace(
        catalogue.pools["gpu-shared"], node_selector={"role": "gpu"}, limits=limits, largest={**limits, "cpu": "16"}
    )
    catalogue = dataclasses.replace(catalogue, pools={**catalogue.pools, "gpu-shared": card})
    wanted = choice("research_pytorch-slice", catalogue=catalogue)
    affinity = overrides(catalogue, wanted, NOON)["node_affinity_required"]
    seven = [running(share, "1", affinity)] * 7
    assert pools_full(requests(wanted), pools_for(catalogue, wanted), {"research": seven}) is None
    elsewhere = running(share, "1", [{"matchExpressions": [{"key": "role", "operator": "In", "values": ["other"]}]}])
    assert pools_full(requests(wanted), pools_for(catalogue, wanted), {"research": [*seven, elsewhere]}) is None
    message = pools_full(requests(wanted), pools_for(catalogue, wanted), {"research": seven, "vision": seven[:1]})
    assert message is not None
    assert "8 shared GPUs" in message


def test_gpus_that_nobody_counted_refuse_nobody() -> None:
    catalogue = on_site(limits={}, largest={"cpu": "16", "memory": "64Gi"})
    wanted = choice(SLUG, catalogue=catalogue)
    assert never_fits(requests(wanted), pools_for(catalogue, wanted)) is None
    small = on_site(limits={}, largest={"cpu": "1", "memory": "64Gi"})
    assert "vCPU" in (never_fits(requests(wanted), pools_for(small, wanted)) or "")
