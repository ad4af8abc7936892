"""A new cluster that nobody could reach, and values for documentation on a real account: refused in a preview."""

from __future__ import annotations

import asyncio
import datetime
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

import eks_mocks
import grpc
import pulumi
import pytest
from platform_lab import LAB, answering_eks, config, deploy

import settings
from components.ground import reachability as reach
from components.ground.example_values import DOCUMENTATION_ACCOUNT, PlaceholderError, placeholders, require_own_values
from components.ground.reachability import OutOfReachError, reachability_warning

NEW_VPC = {"vpcConfig": {"subnetIds": [pulumi.UNKNOWN, pulumi.UNKNOWN]}}
VPC = {"vpcConfig": {"subnetIds": ["subnet-a", "subnet-b"]}}
REAL_ACCOUNT = "210987654321"
CALLER = "aws:index/getCallerIdentity:getCallerIdentity"


def stack(**changed: Any) -> settings.EksSettings:
    return settings.on_eks(settings.load(config(**changed), stack="dev", today=datetime.date(2027, 1, 1)))


def endpoint(**ranges: list[str]) -> dict[str, Any]:
    return {"gpulab:cluster": {**LAB["gpulab:cluster"], "endpoint": ranges}}


def test_nobody_is_inside_a_vpc_that_is_not_there_yet() -> None:
    with pytest.raises(OutOfReachError) as refusal:
        reachability_warning(NEW_VPC, "gpulab-dev", ["10.40.0.0/16"])
    for part in ("gpulab-dev", "gpulab:cluster.endpoint.publicCidrs", "checkip.amazonaws.com", "private-clusters.md"):
        assert part in str(refusal.value)


def test_a_private_endpoint_that_admits_nodes_only_is_refused() -> None:
    with pytest.raises(OutOfReachError, match=r"gpulab:cluster\.endpoint\.privateCidrs"):
        reachability_warning(VPC, "gpulab-dev", [])


def test_a_machine_with_an_address_in_the_ranges_is_inside_and_others_are_warned() -> None:
    assert reachability_warning(VPC, "gpulab-dev", ["127.0.0.0/8"]) is None
    warning = reachability_warning(VPC, "gpulab-dev", ["198.51.100.0/24"])
    assert warning
    assert "198.51.100.0/24" in warning


def test_a_machine_without_a_route_is_not_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    no_route = mock.MagicMock()
    no_route.return_value.__enter__.return_value.connect.side_effect = OSError("Network is unreachable")
    monkeypatch.setattr(socket, "socket", no_route)
    assert not reach.is_inside("10.0.0.0/8")


@pytest.fixture
def previewed(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Deploys the platform's cluster as a preview would; gives the hooks that the engine would call before it."""

    def run(eks: eks_mocks.Eks, *, account: str = REAL_ACCOUNT, **changed: Any) -> list[pulumi.ResourceHook]:
        monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
        mocks.invokes[CALLER] = {
            "accountId": account, "arn": f"arn:aws:iam::{account}:role/ci", "id": account, "userId": "AROA"
        }  # fmt: skip
        own = {**LAB["gpulab:cluster"], "administrators": [f"arn:aws:iam::{account}:role/admin"]}
        cluster = {**own, **changed.get("gpulab:cluster", {}), "administrators": own["administrators"]}
        with mock.patch("components.ground.quota_preflight.warn"):
            deploy(mocks, **{**changed, "gpulab:cluster": cluster})
        hooks = eks.control_plane().opts.hooks
        return list(hooks.before_create or []) if hooks else []  # type: ignore[arg-type]

    return run


def called(hook: pulumi.ResourceHook, inputs: dict[str, Any]) -> None:
    hook(pulumi.ResourceHookArgs("urn", "", "gpulab-dev-eksCluster", "aws:eks/cluster:Cluster", new_inputs=inputs))


def test_preview_refuses_a_new_private_cluster_in_a_new_vpc(
    mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any
) -> None:
    with answering_eks(mocks, monkeypatch) as eks:
        (hook,) = previewed(eks)
    with pytest.raises(OutOfReachError):
        called(hook, NEW_VPC)


def test_a_rehearsal_only_warns_of_what_a_real_account_would_refuse(
    mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any
) -> None:
    with answering_eks(mocks, monkeypatch) as eks:
        (hook,) = previewed(eks, account=DOCUMENTATION_ACCOUNT)
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda message, resource: said.append(message))
    called(hook, NEW_VPC)
    (warning,) = said
    assert "on a real account this preview would fail" in warning


def test_a_public_endpoint_needs_no_warning(mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any) -> None:
    with answering_eks(mocks, monkeypatch) as eks:
        assert previewed(eks, **endpoint(publicCidrs=["198.18.0.1/32"])) == []


def test_an_update_is_not_held_up(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering_eks(mocks, monkeypatch) as eks:
        deploy(mocks)
    hooks = eks.control_plane().opts.hooks
    assert not (hooks and hooks.before_create)


def test_ranges_inside_the_vpc_reach_the_api_before_anything_in_the_cluster_is_made(
    mocks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering_eks(mocks, monkeypatch):
        deploy(mocks, **endpoint(privateCidrs=["10.40.0.0/16", "10.8.0.0/22"]))
    rules = [
        one
        for one in mocks.all("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
        if one.inputs["securityGroupId"] == eks_mocks.SECURITY_GROUP and one.inputs.get("fromPort") == 443
    ]
    assert {one.inputs["cidrIpv4"] for one in rules} == {"10.40.0.0/16", "10.8.0.0/22"}
    provider = mocks.one("pulumi:providers:kubernetes")
    assert all(mocks.needs(provider, one) for one in rules)


NETWORK_ONLY = {"gpulab:network": {**LAB["gpulab:network"], "only": True}}
GET_CLUSTER = "aws:eks/getCluster:getCluster"


class EksError(grpc.RpcError):
    """What EKS answers, as an invoke raises it."""

    def __init__(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return self._details


def answered(error: EksError) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise error

    return answer


def test_the_network_comes_first_and_nothing_else_with_it(
    mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any
) -> None:
    mocks.invokes[GET_CLUSTER] = answered(EksError("reading EKS Cluster (gpulab-dev): couldn't find resource"))
    with answering_eks(mocks, monkeypatch) as eks:
        previewed(eks, **NETWORK_ONLY)
    assert mocks.all("aws:ec2/natGateway:NatGateway")
    beside = {one.type for one in mocks.resources if "gpulab:index:Network" not in one.urn}
    assert beside == {"gpulab:index:Platform", "pulumi:providers:aws"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"id": "gpulab-dev", "name": "gpulab-dev"}, "would delete the cluster gpulab-dev"),
        (
            answered(EksError("AccessDenied: eks:DescribeCluster")),
            "Cannot check that there is no cluster gpulab-dev",
        ),
    ],
)
def test_a_stack_with_a_cluster_is_never_cut_down_to_its_network(
    mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any, answer: Any, said: str
) -> None:
    mocks.invokes[GET_CLUSTER] = answer
    with answering_eks(mocks, monkeypatch) as eks, pytest.raises(OutOfReachError, match=said):
        previewed(eks, **NETWORK_ONLY)


def test_documentation_is_refused_by_name_on_a_real_account_and_not_in_a_rehearsal() -> None:
    documented = stack(
        **endpoint(publicCidrs=["203.0.113.0/24", "198.18.0.0/24"]),
        **{
            "gpulab:ingress": {
                "access": "internet-facing",
                "domain": "lab.example.com",
                "cidrs": ["198.18.0.0/24", "192.0.2.7/32"],
            }
        },
    )
    require_own_values(documented, DOCUMENTATION_ACCOUNT)
    with pytest.raises(PlaceholderError) as refusal:
        require_own_values(documented, REAL_ACCOUNT)
    lines = str(refusal.value).splitlines()[1:]
    expected = (
        "203.0.113.0/24 is for documentation: put your own address here, e.g. `curl https://checkip.amazonaws.com`"
    )
    found = {key.strip(): said for key, _, said in (line.partition(": ") for line in lines)}
    assert found.keys() == {
        "gpulab:cluster.administrators[0]",
        "gpulab:cluster.endpoint.publicCidrs[0]",
        "gpulab:ingress.cidrs[1]",
    }
    assert found["gpulab:cluster.endpoint.publicCidrs[0]"].startswith(expected)
    assert found["gpulab:ingress.cidrs[1]"].startswith("192.0.2.7/32 is for documentation")
    assert REAL_ACCOUNT in found["gpulab:cluster.administrators[0]"]


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_committed_stacks_have_no_range_but_for_documentation(name: str) -> None:
    committed = settings.on_eks(settings.check_stack_file(f"Pulumi.{name}.yaml", name, datetime.date(2026, 6, 1)))
    found = "\n".join(placeholders(committed, REAL_ACCOUNT))
    ranges = [*committed.cluster.endpoint.public_cidrs, *committed.ingress.cidrs]
    assert ranges
    assert all(f"{cidr} is for documentation" in found for cidr in ranges)


def test_preview_on_a_real_account_stops_before_anything_is_made(
    mocks: Any, monkeypatch: pytest.MonkeyPatch, previewed: Any
) -> None:
    with answering_eks(mocks, monkeypatch) as eks, pytest.raises(PlaceholderError, match=r"203\.0\.113\.0/24"):
        previewed(eks, **endpoint(publicCidrs=["203.0.113.0/24"]))
    assert {one.type for one in mocks.resources} <= {"gpulab:index:Platform", "pulumi:providers:aws"}


@pytest.fixture
def closed_endpoint() -> str:
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"https://127.0.0.1:{server.getsockname()[1]}"


def test_unreachable_api_is_named_with_the_setting_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch, closed_endpoint: str
) -> None:
    monkeypatch.setattr(reach, "NEW_ENDPOINT_SECONDS", 0)
    reached = reach.reachable_kubeconfig(closed_endpoint, "config", cluster_name="lab", public_cidrs=[])
    with pytest.raises(reach.ClusterUnreachableError) as error:
        asyncio.run(reached)
    for part in (closed_endpoint, "gpulab:cluster.endpoint.publicCidrs", "VPN"):
        assert part in str(error.value)


def test_unreachable_public_api_names_whom_it_admits() -> None:
    message = reach.unreachable_message("lab", "https://api.example", "timed out", ["203.0.113.0/24"])
    assert "publicCidrs admits only 203.0.113.0/24" in message


def test_new_endpoint_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "RETRY_SECONDS", 0.01)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        async def connect() -> str | None:
            asyncio.get_running_loop().call_later(0.1, reserved.listen)
            return await reach.connection_failure(f"https://127.0.0.1:{port}", seconds=5)

        assert asyncio.run(connect()) is None


def test_behind_a_proxy_nothing_is_tried(monkeypatch: pytest.MonkeyPatch, closed_endpoint: str) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    reached = reach.reachable_kubeconfig(closed_endpoint, "config", cluster_name="lab", public_cidrs=[])
    assert asyncio.run(reached) == "config"
