"""The stand-ins of the controllers that make load balancers: which one owns a Service, and the names that they use."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.controllers import load_balancers
from rehearsal.controllers.load_balancers import ANNOTATION, Keeper

CLOUD, CONTROLLER = Keeper(external=False), Keeper(external=True)


def service(
    annotations: dict[str, str] | None = None, *, finalizers: tuple[str, ...] = (), served: bool = False, **spec: Any
) -> dict[str, Any]:
    said = {ANNOTATION + key: value for key, value in (annotations or {}).items()}
    metadata = {"name": "gateway", "namespace": "team-a", "uid": "0a1b-2c3d", "annotations": said}
    return {
        "metadata": {**metadata, "finalizers": list(finalizers)},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080}, {"port": 443}], **spec},
        "status": {"loadBalancer": {"ingress": [{"hostname": "x"}]} if served else {}},
    }


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (service(), CLOUD),
        (service({"type": "nlb"}), CLOUD),
        (service({"type": "external"}), CONTROLLER),
        (service(loadBalancerClass="service.k8s.aws/nlb"), CONTROLLER),
        (service(loadBalancerClass="example.com/other"), None),
        # Once it has one, it stays with it.
        (service({"type": "external"}, finalizers=(CLOUD.finalizer,)), CLOUD),
    ],
)
def test_whose_a_service_is(of: dict[str, Any], expected: Keeper | None) -> None:
    assert load_balancers.keeper_of(of) == expected


def test_what_there_is_to_do() -> None:
    served = service(finalizers=(CLOUD.finalizer,), served=True)
    assert load_balancers.is_due(service())
    assert not load_balancers.is_due(served)
    assert not load_balancers.is_due(service(type="ClusterIP"))
    # One that is of another type now, or on its way out, still holds what it was given.
    assert load_balancers.is_due({**served, "spec": {**served["spec"], "type": "ClusterIP"}})
    leaving = {**served, "metadata": {**served["metadata"], "deletionTimestamp": "2026-09-01T00:00:00Z"}}
    assert load_balancers.is_due(leaving)
    assert not load_balancers.is_wanted(leaving)
    assert not load_balancers.is_due({**leaving, "metadata": {**leaving["metadata"], "finalizers": []}})


@pytest.mark.parametrize("keeper", [CLOUD, CONTROLLER])
def test_names_and_tags_tell_services_apart(keeper: Keeper) -> None:
    one, other = service({"additional-resource-tags": "Owner=lab, Team = ml"}), service()
    other["metadata"]["uid"] = "ffff-0000"
    assert keeper.name(one) != keeper.name(other)
    assert len(keeper.name(one)) <= 32
    tags = keeper.tags(one, "gpulab-dev")
    assert {"Owner": "lab", "Team": "ml"}.items() <= tags.items()
    assert "team-a/gateway" in tags.values()
    assert len(load_balancers.target_groups(one)) == 2
    assert not load_balancers.target_groups(one).keys() & load_balancers.target_groups(other).keys()


def test_who_is_public_unasked() -> None:
    assert CLOUD.role(service()) == "kubernetes.io/role/elb"
    assert CLOUD.role(service({"internal": "true"})) == "kubernetes.io/role/internal-elb"
    assert CONTROLLER.role(service()) == "kubernetes.io/role/internal-elb"
    assert CONTROLLER.role(service({"scheme": "internet-facing"})) == "kubernetes.io/role/elb"


def test_a_subnet_in_each_zone() -> None:
    subnets = [
        {"SubnetId": "subnet-3", "AvailabilityZone": "a"},
        {"SubnetId": "subnet-1", "AvailabilityZone": "a"},
        {"SubnetId": "subnet-2", "AvailabilityZone": "b"},
    ]
    assert load_balancers.one_per_zone(subnets) == ["subnet-1", "subnet-2"]
