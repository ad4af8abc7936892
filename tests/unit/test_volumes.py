"""What a team and its notebooks mount: claims, their volumes and directories, and what roles may write."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.storage import volumes
from settings import Storage
from settings.people.names import ROLES

slugs = st.from_regex(r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?", fullmatch=True)


def storage(**given: Any) -> Storage:
    return Storage.model_validate(given)


WRITTEN = storage(
    volumes={
        "shared": {"mountPath": "/home/shared", "scope": "team"},
        "datasets": {"mountPath": "/home/datasets", "writers": {"data": ["developer"]}},
        "models": {"mountPath": "/home/models", "writers": {"*": ["project-manager"]}},
    }
)


def by_name(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in items}


@given(team=slugs, person=slugs)
def test_every_mount_is_of_a_volume_of_the_pod_and_that_of_a_claim(team: str, person: str) -> None:
    for settings in (storage(), WRITTEN, storage(homes="per-person", homeSize=20)):
        claims = {volumes.claim(team, one)["metadata"]["name"] for one in volumes.team_volumes(team, settings)}
        claims.add(volumes.home_claim_name(person))
        pod = by_name(volumes.pod_volumes(team, person, settings))
        assert {one["persistentVolumeClaim"]["claimName"] for one in pod.values()} <= claims
        mounts = volumes.pod_mounts(team, "developer", person, settings)
        assert [mount["name"] for mount in mounts] == list(pod)
        paths = [mount["mountPath"] for mount in mounts]
        assert len(set(paths)) == len(paths)
        assert "/home/jovyan" in paths


@given(team=slugs)
def test_a_claim_and_its_volume_name_each_other_and_no_class(team: str) -> None:
    for volume in volumes.team_volumes(team, storage()):
        claim = volumes.claim("space", volume)
        persistent = volumes.persistent_volume("space", volume, "fs-1::fsap-1")
        assert claim["spec"]["volumeName"] == persistent["metadata"]["name"]
        reference = persistent["spec"]["claimRef"]
        assert (reference["namespace"], reference["name"]) == ("space", claim["metadata"]["name"])
        assert claim["spec"]["storageClassName"] == persistent["spec"]["storageClassName"] == ""
        assert claim["spec"]["accessModes"] == persistent["spec"]["accessModes"]
        assert persistent["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


@given(one=slugs, other=slugs)
def test_teams_share_no_directory_but_the_platforms(one: str, other: str) -> None:
    if one == other:
        return
    directories = [{volume.directory for volume in volumes.team_volumes(team, storage())} for team in (one, other)]
    assert directories[0] & directories[1] == {"/platform/datasets", "/platform/models"}
    for volume in volumes.team_volumes(one, storage()):
        assert len(volume.directory) <= 100  # EFS's bound of a path


def test_whoever_comes_through_an_access_point_owns_its_directory_and_is_not_root() -> None:
    for volume in volumes.team_volumes("ml", storage()):
        point = volumes.access_point(volume)
        user, root = point["posix_user"], point["root_directory"]
        assert user == {"uid": 1000, "gid": 100}
        assert root["path"] == volume.directory
        assert (root["creation_info"]["owner_uid"], root["creation_info"]["owner_gid"]) == (user["uid"], user["gid"])


def test_homes_of_people_are_apart_in_the_teams_directory() -> None:
    mounts = {person: by_name(volumes.pod_mounts("ml", "developer", person, storage())) for person in ("ada", "bob")}
    assert mounts["ada"]["homes"]["subPath"] == "ada"
    assert mounts["bob"]["homes"]["subPath"] == "bob"
    spawners = by_name(volumes.pod_mounts("ml", "developer", "{username}", storage()))
    assert spawners["homes"]["subPath"] == "{username}"


@pytest.mark.parametrize("person", ["", "..", "a/b", "../bob", "Ada", "{servername}", "-ada"])
def test_no_person_gets_at_anothers_home_by_their_name(person: str) -> None:
    with pytest.raises(ValueError, match="is not a slug"):
        volumes.pod_mounts("ml", "developer", person, storage())
    with pytest.raises(ValueError, match="is not a slug"):
        volumes.home_claim_name(person)


@pytest.mark.parametrize(("team", "role"), [*itertools.product(("data", "ml"), ROLES)])
def test_who_writes_is_said_by_team_and_role(team: str, role: str) -> None:
    mounts = by_name(volumes.pod_mounts(team, role, "ada", WRITTEN))
    written = {name for name, mount in mounts.items() if not mount.get("readOnly")}
    expected = {"homes", "shared"}
    expected |= {"datasets"} if (team, role) == ("data", "developer") else set()
    expected |= {"models"} if role == "project-manager" else set()
    assert written == expected


def test_where_nobody_of_a_team_writes_the_volume_itself_is_read_only() -> None:
    """The hub sets mount options only for its own pods; the volume's options apply to every pod of the namespace."""
    for team, read_only in (("data", set()), ("ml", {"datasets"})):
        found = {volume.name: volume for volume in volumes.team_volumes(team, WRITTEN)}
        persistent = {name: volumes.persistent_volume(team, one, "fs::ap")["spec"] for name, one in found.items()}
        assert {name for name, spec in persistent.items() if "ro" in spec["mountOptions"]} == read_only
        pod = by_name(volumes.pod_volumes(team, "ada", WRITTEN))
        assert {name for name, one in pod.items() if one["persistentVolumeClaim"]["readOnly"]} == read_only


def test_by_default_everybody_reads_datasets_and_models_and_nobody_writes_them() -> None:
    mounts = by_name(volumes.pod_mounts("ml", "administrator", "ada", storage()))
    assert {name for name, mount in mounts.items() if mount.get("readOnly")} == {"datasets", "models"}


def test_homes_per_person_are_disks_of_their_size_and_the_form_says_what_that_means() -> None:
    settings = storage(homes="per-person", homeSize=20)
    claim = volumes.home_claim("space", "ada", settings)
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["spec"]["storageClassName"] == "gp3"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert "zone" in (volumes.home_note(settings) or "")
    assert volumes.home_note(storage()) is None
    assert "homes" not in {volume.name for volume in volumes.team_volumes("ml", settings)}
    kept = volumes.home_claim("space", "ada", storage(homes="per-person", homeSize=20, retain=True))
    assert kept["spec"]["storageClassName"] == "gp3-retain"
