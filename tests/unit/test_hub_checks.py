"""The rehearsal's check of the jobs that measure homes: rights too many or too few are found, and missing jobs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from components.hub.home_sizes import rules
from rehearsal.checks import hub as hub_checks
from rehearsal.checks.checking import DoesNotHold, NotTried

TEAMS = ("research", "vision")
CONFIG_MAPS = {"apiGroups": [""], "resources": ["configmaps"]}


def subject(granted: list[dict[str, Any]], *, jobs: tuple[str, ...] = TEAMS, homes: str = "shared") -> Any:
    """A cluster with these jobs, whose account has these rules."""

    def request(method: str, path: str, body: Any = None) -> dict[str, Any]:
        if method == "GET":
            assert path.endswith("/namespaces/hub/cronjobs")
            return {"items": [{"metadata": {"name": f"home-sizes-{team}"}} for team in jobs]}
        asked = body["spec"]["resourceAttributes"]
        assert body["spec"]["user"] == "system:serviceaccount:hub:home-sizes"
        allowed = any(
            asked["resource"] in rule["resources"]
            and asked["verb"] in rule["verbs"]
            and asked["name"] in rule.get("resourceNames", [asked["name"]])
            for rule in granted
        )
        return {"status": {"allowed": allowed}}

    settings = SimpleNamespace(teams=dict.fromkeys(TEAMS), storage=SimpleNamespace(homes=homes))
    return SimpleNamespace(settings=settings, plane=SimpleNamespace(request=request))


def checked(found: Any, read: tuple[str, ...] = TEAMS) -> str:
    sources = [{"configMap": {"name": f"home-sizes-{team}"}} for team in read]
    values = {"hub": {"extraVolumes": [{"name": "home-sizes", "projected": {"sources": sources}}]}}
    with mock.patch.object(hub_checks, "_values", return_value=values):
        return hub_checks.homes_are_measured(found)


def test_jobs_that_may_write_what_the_hub_reads_hold() -> None:
    assert checked(subject(rules(TEAMS))).startswith("2 jobs")


@pytest.mark.parametrize(
    "granted",
    [
        [],
        [{**CONFIG_MAPS, "verbs": ["create", "patch"]}],
        rules(TEAMS[:1]),
        [*rules(TEAMS), {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    ],
    ids=["none", "all ConfigMaps", "one team's alone", "Secrets"],
)
def test_other_rights_do_not(granted: list[dict[str, Any]]) -> None:
    with pytest.raises(DoesNotHold):
        checked(subject(granted))


def test_a_job_that_is_missing_or_that_nobody_reads_does_not() -> None:
    with pytest.raises(DoesNotHold, match="these jobs are missing: home-sizes-vision"):
        checked(subject(rules(TEAMS), jobs=TEAMS[:1]))
    with pytest.raises(DoesNotHold, match="the hub reads"):
        checked(subject(rules(TEAMS)), read=TEAMS[:1])


def test_disks_are_not_asked_for() -> None:
    with pytest.raises(NotTried):
        checked(subject([], homes="per-person"))
