"""Containers that Helm values and profiles add are read wherever they are, and a hub's own Python is not decided."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.policies.conftest import (
    HERE,
    examined,
    release,
)

CASES = HERE.parent / "cases"
GPU = "nvidia.com/gpu"
HUB = "jupyterhub"


def test_what_an_init_container_in_a_hubs_values_runs_and_as_whom():
    values = yaml.safe_load((CASES / "hub-values-init-container.yaml").read_text(encoding="utf-8"))
    given = release(HUB, values)
    place = "values.singleuser.initContainers.0"
    assert any(f"{place}.image is alpine" in message for message in examined("unpinned-image", given)[HUB])
    assert any(f"{place}: uid is 0" in message for message in examined("notebook-root", given)[HUB])
    assert examined("notebook-privilege-escalation", given)[HUB]
    # A hub that follows a catalogue adds it to the catalogue's notebooks.
    follows = release(HUB, {**values, "hub": {"labels": {"gpulab.dev/catalogue": "true"}}})
    assert examined("notebook-root", follows)[HUB]


ROOT = {"name": "x", "image": "alpine", "securityContext": {"runAsUser": 0, "privileged": True}}
OWN = {"kubespawner_override": {"init_containers": [ROOT]}}
CONTAINERS = {
    "init containers of notebooks": (HUB, {"singleuser": {"initContainers": [ROOT]}}),
    "by their names, as KubeSpawner takes them too": (HUB, {"singleuser": {"initContainers": {"x": ROOT}}}),
    "sidecars of notebooks": (HUB, {"singleuser": {"extraContainers": [ROOT]}}),
    "in a profile": (HUB, {"singleuser": {"profileList": [{"slug": "x", **OWN}]}}),
    "in the pod's own words": (HUB, {"singleuser": {"extraPodConfig": {"initContainers": [ROOT]}}}),
    "beside the hub": (HUB, {"hub": {"extraContainers": [ROOT]}}),
    "before the hub": (HUB, {"hub": {"initContainers": [ROOT]}}),
    "before the proxy": (HUB, {"proxy": {"traefik": {"extraInitContainers": [ROOT]}}}),
    "as a text": ("keycloakx", {"extraInitContainers": json.dumps([ROOT])}),
    "beside Karpenter": ("karpenter", {"controller": {"sidecarContainer": [ROOT]}}),
    "of a chart that nobody knows": ("somebodys", {"a": {"additionalContainers": [ROOT]}}),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_are_read_wherever_values_add_them(case):
    chart, values = CONTAINERS[case]
    given = release(chart, values)
    assert any("alpine" in message for message in examined("unpinned-image", given)[chart])
    assert examined("workload-privileged", given)[chart]
    if set(values) == {"singleuser"}:
        assert any("uid is 0" in message for message in examined("notebook-root", given)[chart])


def test_a_part_of_an_image_is_not_taken_for_its_whole():
    driver = {"repository": "nvcr.io/nvidia", "image": "driver", "version": "580.126.20"}
    assert examined("unpinned-image", release("gpu-operator", {"driver": driver})) == {}


def test_who_a_container_runs_as_is_its_images_choice_unless_something_is_said():
    given = release(HUB, {"singleuser": {"initContainers": [{"name": "x", "image": "busybox:1.37.0"}]}})
    assert "values.singleuser.initContainers.0" in examined("notebook-root", given)["unknown"][0]
    non_root = {"name": "x", "image": "busybox:1.37.0", "securityContext": {"runAsNonRoot": True}}
    assert examined("notebook-root", release(HUB, {"singleuser": {"initContainers": [non_root]}})) == {}
    assert "values.singleuser" in examined("notebook-root", release(HUB, {"singleuser": {"uid": None}}))["unknown"][0]


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("notebook-root", "c.KubeSpawner.uid = 0"),
        ("notebook-sudo", "c.Spawner.environment.update(GRANT_SUDO='yes')"),
        ("notebook-host-access", "c.KubeSpawner.volumes.append({'hostPath': {'path': '/'}})"),
        ("hub-allow-all", "c.GenericOAuthenticator.allow_all = True"),
        ("hub-administrators-in-notebooks", "c.Authenticator.admin_users = {'root'}"),
        ("hub-dummy-authenticator", "c.JupyterHub.authenticator_class = 'dummy'"),
    ],
)
def test_what_a_hub_sets_in_python_is_not_decided(policy, line):
    said = examined(policy, release(HUB, {"hub": {"extraConfig": {"own": line}}}))
    assert any("values.hub.extraConfig.own" in message for message in said["unknown"])
    assert "unknown" not in examined(policy, release(HUB, {"hub": {"extraConfig": {"own": "c.Spawner.cmd = ['x']"}}}))
