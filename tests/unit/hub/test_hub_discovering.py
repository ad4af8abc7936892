"""A start with GPUs that are discovered: the form, what is chosen, the spawner's traits, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from hub_catalogue import NOON
from hub_gpus import GPU, L40S, PROFILE, RTX, SHARED, l40s, node, pod, pool, quota, rtx, site
from hub_spawner import spawner_of

from components.hub.inside import homes
from components.hub.inside.catalogue import document
from components.hub.inside.form import profile_list
from components.hub.inside.refused import Refused
from components.hub.inside.spawner import NotebookSpawner, pre_spawn_hook

SLUG = f"research_{PROFILE}"
CHOSEN = f"profile-option-{SLUG}--gpu"
SITE = {"cpu": pool(gpu=False, largest={"cpu": "15", "memory": "60Gi"}), "desks": pool(), "racks": pool()}
for _name, _resource in (("desks", SHARED), ("racks", GPU)):
    SITE[_name]["largest"] = {"cpu": "15", "memory": "60Gi", _resource: "8"}

T = TypeVar("T")


class Api:
    """Lists nodes, pods in vision's namespace, and quotas; or answers that the hub may not list nodes."""

    def __init__(self, *pods: dict[str, Any], forbidden: bool = False, away: bool = False) -> None:
        self.pods, self.forbidden, self.away = list(pods), forbidden, away
        self.asked: Counter[str] = Counter()

    async def list_node(self, **_: Any) -> Any:
        self.asked["node"] += 1
        if self.away:
            raise ConnectionRefusedError("connection refused")
        if self.forbidden:
            return self._answer({"kind": "Status", "code": 403, "message": "nodes is forbidden"})
        return self._answer({"items": [node("control", "cpu"), rtx(), l40s()]})

    async def list_namespaced_pod(self, namespace: str, **_: Any) -> Any:
        self.asked["pod"] += 1
        return self._answer({"items": self.pods if namespace == "team-vision" else []})

    async def list_namespaced_resource_quota(self, *_: Any, **__: Any) -> Any:
        self.asked["quota"] += 1
        return self._answer({"items": [quota()]})

    def _answer(self, content: dict[str, Any]) -> Any:
        async def read() -> bytes:
            return json.dumps(content).encode()

        return SimpleNamespace(read=read)


@pytest.fixture
def made(tmp_path: Path) -> Callable[[Api], NotebookSpawner]:
    """Makes a spawner of somebody in research, at a hub with such an API server."""

    def make(api: Api) -> NotebookSpawner:
        return spawner_of(document(site(SITE)), tmp_path, api, "/research/data-scientist")

    return make


def run(work: Awaitable[T]) -> T:
    async def within() -> T:
        return await work

    return asyncio.run(within())


async def started(spawner: NotebookSpawner, form: dict[str, str]) -> None:
    """Brings the spawner to where it makes the pod, after the form was sent."""
    spawner.user_options = await spawner.chosen_in_form({name: [value] for name, value in form.items()})
    await pre_spawn_hook(spawner)
    await spawner.load_user_options()


def eight_sharing() -> list[dict[str, Any]]:
    return [pod("desk", {SHARED: 1}, person=f"p{number}") for number in range(8)]


def test_the_form_has_the_gpus_as_an_option_with_any_of_them_first(made: Callable[[Api], NotebookSpawner]) -> None:
    page = run(made(Api(pod("rack", {GPU: 1}))).get_options_form())
    assert f'name="{CHOSEN}"' in page
    assert page.index('<option value="any" selected>any free GPU: 9 of 10 free') < page.index(
        f">{L40S}, 45 GiB: 1 of 2"
    )
    assert "a GPU to choose" in page


@pytest.mark.parametrize(
    ("wanted", "resource", "in_pool"), [(f"{L40S}/{GPU}/1", GPU, "racks"), (f"{RTX}/{SHARED}/8", SHARED, "desks")]
)
def test_what_is_chosen_in_the_form_is_what_the_pod_asks_for(
    wanted: str, resource: str, in_pool: str, made: Callable[[Api], NotebookSpawner]
) -> None:
    spawner = made(Api())
    run(started(spawner, {"profile": SLUG, CHOSEN: wanted}))
    assert spawner.extra_resource_limits[resource] == "1"
    assert spawner.node_selector == {"gpulab.dev/pool": in_pool}
    # By what the hub remembers, a notebook is started anew without the form.
    assert spawner.orm_spawner.user_options == {"profile": SLUG, "gpu": wanted}


def test_a_client_of_the_api_that_names_no_gpu_gets_a_free_one(made: Callable[[Api], NotebookSpawner]) -> None:
    spawner = made(Api(*eight_sharing()))
    spawner.user_options = {"profile": SLUG}

    async def start() -> None:
        await pre_spawn_hook(spawner)
        await spawner.load_user_options()

    run(start())
    assert spawner.extra_resource_limits[GPU] == "1"


def test_the_ninth_is_refused_before_there_is_a_pod(made: Callable[[Api], NotebookSpawner]) -> None:
    spawner = made(Api(*eight_sharing()))
    with pytest.raises(Refused, match=rf"all 8 are in use \(vision 8\)\. Free now: 2 of 2 {L40S}"):
        run(started(spawner, {"profile": SLUG, CHOSEN: f"{RTX}/{SHARED}/8"}))


@pytest.mark.parametrize(
    ("trouble", "words", "cause"),
    [
        ({"forbidden": True}, "The hub may not look at the nodes", "nodes is forbidden"),
        ({"away": True}, "The cluster does not answer right now", "connection refused"),
    ],
)
def test_other_profiles_start_while_nodes_cannot_be_listed(
    trouble: dict[str, bool],
    words: str,
    cause: str,
    made: Callable[[Api], NotebookSpawner],
    caplog: pytest.LogCaptureFixture,
) -> None:
    listed = {one["slug"]: one for one in run(profile_list(made(Api(**trouble))))}
    assert words in listed[SLUG]["description"]
    # People read an explanation. Administrators find the cause in the hub's log.
    assert cause not in listed[SLUG]["description"]
    assert cause in caplog.text
    assert "gpu" not in listed[SLUG]["profile_options"]
    run(started(made(Api(**trouble)), {"profile": "research_python"}))
    caplog.clear()
    with pytest.raises(Refused, match=words) as refused:
        run(started(made(Api(**trouble)), {"profile": SLUG}))
    assert refused.value.status_code == 503
    assert cause in caplog.text


def test_a_class_that_opens_the_form_asks_the_api_server_once(made: Callable[[Api], NotebookSpawner]) -> None:
    api = Api()

    async def views() -> None:
        await asyncio.gather(*(made(api).get_options_form() for _ in range(20)))
        await made(api).get_options_form()

    run(views())
    assert api.asked["node"] == 1
    assert api.asked["quota"] == 1


def test_what_is_free_is_counted_anew_for_each_start(made: Callable[[Api], NotebookSpawner]) -> None:
    api = Api()

    async def two() -> None:
        await started(made(api), {"profile": SLUG, CHOSEN: f"{L40S}/{GPU}/1"})
        api.pods.append(pod("rack", {GPU: 2}))
        await started(made(api), {"profile": SLUG, CHOSEN: f"{L40S}/{GPU}/1"})

    with pytest.raises(Refused, match="all 2 are in use"):
        run(two())


def test_a_stack_without_discovery_never_asks_for_nodes(tmp_path: Path) -> None:
    catalogue = document(site(SITE))
    catalogue["teams"]["research"]["profiles"].remove(PROFILE)
    api = Api(forbidden=True)
    spawner = spawner_of(catalogue, tmp_path, api, "/research/data-scientist")
    run(spawner.get_options_form())
    run(started(spawner, {"profile": "research_python"}))
    assert api.asked["node"] == 0


def test_who_waits_reads_which_gpu_was_found(made: Callable[[Api], NotebookSpawner]) -> None:
    spawner = made(Api(*eight_sharing()))

    async def first() -> str:
        await started(spawner, {"profile": SLUG})
        return (await anext(spawner.progress()))["message"]

    assert run(first()).startswith(f"PyTorch ({L40S}, 45 GiB) for team research: 1 vCPU, 4 GiB of memory, 1 GPU.")


def test_with_a_full_home_the_smallest_profile_starts_though_a_gpu_was_found_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = document(site(SITE))
    catalogue["teams"]["research"]["profiles"] = [PROFILE]
    catalogue["homes"] |= {"warn": 1, "limit": 2}
    full = homes.HomeSize(team="research", size=3 * 1024**3, measured=NOON)
    monkeypatch.setattr(homes, "home_size", lambda *_: full)
    run(started(spawner_of(catalogue, tmp_path, Api(), "/research/data-scientist"), {"profile": SLUG}))
