"""How the hub watches notebooks' pods, by KubeSpawner's own reflectors, when the API server is away for a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
from hub_catalogue import FILE
from jupyterhub.objects import Hub, Server
from kubespawner import KubeSpawner
from traitlets.config import Config

from components.hub.config import configure
from components.hub.spawner import NotebookSpawner, Refused

NAMESPACE = "team-research"


class ApiServer:
    """Lists pods, and watches nothing for long; `away`, it refuses connections."""

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
    """The client's watch, which never hears of anything."""

    def stream(self, *_: Any, **__: Any) -> NoReturn:
        raise ConnectionResetError

    def stop(self) -> None:
        return

    async def close(self) -> None:
        return


def run(work: Callable[[NotebookSpawner, ApiServer], Awaitable[None]]) -> None:
    """Runs `work` with somebody's spawner. Its reflectors wait for no second try."""
    api = ApiServer()

    async def within() -> None:
        config = Config()
        configure(config, FILE)
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
    """asyncio, in which nobody sleeps for long."""

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
        patch("components.hub.spawner._MACHINES_LOOKED_AT_EVERY", 0),
        patch("components.hub.spawner.shared_client", lambda *_: SimpleNamespace(get_cluster_custom_object=read)),
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


def test_a_notebook_does_not_count_as_gone_while_the_api_server_is_away() -> None:
    """JupyterHub forgets a notebook of which poll() says so; of an error it asks again."""

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
    """Its patience is `start_timeout` give or take a tenth, at random."""

    async def gives_up(_: KubeSpawner) -> NoReturn:
        raise TimeoutError("pod team-research/jupyter-ada did not start in 600 seconds!")

    async def work(spawner: NotebookSpawner, _: ApiServer) -> None:
        await spawner._start_watching_pods()
        await spawner._start_watching_events()
        with patch.object(KubeSpawner, "_start", gives_up), pytest.raises(Refused, match="gone before it ran"):
            await spawner.start()

    run(work)
