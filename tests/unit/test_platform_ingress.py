"""The platform with and without a load balancer: what is made, and what outlives what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ingress_mocks
import pytest
from engine_mocks import EngineMocks
from ingress_mocks import BALANCER, GET_ZONE, HUB
from platform_lab import answering_eks, deploy, deployed

from components.ingress.hosted_zone import HostedZone, HostedZoneError

PUBLIC: dict[str, Any] = {
    "access": "internet-facing",
    "domain": "lab.example.com",
    "hostedZone": "example.com",
    "cidrs": ["203.0.113.0/24"],
}


@pytest.fixture(scope="module")
def public() -> EngineMocks:
    """The graph of a lab on the internet, which tests only read."""
    return deployed(HUB, **{"gpulab:ingress": PUBLIC})


@pytest.fixture
def checked(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HostedZone]]:
    """AWS and a cluster that answer; yields the zones whose delegation was checked."""
    with answering_eks(mocks, monkeypatch):
        yield ingress_mocks.answer(mocks, monkeypatch)


def subnets(mocks: Any, kind: str) -> list[str]:
    return [one.id for one in mocks.all("aws:ec2/subnet:Subnet") if f"-{kind}-" in one.name]


def test_port_forward_has_no_load_balancer_and_asks_for_no_zone(mocks, checked):
    platform = deploy(mocks, HUB)
    types = {one.type.split(":")[1].split("/")[0] for one in mocks.resources if one.type.startswith("aws:")}
    assert not types & {"lb", "acm", "route53", "wafv2"}
    assert "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding" not in {one.type for one in mocks.resources}
    assert GET_ZONE not in {call.token for call in mocks.calls}
    assert not checked
    assert platform.urls == {}
    line = mocks.value(platform.port_forward_commands["platform"])
    assert line == "kubectl --namespace hub port-forward service/proxy-public 8000:80"


@pytest.mark.parametrize(("access", "kind"), [("internet-facing", "public"), ("internal", "private")])
def test_load_balancer_is_in_the_subnets_that_its_users_reach(mocks, checked, access: str, kind: str):
    platform = deploy(mocks, HUB, **{"gpulab:ingress": {**PUBLIC, "access": access}})
    balancer = mocks.one(BALANCER).inputs
    assert sorted(balancer["subnets"]) == sorted(subnets(mocks, kind))
    assert balancer["internal"] is (access == "internal")
    assert platform.urls == {"platform": "https://platform.lab.example.com"}
    assert platform.port_forward_commands == {}


def test_zone_is_asked_for_before_anything_is_made(mocks, checked):
    mocks.invokes[GET_ZONE] = lambda args: {
        "zoneId": "Z1",
        "name": "example.com",
        "nameServers": [],
        "privateZone": True,
    }
    with pytest.raises(HostedZoneError):
        deploy(mocks, **{"gpulab:ingress": {**PUBLIC, "hostedZoneId": "Z1"}})
    assert {one.type for one in mocks.resources} <= {"gpulab:index:Platform", "pulumi:providers:aws"}
    assert not checked


def test_delegation_is_asked_for_unless_the_stack_file_says_not_to(mocks, checked):
    deploy(mocks, **{"gpulab:ingress": {**PUBLIC, "checkDelegation": False}})
    assert not checked


def test_delegation_of_the_zone_found_is_asked_for(mocks, checked):
    deploy(mocks, **{"gpulab:ingress": PUBLIC})
    (zone,) = checked
    assert (zone.name, zone.domain, zone.zone_id) == ("example.com", "lab.example.com", "Z1")


def test_destruction_runs_from_bindings_to_the_controller_and_from_the_cluster_to_the_load_balancer(public):
    binding = public.one("kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding")
    controller = public.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-alb-controller")
    system_nodes = public.one("eks:index:ManagedNodeGroup")
    control_plane = public.one("eks:index:Cluster")
    balancer = public.one(BALANCER)
    for first, then in (
        (binding, controller),
        (controller, system_nodes),
        (controller, control_plane),
        (system_nodes, control_plane),
        (system_nodes, balancer),
        *((balancer, one) for one in public.all("aws:ec2/subnet:Subnet")),
        *((balancer, one) for one in public.all("aws:ec2/internetGateway:InternetGateway")),
    ):
        assert public.needs(first, then), f"{then.urn} has to outlive {first.urn}"


def test_controllers_have_their_identity_minutes_before_their_pods_start(public):
    """EKS: an association takes seconds to act, and a pod that is admitted before never gets credentials."""
    system_nodes = public.one("eks:index:ManagedNodeGroup")
    accounts = {}
    for association in public.all("aws:eks/podIdentityAssociation:PodIdentityAssociation"):
        accounts[association.inputs["serviceAccount"]] = association
        assert not public.needs(association, system_nodes), association.urn
        assert public.needs(association, public.one("eks:index:Cluster"))
    runs_as = {
        "karpenter": public.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter"),
        "aws-load-balancer-controller": public.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-alb-controller"),
        "ebs-csi-controller-sa": public.one("aws:eks/addon:Addon", "gpulab-dev-storage-ebs"),
        "efs-csi-controller-sa": public.one("aws:eks/addon:Addon", "gpulab-dev-storage-efs"),
    }
    assert accounts.keys() == runs_as.keys()
    for account, pods in runs_as.items():
        assert public.needs(pods, accounts[account])
        assert public.needs(pods, system_nodes)
        assert "podIdentityAssociations" not in pods.inputs


def test_a_certificate_does_not_hold_up_the_cluster(public):
    validation = public.one("aws:acm/certificateValidation:CertificateValidation")
    assert not public.needs(public.one("eks:index:Cluster"), validation)
    assert not public.needs(validation, public.one("eks:index:Cluster"))


def test_the_load_balancer_does_not_hold_up_the_control_plane(public):
    assert not public.needs(public.one("eks:index:Cluster"), public.one(BALANCER))


@pytest.mark.parametrize("unlock", [True, False])
def test_production_protects_load_balancer_and_logs_until_it_is_unlocked(mocks, checked, unlock: bool):
    deploy(
        mocks,
        **{
            "gpulab:lifecycle": {"kind": "production", "unlock": unlock},
            "gpulab:ingress": {**PUBLIC, "accessLogs": {"enabled": True}},
        },
    )
    assert mocks.one(BALANCER).inputs["enableDeletionProtection"] is not unlock
    assert mocks.one("aws:s3/bucket:Bucket").protect is not unlock
