"""What is refused before a pod is made, and with which message."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from hub_catalogue import choice, dev
from hypothesis import given
from hypothesis import strategies as st

from components.hub.inside import nodes
from components.hub.inside.catalogue import Pool
from components.hub.inside.looking_ahead import refuse_what_cannot_start
from components.hub.inside.pod import PERSON_LABEL, POOL_LABEL, PRIORITY_CLASS, pools_for, requests
from components.hub.inside.quantities import amount
from components.hub.inside.refusals import home_in_use, never_fits, not_offered, pools_full, quota_left
from components.hub.inside.refused import Refused

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("slug", "reason"),
    [
        ("research_fine-tuning", "You can't start profile fine-tuning: it is for roles administrator and "),
        ("vision_fine-tuning", "There is no profile vision_fine-tuning."),
        ("research_gone", "There is no profile research_gone."),
        ("gone", "There is no profile gone."),
    ],
)
def test_a_choice_that_somebody_does_not_have_is_refused_with_the_roles_that_have_it(slug: str, reason: str) -> None:
    assert not_offered(dev(), slug).startswith(reason)


def pod(
    person: str = "ada", *, name: str = "", phase: str = "Running", pool: str | None = None, **requested: str
) -> dict[str, Any]:
    wanted = {key.replace("_", "/").replace("gpu", "gpu"): value for key, value in requested.items()}
    return {
        "metadata": {
            "name": name or f"jupyter-{person}",
            "labels": {PERSON_LABEL: person},
            "annotations": {"hub.jupyter.org/username": person},
        },
        "spec": {
            "nodeSelector": {POOL_LABEL: pool} if pool else {},
            "containers": [{"resources": {"requests": wanted}}],
        },
        "status": {"phase": phase},
    }


def gpu_pod(person: str, count: int, **of_pod: Any) -> dict[str, Any]:
    made = pod(person, **of_pod)
    made["spec"]["containers"][0]["resources"] = {"requests": {GPU: str(count)}, "limits": {GPU: str(count)}}
    return made


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


def test_a_quota_that_is_used_up_names_who_uses_it_and_what_is_left() -> None:
    asked = {GPU: Decimal(2)}
    quotas = [quota({"requests.nvidia.com/gpu": "4"}, {"requests.nvidia.com/gpu": "3"})]
    said = quota_left(asked, quotas, [gpu_pod("ada", 1), gpu_pod("grace", 2)], "research")
    assert said is not None
    assert "quota is 4 GPUs: 3 in use (grace 2, ada 1), 1 left, and this needs 2" in said
    assert quota_left({GPU: Decimal(1)}, quotas, [], "research") is None


def test_what_is_not_granted_at_all_is_told_so() -> None:
    said = quota_left({GPU: Decimal(1)}, [quota({"requests.nvidia.com/gpu": "0"})], [], "research")
    assert said is not None
    assert said.startswith("Team research has no GPUs in its quota")


def test_notebooks_that_are_over_use_nothing() -> None:
    quotas = [quota({"pods": "2"}, {"pods": "2"})]
    said = quota_left({}, quotas, [pod("ada"), pod("grace", phase="Succeeded"), pod("alan")], "research")
    assert said is not None
    assert "(ada 1, alan 1)" in said


def test_memory_counts_by_request_and_by_limit() -> None:
    for key in ("requests.memory", "limits.memory", "memory"):
        quotas = [quota({key: "16Gi"}, {key: "12Gi"})]
        assert quota_left({"memory": amount("4Gi")}, quotas, [], "research") is None
        said = quota_left({"memory": amount("8Gi")}, quotas, [pod("ada", memory="12Gi")], "research")
        assert said is not None
        assert "16 GiB of memory: 12 GiB in use (ada 12 GiB), 4 GiB left, and this needs 8 GiB" in said


@pytest.mark.parametrize(
    "other", ["services.loadbalancers", "persistentvolumeclaims", "requests.storage", "limits.cpu", "count/secrets"]
)
def test_what_a_notebook_does_not_count_for_is_no_obstacle(other: str) -> None:
    asked = requests(choice("research_python"))
    assert quota_left(asked, [quota({other: "0"})], [], "research") is None


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({}, True),
        ({"scopes": ["NotTerminating"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["NotBestEffort", "Terminating"]}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [PRIORITY_CLASS]}]
                }
            },
            True,
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "PriorityClass", "operator": "NotIn", "values": [PRIORITY_CLASS]}
                    ]
                }
            },
            False,
        ),
    ],
)
def test_a_quota_counts_within_its_scopes(spec: dict[str, Any], counts: bool) -> None:
    assert (quota_left({}, [quota({"pods": "0"}, **spec)], [], "research") is not None) == counts


@given(limit=st.integers(1, 100), used=st.integers(0, 100), asked=st.integers(1, 100))
def test_it_is_refused_just_when_the_cluster_would(limit: int, used: int, asked: int) -> None:
    quotas = [quota({"requests.nvidia.com/gpu": str(limit)}, {"requests.nvidia.com/gpu": str(used)})]
    refused = quota_left({GPU: Decimal(asked)}, quotas, [], "research") is not None
    assert refused == (used + asked > limit)


def test_a_pool_that_is_full_by_other_teams_says_which() -> None:
    pool = dev().pools["gpu"]
    assert pool.limits == {GPU: "16"}
    pods = {
        "research": [gpu_pod("ada", 8, pool="gpu")],
        "vision": [gpu_pod("grace", 7, pool="gpu"), gpu_pod("alan", 8, pool="gpu-other")],
    }
    assert pools_full({GPU: Decimal(1)}, [pool], pods) is None
    said = pools_full({GPU: Decimal(2)}, [pool], pods)
    assert said is not None
    assert "Pool gpu may have 16 GPUs, and 15 are in use (research 8, vision 7)" in said
    assert "ada" not in said, "who it is in another team is nobody's business"


def in_pools(one: dict[str, Any], *names: str) -> dict[str, Any]:
    """The pod, with an affinity to these pools."""
    required = {"nodeSelectorTerms": [{"matchExpressions": [{"key": POOL_LABEL, "operator": "In", "values": names}]}]}
    one["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    return one


def test_a_pod_is_of_the_pool_that_its_affinity_says() -> None:
    bound = in_pools(gpu_pod("ada", 16), "gpu")
    assert pools_full({GPU: Decimal(1)}, [dev().pools["gpu"]], {"research": [bound]}) is not None


def cpu_pool(name: str, limit: str | None = "8", largest: str = "8") -> Pool:
    limits = {"cpu": limit} if limit else {}
    return Pool(name=name, gpu=False, capacity_types=("spot",), tolerations=(), limits=limits, largest={"cpu": largest})


A, B = cpu_pool("a"), cpu_pool("b")


@pytest.mark.parametrize(
    ("pools", "pods", "said"),
    [
        ([A, B], [in_pools(pod(cpu="6"), "a")], None),
        ([A, B], [in_pools(pod(cpu="6"), "a"), pod(cpu="6", pool="b")], "Pool a may have 8 vCPU, and 6 are in use"),
        ([A, B], [in_pools(pod(cpu="7"), "a", "b")] * 2, "Pools a and b together may have 16 vCPU, and 14 are in use"),
        ([A, B], [in_pools(pod(cpu="7"), "a", "b"), in_pools(pod(cpu="7"), "a", "c")], None),
        ([A, cpu_pool("b", limit=None)], [in_pools(pod(cpu="7"), "a")] * 2, None),
        ([A, cpu_pool("b", largest="2")], [in_pools(pod(cpu="6"), "a")], "Pool a may have 8 vCPU"),
        ([A], [pod(cpu="7")], None),
    ],
    ids=[
        "one has room",
        "none has room",
        "none has room, whichever they are in",
        "some may be elsewhere",
        "one has no limit",
        "only one has machines that are large enough",
        "what names no pool",
    ],
)
def test_a_choice_of_several_pools_is_refused_when_all_are_full(
    pools: list[Pool], pods: list[dict[str, Any]], said: str | None
) -> None:
    found = pools_full({"cpu": Decimal(3)}, pools, {"vision": pods})
    assert said in found if said and found else found is said


def test_a_pod_that_cannot_be_read_is_nobody_elses_trouble() -> None:
    odd = pod("ada", cpu="a lot", pool="cpu")
    asked = requests(choice("research_python"))
    assert pools_full(asked, [dev().pools["cpu"]], {"vision": [odd]}) is None
    assert quota_left(asked, [quota({"cpu": "1"}, {"cpu": "1"})], [odd], "research") is not None


@pytest.mark.parametrize("slug", ["research_python", "research_pytorch"])
def test_a_full_pool_keeps_a_notebook_from_starting_with_gpus_or_without(slug: str) -> None:
    wanted = choice(slug)
    (pool,) = pools_for(dev(), wanted)
    full = pod("grace", pool=pool.name)
    full["spec"]["containers"][0]["resources"]["requests"] = pool.limits

    class Hub:
        catalogue = dev()
        person = "ada"

        async def listed(self, kind: str, namespace: str) -> list[dict[str, Any]]:
            return [full] if (kind, namespace) == ("pod", "team-vision") else []

    hub: Any = Hub()
    with pytest.raises(Refused, match=f"Pool {pool.name} may have"):
        asyncio.run(refuse_what_cannot_start(hub, wanted))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (TimeoutError(), r"The cluster does not answer right now\. Try again in a minute"),
        ({"code": 403, "message": 'pods is forbidden: User "hub" cannot list'}, r"may not look into .*team-research"),
    ],
)
def test_people_read_in_words_that_the_cluster_does_not_say_what_is_left(
    answer: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> Any:
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(read=AsyncMock(return_value=json.dumps(answer)))

    class Hub:
        catalogue = dev()
        person = "ada"
        log = logging.getLogger("hub")

        async def listed(self, kind: str, namespace: str) -> Any:
            return await nodes.items(ask())

    hub: Any = Hub()
    with pytest.raises(Refused, match=said) as refused:
        asyncio.run(refuse_what_cannot_start(hub, choice("research_python")))
    assert refused.value.status_code == 503
    assert "forbidden" not in str(refused.value)
    why = answer["message"] if isinstance(answer, dict) else "TimeoutError"
    assert why in caplog.text, "whoever runs the platform finds the cause in the hub's log"


def test_what_no_machine_has_is_told_with_the_most_that_there_is() -> None:
    cpu = dataclasses.replace(cpu_pool("cpu"), limits={}, largest={"cpu": "7.5", "memory": "28Gi"})
    large = dataclasses.replace(cpu, name="large", largest={"cpu": "31", "memory": "120Gi"})
    asked = {"cpu": Decimal(8), "memory": amount("64Gi"), "ephemeral-storage": amount("10Gi")}
    said = never_fits(asked, [cpu])
    assert said is not None
    assert "cpu has at most 7.5 vCPU, 28 GiB of memory" in said
    assert never_fits(asked, [cpu, large]) is None
    assert "no node pool" in (never_fits(asked, []) or "")


def test_every_choice_of_dev_fits_somewhere() -> None:
    catalogue = dev()
    for team in catalogue.teams.values():
        for profile in team.profiles:
            one = choice(f"{team.name}_{profile}", "administrator", "project-manager", "data-scientist", "developer")
            assert never_fits(requests(one), pools_for(catalogue, one)) is None


def test_a_home_that_is_a_disk_is_in_one_notebook_at_a_time() -> None:
    running = pod("ada", name="jupyter-ada")
    running["metadata"]["labels"]["hub.jupyter.org/servername"] = ""
    assert "the first one uses it" in (home_in_use([running], "ada", "jupyter-ada--second") or "")
    assert home_in_use([running], "ada", "jupyter-ada") is None, "its own pod, on its way out"
    assert home_in_use([running], "grace", "jupyter-grace") is None
