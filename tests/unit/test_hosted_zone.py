"""The preflight: a zone that cannot be used for the domain is reported before anything is made, with what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from moto.route53.models import route53_backends

from components.ingress import delegation
from components.ingress.delegation import DNS_SERVER, name_servers, require_delegation
from components.ingress.hosted_zone import HostedZone, HostedZoneError, find_hosted_zone
from rehearsal.cloud import dns_server, prerequisites, public_dns
from rehearsal.machine.processes import free_ports

GET_ZONE = "aws:route53/getZone:getZone"
SERVERS = ("ns-1.awsdns-01.com", "ns-2.awsdns-02.net")
ZONE = HostedZone(domain="lab.example.com", zone_id="Z1", name="example.com", name_servers=SERVERS)


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "zoneId": "Z1",
        "name": "example.com",
        "nameServers": ["NS-2.awsdns-02.net.", "ns-1.awsdns-01.com"],
        "privateZone": False,
        **changes,
    }


@pytest.fixture
def find(mocks: Any) -> Callable[..., HostedZone]:
    def program(zone_id: str | None) -> HostedZone:
        return mocks.deploy(lambda: find_hosted_zone("lab.example.com", "example.com", zone_id))

    return lambda zone_id=None: program(zone_id)


@pytest.fixture
def dns() -> Iterator[Callable[..., None]]:
    """Public DNS for a test; yields a function that writes a delegation into the parent zone."""
    (port,) = free_ports(1)
    dns_server.serve(port)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DNS_SERVER, f"127.0.0.1:{port}")
        yield lambda *servers, zone="example.com": public_dns.delegate(zone, servers)
    public_dns.forget()
    route53_backends.reset()


class Refusal(grpc.RpcError):
    """What the engine's monitor answers when a provider's function fails."""

    def __init__(self, message: str) -> None:
        self._message = message

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._message


def refuse(message: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def refused(args: dict[str, Any]) -> dict[str, Any]:
        raise Refusal(message)

    return refused


def test_the_public_zone_of_the_name_is_found(mocks, find):
    mocks.invokes[GET_ZONE] = answer()
    assert find() == ZONE
    (call,) = mocks.calls
    assert call.args == {"name": "example.com", "privateZone": False}


def test_a_zone_is_found_by_its_id_where_one_is_given(mocks, find):
    mocks.invokes[GET_ZONE] = answer(zoneId="Z2")
    assert find("Z2").zone_id == "Z2"
    assert mocks.calls[0].args == {"zoneId": "Z2"}


def test_an_id_of_another_zone_is_refused(mocks, find):
    mocks.invokes[GET_ZONE] = answer(name="example.net")
    with pytest.raises(HostedZoneError, match=r"hostedZoneId Z2 is the zone example\.net, not example\.com"):
        find("Z2")


def test_a_private_zone_is_refused_by_id_and_by_name(mocks, find):
    mocks.invokes[GET_ZONE] = answer(privateZone=True)
    with pytest.raises(
        HostedZoneError, match=r"example.com of gpulab:ingress.domain lab.example.com \(Z1\) is private"
    ):
        find("Z1")

    def only_private(args: dict[str, Any]) -> dict[str, Any]:
        return (
            answer(privateZone=True) if args["privateZone"] else refuse("no matching Route 53 Hosted Zone found")(args)
        )

    mocks.invokes[GET_ZONE] = only_private
    with pytest.raises(HostedZoneError, match=r"\(Z1\) is private.*Make a public zone example.com"):
        find()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("no matching Route 53 Hosted Zone found", "does not exist in this account: make it .*--name example.com"),
        ("multiple Route 53 Hosted Zones matched", "not the only public zone.*gpulab:ingress.hostedZoneId"),
        ("AccessDenied: not authorized", "could not be looked up: .*not authorized"),
    ],
)
def test_what_route53_says_becomes_what_to_do(mocks, find, said: str, expected: str):
    mocks.invokes[GET_ZONE] = refuse(said)
    with pytest.raises(HostedZoneError, match=expected) as refused:
        find()
    assert "lab.example.com" in str(refused.value)
    assert "hosted zone example.com" in str(refused.value).lower()


def test_a_delegated_zone_passes(dns):
    dns(*SERVERS)
    assert name_servers("example.com") == set(SERVERS)
    require_delegation(ZONE)


def test_a_part_of_the_name_servers_is_enough(dns):
    dns(SERVERS[0])
    require_delegation(ZONE)


def test_a_zone_that_nobody_delegates_is_refused_with_the_records_to_set(dns):
    with pytest.raises(HostedZoneError) as refused:
        require_delegation(ZONE)
    message = str(refused.value)
    assert "example.com (Z1) is not delegated: public DNS has no name servers" in message
    assert "gpulab:ingress.domain lab.example.com" in message
    assert re.findall(r"^  (\S+) NS (\S+)$", message, re.MULTILINE) == [
        ("example.com.", f"{server}.") for server in SERVERS
    ]


def test_a_delegation_to_others_is_refused_with_their_names(dns):
    dns(SERVERS[0], "ns.registrar.example.net")
    with pytest.raises(HostedZoneError, match=r"leads to ns-1\.awsdns-01\.com, ns\.registrar\.example\.net instead"):
        require_delegation(ZONE)


def test_the_parent_zone_is_asked_and_not_the_zone_itself(dns):
    """What a zone says about itself may be outdated: Route 53 keeps the NS records when the registrar has others."""
    prerequisites.hosted_zone("example.com", "us-east-1", "Z1")
    (first, *_) = public_dns.referral("example.com")
    dns(first)
    assert name_servers("example.com") == {first}


def test_without_access_to_the_parent_servers_the_resolver_is_used(dns, monkeypatch):
    monkeypatch.setattr(delegation, "_delegation", lambda *_: None)
    assert name_servers("example.com") == set()
    prerequisites.hosted_zone("example.com", "us-east-1", "Z1")
    assert name_servers("example.com") == set(public_dns.referral("example.com"))
    dns("ns.registrar.example.net")
    assert name_servers("example.com") == set()


def test_no_network_is_said_as_such(monkeypatch):
    (nobody,) = free_ports(1)
    monkeypatch.setenv(DNS_SERVER, f"127.0.0.1:{nobody}")
    monkeypatch.setattr(delegation, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(HostedZoneError, match=r"public DNS does not answer here.*checkDelegation: false") as refused:
        require_delegation(ZONE)
    assert "example.com of gpulab:ingress.domain lab.example.com" in str(refused.value)
    assert "NS ns-1" not in str(refused.value)
