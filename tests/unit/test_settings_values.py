"""Values that several sections have: addresses, durations, schedules, times."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings_lab import load, mistakes

import settings
from settings.language.values import seconds
from settings.pools.disruption import MaintenanceWindow

PRIVATE = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")]


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
    with pytest.raises(ValueError, match="is not a duration"):
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
