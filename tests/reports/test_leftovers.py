"""What is left of a stack in an account: what belongs to it, what is kept, what could not be read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from reports import leftovers
from tests.reports.account_lab import (
    CLUSTER,
    DEV,
    OTHERS,
    OURS,
    PROJECT,
    Planting,
    bucket_of_backups,
    listed,
    named,
    stack_of,
)
from tests.reports.aws_lines import CommandLine


def test_an_account_without_the_stack_has_nothing_left(account: Planting, url: str, capsys: Any) -> None:
    account.volume(OTHERS)
    account.volume({})
    assert account.look(DEV).found == []
    assert leftovers.main([str(PROJECT / "Pulumi.dev.yaml"), "--endpoint-url", url]) == 0
    assert "Nothing is left." in capsys.readouterr().out


def test_what_was_planted_is_listed_and_nothing_else(account: Planting, url: str, capsys: Any) -> None:
    vpc = account.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    subnets = account.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    balancer = account.elbv2.create_load_balancer(
        Name="k8s-hub-proxy",
        Subnets=[one["SubnetId"] for one in subnets[:2]],
        Type="network",
        Tags=listed({"elbv2.k8s.aws/cluster": "gpulab-dev"}),
    )["LoadBalancers"][0]["LoadBalancerArn"]
    wanted = [
        f"ec2 Volumes {account.volume(CLUSTER)}",
        f"elbv2 LoadBalancers {balancer}",
        f"iam Roles {account.role('gpulab-dev-karpenter-0a1b2c3', {})}",
    ]
    account.volume({"kubernetes.io/cluster/gpulab-dev-2": "owned"})
    account.role("gpulab-dev-2-karpenter-0a1b2c3", {})
    account.role("somebody-elses", {"Project": "other", "Stack": "dev"})
    assert named(account.look(DEV).of("forgotten")) == sorted(wanted)
    assert leftovers.main([str(PROJECT / "Pulumi.dev.yaml"), "--endpoint-url", url]) == 1
    said = capsys.readouterr().out
    assert "Forgotten: 3" in said
    assert f"aws elbv2 delete-load-balancer --load-balancer-arn {balancer} --region us-east-1" in said


def test_records_that_lead_to_the_clusters_load_balancer_are_the_stacks_and_others_in_its_zone_are_not(
    account: Planting,
) -> None:
    stack = stack_of("dev", ingress={"access": "internal", "domain": "lab.example.com", "cidrs": ["10.0.0.0/8"]})
    zone = account.route53.create_hosted_zone(Name="lab.example.com", CallerReference="1")["HostedZone"]["Id"]
    host = "internal-gpulab-dev-123.us-east-1.elb.amazonaws.com"
    records = {
        "auth.lab.example.com": ("CNAME", host),
        "_1.lab.example.com": ("CNAME", "_2.acm-validations.aws."),
        "www.lab.example.com": ("CNAME", "elsewhere.example.com"),
        "two.lab.example.com": ("CNAME", "gpulab-development-123.us-east-1.elb.amazonaws.com"),
    }
    for name, (kind, value) in records.items():
        record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
        change = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
        account.route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=change)
    report = account.look(stack)
    assert named(report.of("forgotten")) == [
        "route53 ResourceRecordSets _1.lab.example.com. CNAME",
        "route53 ResourceRecordSets auth.lab.example.com. CNAME",
    ]
    CommandLine(account.account).carry_out(report.script)
    assert account.look(stack).found == []


def test_with_retain_the_data_is_kept_with_its_key_and_nothing_else_is(account: Planting) -> None:
    per_person = {"retain": True, "homes": "per-person", "homeSize": 20}
    quotas = {name: team.model_dump(by_alias=True, exclude_unset=True) for name, team in DEV.teams.items()}
    for team in quotas.values():
        team["quota"]["storage"] = 200
    stack = stack_of("dev", storage=per_person, teams=quotas)
    key, other = (
        account.kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in OURS.items()])["KeyMetadata"]
        for _ in range(2)
    )
    for alias, one in (("data", key), ("secrets", other)):
        account.kms.create_alias(AliasName=f"alias/gpulab-dev-{alias}", TargetKeyId=one["KeyId"])
    file_system = account.efs.create_file_system(
        CreationToken="homes", Encrypted=True, KmsKeyId=key["Arn"], Tags=listed(OURS)
    )["FileSystemId"]
    account.backup.create_backup_vault(BackupVaultName="gpulab-dev", BackupVaultTags=OURS, EncryptionKeyArn=key["Arn"])
    backups = bucket_of_backups(account)
    home = account.volume({**CLUSTER, "kubernetes.io/created-for/pvc/name": "home-ada"})
    scratch = account.volume({**CLUSTER, "kubernetes.io/created-for/pvc/name": "scratch"})
    report = account.look(stack)
    assert named(report.of("kept")) == [
        "backup BackupVaultList gpulab-dev",
        f"ec2 Volumes {home}",
        f"efs FileSystems {file_system}",
        "kms Aliases alias/gpulab-dev-data",
        f"kms Keys {key['KeyId']}",
        f"s3 Buckets {backups}",
    ]
    assert named(report.of("forgotten")) == [
        f"ec2 Volumes {scratch}", "kms Aliases alias/gpulab-dev-secrets", f"kms Keys {other['KeyId']}"
    ]  # fmt: skip
    assert not any(file_system in line for line in report.script)
    assert named(account.look(stack, "vol-*").of("kept")).count(f"ec2 Volumes {scratch}") == 1
    assert account.look(DEV).of("kept") == []


@pytest.mark.parametrize("section", ["identity", "hub"])
def test_a_last_snapshot_is_left_and_kept_where_the_stack_file_asks_for_one(account: Planting, section: str) -> None:
    name = {"identity": "gpulab-prod-keycloak", "hub": "gpulab-prod-jupyterhub"}[section]
    prod = stack_of("prod")
    # In its next life too: the name of the snapshot must not be taken then.
    for _ in range(2):
        account.database(name, {**OURS, "Stack": "prod"}, DeletionProtection=True)
        CommandLine(account.account).carry_out(account.look(prod).script)
    report = account.look(prod)
    assert report.of("forgotten") == []
    kept = report.of("kept")
    assert len(kept) == 2
    assert all(one.held.id.startswith(f"{name}-final-") for one in kept)
    assert all(one.why.endswith(f"gpulab:{section}.database.finalSnapshot") for one in kept)


def test_what_may_not_be_asked_is_named_and_never_called_empty(account: Planting, capsys: Any) -> None:
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "ListRoles")
    real = account.account.pages

    def pages(service: str, call: str, key: str, **arguments: Any) -> Iterator[Any]:
        if call == "list_roles":
            raise refused
        yield from real(service, call, key, **arguments)

    with mock.patch.object(account.account, "pages", pages):
        report = account.look(DEV)
    assert report.found == []
    assert report.exit_status == 2
    assert "Nothing is left" not in report.as_text()
    assert "iam Roles (needs iam:ListRoles, iam:ListRoleTags)" in report.as_text()


def test_tags_that_may_not_be_asked_are_named_and_the_name_still_tells(account: Planting) -> None:
    account.role("gpulab-dev-node", {})
    account.role("unknown", OURS)
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "ListRoleTags")
    with mock.patch.object(account.iam, "list_role_tags", side_effect=refused):
        report = account.look(DEV)
    assert named(report.of("forgotten")) == ["iam Roles gpulab-dev-node"]
    assert [line for line in report.not_looked_at if line.startswith("tags of 2 iam Roles (needs iam:ListRoles, ")]


def test_one_key_that_refuses_hides_no_other(account: Planting) -> None:
    mine, closed = (
        account.kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in OURS.items()])["KeyMetadata"]
        for _ in range(2)
    )
    refused = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "its policy"}}, "DescribeKey")
    kms, closed_id = account.kms, closed["KeyId"]

    def unless_closed(real: Any) -> Any:
        def call(**given: Any) -> Any:
            if given["KeyId"] == closed_id:
                raise refused
            return real(**given)

        return call

    with (
        mock.patch.object(kms, "describe_key", unless_closed(kms.describe_key)),
        mock.patch.object(kms, "list_resource_tags", unless_closed(kms.list_resource_tags)),
    ):
        report = account.look(DEV)
    assert named(report.of("forgotten")) == [f"kms Keys {mine['KeyId']}"]
    assert [line.partition(" (")[0] for line in report.not_looked_at] == ["tags of 1 kms Keys"]


@pytest.mark.parametrize("environment", [{}, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}])
def test_without_credentials_it_says_so(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {**environment, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    assert leftovers.main([str(PROJECT / "Pulumi.dev.yaml"), "--endpoint-url", "http://127.0.0.1:9"]) == 2
    said = capsys.readouterr()
    assert "Sign in first" in said.err
    assert "Nothing" not in said.out


def test_a_stack_that_is_not_there_or_wrong_is_an_error(tmp_path: Path, capsys: Any) -> None:
    assert leftovers.main([str(tmp_path / "Pulumi.none.yaml")]) == 2
    wrong = tmp_path / "Pulumi.wrong.yaml"
    wrong.write_text("config: {}\n", encoding="utf-8")
    assert leftovers.main([str(wrong)]) == 2
    said = capsys.readouterr().err
    assert "No such file" in said
    assert "gpulab:network" in said


def test_an_expired_lab_can_be_looked_for(account: Planting, url: str, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("GPULAB_TODAY", "2099-01-01")
    assert leftovers.main([str(PROJECT / "Pulumi.dev.yaml"), "--endpoint-url", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["forgotten"] == []
