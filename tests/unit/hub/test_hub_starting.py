"""The parts of a start, from the form's data to the spawner's traits, without an API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from hub_catalogue import document, file
from jupyterhub.objects import Hub, Server
from kubernetes_asyncio.client.rest import ApiException
from traitlets.config import Config

from components.hub.inside.catalogue import parse
from components.hub.inside.config import configure
from components.hub.inside.refused import Refused
from components.hub.inside.spawner import NotebookSpawner, pre_spawn_hook


def spawner_of(*groups: str) -> NotebookSpawner:
    """Somebody's, who is in these groups."""
    config = Config()
    configure(config, file())
    with patch("kubespawner.spawner.load_config"), patch("kubespawner.spawner.shared_client"):
        made = NotebookSpawner(
            user=SimpleNamespace(
                name="ada",
                id=1,
                url="/user/ada/",
                escaped_name="ada",
                groups=[SimpleNamespace(name=group) for group in groups],
                server=Server(),
                settings={},
            ),
            orm_spawner=SimpleNamespace(name="", server=None, user_options={}, state={}, started=None),
            hub=Hub(ip="hub", port=8081, base_url="/hub/"),
            config=config,
            api_token="token",
            oauth_client_id="client",
        )
    made.listed = AsyncMock(return_value=[])  # type: ignore[method-assign]
    return made


@pytest.fixture
def spawner() -> NotebookSpawner:
    return spawner_of("/research/developer")


async def started(spawner: NotebookSpawner, form: Mapping[str, str]) -> dict[str, str]:
    """What the notebook's container would have in its environment, after the form was sent."""
    spawner.user_options = await spawner.chosen_in_form({name: [value] for name, value in form.items()})
    await pre_spawn_hook(spawner)
    await spawner.load_user_options()
    return spawner.get_env()


def test_a_clean_start_is_for_once(spawner: NotebookSpawner) -> None:
    profile = {"profile": "research_python"}
    clean = {**profile, "profile-option-research_python--environment": "clean"}

    async def one_after_the_other() -> list[Any]:
        found = []
        for form in (profile, clean, profile):
            found.append(await started(spawner, form))
            # By what the hub remembers, a notebook is started anew without the form.
            assert spawner.orm_spawner.user_options == profile
        return found

    before, cleanly, after = asyncio.run(one_after_the_other())
    variables = ("GPULAB_CLEAN", "JUPYTERHUB_DISABLE_USER_CONFIG")
    assert [bool(cleanly.get(one)) for one in variables] == [True, True]
    for other in (before, after):
        assert [bool(other.get(one)) for one in variables] == [False, False]


@pytest.mark.parametrize(("status", "mounted"), [(200, True), (404, False), (503, None)])
def test_a_notebook_starts_without_the_volume_whose_claim_nobody_has_made(
    spawner: NotebookSpawner, status: int, mounted: bool | None
) -> None:
    """Without an answer it is not known, and the start fails as it would without an API server."""
    given = document()
    claim = {"claimName": "shared-code", "readOnly": True}
    given["teams"]["research"]["volumes"].append({"name": "code", "persistentVolumeClaim": claim})
    given["teams"]["research"]["optional"] = ["code"]
    spawner.catalogue = parse(given)
    failure = ApiException(status=status) if status != 200 else None
    spawner.api.read_namespaced_persistent_volume_claim = AsyncMock(side_effect=failure)
    start = started(spawner, {"profile": "research_python"})
    if mounted is None:
        with pytest.raises(ApiException):
            asyncio.run(start)
        return
    asyncio.run(start)
    named: Any = spawner.volumes
    assert ("code" in {volume["name"] for volume in named}) is mounted
    asked = spawner.api.read_namespaced_persistent_volume_claim.await_args
    assert asked is not None
    assert asked.args == ("shared-code", "team-research")


@pytest.mark.parametrize("status", [403, 422])
def test_people_read_why_the_cluster_takes_no_such_pod(spawner: NotebookSpawner, status: int) -> None:
    """Forbidden, or not valid: both come at once, and neither would change by waiting."""
    failure = ApiException(status=status)
    failure.body = json.dumps({"message": "privileged is not allowed"}).encode()

    async def start() -> None:
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(failure)
        await spawner._started(failed)

    with pytest.raises(Refused, match="The cluster refused the notebook: privileged is not allowed"):
        asyncio.run(start())


def test_an_option_of_another_profile_or_of_nobody_changes_nothing(spawner: NotebookSpawner) -> None:
    for option in ("research_agents--environment", "research_python--image"):
        form = {"profile": "research_python", f"profile-option-{option}": "clean"}
        assert not asyncio.run(started(spawner, form))["GPULAB_CLEAN"]
    spawner.user_options = {"profile": "research_python", "environment": "unheard of"}
    asyncio.run(pre_spawn_hook(spawner))
    assert spawner.user_options == {"profile": "research_python"}


def test_the_form_offers_it() -> None:
    async def form() -> str:
        spawner = spawner_of("/research/developer")
        return await spawner.get_options_form()

    page = asyncio.run(form())
    assert 'name="profile-option-research_python--environment"' in page
    assert '<option value="clean"' in page


class Cluster:
    """What the hub reads from the API server while a notebook starts: its container's log, which grows."""

    def __init__(self, *logs: str) -> None:
        self._logs = list(logs)

    async def read_namespaced_pod_log(self, *_: Any, **__: Any) -> Any:
        """Answers like a kubelet that is not reachable at first."""
        if not self._logs:
            raise ConnectionResetError
        log = self._logs.pop(0)
        return SimpleNamespace(status=200 if log else 400, read=AsyncMock(return_value=log.encode()))


def test_what_a_startup_script_says_is_on_the_page_while_it_says_it(spawner: NotebookSpawner) -> None:
    first, more = "startup: Collecting example\n", "startup: Installed\nstartup: Done\n"
    spawner.api = Cluster("", first, first, first + more)
    spawner.http_timeout = 1

    async def told() -> list[str]:
        with patch("components.hub.inside.spawner._LOG_LOOKED_AT_EVERY", 0.01):
            return [line async for line in spawner._startup_lines()]

    assert asyncio.run(told()) == ["Collecting example", "Installed", "Done"]


def test_a_late_answer_of_the_api_server_is_not_taken_for_a_lost_one(spawner: NotebookSpawner) -> None:
    """In a rush the answer came after four seconds: the hub met its own pod, deleted it and told people so."""
    made: list[str] = []

    async def slow(_namespace: str, pod: Any) -> None:
        await asyncio.sleep(4)
        made.append(pod.metadata.name)

    spawner.api = SimpleNamespace(create_namespaced_pod=slow)
    pod = SimpleNamespace(metadata=SimpleNamespace(name="jupyter-ada"))
    with patch("components.hub.inside.token_secret.keep", AsyncMock()):
        assert asyncio.run(spawner._make_create_pod_request(pod, spawner.k8s_api_request_timeout))
    assert made == ["jupyter-ada"]
    # So there is time for another attempt after one that was lost.
    assert spawner.k8s_api_request_retry_timeout > 2 * spawner.k8s_api_request_timeout


def test_the_hub_does_not_warn_of_options_that_a_start_applies(
    spawner: NotebookSpawner, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(spawner._run_apply_user_options({"profile": "research_python"}))
    assert "user_options" not in caplog.text
    assert spawner.apply_user_options is not None
