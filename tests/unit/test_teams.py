"""Teams: their pods' limits, network access, people's rights, and access to S3."""

from __future__ import annotations

import datetime
import fnmatch
import ipaddress
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import platform_lab
import pytest
from gpu_pools import P4D, cpu_pool, gpu_pool
from hypothesis import given
from hypothesis import strategies as st

import settings
from components.gates.team_data import TeamDataProvider
from components.ground.reach import Reach
from components.hub.inside.people import hub_groups
from components.hub.inside.quantities import amount
from components.identity.realm.providers import directory_groups
from components.storage import volumes
from components.teams import network_policy as team_network
from components.teams import quota as team_quota
from components.teams import rbac as team_rbac
from components.teams.buckets import buckets_policy
from settings import Identity, Storage
from settings.cidr import zone_subnets
from settings.people.teams import Buckets, Quota

POOLS = {
    "cpu": cpu_pool(),
    "gpu": gpu_pool(),
    "shared": gpu_pool(gpu={"sharing": "time-slicing", "replicas": 4}),
    "sliced": gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"}),
}
QUOTA = {"cpu": 8, "memory": 32, "notebooks": 4}

SHARED = Storage.model_validate({})
PER_PERSON = Storage.model_validate({"homes": "per-person", "homeSize": 20})


def hard(quota: dict[str, Any], storage: Storage = SHARED) -> dict[str, str]:
    return team_quota.resource_quota("research", Quota.model_validate(quota), storage, POOLS)["hard"]


# What a team may have.


def test_what_is_not_granted_of_gpus_is_zero_and_not_unlimited() -> None:
    granted = hard({**QUOTA, "gpus": 2})
    assert granted["requests.nvidia.com/gpu"] == "2"
    assert granted["requests.nvidia.com/gpu.shared"] == "0"
    assert granted["requests.nvidia.com/mig-1g.5gb"] == "0"
    assert hard({**QUOTA, "mig": {"1g.5gb": 3}})["requests.nvidia.com/mig-1g.5gb"] == "3"


def test_extended_resources_are_counted_by_requests_alone() -> None:
    # The API server refuses a quota of limits of them.
    assert not [key for key in hard(QUOTA) if key.startswith("limits.nvidia")]


@pytest.mark.parametrize("storage", [SHARED, PER_PERSON], ids=["shared", "per-person"])
def test_the_teams_own_claims_fit_its_quota_beside_the_disks_that_are_granted(storage: Storage) -> None:
    granted = hard({**QUOTA, "storage": 60}, storage)
    own = [volumes.claim("team-research", one) for one in volumes.team_volumes("research", storage)]
    disks = 60 // (storage.home_size or 60)
    sizes = [int(one["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) for one in own]
    assert len(own) + disks <= int(granted["persistentvolumeclaims"])
    assert sum(sizes) + 60 == int(granted["requests.storage"].removesuffix("Gi"))


def test_nothing_of_a_team_is_published() -> None:
    granted = hard(QUOTA)
    assert granted["services.loadbalancers"] == granted["services.nodeports"] == "0"


@given(cpu=st.integers(1, 1000), memory=st.integers(1, 4000))
def test_a_container_that_says_nothing_has_less_than_the_whole_quota(cpu: int, memory: int) -> None:
    (limits,) = team_quota.limit_range(Quota.model_validate({"cpu": cpu, "memory": memory, "notebooks": 1}))["limits"]
    assert {name: amount(value) for name, value in limits["max"].items()} == {"cpu": cpu, "memory": memory * 2**30}
    assert limits["default"]["memory"] == "1Gi"
    # A default limit of CPU below what a notebook requests would have it refused.
    assert limits["default"]["cpu"] == limits["max"]["cpu"]
    assert limits["defaultRequest"].keys() == limits["default"].keys()


# Whom its pods may talk to.


def reached(
    address: str,
    port: int,
    *,
    vpc_cidr: str = "10.40.0.0/16",
    reaches_buckets: bool = False,
    endpoint_cidrs: Sequence[str] = (),
    ranges: Sequence[str] = (),
) -> bool:
    """Whether a pod of a team may open a TCP connection to an address."""
    policy = team_network.network_policy(
        Reach(cluster_cidr=vpc_cidr, api_server_cidrs=(), endpoint_cidrs=endpoint_cidrs),
        reaches_buckets=reaches_buckets,
        ranges=ranges,
    )
    ip = ipaddress.ip_address(address)
    for rule in policy["egress"]:
        ports = rule.get("ports")
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            if ip not in ipaddress.ip_network(block["cidr"]):
                continue
            if any(ip in ipaddress.ip_network(one) for one in block.get("except", ())):
                continue
            if ports is None or {"protocol": "TCP", "port": port} in ports:
                return True
    return False


@pytest.mark.parametrize("address", ["93.184.216.34", "52.216.1.1", "8.8.8.8"])
def test_the_internet_is_reached(address: str) -> None:
    assert reached(address, 443)


@pytest.mark.parametrize(
    "address",
    [
        "10.40.3.7",
        "10.1.2.3",
        "172.20.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.254",
        "169.254.169.254",
        "127.0.0.1",
    ],
)
@pytest.mark.parametrize("port", [80, 443])
def test_nothing_private_is_reached_by_its_address(address: str, port: int) -> None:
    assert not reached(address, port)
    assert not reached(address, port, reaches_buckets=True)


def test_private_ranges_that_a_team_names_are_reached_and_nothing_beside_them() -> None:
    named = ("192.168.1.10/32", "10.50.0.0/16")
    for address, is_reached in (
        ("192.168.1.10", True),
        ("192.168.1.11", False),
        ("10.50.200.1", True),
        ("10.51.0.1", False),
        ("10.40.3.7", False),
        ("169.254.169.254", False),
    ):
        for port in (22, 443):
            assert reached(address, port, ranges=named) is is_reached, address
    assert reached("8.8.8.8", 443, ranges=named)


def test_only_teams_with_buckets_reach_the_agent_of_pod_identity() -> None:
    assert not reached("169.254.170.23", 80)
    assert reached("169.254.170.23", 80, reaches_buckets=True)
    assert not reached("169.254.170.23", 443, reaches_buckets=True)
    assert not reached("169.254.170.2", 80, reaches_buckets=True)


def test_a_vpc_outside_of_the_private_ranges_is_not_reached() -> None:
    assert reached("198.18.5.5", 443)
    assert not reached("198.18.5.5", 443, vpc_cidr="198.18.0.0/16")


def test_interface_endpoints_are_reached_and_nothing_else_of_the_vpc() -> None:
    case = Path(__file__).parents[1] / "cases" / "Pulumi.interface-endpoints.yaml"
    network = settings.on_eks(
        settings.check_stack_file(case, "interface-endpoints", datetime.date(2026, 11, 30))
    ).network
    assert network.endpoints
    for index in range(len(network.zones)):
        blocks = zone_subnets(network.cidr, index)
        # Endpoints have their addresses in the private subnets.
        inside = str(blocks.private[7])
        assert reached(inside, 443, endpoint_cidrs=network.endpoint_cidrs)
        assert not reached(inside, 443)
        assert not reached(inside, 10250, endpoint_cidrs=network.endpoint_cidrs)
        # Where the Kubernetes API is.
        assert not reached(str(blocks.intra[7]), 443, endpoint_cidrs=network.endpoint_cidrs)


def test_only_hub_and_proxy_come_in() -> None:
    policy = team_network.network_policy(Reach(cluster_cidr="10.40.0.0/16", api_server_cidrs=()), reaches_buckets=True)
    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8888}]
    assert {peer["podSelector"]["matchLabels"]["component"] for peer in rule["from"]} == {"hub", "proxy"}
    for peer in rule["from"]:
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "hub"}


# What people may do.


def allowed(cluster_role: str, verb: str, resource: str) -> bool:
    return any(
        verb in rule["verbs"] and resource in rule["resources"] for rule in team_rbac.CLUSTER_ROLES[cluster_role]
    )


def test_each_role_has_what_the_one_below_it_has() -> None:
    order = [team_rbac.LOOK, team_rbac.MANAGE, team_rbac.ADMINISTER]
    for lesser, greater in itertools.pairwise(order):
        for rule in team_rbac.CLUSTER_ROLES[lesser]:
            for verb, resource in itertools.product(rule["verbs"], rule["resources"]):
                assert allowed(greater, verb, resource), f"{greater} may not {verb} {resource}"


def test_nobody_of_a_team_moves_its_bounds_or_reads_secrets() -> None:
    bounds = ("resourcequotas", "limitranges", "networkpolicies", "rolebindings", "roles", "namespaces", "secrets")
    for role, verb, resource in itertools.product(
        team_rbac.CLUSTER_ROLES, ("create", "update", "patch", "delete", "deletecollection"), bounds
    ):
        assert not allowed(role, verb, resource), f"{role} may {verb} {resource}"
    assert not any(allowed(role, "get", "secrets") for role in team_rbac.CLUSTER_ROLES)
    assert "*" not in json.dumps(team_rbac.CLUSTER_ROLES)


def bound(directory_groups: dict[str, str]) -> dict[str, str]:
    """The ClusterRole that each group has in the namespace of research."""
    pairs = [
        (subject["name"], role)
        for role in team_rbac.CLUSTER_ROLES
        for subject in team_rbac.subjects("research", role, directory_groups)
    ]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_people_of_a_directorys_group_may_what_those_of_its_role_may() -> None:
    mappings = {"cn-dev": "/research/developer", "cn-lead": "/research/project-manager", "see": "/vision/developer"}
    identity = Identity.model_validate(
        {"administrators": ["ada@example.com"], "ldap": platform_lab.directory(mappings)}
    )
    known = directory_groups(identity)
    found = bound(known)
    for group, path in mappings.items():
        # As a sign-in brings it: the group lies below the role's, and people are in it alone.
        claim = f"{path}/{group}"
        in_research = path.startswith("/research/")
        assert found.get(f"gpulab:{claim}") == (found[f"gpulab:{path}"] if in_research else None)
        assert hub_groups({"groups": [claim]}, ["research"]) == ({path} if in_research else set())
    assert directory_groups(None) == {}


def test_every_role_of_a_team_is_bound_once() -> None:
    assert sorted(bound({})) == [
        f"gpulab:/research/{role}" for role in ("administrator", "data-scientist", "developer", "project-manager")
    ]


def test_the_hub_makes_and_enlarges_claims_only_where_homes_are_claims_and_deletes_none() -> None:
    def verbs(storage: Storage) -> set[str]:
        rules = team_rbac.hub_rules(storage)
        return {verb for rule in rules if "persistentvolumeclaims" in rule["resources"] for verb in rule["verbs"]}

    assert verbs(SHARED) == set()
    assert verbs(PER_PERSON) == {"get", "create", "patch"}


# What it reaches of S3.


def permits(policy: str, action: str, resource: str, prefix: str | None = None) -> bool:
    """As IAM decides: a statement with the action, a resource that matches, and its condition on s3:prefix."""
    for statement in json.loads(policy)["Statement"]:
        actions, resources = (
            [value] if isinstance(value := statement[key], str) else value for key in ("Action", "Resource")
        )
        wanted = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        if (
            action in actions
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in resources)
            and (wanted is None or any(fnmatch.fnmatchcase(prefix or "", pattern) for pattern in wanted))
        ):
            return True
    return False


def test_a_team_reads_and_writes_below_its_prefixes_alone() -> None:
    buckets = Buckets.model_validate({"read": ["s3://corpus/text/"], "write": ["s3://results/research/"]})
    policy = buckets_policy("aws", buckets)
    text, results = "arn:aws:s3:::corpus/text/a.txt", "arn:aws:s3:::results/research/run/1"
    assert permits(policy, "s3:GetObject", text)
    assert not permits(policy, "s3:PutObject", text)
    assert not permits(policy, "s3:DeleteObject", text)
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert permits(policy, action, results)
        assert not permits(policy, action, "arn:aws:s3:::results/vision/run/1")
        assert not permits(policy, action, "arn:aws:s3:::results/research-other/1")
    assert permits(policy, "s3:ListBucket", "arn:aws:s3:::corpus", "text/")
    assert not permits(policy, "s3:ListBucket", "arn:aws:s3:::corpus", "")
    assert not permits(policy, "s3:ListBucket", "arn:aws:s3:::results", "vision/")


def test_a_bucket_that_is_named_whole_is_listed_whole() -> None:
    buckets = Buckets.model_validate({"read": ["s3://corpus/"]})
    policy = buckets_policy("aws-us-gov", buckets)
    assert permits(policy, "s3:ListBucket", "arn:aws-us-gov:s3:::corpus", "anything/")
    assert not permits(policy, "s3:ListBucket", "arn:aws-us-gov:s3:::corpus-of-others", "")
    assert permits(policy, "s3:GetObject", "arn:aws-us-gov:s3:::corpus/a")


def test_as_many_prefixes_as_may_be_fit_into_a_role() -> None:
    names = [f"s3://{'b' * 40}-{number:02}/{'p' * 25}/" for number in range(20)]
    buckets = Buckets.model_validate({"read": [], "write": names})
    policy = buckets_policy("aws-us-gov", buckets)
    # IAM counts no white space.
    assert len(policy.replace(" ", "")) < 10_240


# What happens to its data.


@pytest.mark.parametrize("retain", [True, False])
@pytest.mark.parametrize("homes", ["shared", "per-person"])
def test_a_preview_reports_what_happens_to_the_data_of_a_removed_team(
    capsys: pytest.CaptureFixture[str], homes: str, retain: bool
) -> None:
    before = {"teams": ["research", "vision"], "homes": homes, "retain": False}
    now = {"teams": ["vision"], "homes": homes, "retain": retain}
    assert TeamDataProvider().diff("teams", before, now).changes
    said = capsys.readouterr().out
    assert said.count("is removed") == 1
    assert "Team research is removed" in said
    assert "/teams/research of the file system are kept" in said
    assert ("Disks of its homes of the class gp3 are DELETED" in said) == (homes == "per-person" and not retain)
    assert ("Disks of its homes of the class gp3-retain are kept" in said) == (homes == "per-person" and retain)
    assert ("which gpulab:storage.retain keeps" in said) == retain


def test_teams_that_stay_or_are_new_are_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    before = {"teams": ["vision"], "homes": "shared", "retain": False}
    assert not TeamDataProvider().diff("teams", before, before).changes
    assert TeamDataProvider().diff("teams", before, {**before, "teams": ["research", "vision"]}).changes
    assert capsys.readouterr().out == ""
