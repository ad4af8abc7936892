"""How the hub watches notebooks' pods, by KubeSpawner's own reflectors, when the API server is away for a while."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import AsyncMock, patch

import pytest
from hub_catalogue import file
from jupyterhub.objects import Hub, Server
from kubespawner import KubeSpawner
from traitlets.config import Config

from components.hub.inside.config import configure
from components.hub.inside.spawner import NotebookSpawner, Refused
from components.hub.inside.token_secret import START_ANNOTATION

NAMESPACE = "team-research"


class ApiServer:
    """Lists pods, and ends watches soon; while `away`, it refuses connections."""

    away = False

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []

    async def list_namespaced_pod(self, **_: Any) -> Any:
        return self._listed(self.pods)

    async def list_namespaced_event(self, **_: Any) -> Any:
        return self._listed([])

    def _listed(self, items: list[dict[str, Any]]) -> Any:
        if self.away:
            raise ConnectionRefusedError

        async def read() -> bytes:
            return json.dumps({"items": items, "metadata": {"resourceVersion": "1"}}).encode()

        return SimpleNamespace(ok=True, read=read)


class NoWatch:
    """The client's watch, which never gets events."""

    def stream(self, *_: Any, **__: Any) -> NoReturn:
        raise ConnectionResetError

    def stop(self) -> None:
        return

    async def close(self) -> None:
        return


def run(work: Callable[[NotebookSpawner, ApiServer], Awaitable[None]]) -> None:
    """Runs `work` with a person's spawner, whose reflectors retry without a wait."""
    api = ApiServer()

    async def within() -> None:
        config = Config()
        configure(config, file())
        spawner = NotebookSpawner(
            user=SimpleNamespace(
                name="ada", id=1, url="/user/ada/", escaped_name="ada", groups=[], server=Server(), settings={}
            ),
            orm_spawner=SimpleNamespace(name="", server=None, user_options={}, state={}, started=None),
            hub=Hub(ip="hub", port=8081, base_url="/hub/"),
            config=config,
        )
        spawner.namespace = NAMESPACE
        try:
            await work(spawner, api)
        finally:
            await NotebookSpawner._stop_all_reflectors()

    with (
        patch("kubespawner.spawner.load_config"),
        patch("kubespawner.spawner.shared_client", lambda *_: api),
        patch("kubespawner.reflector.shared_client", lambda *_: api),
        patch("kubespawner.reflector.watch.Watch", NoWatch),
        patch("kubespawner.reflector.asyncio", _Hurried()),
    ):
        asyncio.run(within())


class _Hurried:
    """asyncio with short sleeps."""

    async def sleep(self, _: float) -> None:
        await asyncio.sleep(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def running(spawner: NotebookSpawner) -> dict[str, Any]:
    state = {"name": "notebook", "ready": True, "state": {"running": {}}}
    return {
        "metadata": {"name": spawner.pod_name, "namespace": NAMESPACE, "resourceVersion": "1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [state]},
    }


async def given_up(spawner: NotebookSpawner) -> None:
    """Waits until the reflectors have."""
    for kind in ("pods", "events"):
        task: Any = spawner.reflectors[kind, NAMESPACE].watch_task
        await task
        assert task.done()


def test_who_waits_where_nobody_buys_machines_is_told_what_is_short() -> None:
    message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    full = {"reason": "FailedScheduling", "message": message, "type": "Warning"}

    async def steps(_: Any) -> AsyncGenerator[dict[str, Any], None]:
        yield {"progress": 30, "raw_event": full, "message": ""}

    async def work(spawner: NotebookSpawner, _: ApiServer) -> None:
        pools = {name: dataclasses.replace(pool, capacity_types=()) for name, pool in spawner.catalogue.pools.items()}
        spawner.catalogue = dataclasses.replace(spawner.catalogue, pools=pools)
        told = [step["message"] async for step in spawner.progress()]
        assert any("too little is free of GPUs" in line for line in told)

    with patch.object(KubeSpawner, "progress", steps), patch.object(NotebookSpawner, "events", [full]):
        run(work)


def test_who_waits_is_told_of_a_machine_that_does_not_become_ready() -> None:
    bought = {"reason": "Nominated", "message": "Pod should schedule on: nodeclaim/gpu-x7k2p", "type": "Normal"}
    claim = {"metadata": {"name": "gpu-x7k2p", "creationTimestamp": "2026-11-30T08:00:00Z"}}
    asked: list[tuple[Any, ...]] = []
    looked_often = asyncio.Event()

    async def read(*names: Any, **_: Any) -> Any:
        asked.append(names)
        if len(asked) > 4:
            looked_often.set()
        return claim

    async def steps(_: Any) -> AsyncGenerator[dict[str, Any], None]:
        yield {"progress": 30, "raw_event": bought, "message": ""}
        await looked_often.wait()  # the events say nothing more, and the machine is looked at all the same

    async def work(spawner: NotebookSpawner, _: ApiServer) -> None:
        told = [step["message"] async for step in spawner.progress()]
        (of_the_machine,) = [line for line in told if "gpu-x7k2p was bought at 08:00 UTC and is not ready" in line]
        assert told.count(of_the_machine) == 1
        assert any("Karpenter buys a machine for it (gpu-x7k2p)" in line for line in told)
        assert set(asked) == {("karpenter.sh", "v1", "nodeclaims", "gpu-x7k2p")}

    with (
        patch.object(KubeSpawner, "progress", steps),
        patch.object(NotebookSpawner, "events", [bought]),
        patch.object(NotebookSpawner, "_pod", {"spec": {}, "status": {"phase": "Pending"}}),
        patch("components.hub.inside.spawner._MACHINES_LOOKED_AT_EVERY", 0),
        patch(
            "components.hub.inside.spawner.shared_client", lambda *_: SimpleNamespace(get_cluster_custom_object=read)
        ),
    ):
        run(work)


def test_a_namespace_is_watched_again_when_the_api_server_is_back() -> None:
    async def work(spawner: NotebookSpawner, api: ApiServer) -> None:
        assert await spawner.poll() == 1
        await spawner._start_watching_events()
        api.away = True
        await given_up(spawner)
        api.away = False
        api.pods = [running(spawner)]
        assert await spawner.poll() is None, "the pod is seen, which came meanwhile"
        events: Any = await spawner._start_watching_events()
        assert not events.watch_task.done()

    run(work)


@pytest.mark.parametrize(("seen", "seen_to_end"), [(True, True), (True, False), (False, False)])
def test_a_start_ends_as_soon_as_its_pod_is_gone(seen: bool, seen_to_end: bool) -> None:
    """KubeSpawner waits for it until `start_timeout`. A watch that does not see it does not count as its end."""
    asked: list[str] = []

    async def work(spawner: NotebookSpawner, api: ApiServer) -> None:
        async def read(*_: Any, **__: Any) -> Any:
            asked.append("pod")
            there = api.pods and len(asked) < 3
            content = api.pods[0] if there else {"kind": "Status"}
            return SimpleNamespace(status=200 if there else 404, read=AsyncMock(return_value=json.dumps(content)))

        async def waits(_: KubeSpawner) -> NoReturn:
            pod = {**running(spawner), "status": {"phase": "Pending"}}
            pod["metadata"]["annotations"] = {START_ANNOTATION: spawner.extra_annotations[START_ANNOTATION]}
            api.pods = [pod]
            spawner._made = True
            reflector: Any = spawner.pod_reflector
            reflector.resources = {f"{NAMESPACE}/{spawner.pod_name}": pod} if seen else {}
            await asyncio.sleep(0.05)
            if seen_to_end:
                pod["metadata"]["deletionTimestamp"] = "2026-11-30T08:00:00Z"
            else:
                reflector.resources = {}
            await asyncio.Event().wait()
            raise AssertionError

        api.read_namespaced_pod = read  # type: ignore[attr-defined]
        await spawner._start_watching_pods()
        await spawner._start_watching_events()
        for kind in ("pods", "events"):
            spawner.reflectors[kind, NAMESPACE].watch_task.cancel()
        with (
            patch.object(KubeSpawner, "_start", waits),
            patch("components.hub.inside.spawner._LOOKED_EVERY", 0.01),
            pytest.raises(Refused, match="was deleted before it ran"),
        ):
            await spawner.start()

    run(work)
    assert len(asked) == (1 if seen_to_end else 3)


def test_a_start_goes_on_while_the_watch_still_shows_a_pod_that_was_replaced() -> None:
    """An answer came too late: KubeSpawner has deleted that pod, and made another of the same start."""

    async def work(spawner: NotebookSpawner, api: ApiServer) -> None:
        async def read(*_: Any, **__: Any) -> Any:
            return SimpleNamespace(status=200, read=AsyncMock(return_value=json.dumps(api.pods[0])))

        async def replaced(_: KubeSpawner) -> str:
            start = {START_ANNOTATION: spawner.extra_annotations[START_ANNOTATION]}
            pod = {**running(spawner), "status": {"phase": "Pending"}}
            pod["metadata"] = {**pod["metadata"], "annotations": start}
            api.pods = [pod]
            old = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-30T08:00:00Z"}}
            reflector: Any = spawner.pod_reflector
            reflector.resources = {f"{NAMESPACE}/{spawner.pod_name}": old}
            spawner._made = True
            await asyncio.sleep(0.1)
            return "http://notebook"

        api.read_namespaced_pod = read  # type: ignore[attr-defined]
        await spawner._start_watching_pods()
        await spawner._start_watching_events()
        for kind in ("pods", "events"):
            spawner.reflectors[kind, NAMESPACE].watch_task.cancel()
        with patch.object(KubeSpawner, "_start", replaced), patch("components.hub.inside.spawner._LOOKED_EVERY", 0.01):
            assert await spawner.start() == "http://notebook"

    run(work)


def test_a_notebook_does_not_count_as_gone_while_the_api_server_is_away() -> None:
    """JupyterHub forgets a notebook if poll() returns a status; after an error it polls again."""

    async def work(spawner: NotebookSpawner, api: ApiServer) -> None:
        api.pods = [running(spawner)]
        await spawner._start_watching_events()
        assert await spawner.poll() is None
        api.away = True
        await given_up(spawner)
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await spawner.poll()
        api.away = False
        assert await spawner.poll() is None

    run(work)


def test_what_kubespawner_gives_up_first_has_its_reason_too() -> None:
    """Its timeout is `start_timeout`, randomly changed by up to a tenth."""

    async def gives_up(_: KubeSpawner) -> NoReturn:
        raise TimeoutError("pod team-research/jupyter-ada did not start in 600 seconds!")

    async def work(spawner: NotebookSpawner, _: ApiServer) -> None:
        await spawner._start_watching_pods()
        await spawner._start_watching_events()
        with patch.object(KubeSpawner, "_start", gives_up), pytest.raises(Refused, match="its pod before it ran"):
            await spawner.start()

    run(work)
