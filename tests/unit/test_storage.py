"""Storage as the program registers it: who may reach the files, what is encrypted, kept, protected and backed up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ground.system_nodes import SYSTEM_TAINT
from components.storage import volumes
from components.storage.csi_drivers import (
    EBS_ADDON,
    EBS_SERVICE_ACCOUNT,
    EFS_ADDON,
    EFS_SERVICE_ACCOUNT,
    storage_class,
    use_of_key_policy,
)
from components.storage.storage import Storage, StorageArgs, backup_rule, file_system_performance, file_system_policy
from rehearsal.checks.file_mounts import MOUNT, REFUSED, WRITE, refusal
from rehearsal.checks.storage import selects
from rehearsal.controllers.volumes import Provision
from rehearsal.controllers.volumes import tags as volume_tags
from rehearsal.providers.aws.backup import as_the_api_has_them
from settings import Storage as Settings
from settings.language.schedules import aws_backup_cron
from settings.storage import Backup, Efs, Gp3

CLUSTER_ARN = "arn:aws:eks:us-east-1:123456789012:cluster/gpulab-test"
ZONES = ("us-east-1a", "us-east-1b")
NODES = "sg-nodes"
FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
VAULT = "aws:backup/vault:Vault"
KEY = "aws:kms/key:Key"
ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
SERVICE_ACCOUNTS = {EBS_ADDON: EBS_SERVICE_ACCOUNT, EFS_ADDON: EFS_SERVICE_ACCOUNT}

Deploy = Callable[..., Any]


@pytest.fixture
def deploy(mocks: Any) -> Deploy:
    def run(settings: dict[str, Any] | None = None, **args: Any) -> Storage:
        def program() -> Storage:
            needed = pulumi.CustomResource("test:index:Cluster", "cluster")
            return Storage(
                "lab",
                StorageArgs(
                    cluster_name="gpulab-test",
                    kubernetes_version="1.36",
                    cluster_arn=CLUSTER_ARN,
                    partition="aws",
                    account_id="123456789012",
                    vpc_id="vpc-1",
                    subnet_ids=["subnet-a", "subnet-b"],
                    zones=ZONES,
                    node_security_group_id=NODES,
                    controllers_after=[needed],
                    settings=Settings.model_validate(settings or {}),
                    volume_tags={"Owner": "tests"},
                    **args,
                ),
            )

        return mocks.deploy(program)

    return run


def addons(mocks: Any) -> dict[str, Any]:
    return {one.inputs["addonName"]: one for one in mocks.all("aws:eks/addon:Addon")}


def test_each_zone_has_a_door_that_opens_to_nodes_by_nfs_alone(mocks, deploy) -> None:
    deploy()
    targets = mocks.all("aws:efs/mountTarget:MountTarget")
    assert {one.name: one.inputs["subnetId"] for one in targets} == {
        "lab-us-east-1a": "subnet-a",
        "lab-us-east-1b": "subnet-b",
    }
    group = mocks.one("aws:ec2/securityGroup:SecurityGroup")
    assert all(one.inputs["securityGroups"] == [group.id] for one in targets)
    rule = mocks.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule").inputs
    assert rule["securityGroupId"] == group.id
    assert (rule["fromPort"], rule["toPort"], rule["referencedSecurityGroupId"]) == (2049, 2049, NODES)
    assert "cidrIpv4" not in rule
    assert not group.inputs.get("ingress")


def test_one_key_encrypts_files_disks_and_backups(mocks, deploy) -> None:
    deploy()
    key = mocks.one(KEY)
    file_system = mocks.one(FILE_SYSTEM).inputs
    assert file_system["encrypted"] is True
    classes = mocks.all("kubernetes:storage.k8s.io/v1:StorageClass")
    used = {file_system["kmsKeyId"], mocks.one(VAULT).inputs["kmsKeyArn"]}
    used |= {one.inputs["parameters"]["kmsKeyId"] for one in classes}
    assert used == {key.outputs["arn"]}
    (policy,) = mocks.all("aws:iam/rolePolicy:RolePolicy")
    assert key.outputs["arn"] in policy.inputs["policy"]


def test_there_is_one_default_class_and_eks_own_is_not_it(mocks, deploy) -> None:
    deploy()
    default = "storageclass.kubernetes.io/is-default-class"
    found = {
        one.inputs["metadata"]["name"]: one.inputs["metadata"]["annotations"][default]
        for kind in ("StorageClass", "StorageClassPatch")
        for one in mocks.all(f"kubernetes:storage.k8s.io/v1:{kind}")
    }
    assert found == {"gp3": "true", "gp3-retain": "false", "gp2": "false"}


def test_the_drivers_act_as_roles_that_only_their_service_accounts_take(mocks, deploy) -> None:
    deploy()
    roles = {one.outputs["arn"]: one for one in mocks.all("aws:iam/role:Role")}
    for addon, account in SERVICE_ACCOUNTS.items():
        (association,) = [one for one in mocks.all(ASSOCIATION) if one.inputs["serviceAccount"] == account]
        assert association.inputs["namespace"] == "kube-system"
        role = roles[association.inputs["roleArn"]]
        (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
        tags = statement["Condition"]["StringEquals"]
        assert tags["aws:RequestTag/kubernetes-service-account"] == account
        assert tags["aws:RequestTag/eks-cluster-arn"] == CLUSTER_ARN
        # What it may do outlives it.
        attachments = [
            one
            for one in mocks.all("aws:iam/rolePolicyAttachment:RolePolicyAttachment")
            if one.inputs["role"] == role.outputs["name"]
        ]
        assert attachments
        assert all(mocks.needs(addons(mocks)[addon], one) for one in [*attachments, association])


def test_controllers_run_on_the_system_nodes_and_volumes_get_the_stacks_tags(mocks, deploy) -> None:
    deploy()
    found = {name: json.loads(one.inputs["configurationValues"]) for name, one in addons(mocks).items()}
    assert set(found) == {"aws-ebs-csi-driver", "aws-efs-csi-driver", "snapshot-controller"}
    for name, values in found.items():
        controller = values if name == "snapshot-controller" else values["controller"]
        assert SYSTEM_TAINT["key"] in [toleration["key"] for toleration in controller["tolerations"]]
        assert controller["nodeSelector"]
    assert found["aws-ebs-csi-driver"]["controller"]["extraVolumeTags"] == {"Owner": "tests"}
    # The driver looks for the definitions of snapshots as it is installed.
    assert mocks.needs(addons(mocks)["aws-ebs-csi-driver"], addons(mocks)["snapshot-controller"])
    cluster = mocks.one("test:index:Cluster")
    assert all(mocks.needs(one, cluster) for one in addons(mocks).values())


def test_files_do_not_wait_for_the_nodes(mocks, deploy) -> None:
    """A mount target takes minutes, and so does a cluster: they are made at the same time."""
    deploy()
    cluster = mocks.one("test:index:Cluster")
    for one in mocks.all("aws:efs/mountTarget:MountTarget"):
        assert not mocks.needs(one, cluster)


def test_retain_keeps_what_the_data_needs_and_nothing_else(mocks, deploy) -> None:
    storage = deploy({"retain": True})
    kept = sorted(one.type for one in mocks.resources if one.retain_on_delete)
    assert kept == sorted([KEY, "aws:kms/alias:Alias", FILE_SYSTEM, "aws:efs/fileSystemPolicy:FileSystemPolicy", VAULT])
    alias = mocks.one("aws:kms/alias:Alias").inputs
    assert "name" not in alias, "a name of its own would be in the way of the next stack"
    assert alias["namePrefix"].startswith("alias/gpulab-test-")
    named = {mocks.value(name) for name in storage.retained.values()}
    assert {mocks.one(FILE_SYSTEM).id, mocks.one(KEY).outputs["arn"], mocks.one(VAULT).outputs["name"]} < named


def test_without_retain_a_destroy_keeps_nothing(mocks, deploy) -> None:
    assert deploy().retained == {}
    assert not [one for one in mocks.resources if one.retain_on_delete]


def test_protection_is_of_what_holds_data(mocks, deploy) -> None:
    deploy(protect=True)
    assert sorted(one.type for one in mocks.resources if one.protect) == sorted([KEY, FILE_SYSTEM, VAULT])


@pytest.mark.parametrize("force", [False, True])
def test_only_a_labs_vault_goes_with_its_backups(mocks, deploy, force: bool) -> None:
    deploy(force_destroy=force)
    assert mocks.one(VAULT).inputs["forceDestroy"] is force


def test_the_plan_backs_the_file_system_up_and_efs_itself_does_not(mocks, deploy) -> None:
    deploy()
    selection = mocks.one("aws:backup/selection:Selection").inputs
    assert selection["resources"] == [mocks.one(FILE_SYSTEM).outputs["arn"]]
    (rule,) = mocks.one("aws:backup/plan:Plan").inputs["rules"]
    assert rule["targetVaultName"] == mocks.one(VAULT).outputs["name"]
    assert mocks.one("aws:efs/backupPolicy:BackupPolicy").inputs["backupPolicy"] == {"status": "DISABLED"}


HOME_TAGS = {
    "kubernetes.io/cluster/gpulab-test": "owned",
    "kubernetes.io/created-for/pvc/name": "home-ada",
    "kubernetes.io/created-for/pvc/namespace": "team-ml",
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"kubernetes.io/created-for/pvc/name": "hub-db-dir"}, False),
        ({"kubernetes.io/cluster/gpulab-test": ""}, False),
        ({"kubernetes.io/cluster/gpulab-test": "", "kubernetes.io/cluster/gpulab-test-2": "owned"}, False),
    ],
)
def test_homes_that_are_volumes_are_backed_up_and_no_other_volumes(
    mocks, deploy, changed: dict[str, str], expected: bool
) -> None:
    deploy({"homes": "per-person", "homeSize": 20})
    selections = [one.inputs for one in mocks.all("aws:backup/selection:Selection")]
    assert len(selections) == 2
    asked = [
        {"Resources": one["resources"], "Conditions": as_the_api_has_them(one.get("conditions") or [])}
        for one in selections
    ]
    arn, tags = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1", {**HOME_TAGS, **changed}
    assert any(selects(one, arn, tags) for one in asked) is expected
    assert not any(selects(one, "arn:aws:ec2:us-east-1:123456789012:instance/i-1", tags) for one in asked)


def test_the_tags_of_homes_are_those_that_the_driver_gives(mocks, deploy) -> None:
    settings = Settings.model_validate({"homes": "per-person", "homeSize": 20})
    claim = volumes.home_claim("team-ml", "ada", settings)
    claim["metadata"]["uid"] = "1234"
    made = Provision(claim=claim, storage_class={}, zone=ZONES[0], size=20)
    assert HOME_TAGS.items() <= volume_tags(made, "gpulab-test", {}).items()


def test_backups_can_be_off(mocks, deploy) -> None:
    storage = deploy({"backup": {"enabled": False}})
    assert storage.backup_vault_name is None
    assert not [one for one in mocks.resources if one.type.startswith("aws:backup/")]


def test_files_are_for_those_who_come_by_tls_and_not_as_root() -> None:
    arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1"
    statements = json.loads(file_system_policy(arn))["Statement"]
    assert all(one["Resource"] == arn for one in statements)
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    assert set(allowed["Action"]) == {"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"}
    denied = {json.dumps(one["Action"]): one.get("Condition") for one in statements if one["Effect"] == "Deny"}
    assert denied['"elasticfilesystem:ClientRootAccess"'] is None
    assert denied['"*"'] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("action", [MOUNT, WRITE])
@pytest.mark.parametrize(
    ("handle", "admitted"),
    [("fs-1::fsap-1", True), ("fs-1", False), ("fs-1:/teams", False), ("fs-1::fsap-gone", False)],
)
def test_files_are_for_those_who_come_by_an_access_point(action: str, handle: str, admitted: bool) -> None:
    owner = "arn:aws-us-gov:elasticfilesystem:us-gov-west-1:123456789012"
    policy = file_system_policy(f"{owner}:file-system/fs-1")
    found = refusal(policy, handle, {"fsap-1": f"{owner}:access-point/fsap-1"}, action)
    assert found == (None if admitted else REFUSED)


def test_who_may_mount_by_an_identity_policy_needs_an_access_point_too() -> None:
    """Only a Deny applies to everybody."""
    without_allow = json.loads(file_system_policy("arn:aws:elasticfilesystem:us-east-1:1:file-system/fs-1"))
    anything = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "elasticfilesystem:*"}
    policy = json.dumps({"Statement": [*without_allow["Statement"], anything]})
    assert refusal(policy, "fs-1", {}) == REFUSED


def test_a_file_system_without_a_policy_admits_everybody() -> None:
    assert refusal(None, "fs-1", {}) is None


def test_grants_of_the_key_are_for_aws_services_alone() -> None:
    statements = json.loads(use_of_key_policy("arn:key"))["Statement"]
    (granting,) = [one for one in statements if "kms:CreateGrant" in one["Action"]]
    assert granting["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    assert {one["Resource"] for one in statements} == {"arn:key"}


def test_parameters_of_a_class_are_text_as_kubernetes_wants_them() -> None:
    given = storage_class(Gp3.model_validate({"iops": 6000, "throughput": 500}), "arn:key", "Retain")
    assert all(isinstance(value, str) for value in given["parameters"].values())
    assert (given["parameters"]["iops"], given["parameters"]["throughput"]) == ("6000", "500")
    assert given["volume_binding_mode"] == "WaitForFirstConsumer"
    assert given["allow_volume_expansion"] is True
    assert given["reclaim_policy"] == "Retain"


@pytest.mark.parametrize(("days", "rule"), [(0, None), (1, "AFTER_1_DAY"), (30, "AFTER_30_DAYS")])
def test_files_move_to_infrequent_access_and_back(days: int, rule: str | None) -> None:
    given = file_system_performance(Efs.model_validate({"infrequentAccessDays": days}))
    policies = given.get("lifecycle_policies", [])
    assert [one["transition_to_ia"] for one in policies if "transition_to_ia" in one] == ([rule] if rule else [])
    assert all(len(one) == 1 for one in policies)


def test_provisioned_throughput_is_said_where_it_is_provisioned_alone() -> None:
    provisioned = Efs.model_validate({"throughput": "provisioned", "provisionedThroughput": 64})
    assert file_system_performance(provisioned)["provisioned_throughput_in_mibps"] == 64
    assert "provisioned_throughput_in_mibps" not in file_system_performance(Efs())


def test_a_backup_goes_cold_when_that_is_asked_for() -> None:
    assert backup_rule(Backup(), "vault").get("lifecycle") == {"delete_after": 35}
    cold = Backup.model_validate({"retentionDays": 365, "coldStorageDays": 90})
    assert backup_rule(cold, "vault").get("lifecycle") == {"delete_after": 365, "cold_storage_after": 90}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 3 * * *", "cron(0 3 * * ? *)"),
        ("30 1 * * 0", "cron(30 1 ? * SUN *)"),
        ("0 2 * * mon-wed,6", "cron(0 2 ? * MON,TUE,WED,SAT *)"),
        ("0 4 1,15 * *", "cron(0 4 1,15 * ? *)"),
        ("15 */6 ? jan,jul *", "cron(15 */6 * JAN,JUL ? *)"),
    ],
)
def test_schedules_are_written_as_aws_backup_reads_them(schedule: str, expected: str) -> None:
    assert aws_backup_cron(schedule) == expected


@given(st.integers(0, 59), st.integers(0, 23), st.sets(st.integers(0, 6), min_size=1, max_size=6))
def test_days_of_the_week_stay_the_same_days(minute: int, hour: int, days: set[int]) -> None:
    names = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
    found = aws_backup_cron(f"{minute} {hour} * * {','.join(map(str, days))}")
    assert set(found.split()[4].split(",")) == {names[day] for day in days}
    assert len(found.removeprefix("cron(").removesuffix(")").split()) == 6
