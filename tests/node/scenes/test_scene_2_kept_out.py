"""Scene 2: who does not get in, and what nobody gets by asking for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from . import company, octocats, signing_in
from .keycloak import PASSWORD
from .pages import Seen
from .site import Site
from .stack import LOCK_SECONDS, MOST_FAILURES, REFRESH_SECONDS
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]


def test_wrong_passwords_lock_an_account_for_a_while(site: Site, person: Callable[..., str]) -> None:
    name = person("/vision/developer")
    for _ in range(MOST_FAILURES + 2):
        assert Visitor().sign_in(name, "Wrong-Password-1").is_keycloaks
        if site.keycloak.is_locked(name):
            break
    assert site.keycloak.is_locked(name)
    assert Visitor().sign_in(name).is_keycloaks, "the right password opened a locked account"
    until(lambda: not site.keycloak.is_locked(name), "the lock ends", seconds=2 * LOCK_SECONDS)
    assert not Visitor().sign_in(name).is_keycloaks


def test_somebody_without_a_team_reads_whom_to_ask(person: Callable[..., str], seen: Callable[[], Seen]) -> None:
    signing_in.stranger_is_refused(person)
    stranger = seen()
    stranger.open_hub()
    stranger.sign_in(person(), PASSWORD)
    stranger.tab.get_by_text("you are not in a team").wait_for()
    stranger.pictures.take(stranger.tab, "no-team")


def test_a_sign_in_without_pkce_is_refused() -> None:
    signing_in.sign_in_needs_a_challenge()


def test_a_request_for_what_the_form_does_not_offer_is_refused(site: Site, visitor: Callable[..., Visitor]) -> None:
    person = visitor("/vision/developer")
    for profile, reason in (
        ("research_python", "it is for roles"),
        ("vision_pytorch-share", "it is for roles data-scientist and project-manager of team vision"),
        ("vision_no-such-profile", "There is no profile"),
    ):
        refused = person.start(profile)
        assert (refused.status, reason in refused.words) == (403, True), refused.words
        person.api("POST", f"/users/{person.name}/server", {"profile": profile})
        assert reason in person.failure()
    assert not [*site.notebooks("vision"), *site.notebooks("research")]


def test_a_disabled_account_is_out_at_the_next_refresh(site: Site, visitor: Callable[..., Visitor]) -> None:
    person = visitor("/vision/developer")
    path = f"/users/{site.keycloak.id_of(person.name)}"
    account = site.keycloak.call("GET", path)
    site.keycloak.call("PUT", path, {**account, "enabled": False})
    until(lambda: person.open("/hub/home").is_keycloaks, "the hub lets go", seconds=REFRESH_SECONDS + 30)
    assert Visitor().sign_in(account["username"]).is_keycloaks


def test_who_is_disabled_at_the_company_is_out_at_the_next_refresh(site: Site) -> None:
    with company.running(site):
        company.employ(site, "erin")
        erin = Visitor()
        page = company.sign_in(erin, "erin")
        assert page.status == 200, page.words
        assert "research_python" in erin.open("/hub/spawn").profiles

        company.disable(site, "erin")
        until(lambda: erin.open("/hub/home").is_keycloaks, "the hub lets go", seconds=REFRESH_SECONDS + 30)
        assert company.sign_in(Visitor(), "erin").is_keycloaks


def test_somebody_from_github_who_is_not_in_the_organisation_is_kept_out(site: Site, seen: Callable[[], Seen]) -> None:
    with octocats.running(site) as github:
        github.logins.update(("mona", "hubot"))
        github.members.add("mona")
        # Anybody can have an account at GitHub, so an administrator says who is in which team.
        for login in ("mona", "hubot"):
            page = octocats.sign_in(Visitor(), login)
            assert "you are not in a team" in page.words, f"{page.url}: {page.words}"
            site.keycloak.join(login, "/vision/developer")
        mona = Visitor()
        page = octocats.sign_in(mona, "mona")
        assert page.status == 200, page.words
        assert mona.open("/hub/spawn").profiles == signing_in.VISION

        hubot = seen()
        hubot.open_hub()
        hubot.tab.get_by_role("link", name="GitHub").click()
        hubot.pictures.take(hubot.tab, "at-github")
        hubot.tab.get_by_role("link", name="hubot").click()
        hubot.tab.get_by_text("GitHub does not show that you are an active member").wait_for()
        hubot.pictures.take(hubot.tab, "outside-the-organisation")

        github.members.remove("mona")
        until(lambda: mona.open("/hub/home").is_keycloaks, "the hub lets go", seconds=REFRESH_SECONDS + 30)
