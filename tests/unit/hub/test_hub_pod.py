"""The pod of a choice, as KubeSpawner's traits; live tests make it."""

from __future__ import annotations

import json
import string
from decimal import Decimal
from typing import Any

import pytest
from hub_catalogue import NOON, choice, dev, document
from hypothesis import given
from hypothesis import strategies as st

from components.hub.inside import pod, pod_files
from components.hub.inside.catalogue import parse
from components.hub.inside.pod import overrides, pools_for, requests
from components.hub.inside.quantities import amount, names_of, words
from components.storage import volumes
from components.teams.names import NOTEBOOK_SERVICE_ACCOUNT
from settings.files import HOME, OWN_VOLUMES, SCRATCH
from settings.pools.labels import POOL_LABEL


def made(slug: str, *roles: str) -> dict[str, Any]:
    return overrides(dev(), choice(slug, *roles), NOON)


def test_the_modules_own_names_are_those_of_the_program() -> None:
    """The hub does not have the program's modules, so some names exist twice."""
    assert pod.SERVICE_ACCOUNT == NOTEBOOK_SERVICE_ACCOUNT
    assert pod.POOL_LABEL == POOL_LABEL
    assert (pod.UID, pod.GID) == (volumes.UID, volumes.GID)
    assert volumes.home_claim_name("{username}") == pod.HOME_CLAIM
    assert (dev().homes.path, dev().hub.scratch) == (HOME, SCRATCH)


def test_scratch_is_bounded_and_counted_by_the_scheduler_and_may_be_full() -> None:
    found = made("research_fine-tuning")
    (mount,) = [one for one in found["volume_mounts"] if one["mountPath"] == SCRATCH]
    (volume,) = [one for one in found["volumes"] if one["name"] == mount["name"]]
    size = amount(volume["emptyDir"]["sizeLimit"])
    assert size == amount("100Gi")
    assert amount(found["extra_resource_guarantees"]["ephemeral-storage"]) == size
    assert amount(found["extra_resource_limits"]["ephemeral-storage"]) > size, "a log, and /tmp, count too"


@pytest.mark.parametrize("gib", [0, 10])
def test_jupyterlab_looks_for_scratch_where_there_is_some(gib: int) -> None:
    changed = document()
    changed["profiles"]["python"]["scratch"] = gib
    brought = pod_files.files(parse(changed).profiles["python"], warn_minutes=10, started=NOON)
    assert json.loads(brought["limits"].content)["scratch"] is bool(gib)


def test_gpus_are_asked_for_in_their_pool_and_by_what_the_choice_says_of_them() -> None:
    found = made("research_fine-tuning")
    assert found["extra_resource_limits"]["nvidia.com/gpu"] == "1"
    assert found["extra_resource_guarantees"]["nvidia.com/gpu"] == "1"
    assert found["node_selector"] == {POOL_LABEL: "gpu"}
    (term,) = found["node_affinity_required"]
    assert {"key": POOL_LABEL, "operator": "In", "values": ["gpu"]} in term["matchExpressions"]
    assert {"karpenter.k8s.aws/instance-gpu-memory"} < {one["key"] for one in term["matchExpressions"]}
    assert any(one["key"] == "nvidia.com/gpu" for one in found["tolerations"])


def test_cpu_notebooks_stay_on_the_teams_cpu_pools_and_tolerate_no_gpus() -> None:
    document_ = document()
    document_["pools"]["cpu-large"] = {
        **document_["pools"]["cpu"],
        "tolerations": [{"key": "large", "operator": "Exists", "effect": "NoSchedule"}],
    }
    document_["teams"]["research"]["nodePools"].append("cpu-large")
    catalogue = parse(document_)
    python = choice("research_python", catalogue=catalogue)
    found = overrides(catalogue, python, NOON)
    assert [pool.name for pool in pools_for(catalogue, python)] == ["cpu", "cpu-large"]
    assert found["node_selector"] == {}
    (term,) = found["node_affinity_required"]
    assert term["matchExpressions"] == [{"key": POOL_LABEL, "operator": "In", "values": ["cpu", "cpu-large"]}]
    assert [one["key"] for one in found["tolerations"]] == ["large"]


def test_with_several_roles_a_volume_is_writable_where_one_of_them_writes() -> None:
    def read_only(*roles: str) -> bool:
        mounts = made("data-platform_python", *roles)["volume_mounts"]
        return next(one for one in mounts if one["mountPath"] == "/home/datasets").get("readOnly", False)

    assert read_only("data-scientist")
    assert not read_only("developer")
    assert not read_only("data-scientist", "developer")


def test_memory_is_kept_and_limited_and_processors_are_kept_alone() -> None:
    found = made("research_python")
    assert found["mem_guarantee"] == found["mem_limit"] == int(amount(dev().profiles["python"].memory))
    assert "cpu_limit" not in found, "what a node has to spare may be used"


def test_dev_shm_is_in_memory_and_no_larger_than_half_of_it() -> None:
    found = made("research_fine-tuning")
    (mount,) = [one for one in found["volume_mounts"] if one["mountPath"] == "/dev/shm"]
    (volume,) = [one for one in found["volumes"] if one["name"] == mount["name"]]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert amount(volume["emptyDir"]["sizeLimit"]) * 2 == found["mem_limit"]
    # It is the container's own memory, so it is asked for once.
    assert set(requests(choice("research_fine-tuning"))) == {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}


def test_the_node_mounts_dev_shm_where_pods_share_a_gpu_by_mps() -> None:
    """The device plugin mounts the MPS daemon's /dev/shm there, with which clients reach the daemon."""
    changed = document()
    changed["profiles"]["python"]["sharedMemory"] = None
    catalogue = parse(changed)
    found = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
    assert all(one["mountPath"] != "/dev/shm" for one in found["volume_mounts"])


def test_no_volume_of_a_team_can_have_the_name_of_one_of_the_pods_own() -> None:
    names = [one["name"] for one in made("research_fine-tuning")["volumes"]]
    assert len(set(names)) == len(names)
    assert set(OWN_VOLUMES) == set(names) - {one["name"] for one in dev().teams["research"].volumes}


def test_a_notebook_without_gpus_sees_none_whatever_its_image_says() -> None:
    assert made("research_python")["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    # Which GPUs it has, the device plugin says.
    assert "NVIDIA_VISIBLE_DEVICES" not in made("research_fine-tuning")["environment"]


def test_what_a_team_has_to_pay_for_is_what_is_asked_for() -> None:
    asked = requests(choice("research_multi-gpu"))
    assert asked["nvidia.com/gpu"] == 4
    assert set(asked) == {"cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"}


def test_private_images_are_pulled_with_the_teams_secret() -> None:
    changed = document()
    changed["hub"]["pullSecret"] = "registry"
    catalogue = parse(changed)
    assert overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)["image_pull_secrets"] == [
        "registry"
    ]
    assert made("research_python")["image_pull_secrets"] == []


@given(st.text(alphabet=string.printable, max_size=40).filter(lambda text: not text.rstrip().endswith("-")))
def test_texts_come_out_of_kubespawners_templates_as_they_were(text: str) -> None:
    changed = document()
    changed["profiles"]["python"]["env"] = {"VALUE": text}
    catalogue = parse(changed)
    value = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)["environment"]["VALUE"]
    assert value.format(username="ada") == text


def test_every_file_of_the_volume_is_in_an_annotation() -> None:
    changed = document()
    changed["profiles"]["python"]["startup"] = "pip install example\n"
    catalogue = parse(changed)
    found = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
    (volume,) = [one for one in found["volumes"] if one["name"] == pod_files.VOLUME]
    paths = {item["path"]: item["fieldRef"]["fieldPath"] for item in volume["downwardAPI"]["items"]}
    for field in paths.values():
        assert field.removeprefix("metadata.annotations['").removesuffix("']") in found["extra_annotations"]
    assert {"start.sh", "startup.sh"} < set(paths)
    # Kubernetes' limit of all annotations together.
    assert sum(map(len, found["extra_annotations"].values())) < 256 * 1024 / 4


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("500m", "0.5"), ("8Gi", str(8 * 1024**3)), ("2", "2"), ("1.5", "1.5"), ("3k", "3000"), ("64Ki", "65536")],
        # As the API server gives back what was written so.
        *[("1e9", "1000000000"), ("12E6", "12000000"), ("1e-3", "0.001"), ("1E", str(10**18)), ("1Ei", str(2**60))],
        *[("100u", "0.0001"), ("5n", "0.000000005"), ("+1", "1"), ("-1", "-1"), (".5", "0.5"), ("1.", "1")],
    ],
)
def test_quantities(text: str, number: str) -> None:
    assert amount(text) == Decimal(number)


@pytest.mark.parametrize("text", ["8 GiB", "", ".", "Gi", "1K", "1ee3", "e3", "1e", "nan", "Infinity"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(text)


@pytest.mark.parametrize(
    ("resource", "text", "said"),
    [
        ("nvidia.com/gpu", "1", "1 GPU"),
        ("nvidia.com/gpu", "10", "10 GPUs"),
        ("nvidia.com/gpu.shared", "2", "2 shared GPUs"),
        ("nvidia.com/mig-1g.5gb", "1", "1 slice 1g.5gb"),
        ("cpu", "500m", "0.5 vCPU"),
        ("memory", "12Gi", "12 GiB of memory"),
        ("pods", "1", "1 notebook"),
    ],
)
def test_amounts_in_words(resource: str, text: str, said: str) -> None:
    assert words(resource, amount(text)) == said


@pytest.mark.parametrize(
    ("resource", "name"),
    [("memory", "memory"), ("ephemeral-storage", "scratch"), ("cpu", "vCPU"), ("nvidia.com/gpu", "GPUs")],
)
def test_what_is_short_has_the_name_that_people_give_it(resource: str, name: str) -> None:
    assert names_of(resource) == name


def test_what_is_mounted_outside_the_home_has_a_link_in_it() -> None:
    found = made("research_python")["environment"]["GPULAB_LINKS"]
    assert found == "shared=/home/shared:datasets=/home/datasets:models=/home/models"
    changed = document()
    for mounts in changed["teams"]["research"]["mounts"].values():
        for mount in mounts:
            if mount["name"] == "shared":
                mount["mountPath"] = "/home/jovyan/notebooks"
    catalogue = parse(changed)
    found = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
    assert "shared" not in found["environment"]["GPULAB_LINKS"]
    assert "/home/jovyan/notebooks" in {mount["mountPath"] for mount in found["volume_mounts"]}


def test_a_site_mounts_home_and_scratch_where_its_people_look_for_them() -> None:
    """What people install must be in the part of the home that outlives the notebook."""
    changed = document()
    changed["homes"]["path"], changed["hub"]["scratch"] = "/home/jovyan/notebooks", "/scratch"
    catalogue = parse(changed)
    found = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
    assert found["environment"]["PYTHONUSERBASE"].startswith("/home/jovyan/notebooks/.local/")
    assert {"name": "scratch", "mountPath": "/scratch"} in found["volume_mounts"]
    assert "scratch=/scratch" in found["environment"]["GPULAB_LINKS"].split(":")


def test_a_volume_without_its_claim_is_left_out_with_its_mount_and_its_link() -> None:
    given = document()
    team = given["teams"]["research"]
    team["volumes"].append({"name": "code", "persistentVolumeClaim": {"claimName": "shared-code", "readOnly": True}})
    for mounts in team["mounts"].values():
        mounts.append({"name": "code", "mountPath": "/shared-code-reference", "readOnly": True})
    team["optional"] = ["code"]
    catalogue = parse(given)
    wanted = choice("research_python", catalogue=catalogue)

    def told_of_code(missing: frozenset[str]) -> list[bool]:
        found = overrides(catalogue, wanted, NOON, missing=missing)
        mounted = [{one["name"] for one in found[key]} for key in ("volumes", "volume_mounts")]
        return [*("code" in names for names in mounted), "code=" in found["environment"]["GPULAB_LINKS"]]

    assert told_of_code(frozenset()) == [True, True, True]
    assert told_of_code(frozenset({"code"})) == [False, False, False]


def test_images_of_a_line_share_what_people_install_and_others_have_their_own() -> None:
    catalogue = dev()
    bases = {
        name: overrides(catalogue, choice(f"research_{name}"), NOON)["environment"]["PYTHONUSERBASE"]
        for name in ("python", "pytorch", "pytorch-slice", "tensorflow")
    }
    assert bases["pytorch"] == bases["pytorch-slice"]
    assert len(set(bases.values())) == 3
    assert bases["python"] == "/home/jovyan/.local/images/quay.io/jupyter/datascience-notebook"


def test_the_hub_waits_for_a_startup_script_as_long_as_it_may_take() -> None:
    changed = document()
    changed["profiles"]["python"] |= {"startup": "pip install example\n", "startupTimeout": 1200}
    catalogue = parse(changed)

    def patience(profile: str) -> int:
        return overrides(catalogue, choice(f"research_{profile}", catalogue=catalogue), NOON)["http_timeout"]

    assert patience("python") == patience("agents") + 1200
    assert patience("agents") == pod.HTTP_TIMEOUT
