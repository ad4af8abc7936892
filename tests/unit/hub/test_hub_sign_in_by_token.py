"""The hub without Keycloak: who gets in with the token, as whom, and that nobody else does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_without_keycloak import RESEARCH, configured
from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH
from tornado.web import HTTPError

from components.hub.inside import sign_in, sign_in_by_token
from components.hub.inside.authenticator import ReportHandler
from components.hub.inside.people import ADMINISTRATORS
from components.hub.inside.sign_in_by_token import TokenAuthenticator

TOKEN = "0123456789abcdef" * 4


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token, where the chart mounts it."""
    file = tmp_path / "sign-in-token"
    file.write_text(TOKEN, encoding="utf-8")
    monkeypatch.setattr(sign_in, "TOKEN", file)
    monkeypatch.setattr(sign_in_by_token, "PAUSE_SECONDS", 0)
    return TOKEN


def by_token(folder: Path, **given: Any) -> TokenAuthenticator:
    return TokenAuthenticator(config=configured(folder, "token", **given))


def comes_by_token(made: TokenAuthenticator, name: str, token: str) -> dict[str, Any] | None:
    return asyncio.run(made.get_authenticated_user(SimpleNamespace(), {"username": name, "password": token}))


def test_the_token_lets_in_whom_the_stack_file_names(tmp_path: Path, token: str) -> None:
    made = by_token(tmp_path, members={RESEARCH: ["ada"], ADMINISTRATORS: ["grace"]})
    ada, grace = comes_by_token(made, "Ada", token), comes_by_token(made, "grace", token)
    assert ada
    assert grace
    assert (ada["name"], ada["groups"]) == ("ada", [RESEARCH])
    assert grace["groups"] == [ADMINISTRATORS]
    assert comes_by_token(made, "eve", token) is None
    assert comes_by_token(made, "", token) is None


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "täken"])
def test_another_token_lets_nobody_in(tmp_path: Path, token: str, wrong: str) -> None:
    assert comes_by_token(by_token(tmp_path), "ada", wrong) is None


def test_a_hub_that_finds_no_token_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "TOKEN", tmp_path / "missing")
    monkeypatch.delenv("SIGN_IN_TOKEN", raising=False)
    monkeypatch.setattr(sign_in_by_token, "PAUSE_SECONDS", 0)
    assert comes_by_token(by_token(tmp_path), "ada", "") is None


@pytest.mark.parametrize("access", [True, False])
def test_administrators_of_a_hub_by_token(tmp_path: Path, token: str, access: bool) -> None:
    made = by_token(tmp_path, administratorAccess=access)
    for name, admin in (("grace", access), ("ada", False)):
        found = comes_by_token(made, name, token)
        assert found
        assert found["admin"] is admin


def test_wrong_tokens_wait_and_too_many_are_not_even_looked_at(tmp_path: Path, token: str) -> None:
    made = by_token(tmp_path)

    async def guessing() -> list[Any]:
        paused = asyncio.Event()
        real_sleep = asyncio.sleep

        async def pause(seconds: float) -> None:
            await paused.wait()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sign_in_by_token.asyncio, "sleep", pause)
            wrong = {"username": "ada", "password": "wrong"}
            guesses = [
                asyncio.ensure_future(made.authenticate(None, wrong)) for _ in range(sign_in_by_token.MOST_WAITING)
            ]
            await real_sleep(0)
            assert not any(one.done() for one in guesses)
            with pytest.raises(HTTPError) as refusal:
                await made.authenticate(None, {"username": "ada", "password": token})
            paused.set()
            await asyncio.gather(*guesses)
        return [refusal.value.status_code, await made.authenticate(None, {"username": "ada", "password": token})]

    status, after = asyncio.run(guessing())
    assert status == 429
    assert after


@pytest.mark.parametrize(
    ("named", "same_token", "stays"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_another_token_or_stack_file_ends_sessions(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch, named: bool, same_token: bool, stays: bool
) -> None:
    """People stay signed in over a restart of the hub: their groups are then those of now."""
    before = comes_by_token(by_token(tmp_path), "ada", token)
    assert before

    async def state() -> dict[str, Any]:
        return before["auth_state"]

    if not same_token:
        sign_in.TOKEN.write_text("f" * 64, encoding="utf-8")
    after = by_token(tmp_path, members={"/vision/developer": ["ada" if named else "grace"]})
    user: Any = SimpleNamespace(name="ada", get_auth_state=state)
    found = asyncio.run(after.refresh_user(user))
    assert (found["groups"] if found else found) == (["/vision/developer"] if stays else False)


def test_the_token_is_not_kept_in_what_the_hub_stores(tmp_path: Path, token: str) -> None:
    found = comes_by_token(by_token(tmp_path), "ada", token)
    assert token not in json.dumps(found)


@pytest.mark.parametrize(("people", "shown"), [(["ada"], "ada"), (["ada", "grace"], "")])
def test_the_form_has_the_name_of_the_only_person(tmp_path: Path, token: str, people: list[str], shown: str) -> None:
    config = configured(tmp_path, "token", members={RESEARCH: people})
    jupyterhubs = FileSystemLoader(Path(DATA_FILES_PATH) / "templates")
    around = DictLoader({"page.html": "{% block main %}{% endblock %}"})
    own = FileSystemLoader(config.JupyterHub.template_paths)
    templates = Environment(loader=ChoiceLoader([own, around, PrefixLoader({"templates": jupyterhubs})]))
    html = templates.get_template("login.html").render(authenticator=TokenAuthenticator(config=config))
    assert f'value="{shown}"' in html


def test_notebooks_reports_need_no_sign_in(tmp_path: Path, token: str) -> None:
    handlers = dict(by_token(tmp_path).get_handlers(SimpleNamespace()))  # type: ignore[arg-type]
    assert handlers[r"/api/users/([^/]+)/activity"] is ReportHandler
