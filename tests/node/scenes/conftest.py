"""One site on a real node for all scenes, a browser in its network, and people."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, ViewportSize, sync_playwright

from rehearsal.machine.cache import cache_folder

from . import chromium, stack
from . import site as sites
from .pages import Seen
from .pictures import Pictures
from .site import Site
from .visitor import Visitor

_WINDOW = ViewportSize(width=1280, height=800)


@pytest.fixture(scope="package")
def _cache_of_machines(_own_cache: None) -> Iterator[None]:
    """The cache at its own path: a machine sees it there, and nothing that links lead to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPULAB_CACHE", str((cache_folder() / "node").resolve().parent))
        yield


@pytest.fixture(scope="package")
def running_site(_cache_of_machines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site, up; it ends with the last test of this folder."""
    with sites.up(tmp_path_factory.mktemp("node")) as site:
        yield site


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """What drives browsers; a thread can have one only."""
    with sync_playwright() as one:
        yield one


@pytest.fixture(scope="package")
def browser(running_site: Site, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium in the site's network."""
    folder = tmp_path_factory.mktemp("chromium")
    with chromium.started(playwright, folder, running_site.machine_root, running_site.machine, stack.DOMAIN) as started:
        yield started


@pytest.fixture
def site(running_site: Site) -> Iterator[Site]:
    """The site, without notebooks of other tests."""
    yield running_site
    running_site.end_notebooks()


@pytest.fixture
def person(site: Site) -> Callable[..., str]:
    """Makes an account in these groups, for only this test."""

    def made(*groups: str) -> str:
        # Short, because it is in names of pods and hosts.
        name = f"person-{secrets.token_hex(3)}"
        site.keycloak.add(name, groups)
        return name

    return made


@pytest.fixture
def visitor(person: Callable[..., str]) -> Callable[..., Visitor]:
    """Makes an account in these groups, and signs in with it."""

    def signed_in(*groups: str) -> Visitor:
        made = Visitor()
        page = made.sign_in(person(*groups))
        assert page.status == 200, page.words
        return made

    return signed_in


@pytest.fixture
def seen(browser: Browser, site: Site, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Seen]]:
    """Opens the browser of a person who was never here; if the test fails, pictures show what they saw last."""
    scene = re.sub(r"^test_(scene_)?", "", request.module.__name__.rpartition(".")[2]).replace("_", "-")
    pictures = Pictures.of(scene, tmp_path)
    contexts = []

    def opened() -> Seen:
        context = browser.new_context(ignore_https_errors=True, viewport=_WINDOW)
        contexts.append(context)
        return Seen(context.new_page(), pictures)

    yield opened
    for number, context in enumerate(contexts):
        for tab in context.pages:
            if request.session.testsfailed:
                pictures.take(tab, f"last-{number}")
        context.close()
