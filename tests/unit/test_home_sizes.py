"""The jobs that measure homes: where they run, what they may read and do, and the order around them."""

from __future__ import annotations

import datetime
import json
from typing import Any

import platform_lab
import pytest
from engine_mocks import EngineMocks
from test_jupyterhub import SECTIONS, answer

import settings
from components.hub import home_sizes
from components.hub.inside import homes, measuring
from components.hub.values import PACKAGE, home_sizes_map, hub_image
from components.storage.volumes import GID, UID
from components.teams import names as team_names
from settings.files import HomeUse
from settings.language.schedules import longest_gap

ACCESS_POINT = "aws:efs/accessPoint:AccessPoint"
CRON_JOB, CLAIM, VOLUME, NETWORK_POLICY, ROLE, NAMESPACE = (
    f"kubernetes:{kind}"
    for kind in (
        "batch/v1:CronJob",
        "core/v1:PersistentVolumeClaim",
        "core/v1:PersistentVolume",
        "networking.k8s.io/v1:NetworkPolicy",
        "rbac.authorization.k8s.io/v1:Role",
        "core/v1:Namespace",
    )
)
JOB = "home-sizes-research"


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    mocks = EngineMocks()
    answer(mocks)
    with pytest.MonkeyPatch.context() as patch, platform_lab.answering_eks(mocks, patch):
        platform_lab.deploy(mocks, **SECTIONS)
    return mocks


def named(lab: EngineMocks, kind: str, name: str) -> Any:
    (found,) = [one for one in lab.all(kind) if one.inputs["metadata"].get("name") == name]
    return found


def pod(lab: EngineMocks) -> dict[str, Any]:
    return named(lab, CRON_JOB, JOB).inputs["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def test_a_job_sees_the_homes_of_its_team_as_their_user_and_changes_none(lab: EngineMocks) -> None:
    spec = pod(lab)
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsGroup"]) == (UID, GID)
    (container,) = spec["containers"]
    (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] in container["command"]]
    (source,) = [one["persistentVolumeClaim"] for one in spec["volumes"] if one["name"] == mount["name"]]
    assert mount["readOnly"]
    assert source["readOnly"]
    claim = named(lab, CLAIM, source["claimName"])
    volume = named(lab, VOLUME, claim.inputs["spec"]["volumeName"])
    assert volume.inputs["spec"]["mountOptions"] == ["ro"]
    (access_point,) = [one for one in lab.all(ACCESS_POINT) if one.name in volume.name]
    assert access_point.inputs["rootDirectory"]["path"] == "/teams/research/homes"
    assert access_point.inputs["posixUser"] == {"uid": UID, "gid": GID}


def test_it_runs_beside_the_hub_on_system_nodes_so_that_no_node_is_bought(lab: EngineMocks) -> None:
    job = named(lab, CRON_JOB, JOB)
    assert job.inputs["metadata"]["namespace"] == team_names.HUB_NAMESPACE
    assert pod(lab)["nodeSelector"] == {"gpulab.dev/system": "true"}
    assert job.inputs["spec"]["schedule"] == "0 1 * * *"


@pytest.mark.parametrize("schedule", ["0 1 1 * *", "@monthly"])
def test_what_is_measured_once_a_month_counts_until_it_is_measured_again(schedule: str) -> None:
    rarest = HomeUse.model_validate({"schedule": schedule})
    waits = datetime.timedelta(seconds=home_sizes.STARTING_DEADLINE + home_sizes.DEADLINE)
    assert datetime.timedelta(days=longest_gap(rarest.schedule)) + waits < homes._GOOD_FOR


def test_it_runs_the_hubs_module_in_the_hubs_image(lab: EngineMocks) -> None:
    spec = pod(lab)
    (container,) = spec["containers"]
    (release,) = [one for one in lab.all("kubernetes:helm.sh/v3:Release") if one.inputs["chart"] == "jupyterhub"]
    assert container["command"][:3] == ["python3", "-m", f"{PACKAGE}.{measuring.__name__.rpartition('.')[2]}"]
    modules = [one["configMap"]["name"] for one in spec["volumes"] if "configMap" in one]
    hubs = release.inputs["values"]["hub"]["extraVolumes"]
    assert modules == [one["configMap"]["name"] for one in hubs[0]["projected"]["sources"]][:1]


def test_it_writes_what_the_hub_reads_and_may_do_nothing_else(lab: EngineMocks) -> None:
    (rule,) = named(lab, ROLE, "home-sizes").inputs["rules"]
    (release,) = [one for one in lab.all("kubernetes:helm.sh/v3:Release") if one.inputs["chart"] == "jupyterhub"]
    read = [
        source["configMap"]["name"]
        for one in release.inputs["values"]["hub"]["extraVolumes"]
        if one["name"] == "home-sizes"
        for source in one["projected"]["sources"]
    ]
    (container,) = pod(lab)["containers"]
    assert rule["resourceNames"] == read == [container["command"][-1]]
    assert set(rule["verbs"]) == {"create", "patch"}
    assert rule["resources"] == ["configmaps"]


def test_it_reaches_the_api_server_alone(lab: EngineMocks) -> None:
    policy = named(lab, NETWORK_POLICY, "home-sizes").inputs["spec"]
    labels = named(lab, CRON_JOB, JOB).inputs["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == []
    (way,) = policy["egress"]
    assert [int(one["port"]) for one in way["ports"]] == [443]
    assert "0.0.0.0/0" not in json.dumps(way)


def test_the_job_goes_before_its_claim_that_before_its_volume_and_all_before_the_namespace(lab: EngineMocks) -> None:
    job, claim = named(lab, CRON_JOB, JOB), named(lab, CLAIM, JOB)
    volume = named(lab, VOLUME, f"{team_names.HUB_NAMESPACE}-{JOB}")
    namespace = named(lab, NAMESPACE, team_names.HUB_NAMESPACE)
    assert lab.needs(job, claim)
    assert lab.needs(claim, volume)
    for one in (job, claim, named(lab, ROLE, "home-sizes")):
        assert lab.needs(one, namespace)


def test_homes_that_are_disks_are_not_measured() -> None:
    mocks = EngineMocks()
    answer(mocks)
    storage = {"homes": "per-person", "homeSize": 20}
    research = {**SECTIONS["gpulab:teams"]["research"]}
    research["quota"] = {**research["quota"], "storage": 100}
    with pytest.MonkeyPatch.context() as patch, platform_lab.answering_eks(mocks, patch):
        sections = {**SECTIONS, "gpulab:storage": storage, "gpulab:teams": {"research": research}}
        platform_lab.deploy(mocks, **sections)
    assert not mocks.all(CRON_JOB)
    assert not [one for one in mocks.all(ACCESS_POINT) if "homes" in one.name]


def test_the_image_is_that_of_the_hub_through_its_mirror() -> None:
    def image(**changed: Any) -> str:
        given = platform_lab.config(**{**SECTIONS, **changed})
        return hub_image(settings.on_eks(settings.load(given, stack="dev", today=datetime.date(2027, 1, 1))))

    assert image().startswith("quay.io/jupyterhub/k8s-hub:")
    mirrored = image(**{"gpulab:hub": {"registry": {"mirror": "registry.example.com/mirror"}}})
    assert mirrored.startswith("registry.example.com/mirror/jupyterhub/k8s-hub:")


def test_the_longest_name_of_a_team_makes_a_job_that_kubernetes_takes() -> None:
    """A CronJob's name has 52 characters at most, as its jobs' names have eleven more."""
    longest = "a" * 30
    assert len(home_sizes_map(longest)) <= 52
