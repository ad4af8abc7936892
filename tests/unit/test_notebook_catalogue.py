"""The catalogue of teams, profiles and pools: the document that `components/hub/inside` reads."""

from __future__ import annotations

import copy
import datetime
import json
from pathlib import Path
from typing import Any

import pytest

import settings
from components.hub.catalogue_from_settings import (
    CONFIG_MAP_LIMIT,
    catalogue,
    catalogue_text,
    checksum,
)
from components.hub.inside import catalogue as inside
from components.hub.jupyterhub import cluster_rules
from components.images import mirrored
from settings import EksSettings, check_stack_file
from settings.loading import load
from settings.stack_file import read_stack_file

PROJECT = Path(__file__).parents[2]
STACKS = PROJECT / "tests" / "stacks"
TODAY = datetime.date(2026, 6, 1)


def of_dev(**sections: Any) -> EksSettings:
    """The settings of dev, with these sections replaced."""
    config = read_stack_file(PROJECT / "Pulumi.dev.yaml")
    changed = {f"gpulab:{name}": json.dumps(value) for name, value in sections.items()}
    return settings.on_eks(load({**config, **changed}, stack="dev", today=TODAY))


def section(name: str) -> Any:
    return json.loads(read_stack_file(PROJECT / "Pulumi.dev.yaml")[f"gpulab:{name}"])


def document(stack: EksSettings) -> dict[str, Any]:
    return catalogue(stack)


@pytest.mark.parametrize("storage", [{}, {"homes": "per-person", "homeSize": 50}])
def test_what_is_written_is_what_the_hub_reads(storage: dict[str, Any]) -> None:
    teams = section("teams")
    for team in teams.values():
        team["quota"]["storage"] = 500
    written = document(of_dev(storage=storage, **({"teams": teams} if storage else {})))
    assert inside.document(inside.parse(json.loads(catalogue_text(written)))) == written


def test_administrators_enter_notebooks_where_these_can_not_act_as_them_or_where_it_is_asked_for() -> None:
    domain = {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24"]}
    port_forward = {"access": "port-forward"}

    def enter(ingress: dict[str, Any], **hub: bool) -> bool:
        return document(of_dev(ingress=ingress, hub=hub))["hub"]["administratorAccess"]

    assert enter(domain)
    assert not enter(domain, subdomains=False)
    assert not enter(port_forward)
    assert not enter(domain, administratorAccess=False)
    assert enter(port_forward, administratorAccess=True)


def test_gpu_profiles_ask_for_what_their_pool_advertises() -> None:
    found = document(of_dev())
    for name, profile in found["profiles"].items():
        gpu = profile["gpu"]
        if gpu is not None:
            assert gpu["resource"] in found["pools"][gpu["pool"]]["limits"], name
            assert gpu["count"] <= int(found["pools"][gpu["pool"]]["largest"][gpu["resource"]]), name
    assert found["profiles"]["pytorch-slice"]["gpu"]["resource"] == "nvidia.com/gpu.shared"
    assert found["profiles"]["multi-gpu"]["gpu"]["count"] == 4
    (memory,) = found["profiles"]["fine-tuning"]["gpu"]["affinity"]
    assert memory["key"].endswith("instance-gpu-memory")


def test_a_profile_that_discovers_gpus_says_so_and_its_pools_say_what_the_stack_file_declares() -> None:
    found = catalogue(check_stack_file(STACKS / "existing-discover.happy.yaml", "lab", TODAY))
    profile = found["profiles"]["found"]
    assert (profile["gpu"], profile["discovery"]) == (None, {"byNode": True})
    declared = {name: pool.get("gpus") for name, pool in found["pools"].items()}
    assert declared == {
        "cpu": None,
        "gpu": {"product": "NVIDIA-L40S", "memory": 45, "sharing": "none", "replicas": 1},
        "desk": {"product": None, "memory": None, "sharing": "time-slicing", "replicas": 8},
    }
    without = document(of_dev())
    assert all("discovery" not in one for one in without["profiles"].values())
    assert all("gpus" not in one for one in without["pools"].values())


def test_the_hub_reads_nodes_only_where_a_profile_discovers_gpus() -> None:
    site = check_stack_file(STACKS / "existing-discover.happy.yaml", "lab", TODAY)
    assert not [rule for rules in cluster_rules(of_dev()).values() for rule in rules if "nodes" in rule["resources"]]
    ((rule,),) = cluster_rules(site).values()
    assert (rule["resources"], rule["verbs"]) == (["nodes"], ["get", "list"])


def test_shared_memory_is_what_the_profile_says_else_half_of_its_memory() -> None:
    profiles = section("profiles")
    profiles["python"] |= {"memory": 1}
    profiles["fine-tuning"] |= {"memory": 32, "sharedMemory": 24}
    found = document(of_dev(profiles=profiles))["profiles"]
    assert found["python"]["sharedMemory"] == "512Mi"
    assert found["fine-tuning"]["sharedMemory"] == "24576Mi"


def test_a_notebook_that_shares_its_gpu_by_mps_has_the_nodes_shared_memory() -> None:
    pools, teams = section("nodePools"), section("teams")
    pools["gpu-shared"]["gpu"]["sharing"] = "mps"
    teams["vision"]["nodePools"] = ["cpu", "gpu"]
    teams["vision"]["profiles"].remove("pytorch-slice")
    teams["vision"]["quota"]["slices"] = 0
    found = document(of_dev(nodePools=pools, teams=teams))["profiles"]
    assert found["pytorch-slice"]["sharedMemory"] is None
    assert found["pytorch"]["sharedMemory"]


def test_notebooks_tolerate_a_pools_taints_and_not_those_of_its_start() -> None:
    pools = section("nodePools")
    pools["gpu"]["taints"] = [{"key": "example.com/team", "value": "ml", "effect": "NoSchedule"}]
    pools["gpu"]["startupTaints"] = [{"key": "example.com/agent", "effect": "NoSchedule"}]
    found = document(of_dev(nodePools=pools))["pools"]
    assert [one["key"] for one in found["gpu"]["tolerations"]] == ["nvidia.com/gpu", "example.com/team"]
    assert found["cpu"]["tolerations"] == []


@pytest.mark.parametrize(
    ("use", "warn", "limit"),
    [({}, 100, None), ({"limit": 50}, 40, 50), ({"warn": 30, "limit": 50}, 30, 50), ({"warn": 200}, 200, None)],
)
def test_the_hub_knows_what_homes_may_hold(use: dict[str, int], warn: float, limit: int | None) -> None:
    homes = document(of_dev(storage={"homeUse": use}))["homes"]
    assert (homes["warn"], homes["limit"]) == (warn, limit)


def test_mounts_are_writable_where_the_role_writes() -> None:
    teams = document(of_dev())["teams"]

    def datasets(team: str, role: str) -> bool:
        (mount,) = [one for one in teams[team]["mounts"][role] if one["name"] == "datasets"]
        return not mount.get("readOnly", False)

    assert datasets("data-platform", "developer")
    assert not datasets("data-platform", "data-scientist")
    assert not datasets("research", "administrator")
    (home,) = [one for one in teams["research"]["mounts"]["developer"] if one["name"] == "homes"]
    assert home["subPath"] == "{username}"


def test_pools_of_a_team_are_those_that_it_may_use() -> None:
    teams = document(of_dev())["teams"]
    assert teams["data-platform"]["nodePools"] == ["cpu"]
    assert teams["research"]["nodePools"] == ["cpu", "gpu", "gpu-shared"]


def test_homes_per_person_are_claims_of_the_class_that_keeps_them() -> None:
    storage = {"homes": "per-person", "homeSize": 50, "retain": True}
    teams = section("teams")
    for team in teams.values():
        team["quota"]["storage"] = 500
    homes = document(of_dev(storage=storage, teams=teams))["homes"]
    assert (homes["perPerson"], homes["size"], homes["storageClass"]) == (True, 50, "gp3-retain")
    assert "zone" in homes["note"]


def test_images_come_through_the_mirror() -> None:
    registry = {"mirror": "mirror.example.com:5000/quay"}
    found = document(of_dev(hub={"registry": registry}))
    assert found["profiles"]["python"]["image"].startswith("mirror.example.com:5000/quay/jupyter/datascience-notebook:")
    assert found["hub"]["pullSecret"] is None


@pytest.mark.parametrize(
    ("image", "through"),
    [
        ("quay.io/jupyter/x:1", "m.example.com/p/jupyter/x:1"),
        ("registry.example.com:5000/x@sha256:0", "m.example.com/p/x@sha256:0"),
        ("jupyter/x:1", "m.example.com/p/jupyter/x:1"),
        ("traefik:v3", "m.example.com/p/library/traefik:v3"),
        ("docker.io/traefik:v3", "m.example.com/p/library/traefik:v3"),
        ("registry.k8s.io/pause:3.10.1", "m.example.com/p/pause:3.10.1"),
    ],
)
def test_mirror_stands_in_the_place_of_the_registry(image: str, through: str) -> None:
    assert mirrored(image, "m.example.com/p") == through
    assert mirrored(image, None) == image


def test_no_secret_and_no_place_of_one_is_in_it() -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gpulab/registry-AbCdEf"
    hub = {"registry": {"pullSecret": {"secretsManager": arn}}}
    text = catalogue_text(document(of_dev(hub=hub)))
    assert json.loads(text)["hub"]["pullSecret"] == "registry"
    assert "arn:" not in text


def test_same_settings_give_the_same_text_and_a_change_another_checksum() -> None:
    profiles = section("profiles")
    turned = dict(reversed(list(profiles.items())))
    first, second = catalogue_text(document(of_dev())), catalogue_text(document(of_dev(profiles=turned)))
    assert first == second
    profiles["python"]["cpu"] = 4
    assert checksum(catalogue_text(document(of_dev(profiles=profiles)))) != checksum(first)


def test_a_hundred_teams_fit_into_a_config_map() -> None:
    one = section("teams")["research"]
    one["quota"] |= {"gpus": 0, "slices": 0}
    one["profiles"] = ["python", "agents"]
    teams = {f"team-{number:03}-of-thirty-letters-or": copy.deepcopy(one) for number in range(100)}
    identity = section("identity")
    del identity["seedUsers"]
    text = catalogue_text(document(of_dev(teams=teams, identity=identity)))
    assert len(json.loads(text)["teams"]) == 100
    assert len(text.encode()) < CONFIG_MAP_LIMIT / 4


def test_profiles_that_the_catalogue_has_no_room_for_are_refused_by_their_key() -> None:
    def with_scripts(number: int) -> dict[str, Any]:
        profiles = section("profiles")
        return profiles | {
            f"p{one}": {**profiles["agents"], "startup": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 8192}
            for one in range(number)
        }

    with pytest.raises(settings.SettingsError, match=r"gpulab:profiles: take \d+ KiB, .* has room for 768"):
        of_dev(profiles=with_scripts(50))
    assert len(catalogue_text(document(of_dev(profiles=with_scripts(46)))).encode()) < CONFIG_MAP_LIMIT * 0.8


def test_what_a_config_map_cannot_hold_is_refused() -> None:
    found = document(of_dev())
    found["profiles"]["python"]["startup"] = "x" * CONFIG_MAP_LIMIT
    with pytest.raises(ValueError, match="ConfigMap"):
        catalogue_text(found)


def test_stack_without_teams_has_no_hub() -> None:
    assert of_dev(teams={}).hub is None
    with pytest.raises(settings.SettingsError, match="gpulab:hub: needs gpulab:teams"):
        of_dev(teams={}, hub={"prePull": False})
