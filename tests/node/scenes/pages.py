"""The pages that people see, as Playwright drives them: Keycloak's, the hub's and JupyterLab."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from components.identity.realm.clients import HUB_BASE_URL
from components.platform_urls import PlatformUrls

from .pictures import Pictures
from .site import URLS

_MS = 1000
START_MS = 180 * _MS
CELL_MS = 60 * _MS


@dataclass(frozen=True)
class Seen:
    """A tab of a browser in which one person works; `pictures` are taken of what the tour shows."""

    tab: Tab
    pictures: Pictures
    urls: PlatformUrls = URLS

    @property
    def hub(self) -> str:
        """Where people find the hub."""
        return f"{self.urls.platform}{HUB_BASE_URL}"

    def open_hub(self) -> None:
        """Opens the platform as somebody who has its address, and comes to Keycloak's page."""
        self.tab.goto(f"{self.hub}/")
        expect(self.tab).to_have_url(re.compile(re.escape(self.urls.sign_in)))

    def sign_in(self, name: str, password: str) -> None:
        """Fills in Keycloak's form."""
        self.tab.locator("#username").fill(name)
        self.tab.locator("#password").fill(password)
        self.pictures.take(self.tab, "sign-in")
        self.tab.locator("#kc-login").click()

    def set_password(self, password: str) -> None:
        """Sets a password of one's own, for which Keycloak asks after the first one."""
        expect(self.tab.locator("#password-new")).to_be_visible()
        self.pictures.take(self.tab, "new-password")
        self.tab.locator("#password-new").fill(password)
        self.tab.locator("#password-confirm").fill(password)
        self.tab.locator("input[type=submit], button[type=submit]").first.click()

    def open_form(self) -> None:
        """Opens the form that starts a notebook."""
        self.tab.goto(f"{self.hub}/hub/spawn")
        expect(self.tab.locator("#kubespawner-profiles-list")).to_be_visible()

    @property
    def profiles(self) -> set[str]:
        """The choices of the form, as they are called there."""
        return set(self.tab.locator("#kubespawner-profiles-list h3").all_inner_texts())

    def start(self, profile: str) -> None:
        """Chooses a profile by what the form calls it, and starts it."""
        self.tab.locator("label.profile", has_text=profile).locator("input[type=radio]").check()
        self.pictures.take(self.tab, "form")
        self.tab.locator("#spawn_form button[type=submit]").click()

    def wait_for_event(self, text: str) -> None:
        """Waits until the page that waits for the notebook has said this."""
        expect(self.tab.locator("#progress-log")).to_contain_text(text)

    def refusal(self) -> str:
        """What the form says of a notebook that can't start."""
        message = self.tab.locator(".spawn-error-msg")
        expect(message).to_be_visible()
        return message.inner_text()

    def sign_out(self) -> None:
        """Signs out on the hub's home page."""
        self.tab.goto(f"{self.hub}/hub/home")
        self.tab.locator("#logout").click()

    def in_lab(self) -> Lab:
        """JupyterLab, once it is there: the hub leads to it by itself."""
        expect(self.tab).to_have_url(re.compile(r"/user/[^/]+/lab"), timeout=START_MS)
        expect(self.tab.locator(".jp-LauncherCard").first).to_be_visible(timeout=START_MS)
        return Lab(self.tab, self.pictures)


@dataclass(frozen=True)
class Lab:
    """JupyterLab in a tab."""

    tab: Tab
    pictures: Pictures

    def new_notebook(self) -> None:
        """Opens a notebook with a Python kernel, from the launcher."""
        self.tab.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
        # Before its kernel is there, JupyterLab lets people run a cell, and does nothing.
        expect(self.tab.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=CELL_MS)

    def run_cell(self, code: str) -> str:
        """Types code into the cell at the notebook's end, runs it, and returns what it prints."""
        cells = self.tab.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
        # Running the last one adds another after it.
        cell = cells.nth(cells.count() - 1)
        cell.locator(".cm-content").click()
        self.tab.keyboard.insert_text(code)
        self.tab.keyboard.press("Shift+Enter")
        # An empty prompt is a cell that did not run, a star one that runs.
        expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=CELL_MS)
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())

    def save(self) -> None:
        """Saves the notebook."""
        self.tab.keyboard.press("Control+s")

    @property
    def questions(self) -> list[str]:
        """What JupyterLab asks or tells in a corner of the window."""
        return self.tab.locator(".Toastify__toast").all_inner_texts()

    @property
    def banner(self) -> str:
        """The notice that the notebook ends soon; empty if there is none."""
        found = self.tab.locator("#gpulab-notice")
        return found.inner_text() if found.count() else ""
