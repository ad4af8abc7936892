"""Backups of a database in the cluster: where they go, who reaches them, when they go, and what a destroy keeps."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jsonschema
import pytest
from engine_mocks import EngineMocks

import contracts
from components.ground.system_nodes import SYSTEM_NODES
from components.storage.cluster_database import IMAGE, ClusterDatabase, ClusterDatabaseArgs
from components.storage.database_backups import DatabaseBackupsArgs
from settings.language.schedules import longest_gap
from settings.people.database import Database

CLUSTER_TYPE = "kubernetes:postgresql.cnpg.io/v1:Cluster"
BACKUPS = DatabaseBackupsArgs(
    cluster_name="lab",
    cluster_arn="arn:aws:eks:us-east-1:123456789012:cluster/lab",
    namespace="identity",
    region="us-east-1",
    key_arn="arn:aws:kms:us-east-1:123456789012:key/data",
    schedule="0 3 * * 0",
    retention_days=35,
)
BUCKET, ROLE, ASSOCIATION = (
    "aws:s3/bucket:Bucket", "aws:iam/role:Role", "aws:eks/podIdentityAssociation:PodIdentityAssociation"
)  # fmt: skip


def deploy(mocks: EngineMocks, backups: DatabaseBackupsArgs | None = BACKUPS, *, protect: bool = False) -> None:
    given = ClusterDatabaseArgs(
        settings=Database(instances=3, storage=30),
        namespace="identity",
        database="keycloak",
        placement=SYSTEM_NODES,
        protect=protect,
        backups=backups,
    )
    mocks.deploy(lambda: ClusterDatabase("lab", given))


def assert_the_crd_takes(kind: str, spec: dict[str, Any]) -> None:
    version = next(v for v in contracts.crd(f"{kind}.postgresql.cnpg.io")["spec"]["versions"] if v["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.Draft202012Validator(schema).validate(spec)
    assert spec.keys() <= schema["properties"].keys()


def test_the_database_in_the_cluster_goes_to_a_bucket_that_its_servers_alone_reach(mocks):
    deploy(mocks)
    cluster, bucket = mocks.one(CLUSTER_TYPE), mocks.one(BUCKET)
    spec = cluster.inputs["spec"]
    assert_the_crd_takes("clusters", spec)
    assert spec["backup"]["barmanObjectStore"]["destinationPath"] == f"s3://{bucket.id}"
    association = mocks.one(ASSOCIATION)
    # CloudNativePG's pods have the account of the Cluster's name, and get credentials only if the role is there before.
    assert association.inputs["serviceAccount"] == cluster.inputs["metadata"]["name"]
    assert association.inputs["namespace"] == cluster.inputs["metadata"]["namespace"]
    assert mocks.needs(cluster, association)
    trust = json.loads(mocks.one(ROLE).inputs["assumeRolePolicy"])["Statement"][0]["Condition"]["StringEquals"]
    assert trust["aws:RequestTag/kubernetes-service-account"] == association.inputs["serviceAccount"]
    statements = json.loads(mocks.one("aws:iam/rolePolicy:RolePolicy").inputs["policy"])["Statement"]
    reached = {one["Resource"] for one in statements}
    arn = bucket.outputs["arn"]
    assert reached == {arn, f"{arn}/*", BACKUPS.key_arn}
    assert not [action for one in statements for action in one["Action"] if "*" in action or "Version" in action]


def test_the_first_backup_of_a_database_is_taken_at_once_and_more_by_the_schedule(mocks):
    deploy(mocks)
    scheduled = mocks.one("kubernetes:postgresql.cnpg.io/v1:ScheduledBackup").inputs
    assert_the_crd_takes("scheduledbackups", scheduled["spec"])
    assert scheduled["spec"]["cluster"]["name"] == mocks.one(CLUSTER_TYPE).inputs["metadata"]["name"]
    # The first of six fields is the second: five would be another time.
    assert scheduled["spec"]["schedule"] == f"0 {BACKUPS.schedule}"
    assert scheduled["spec"]["immediate"] is True


def test_backups_are_encrypted_private_versioned_and_deleted_after_what_a_restore_needs(mocks):
    deploy(mocks)
    on_bucket = {one.type.rpartition(":")[2]: one.inputs for one in mocks.resources if one.type.startswith("aws:s3/")}
    (rule,) = on_bucket["BucketServerSideEncryptionConfiguration"]["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"] == BACKUPS.key_arn
    blocked = on_bucket["BucketPublicAccessBlock"]
    assert [blocked[key] for key in blocked if key != "bucket"] == [True] * 4
    assert on_bucket["BucketVersioning"]["versioningConfiguration"] == {"status": "Enabled"}
    (kept,) = on_bucket["BucketLifecycleConfiguration"]["rules"]
    # The backup that a restore of 35 days ago begins with may be as old as a week more.
    assert kept["expiration"]["days"] >= 35 + 7


@pytest.mark.parametrize(
    ("retain", "protect", "emptied"), [(False, False, True), (True, False, True), (False, True, False)]
)
def test_a_destroy_keeps_the_bucket_as_it_is_or_takes_it_with_all_in_it(mocks, retain, protect, emptied):
    backups = dataclasses.replace(BACKUPS, retain=retain, protect=protect)
    deploy(mocks, backups, protect=protect)
    bucket = mocks.one(BUCKET)
    assert bucket.inputs["forceDestroy"] is emptied
    assert bucket.protect is protect
    on_bucket = [one for one in mocks.resources if one.type.startswith("aws:s3/")]
    assert {one.retain_on_delete for one in on_bucket} == {retain}


def test_without_backups_there_is_no_bucket(mocks):
    deploy(mocks, None)
    assert mocks.all(BUCKET) == []
    assert "backup" not in mocks.one(CLUSTER_TYPE).inputs["spec"]


def test_the_operator_that_the_chart_installs_still_takes_backups_itself():
    """CloudNativePG will remove `barmanObjectStore` after 1.31: the plugin Barman Cloud must replace it before."""
    version = tuple(int(part) for part in (contracts.chart("cloudnative-pg").app_version or "").split(".")[:2])
    assert version < (1, 31)
    # Of the images of PostgreSQL only those called system have barman; a bare version means one of them.
    tag = IMAGE.rpartition(":")[2]
    assert "-" not in tag or "-system-" in tag


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("0 3 * * *", 1),
        ("0 */6 * * *", 1),
        ("0 3 * * 6,0", 7),
        ("0 3 1 * *", 31),
        ("0 3 31 * *", 62),
        ("0 3 1 1 *", 366),
        ("@hourly", 1),
        ("@weekly", 7),
        ("@monthly", 31),
        ("@yearly", 366),
    ],
)
def test_a_schedule_has_a_longest_gap(schedule: str, days: int):
    assert longest_gap(schedule) == days
