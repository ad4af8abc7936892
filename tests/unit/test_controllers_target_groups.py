"""What the stand-in of the AWS Load Balancer Controller registers: the ready pods of the port that a binding names."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.controllers.target_groups import BackendNotFoundError, endpoints, service_port

SERVICE: dict[str, Any] = {
    "metadata": {"name": "proxy-public", "namespace": "hub"},
    "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "https", "port": 443}]},
}


def slice_of(*addresses: str, port: int = 8000, name: str | None = "http", **conditions: bool) -> dict[str, Any]:
    found = [{"addresses": [address], "conditions": conditions} for address in addresses]
    return {"addressType": "IPv4", "ports": [{"name": name, "port": port}], "endpoints": found}


def test_ready_pods_of_all_slices_are_targets_at_their_own_port():
    slices = [slice_of("10.0.0.1", "10.0.0.2", ready=True), slice_of("10.0.0.3", port=8001, ready=True)]
    assert endpoints(slices, "http") == {("10.0.0.1", 8000), ("10.0.0.2", 8000), ("10.0.0.3", 8001)}


def test_pods_that_are_not_ready_and_other_ports_are_no_targets():
    slices = [
        slice_of("10.0.0.1", ready=False),
        slice_of("10.0.0.2", name="https", port=8443, ready=True),
        {**slice_of("fd00::1", ready=True), "addressType": "IPv6"},
        {"addressType": "IPv4", "ports": None, "endpoints": None},
    ]
    assert endpoints(slices, "http") == set()


def test_an_unnamed_port_and_an_unknown_readiness_count():
    assert endpoints([slice_of("10.0.0.1", name=None), slice_of("10.0.0.2", name="")], None) == {
        ("10.0.0.1", 8000),
        ("10.0.0.2", 8000),
    }


@pytest.mark.parametrize("wanted", [80, "http"])
def test_a_port_is_found_by_number_and_by_name(wanted: int | str):
    assert service_port(SERVICE, wanted)["port"] == 80


def test_a_port_that_the_service_lacks_is_said_by_its_name():
    with pytest.raises(BackendNotFoundError, match="unable to find port 8000 on service hub/proxy-public"):
        service_port(SERVICE, 8000)
