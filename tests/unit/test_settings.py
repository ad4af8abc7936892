"""The settings API: what a program gets from a stack's configuration, and that every mistake is told at once."""

from __future__ import annotations

import contextlib
import copy
import datetime
import ipaddress
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import settings
from settings.cluster import LONGEST_ROLE_SUFFIX, NAME_LIMIT
from settings.disruption import MaintenanceWindow
from settings.instance_choice import LAB_PRICE
from settings.loading import load_what_goes
from settings.network import ENDPOINTS_WITHOUT_NAT
from settings.section import nearest
from settings.values import seconds

PRIVATE = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]
TODAY = datetime.date(2026, 6, 1)
OLD_IMAGE = {"family": "AL2023", "alias": "al2023@v20260501"}
STACK: dict[str, Any] = {
    "aws:region": "us-east-1",
    "gpulab:owner": "ml-platform@example.com",
    "gpulab:costCenter": "research-042",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2027-06-30"},
    "gpulab:network": {"cidr": "10.40.0.0/16", "zones": ["us-east-1a", "us-east-1b"]},
    "gpulab:cluster": {"version": "1.34", "administrators": ["arn:aws:iam::123456789012:role/admin"]},
    "gpulab:nodePools": {
        "cpu": {"categories": ["c", "m"], "limits": {"cpu": 64}},
        "gpu": {"categories": ["g"], "gpus": {"min": 1, "max": 4}, "limits": {"gpus": 8}},
    },
}

Changes = Mapping[Any, Any]
"""Values by their paths in STACK."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=12), children, max_size=3),
    max_leaves=8,
)


def as_config(stack: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()}


def load(changes: Changes | None = None, *, stack: str = "dev") -> settings.Settings:
    """The settings of STACK with the value at each path of `changes` replaced."""
    changed = copy.deepcopy(STACK)
    for path, value in (changes or {}).items():
        at: Any = changed
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value
    return settings.load(as_config(changed), stack=stack, today=TODAY)


def mistakes(changes: Changes, *, stack: str = "dev") -> dict[str, str]:
    with pytest.raises(settings.SettingsError) as refusal:
        load(changes, stack=stack)
    return {mistake.key: mistake.message for mistake in refusal.value.mistakes}


def test_defaults_that_depend_on_the_rest():
    lab = load()
    assert lab.cluster.name == "gpulab-dev"
    assert lab.node_pools["gpu"].zones == lab.network.zones
    assert lab.node_pools["gpu"].termination_grace_period == "10m"
    assert lab.node_pools["gpu"].consolidation.policy == "WhenEmpty"
    assert lab.node_pools["cpu"].consolidation.policy == "WhenEmptyOrUnderutilized"
    production = load({("gpulab:lifecycle",): {"kind": "production"}})
    assert production.node_pools["gpu"].termination_grace_period == "24h"


def test_only_a_locked_production_protects():
    kinds = [{"kind": "lab", "expires": "2027-06-30"}, {"kind": "production"}, {"kind": "production", "unlock": True}]
    assert [load({("gpulab:lifecycle",): kind}).lifecycle.protects for kind in kinds] == [False, True, False]


def test_a_lab_lives_through_its_last_day():
    assert load({("gpulab:lifecycle", "expires"): str(TODAY)}).lifecycle.expires == TODAY
    yesterday = TODAY - datetime.timedelta(days=1)
    assert "gpulab:lifecycle.expires" in mistakes({("gpulab:lifecycle", "expires"): str(yesterday)})


def test_every_resource_tells_owner_and_stack():
    lab = load({("gpulab:tags",): {"Team": "ml"}})
    assert lab.resource_tags == {
        "Team": "ml",
        "Owner": "ml-platform@example.com",
        "CostCenter": "research-042",
        "Project": "gpulab",
        "Stack": "dev",
        "Lifecycle": "lab",
        "Expires": "2027-06-30",
    }
    # A node whose tags change is replaced, so a lab that lives longer must not change them.
    of_the_stack = ("Lifecycle", "Expires")
    assert lab.node_tags == {key: value for key, value in lab.resource_tags.items() if key not in of_the_stack}


def test_without_nat_the_needed_endpoints_come_by_themselves():
    asked = {("gpulab:network", "interfaceEndpoints"): ["ecr.api", "bedrock"]}
    assert load(asked).network.endpoints == ("ecr.api", "bedrock")
    assert load({**asked, ("gpulab:network", "nat"): "none"}).network.endpoints == (*ENDPOINTS_WITHOUT_NAT, "bedrock")


def test_instance_types_satisfy_their_pool():
    pools = load({("gpulab:nodePools", "gpu", "minGeneration"): 5, ("gpulab:nodePools", "gpu", "sizes"): ["xlarge"]})
    gpu = pools.node_pools["gpu"]
    assert gpu.is_gpu
    assert {found.name for found in gpu.instance_types} == {"g5.xlarge", "g6.xlarge", "g6e.xlarge"}
    assert gpu.instance_types[0].name == "g6.xlarge", "the cheapest comes first"
    assert not any(found.has_gpu for found in pools.node_pools["cpu"].instance_types)


def test_mistakes_of_all_sections_come_at_once():
    found = mistakes(
        {
            ("aws:region",): "moon",
            ("gpulab:costCenter",): "",
            ("gpulab:lifecycle", "kind"): "labor",
            ("gpulab:network", "cidr"): "10.40.0.1/16",
            ("gpulab:cluster", "version"): 1.34,
            ("gpulab:nodePools", "cpu", "limits"): {"gpus": 1},
            ("gpulab:nodePools", "gpu", "ami"): {"family": "AL2023", "alias": "al2023@latest"},
            ("gpulab:charts",): {"karpenter": {}},
            ("gpulab:crews",): {},
        }
    )
    assert found.keys() == {
        "aws:region",
        "gpulab:costCenter",
        "gpulab:lifecycle.kind",
        "gpulab:network.cidr",
        "gpulab:cluster.version",
        "gpulab:nodePools.cpu.limits.gpus",
        "gpulab:nodePools.cpu.limits.cpu",
        "gpulab:nodePools.gpu.ami.alias",
        "gpulab:charts.karpenter",
        "gpulab:crews",
    }


def test_a_wrong_field_hides_no_mistake_that_can_still_be_seen():
    """Rules across fields and sections run on what is right, though pydantic alone would stop at the wrong field."""
    found = mistakes(
        {
            ("gpulab:network", "cidr"): "nonsense",
            ("gpulab:network", "zones"): ["us-east-1a", "us-east-1a", "us-west-2a"],
            ("gpulab:nodePools", "cpu", "gpus"): "two",
            ("gpulab:nodePools", "cpu", "capacityTypes"): ["on-demand", "spot"],
            ("gpulab:nodePools", "gpu", "weight"): "heavy",
            ("gpulab:nodePools", "gpu", "zones"): ["us-east-1f"],
            ("gpulab:nodePools", "gpu", "limits"): {"cpu": 1},
            ("gpulab:nodePools", "gpu", "categories"): ["g", "p", "g"],
        }
    )
    assert found.keys() == {
        "gpulab:network.cidr",
        "gpulab:network.zones",
        "gpulab:network.zones[2]",
        "gpulab:nodePools.cpu.gpus",
        "gpulab:nodePools.cpu.capacityTypes",
        "gpulab:nodePools.gpu.weight",
        "gpulab:nodePools.gpu.zones[0]",
        "gpulab:nodePools.gpu.limits.gpus",
        "gpulab:nodePools.gpu.limits.cpu",
        "gpulab:nodePools.gpu.categories",
    }


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (("gpulab:network", "zonse"), "zones"),
        (("gpulab:network", "interface_endpoints"), "interfaceEndpoints"),
        (("gpulab:nodePools", "gpu", "maxGeneration"), "minGeneration"),
        (("gpulab:nodePools", "gpu", "gpus", "maximum"), "max"),
        (("gpulab:cost-centre",), "costCenter"),
    ],
)
def test_unknown_key_names_the_nearest_known_one(path, hint):
    assert f'did you mean "{hint}"?' in " ".join(mistakes({path: 1}).values())


def test_unknown_key_like_no_other_names_all():
    message = mistakes({("gpulab:lifecycle", "xyzzy"): 1})["gpulab:lifecycle.xyzzy"]
    assert message == "is unknown: known are kind, expires, unlock, thrift, parkAtNight"


def test_default_cluster_name_is_checked_as_any_other():
    message = mistakes({}, stack="My_Stack")["gpulab:cluster.name"]
    assert message.endswith('(by default "gpulab-My_Stack", from the stack\'s name: set this key)')


def test_longest_cluster_name_leaves_room_for_its_roles():
    name = load({("gpulab:cluster", "name"): "c" * NAME_LIMIT}).cluster.name
    assert len(f"{name}{LONGEST_ROLE_SUFFIX}-1234567") == 64
    assert "gpulab:cluster.name" in mistakes({("gpulab:cluster", "name"): "c" * (NAME_LIMIT + 1)})


def test_password_in_an_address_is_not_repeated():
    address = "oci://alice:s3cret@mirror.example.com/charts"
    message = mistakes({("gpulab:charts",): {"karpenter": {"repository": address}}})[
        "gpulab:charts.karpenter.repository"
    ]
    assert "s3cret" not in message


def test_encrypted_value_is_not_repeated():
    found = mistakes({("gpulab:network", "cidr"): {"secure": "v1:abcdef"}})
    assert "is encrypted" in found["gpulab:network.cidr"]
    assert "abcdef" not in " ".join(found.values())


@pytest.mark.parametrize("text", ["{", "[]", "5", "null", "NaN", '"text"', "[" * 100_000, '{"a": "\\ud800"}', "\x00"])
@pytest.mark.parametrize("section", ["tags", "network", "nodePools"])
def test_section_that_is_no_mapping_is_a_mistake_like_others(section, text):
    with pytest.raises(settings.SettingsError) as refusal:
        settings.load(as_config(STACK) | {f"gpulab:{section}": text}, stack="dev", today=TODAY)
    assert [mistake.key for mistake in refusal.value.mistakes] == [f"gpulab:{section}"]


@given(
    st.dictionaries(
        st.sampled_from(["aws:region", *(key for key in STACK if key != "aws:region"), "gpulab:charts", "gpulab:x"]),
        json_values.map(json.dumps) | st.text(max_size=20),
    )
)
def test_garbage_is_refused_and_never_a_crash(config):
    with pytest.raises(settings.SettingsError):
        settings.load(config, stack="dev", today=TODAY)


@given(st.data())
def test_garbage_in_any_place_is_refused_or_accepted_and_never_a_crash(data):
    stack = copy.deepcopy(STACK)
    at: Any = stack
    while True:
        key = data.draw(st.sampled_from(sorted(at)) if isinstance(at, dict) else st.sampled_from(range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(json_values)
    with contextlib.suppress(settings.SettingsError):
        settings.load(as_config(stack), stack="dev", today=TODAY)
    with contextlib.suppress(settings.SettingsError):
        load_what_goes(as_config(stack), stack="dev")


@given(
    st.ip_addresses(v=4) | st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="172.0.0.0/8"),
    st.integers(14, 22),
    st.booleans(),
)
def test_cidr_is_a_private_network_of_the_right_size(address, length, with_host_bits):
    network = ipaddress.IPv4Network((address, length), strict=False)
    text = f"{address}/{length}" if with_host_bits else str(network)
    private = any(network.subnet_of(block) for block in PRIVATE)
    if text == str(network) and 16 <= length <= 20 and private:
        assert load({("gpulab:network", "cidr"): text}).network.cidr == text
    else:
        assert list(mistakes({("gpulab:network", "cidr"): text})) == ["gpulab:network.cidr"]


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=6), st.integers(1, 32))
def test_public_endpoint_never_opens_to_half_the_internet_unasked(addresses, length):
    networks = {str(ipaddress.IPv4Network((address, length), strict=False)) for address in addresses}
    try:
        accepted = load({("gpulab:cluster", "endpoint"): {"publicCidrs": sorted(networks)}}).cluster.endpoint
    except settings.SettingsError:
        return
    assert accepted.public
    assert sum(ipaddress.IPv4Network(cidr).num_addresses for cidr in accepted.public_cidrs) < 2**31


@given(
    st.integers(0, 23),
    st.integers(0, 59),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(1, 24 * 60 - 1),
)
def test_closed_times_are_what_a_maintenance_window_leaves_of_the_week(hour, minute, days, length):
    schedule = f"{minute} {hour} * * {','.join(map(str, sorted(days)))}"
    window = MaintenanceWindow(schedule=schedule, duration=f"{length // 60}h{length % 60}m")
    week = range(7 * 24 * 60)

    def covered(start: int, minutes: int) -> set[int]:
        return {(start + passed) % len(week) for passed in range(minutes)}

    opened = set().union(*(covered(day * 1440 + hour * 60 + minute, length) for day in days))
    closed: set[int] = set()
    for cron, duration in window.closed_times:
        at_minute, at_hour, _, _, day = cron.split()
        closed |= covered(int(day) * 1440 + int(at_hour) * 60 + int(at_minute), seconds(duration) // 60)
    assert closed == set(week) - opened


@pytest.mark.parametrize(
    ("duration", "expected"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("720h", 2_592_000), ("0s", 0)]
)
def test_seconds_of_a_duration(duration, expected):
    assert seconds(duration) == expected


@pytest.mark.parametrize("length", ["9" * 5000 + "h", "1h" + "9" * 5000 + "s", "9999999h"])
def test_duration_longer_than_any_is_refused_by_its_key(length):
    pool = ("gpulab:nodePools", "cpu")
    found = mistakes({(*pool, key): length for key in ("expireAfter", "terminationGracePeriod")})
    assert found.keys() == {"gpulab:nodePools.cpu.expireAfter", "gpulab:nodePools.cpu.terminationGracePeriod"}
    assert all(message.startswith("must be a duration such as") for message in found.values())


@pytest.mark.parametrize("text", ["", "Never", "10", "1d", "1h 30m", "m"])
def test_seconds_refuses_what_is_no_duration(text):
    with pytest.raises(ValueError, match="is no duration"):
        seconds(text)


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 * 13 *",
        "0 3 * * 7",
        "0 3 * * 5-1",
        "*/0 * * * *",
        "@never",
    ],
)
def test_schedule_that_karpenter_would_refuse(schedule):
    budget = {"nodes": "0", "schedule": schedule, "duration": "1h"}
    found = mistakes({("gpulab:nodePools", "gpu", "budgets"): [budget]})
    assert list(found) == ["gpulab:nodePools.gpu.budgets[0].schedule"]


@pytest.mark.parametrize(
    ("word", "expected"), [("retention_days", "retentionDays"), ("CIDR", "cidr"), ("gpu", "gpus"), ("zebra", None)]
)
def test_nearest(word, expected):
    assert nearest(word, ["cidr", "retentionDays", "gpus"]) == expected


GPU_POOL: dict[str, Any] = {"categories": ["g", "p"], "gpus": {"min": 1, "max": 8}, "limits": {"gpus": 8}}


@pytest.mark.parametrize(
    ("lifecycle", "pool", "ceiling"),
    [
        ({"kind": "lab", "expires": "2027-06-30"}, GPU_POOL, 15),
        ({"kind": "production"}, GPU_POOL, 40),
        ({"kind": "lab", "expires": "2027-06-30"}, {**GPU_POOL, "maxPrice": 60}, 60),
        # What is named is meant, and reserved capacity is paid for.
        ({"kind": "lab", "expires": "2027-06-30"}, {**GPU_POOL, "categories": [], "families": ["p5"]}, None),
        (
            {"kind": "production"},
            {**GPU_POOL, "capacityTypes": ["reserved"], "capacityReservations": ["cr-0123456789abcdef0"]},
            None,
        ),
    ],
    ids=["lab", "production", "said", "families", "reserved"],
)
def test_what_a_machine_may_cost(lifecycle: Any, pool: Any, ceiling: float | None) -> None:
    found = load({("gpulab:lifecycle",): lifecycle, ("gpulab:nodePools", "gpu"): pool}).node_pools["gpu"]
    assert found.max_price == ceiling
    dearest = max(one.price or 0 for one in found.instance_types)
    assert dearest <= (ceiling or dearest)
    assert max(one.price or 0 for one in found.at_any_price.instance_types) >= dearest


@pytest.mark.parametrize(
    ("changes", "warned"),
    [
        ({}, True),
        ({("gpulab:network", "nat"): "single"}, False),
        ({("gpulab:hub",): {"registry": {"mirror": "123456789012.dkr.ecr.us-east-1.amazonaws.com/quay"}}}, False),
        ({("gpulab:hub",): {"enabled": False}}, False),
        ({("gpulab:teams",): {}}, False),
    ],
)
def test_hub_whose_images_no_endpoint_reaches_is_warned_of(changes: Changes, warned: bool) -> None:
    team = {"description": "Text", "quota": {"gpus": 0, "cpu": 8, "memory": 32, "notebooks": 2}, "profiles": ["python"]}
    profile = {"displayName": "Python", "image": "quay.io/jupyter/scipy-notebook:2026-08-03", "cpu": 1, "memory": 2}
    lab: Changes = {
        ("gpulab:network", "nat"): "none",
        ("gpulab:identity",): {"administrators": ["ada@example.com"]},
        ("gpulab:teams",): {"research": team},
        ("gpulab:profiles",): {"python": profile},
    }
    found = [one.message for one in load({**lab, **changes}).warnings if one.key == "gpulab:network.nat"]
    assert ["hub.registry.mirror" in message for message in found] == [True] * warned


@pytest.mark.parametrize(("given", "kind"), [({}, "cloudnative-pg"), ({"database": {"kind": "rds"}}, "rds")])
def test_thrift_leaves_a_lab_the_database_that_it_names(given: dict[str, Any], kind: str) -> None:
    """What a lab has on RDS would else be deleted by its becoming thrifty."""
    thrifty = {
        ("gpulab:lifecycle", "thrift"): True,
        ("gpulab:identity",): {"administrators": ["a@example.com"], **given},
    }
    identity = load(thrifty).identity
    assert identity is not None
    assert identity.database.kind == kind


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("gpulab:lifecycle",), {"kind": "lab", "expire": "2027-06-30"}, "gpulab:lifecycle.expire"),
        (("gpulab:storage",), {"efs": {"throughputMod": "elastic"}}, "gpulab:storage.efs.throughputMod"),
        (
            ("gpulab:nodePools", "gpu"),
            {"category": ["g"], "gpus": {"min": 1, "max": 4}, "limits": {"gpus": 8}},
            "gpulab:nodePools.gpu.category",
        ),
        (
            ("gpulab:nodePools", "gpu"),
            {"categories": ["g"], "GPUs": {"min": 1, "max": 4}, "limits": {"gpus": 8}},
            "gpulab:nodePools.gpu.GPUs",
        ),
    ],
)
def test_a_mistyped_key_counts_as_what_it_stands_for_and_is_one_mistake(path, value, key):
    assert list(mistakes({path: value})) == [key]


def test_a_value_that_its_nearest_key_does_not_take_is_not_a_second_mistake():
    found = mistakes({("gpulab:network", "cidrs"): ["10.40.0.0/16"]})
    assert list(found) == ["gpulab:network.cidrs"]
    del_cidr = {"cidrs": ["10.40.0.0/16"], "zones": ["us-east-1a", "us-east-1b"]}
    assert list(mistakes({("gpulab:network",): del_cidr})) == ["gpulab:network.cidrs"]


def test_thrift_in_production_is_the_only_mistake_that_it_makes():
    section = {"kind": "production", "thrift": True}
    identity = {"administrators": ["ada@example.com"], "database": {"kind": "rds"}}
    network = {**STACK["gpulab:network"], "nat": "per-az"}
    found = mistakes({("gpulab:lifecycle",): section, ("gpulab:network",): network, ("gpulab:identity",): identity})
    assert "gpulab:lifecycle.thrift" in found
    assert not {"gpulab:network.nat", "gpulab:identity.database.kind"} & found.keys()


@pytest.mark.parametrize(
    ("pool", "found"),
    [
        # A ceiling of the price is named where it is the cause.
        (
            {"categories": ["g"], "gpus": {"min": 1, "max": 8}, "maxPrice": 0.4},
            {"maxPrice": "leaves no instance type: it is 0.4, and the cheapest is g4dn.xlarge at 0.53 USD an hour"},
        ),
        # A family that images know and the catalogue does not: one mistake, and no advice about images.
        (
            {"families": ["g7"], "gpus": {"min": 1, "max": 1}, "ami": OLD_IMAGE},
            {"families[0]": "is in no instance type of the catalogue: AWS has it, and a newer release of gpulab may"},
        ),
    ],
)
def test_a_pool_that_has_no_machine_says_what_takes_the_last_one(pool, found):
    said = mistakes({("gpulab:nodePools", "gpu"): {**pool, "limits": {"gpus": 8}}})
    assert said.keys() == {f"gpulab:nodePools.gpu.{key}" for key in found}
    assert all(said[f"gpulab:nodePools.gpu.{key}"].startswith(message) for key, message in found.items())


def test_an_empty_ceiling_of_the_price_is_none_that_was_given():
    pool = {"categories": ["g"], "gpus": {"min": 1, "max": 8}, "limits": {"gpus": 8}, "maxPrice": None}
    assert load({("gpulab:nodePools", "gpu"): pool}).node_pools["gpu"].max_price == LAB_PRICE


@pytest.mark.parametrize(
    ("lifecycle", "database", "foreign"),
    [
        (
            {},
            {"kind": "cloudnative-pg", "instanceClass": "db.t4g.small", "multiAz": True, "backupDays": 3},
            ["instanceClass", "multiAz", "backupDays"],
        ),
        ({}, {"kind": "cloudnative-pg", "maxStorage": 100, "finalSnapshot": True}, ["maxStorage", "finalSnapshot"]),
        ({}, {"kind": "rds", "instances": 3}, ["instances"]),
        ({"thrift": True}, {"instanceClass": "db.foo.small"}, ["instanceClass"]),
        ({"kind": "production", "expires": None}, {"kind": "cloudnative-pg"}, []),
        ({"kind": "production", "expires": None}, {}, []),
    ],
)
def test_keys_of_a_database_of_another_kind_are_refused(lifecycle, database, foreign):
    section = {"administrators": ["ada@example.com"], "database": database}
    changes = {
        ("gpulab:identity",): section,
        ("gpulab:lifecycle",): {**STACK["gpulab:lifecycle"], **lifecycle},
    }
    if not foreign:
        assert load(changes).identity is not None
        return
    found = mistakes(changes)
    assert found.keys() == {f"gpulab:identity.database.{key}" for key in foreign}
    assert all("leave it out" in message for message in found.values())


def test_a_hubs_volume_has_no_keys_of_rds():
    hub = {"database": {"kind": "volume", "instanceClass": "db.t4g.small", "backupDays": 3}}
    found = mistakes({("gpulab:hub",): hub})
    assert {"gpulab:hub.database.instanceClass", "gpulab:hub.database.backupDays"} <= found.keys()
