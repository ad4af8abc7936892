"""The culler's rounds over real connections: a hub and notebooks that answer as they should, late, oddly or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hub_catalogue import document
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from components.hub.inside import culler
from components.hub.inside.catalogue import parse
from components.hub.inside.culling import SILENT_ROUNDS
from components.hub.inside.notices import API_PATH

HOURS_AGO = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
BUSY = ({"last_activity": HOURS_AGO}, [{"execution_state": "busy"}])
IDLE = ({"last_activity": HOURS_AGO}, [{"execution_state": "idle"}])
# Other answers are a status, bytes, or the place that it leads to; or there is none.
FAILS, HANGS = 503, None


class Lab:
    """A hub with notebooks that were started hours ago and, as far as it knows, have been idle since."""

    def __init__(self, idle: int = 3600) -> None:
        content = document()
        content["profiles"]["pytorch"]["idle"] = idle
        self._catalogue = parse(content)
        self.answers: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.tokens: dict[str, set[str]] = {}
        self.ended: list[str] = []
        self.url = ""

    def run(self, work: Callable[[culler.Culler], Awaitable[None]]) -> None:
        """Runs `work` with a culler of that hub."""

        async def within() -> None:
            socket, port = bind_unused_port()
            self.url = f"http://127.0.0.1:{port}"
            server = HTTPServer(_application(self))
            server.add_socket(socket)
            try:
                await work(culler.Culler(self._catalogue, f"{self.url}/hub/api", "culler"))
            finally:
                server.stop()
                await server.close_all_connections()

        asyncio.run(within())

    def rounds(self, *answers: Any) -> None:
        """Ada's notebook gives these answers, one per round."""

        async def work(of_lab: culler.Culler) -> None:
            for self.answers["ada"] in answers:
                await of_lab.round()

        self.run(work)

    def notebooks(self) -> list[dict[str, str]]:
        return [
            {
                "user": name,
                "server": "",
                "profile": "research_pytorch",
                "started": HOURS_AGO,
                "lastActivity": HOURS_AGO,
                "url": f"{self.url}/user/{name}/",
                "token": f"of {name}",
            }
            for name in self.answers
        ]


def _application(lab: Lab) -> Application:
    class Hub(RequestHandler):
        def get(self) -> None:
            self.write(json.dumps(lab.notebooks()))

        def post(self) -> None:
            lab.told = {one["user"]: one for one in json.loads(self.request.body)}

    class Server(RequestHandler):
        def delete(self, name: str) -> None:
            lab.ended.append(name)

    class Notebook(RequestHandler):
        async def get(self, name: str, question: str) -> None:
            lab.tokens.setdefault(name, set()).add(self.request.headers["Authorization"])
            answer = lab.answers[name]
            if answer is HANGS:
                await asyncio.Event().wait()
            elif isinstance(answer, int):
                self.set_status(answer)
            elif isinstance(answer, str):
                self.redirect(answer)
            elif isinstance(answer, bytes):
                self.write(answer)
            else:
                self.write(json.dumps(answer[question == "kernels"]))

    class Elsewhere(RequestHandler):
        def get(self) -> None:
            lab.tokens.setdefault("elsewhere", set()).add(self.request.headers.get("Authorization", ""))
            self.write(json.dumps(BUSY[0]))

    return Application(
        [
            (f"/hub/api{API_PATH}", Hub),
            (r"/hub/api/users/([^/]+)/server", Server),
            (r"/user/([^/]+)/api/(status|kernels)", Notebook),
            ("/elsewhere", Elsewhere),
        ]
    )


def test_what_computes_stays_and_what_is_idle_ends() -> None:
    lab = Lab()
    lab.answers["grace"] = BUSY
    lab.rounds(IDLE)
    assert lab.ended == ["ada"]
    assert set(lab.told) == {"ada", "grace"}


@pytest.mark.parametrize("before", [(), (BUSY,)], ids=["at first", "after it computed"])
def test_questions_without_an_answer_do_not_end_what_may_compute(before: Iterable[Any]) -> None:
    lab = Lab()
    lab.rounds(*before, *[FAILS] * (SILENT_ROUNDS + 2))
    assert lab.ended == []


def test_what_has_worked_ends_only_after_several_rounds_of_silence() -> None:
    lab = Lab(idle=1)
    ended: list[list[str]] = []

    async def work(of_lab: culler.Culler) -> None:
        lab.answers["ada"] = BUSY
        await of_lab.round()
        await asyncio.sleep(1.1)
        lab.answers["ada"] = FAILS
        for _ in range(SILENT_ROUNDS):
            await of_lab.round()
            ended.append(list(lab.ended))

    lab.run(work)
    assert ended == [[]] * (SILENT_ROUNDS - 1) + [["ada"]]


@pytest.mark.parametrize(
    "odd",
    [
        ({"last_activity": "2026-01-01T00:00:00"}, []),
        ({"last_activity": "9999-12-31T23:59:59+00:00"}, []),
        ({"last_activity": 7}, []),
        ({}, []),
        ([], []),
        (None, None),
        (IDLE[0], 7),
        (IDLE[0], [7]),
        (IDLE[0], "busy"),
        ({**IDLE[0], "more": "x" * culler._MOST_ANSWERED}, []),
        404,
        b"",
        b"[" * 100_000,
    ],
    ids=lambda odd: str(odd).replace(HOURS_AGO, "hours ago")[:40],
)
def test_an_odd_answer_decides_of_nothing_but_its_own_notebook(odd: Any) -> None:
    lab = Lab()
    lab.answers |= {"grace": IDLE, "alan": BUSY}
    lab.rounds(odd)
    assert lab.ended == ["grace"]
    assert set(lab.told) == {"ada", "grace", "alan"}


def test_nobody_works_in_the_future() -> None:
    lab = Lab()
    lab.rounds(({"last_activity": "9999-12-31T23:59:59+00:00"}, []))
    assert datetime.fromisoformat(lab.told["ada"]["since"]) <= datetime.now(UTC)


def test_what_hangs_keeps_nobody_else_from_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culler, "_REQUEST_SECONDS", 10)
    lab = Lab()
    lab.answers |= {f"hangs-{number}": HANGS for number in range(2 * culler._AT_ONCE)}
    lab.rounds(IDLE)
    assert lab.ended == ["ada"]


def test_each_notebook_is_asked_by_its_own_token_and_sends_it_nowhere() -> None:
    lab = Lab()
    lab.answers["grace"] = IDLE
    lab.rounds("/elsewhere")
    assert lab.tokens == {"ada": {"token of ada"}, "grace": {"token of grace"}}
