"""Data policies close to their edge: protection, backups, and secrets that stand open in the state."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pulumi_policy.proxy import unknown_checking_proxy

from policies.reading.resources import SecretText
from tests.policies.conftest import (
    UNKNOWN,
    examined,
    kubernetes,
    release,
    resource,
)
from tests.policies.objects import refuses_the_first_only


def made_from(source, made, key):
    """The same, with its property `key` made from another resource."""
    made.dependencies = [source]
    made.property_dependencies = {key: [source]}
    return made


REFUSED_AND_ACCEPTED = {
    "one protected bucket": (
        "stateful-unprotected",
        resource("aws:s3/bucket:Bucket", {}),
        resource("aws:s3/bucket:Bucket", {}, protect=True),
    ),
    "a database in the cluster is protected too": (
        "stateful-unprotected",
        resource("kubernetes:postgresql.cnpg.io/v1:Cluster", {}),
        resource("kubernetes:postgresql.cnpg.io/v1:Cluster", {}, protect=True),
    ),
    "what holds data is no closed list, and a snapshot comes and goes": (
        "stateful-unprotected",
        resource("aws:ebs/volume:Volume", {}),
        resource("aws:ebs/snapshot:Snapshot", {}),
    ),
    "a replica has its cluster's backups": (
        "data-without-backup",
        resource("aws:rds/instance:Instance", {"backupRetentionPeriod": 0}),
        resource("aws:rds/instance:Instance", {"backupRetentionPeriod": 0, "clusterIdentifier": "x"}),
    ),
    "a database in the cluster has backups of its own": (
        "data-without-backup",
        kubernetes("Cluster", {"instances": 1}, api="postgresql.cnpg.io/v1"),
        kubernetes("Cluster", {"backup": {"barmanObjectStore": {}}}, api="postgresql.cnpg.io/v1"),
    ),
    "a database in the cluster whose volumes somebody backs up": (
        "data-without-backup",
        kubernetes("Cluster", {}, api="postgresql.cnpg.io/v1", metadata={"name": "db"}),
        kubernetes(
            "Cluster",
            {},
            api="postgresql.cnpg.io/v1",
            metadata={"name": "db", "annotations": {"gpulab.dev/backed-up-by": "Velero, each night"}},
        ),
    ),
    "a default class is for no homes": (
        "storage-class-deletes-homes",
        kubernetes("StorageClass", metadata={"name": "team-homes"}, provisioner="efs.csi.aws.com"),
        kubernetes("StorageClass", metadata={"name": "gp3"}, provisioner="ebs.csi.aws.com"),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])


@pytest.mark.parametrize("hex_", ["0a1b2c3d4e5f", UNKNOWN])
def test_what_is_the_id_of_a_resource_is_no_secret_and_may_end_a_name(hex_):
    suffix = resource("random:index/randomId:RandomId", {"byteLength": 6, "hex": hex_}, "suffix")
    database = "aws:rds/instance:Instance"
    name = resource(database, {"finalSnapshotIdentifier": f"lab-{hex_}"})
    password = resource(database, {"password": SecretText(hex_) if hex_ != UNKNOWN else UNKNOWN})
    policy = "secret-from-resource-id"
    assert "RandomId suffix" in examined(policy, suffix, made_from(suffix, password, "password"))["one"][0]
    assert examined(policy, suffix, made_from(suffix, name, "finalSnapshotIdentifier")) == {}
    assert examined("secret-as-resource-id", suffix) == {}


def test_a_secret_that_the_api_server_encoded_is_known_by_what_it_was():
    suffix = resource("random:index/randomString:RandomString", {"length": 16, "result": "abcdefghijklmnop"})
    data = {"password": SecretText(base64.b64encode(b"abcdefghijklmnop").decode())}
    made = made_from(suffix, kubernetes("Secret", data=data, metadata={"name": "people"}), "stringData")
    assert "people" in examined("secret-from-resource-id", suffix, made)


def test_a_whole_property_that_a_preview_does_not_know_is_a_secret_where_it_holds_nothing_else():
    suffix = resource("random:index/randomId:RandomId", {"hex": UNKNOWN}, "suffix")
    secret = made_from(suffix, kubernetes("Secret", stringData=UNKNOWN), "stringData")
    assert "stringData is made from RandomId suffix" in examined("secret-from-resource-id", suffix, secret)["one"][0]
    values = made_from(suffix, release("x"), "values")
    values.props = unknown_checking_proxy({"chart": "x", "version": "1.2.3", "values": UNKNOWN})
    found = examined("secret-from-resource-id", suffix, values)
    assert found.keys() <= {"unknown"}


def test_of_several_sources_a_preview_does_not_know_which_the_secret_is_made_from():
    suffix = resource("random:index/randomId:RandomId", {"hex": UNKNOWN}, "suffix")
    password = resource("random:index/randomPassword:RandomPassword", {"result": UNKNOWN}, "password")
    made = made_from(suffix, release("x", {"name": UNKNOWN, "password": UNKNOWN}), "values")
    made.property_dependencies["values"].append(password)
    assert "values.password" in examined("secret-from-resource-id", suffix, password, made)["unknown"][0]


def test_random_bytes_are_for_secrets_and_are_refused():
    assert examined("secret-as-resource-id", resource("random:index/randomBytes:RandomBytes", {"length": 32}))
    token = resource("random:index/randomId:RandomId", {"byteLength": 32}, secret_outputs=["hex"])
    assert "hex is marked as secret" in examined("secret-as-resource-id", token)["one"][0]


@pytest.mark.parametrize(("repository", "found"), [({"name": "own"}, 1), ({"name": "cache", "forceDelete": True}, 0)])
def test_repositories_of_images_are_protected_unless_their_images_may_go(repository: Any, found: int) -> None:
    made = resource("aws:ecr/repository:Repository", repository)
    assert len(examined("stateful-unprotected", made)) == found
