"""Mistakes of a stack file: every one is reported at once, by its key, with what to do."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from settings_lab import STACK, TODAY, as_config, load, mistakes

import settings
from settings.cluster import LONGEST_ROLE_SUFFIX, NAME_LIMIT
from settings.language.section import Facts, Findings, Reading, Section, nearest, rule
from settings.loading import load_leniently

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=12), children, max_size=3),
    max_leaves=8,
)


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
    """Rules across fields and sections run on the valid fields, although pydantic would stop at a wrong field."""
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


def test_a_typo_in_a_rule_fails_though_the_file_has_another_mistake():
    class Office(Section):
        desks: int = Field(description="How many.")
        floor: int = Field(description="Which one.")

        @rule
        def _enough_desks(self, facts: Facts) -> Findings:
            if self.dekss < 1:  # pyright: ignore[reportAttributeAccessIssue]
                yield ("desks",), "must be 1 at least"

    with pytest.raises(AttributeError, match="dekss"):
        Office.model_validate({"desks": 3, "floor": "ground"}, context=Reading())


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
        load_leniently(as_config(stack), stack="dev")


@pytest.mark.parametrize(
    ("word", "expected"), [("retention_days", "retentionDays"), ("CIDR", "cidr"), ("gpu", "gpus"), ("zebra", None)]
)
def test_nearest(word, expected):
    assert nearest(word, ["cidr", "retentionDays", "gpus"]) == expected


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
