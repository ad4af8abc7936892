"""Services that users reach: what the load balancer's rules cannot be is refused before anything is made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ingress_mocks import HUB, SIGN_IN

from components.ingress.ingress import check_published, name_prefix
from components.ingress.published_service import MOST_PATHS, port_forward_commands


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": "platform.other.example.com"}, "the certificate covers only lab.example.com"),
        ({"host": "a.platform.lab.example.com"}, "the certificate covers"),
        ({"host": "evillab.example.com"}, "the certificate covers"),
        ({"host": "lab.example.com", "paths_below": ("/*",)}, "which other services use"),
    ],
)
def test_hosts_without_a_certificate_are_refused(changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        check_published([replace(HUB, **changes)], "lab.example.com")


def test_names_and_priorities_are_there_once():
    check_published([HUB, SIGN_IN, replace(HUB, name="apex", priority=1, host="lab.example.com")], "lab.example.com")
    with pytest.raises(ValueError, match="needs its own priority, but 200 is used twice"):
        check_published([HUB, replace(SIGN_IN, priority=200)], "lab.example.com")
    with pytest.raises(ValueError, match="needs its own name, but platform is used twice"):
        check_published([HUB, replace(HUB, priority=1)], "lab.example.com")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Hub"}, "can't be the name"),
        ({"paths": ()}, "0 paths"),
        ({"paths": tuple(f"/{number}" for number in range(MOST_PATHS + 1))}, "5 paths"),
        ({"paths": ("hub/*",)}, "unlike hub/"),
        ({"open_paths": ("keys",)}, "unlike keys"),
        ({"open_paths": tuple(f"/{number}" for number in range(MOST_PATHS + 1))}, "5 open paths"),
        ({"paths_below": ("user/*",)}, "unlike user"),
        ({"paths_below": tuple(f"/{number}" for number in range(MOST_PATHS + 1))}, "5 paths below"),
        ({"health_check_path": "health"}, "unlike health"),
        ({"priority": 0}, "priority 0"),
        ({"priority": 50_001}, "priority 50001"),
    ],
)
def test_what_a_rule_cannot_be_is_no_published_service(changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        replace(HUB, **changes)


@pytest.mark.parametrize("name", ["a", "auth", "platform", "abcd-efg"])
def test_names_of_target_groups_begin_with_their_service_and_fit(name: str):
    prefix = name_prefix(name)
    assert prefix.endswith("-")
    assert "--" not in prefix
    assert len(prefix) <= 6
    assert name.startswith(prefix[:-1])


def test_port_forward_lines_never_share_a_local_port(mocks):
    services = [HUB, replace(HUB, name="other", priority=1, service="other"), replace(HUB, name="low", target_port=80)]
    commands = {name: mocks.value(line) for name, line in port_forward_commands(services).items()}
    assert commands["platform"] == "kubectl --namespace hub port-forward service/proxy-public 8000:80"
    local = [line.split()[-1].partition(":")[0] for line in commands.values()]
    assert len(set(local)) == len(services)
    assert all(int(port) >= 1024 for port in local)
