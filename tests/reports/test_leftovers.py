"""What is left of a stack in an account, told from everything else, and the lines that remove it."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

import settings
from rehearsal.aws import server
from reports import leftovers
from reports.account import LISTINGS, Account
from reports.removal import rank
from settings import Settings
from tests.reports.aws_lines import CommandLine

PROJECT = Path(__file__).parents[2]
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAREHEARSAL0000000", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
OURS = {"Project": "gpulab", "Stack": "dev", "Owner": "somebody"}
OTHERS = {"Project": "gpulab", "Stack": "dev-2"}
CLUSTER = {"kubernetes.io/cluster/gpulab-dev": "owned"}
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": ["ec2.amazonaws.com", "eks.amazonaws.com"]},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


class Planting:
    """Makes things in an account."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def __getattr__(self, service: str) -> Any:
        return self.account.client(service)

    def tags(self, resource: str, tags: dict[str, str]) -> list[dict[str, Any]]:
        return [{"ResourceType": resource, "Tags": listed(tags)}]

    def volume(self, tags: dict[str, str], **given: Any) -> str:
        tagged = {"TagSpecifications": self.tags("volume", tags)} if tags else {}
        return self.ec2.create_volume(AvailabilityZone="us-east-1a", Size=8, **tagged, **given)["VolumeId"]

    def database(self, name: str, tags: dict[str, str], **given: Any) -> None:
        self.rds.create_db_instance(
            DBInstanceIdentifier=name,
            Engine="postgres",
            DBInstanceClass="db.t4g.small",
            AllocatedStorage=20,
            MasterUsername="somebody",
            MasterUserPassword="not-a-secret-of-anybodys",
            Tags=listed(tags),
            **given,
        )

    def role(self, name: str, tags: dict[str, str]) -> str:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=listed(tags))
        return name

    def vpc(self, cidr: str, tags: dict[str, str]) -> str:
        return self.ec2.create_vpc(CidrBlock=cidr, TagSpecifications=self.tags("vpc", tags))["Vpc"]["VpcId"]

    def look(self, stack: Settings, *keep: str) -> leftovers.Leftovers:
        return leftovers.look(self.account, stack, keep)


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def named(found: list[leftovers.Leftover]) -> list[str]:
    return sorted(str(one.held) for one in found)


@pytest.fixture(scope="module")
def simulated() -> Iterator[tuple[str, Account]]:
    """The server's URL, and a client of each service: both take long to make, and hold nothing."""
    with mock.patch.dict(os.environ, CREDENTIALS), server.running() as url:
        yield url, Account(boto3.Session(region_name="us-east-1"), url)


@pytest.fixture(autouse=True)
def _cluster_without_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No API server is behind a cluster here."""
    monkeypatch.setattr(leftovers, "stuck_nodes", lambda *_: [])


@pytest.fixture
def url(simulated: tuple[str, Account]) -> str:
    server.start_over()
    return simulated[0]


@pytest.fixture
def account(url: str, simulated: tuple[str, Account]) -> Planting:
    """An empty account."""
    return Planting(simulated[1])


def stack_of(name: str, **changes: Any) -> Settings:
    config = settings.read_stack_file(PROJECT / f"Pulumi.{name}.yaml")
    for section, values in changes.items():
        key = f"gpulab:{section}"
        config[key] = json.dumps({**json.loads(config.get(key) or "{}"), **values})
    return settings.load(config, stack=name, today=datetime.date.min)


DEV = stack_of("dev")


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


def network(account: Planting) -> None:
    """Everything that hangs together in a VPC, two security groups that name each other among it."""
    ec2 = account.ec2
    vpc = account.vpc("10.40.0.0/16", OURS)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.40.0.0/24", AvailabilityZone="us-east-1a")["Subnet"]["SubnetId"]
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.40.1.0/24", AvailabilityZone="us-east-1b")["Subnet"]["SubnetId"]
    gateway = ec2.create_internet_gateway(TagSpecifications=account.tags("internet-gateway", OURS))
    gateway_id = gateway["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway_id, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=account.tags("elastic-ip", OURS))["AllocationId"]
    ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)
    groups = [
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"] for name in ("nodes", "plane")
    ]
    for group, source in (groups, groups[::-1]):
        pairs = [{"GroupId": source}]
        rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": pairs}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[groups[0]])["NetworkInterface"]
    service = "com.amazonaws.us-east-1.s3"
    ec2.create_vpc_endpoint(VpcId=vpc, ServiceName=service, VpcEndpointType="Gateway", RouteTableIds=[table])
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName="com.amazonaws.us-east-1.ecr.api",
        VpcEndpointType="Interface",
        SubnetIds=[other],
        SecurityGroupIds=[groups[0]],
    )
    name = "/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id"
    image = account.ssm.get_parameter(Name=name)["Parameter"]["Value"]
    specification = account.tags("instance", {"karpenter.sh/discovery": "gpulab-dev"})
    instance = ec2.run_instances(
        ImageId=image,
        InstanceType="m7i.large",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        TagSpecifications=specification,
    )["Instances"][0]["InstanceId"]
    ec2.attach_volume(VolumeId=account.volume(CLUSTER), InstanceId=instance, Device="/dev/sdf")
    somebodys = ec2.run_instances(ImageId=image, InstanceType="m7i.large", MinCount=1, MaxCount=1)["Instances"][0]
    ec2.attach_network_interface(
        NetworkInterfaceId=interface["NetworkInterfaceId"], InstanceId=somebodys["InstanceId"], DeviceIndex=1
    )
    balancer = account.elbv2.create_load_balancer(Name="k8s", Subnets=[subnet, other], SecurityGroups=[groups[0]])
    arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    target = account.elbv2.create_target_group(Name="k8s", Protocol="HTTP", Port=80, VpcId=vpc)["TargetGroups"][0]
    forward = [{"Type": "forward", "TargetGroupArn": target["TargetGroupArn"]}]
    account.elbv2.create_listener(LoadBalancerArn=arn, Protocol="HTTP", Port=80, DefaultActions=forward)
    on = [{"Key": "deletion_protection.enabled", "Value": "true"}]
    account.elbv2.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=on)
    file_system = account.efs.create_file_system(CreationToken="gpulab-dev-storage", Tags=listed(OURS))["FileSystemId"]
    account.efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet, SecurityGroups=[groups[1]])
    account.efs.create_access_point(FileSystemId=file_system, ClientToken="one")
    role = account.role("gpulab-dev-backup", OURS)
    role_arn = account.iam.get_role(RoleName=role)["Role"]["Arn"]
    account.backup.create_backup_vault(BackupVaultName="gpulab-dev-storage", BackupVaultTags=OURS)
    arn = account.efs.describe_file_systems(FileSystemId=file_system)["FileSystems"][0]["FileSystemArn"]
    account.backup.start_backup_job(BackupVaultName="gpulab-dev-storage", ResourceArn=arn, IamRoleArn=role_arn)
    cluster(account, [subnet, other], role_arn)
    account.rds.create_db_subnet_group(
        DBSubnetGroupName="gpulab-dev", DBSubnetGroupDescription="-", SubnetIds=[subnet, other], Tags=listed(OURS)
    )
    account.rds.create_db_parameter_group(
        DBParameterGroupName="gpulab-dev", DBParameterGroupFamily="postgres17", Description="-", Tags=listed(OURS)
    )
    account.rds.create_db_instance(
        DBInstanceIdentifier="gpulab-dev-keycloak",
        Engine="postgres",
        DBInstanceClass="db.t4g.small",
        AllocatedStorage=20,
        MasterUsername="keycloak",
        MasterUserPassword="not-a-secret-of-anybodys",
        DBSubnetGroupName="gpulab-dev",
        DBParameterGroupName="gpulab-dev",
        DeletionProtection=True,
        Tags=listed(OURS),
    )


def cluster(account: Planting, subnets: list[str], role: str) -> None:
    """A control plane that is protected from its deletion, with a node group."""
    account.eks.create_cluster(
        name="gpulab-dev", roleArn=role, resourcesVpcConfig={"subnetIds": subnets}, deletionProtection=True, tags=OURS
    )
    # Without nodes: moto does not say of their volumes that they go with them.
    sizes = {"minSize": 0, "maxSize": 1, "desiredSize": 0}
    account.eks.create_nodegroup(
        clusterName="gpulab-dev", nodegroupName="system", subnets=subnets, nodeRole=role, scalingConfig=sizes
    )


def the_rest(account: Planting) -> None:
    """What is in no VPC."""
    role = account.role("gpulab-dev-node-0a1b2c3", OURS)
    account.iam.put_role_policy(RoleName=role, PolicyName="inline", PolicyDocument=policy("s3:GetObject"))
    arn = account.iam.create_policy(PolicyName="gpulab-dev", PolicyDocument=policy("s3:GetObject"), Tags=listed(OURS))
    account.iam.attach_role_policy(RoleName=role, PolicyArn=arn["Policy"]["Arn"])
    account.iam.create_policy_version(
        PolicyArn=arn["Policy"]["Arn"], PolicyDocument=policy("s3:PutObject"), SetAsDefault=True
    )
    account.iam.create_instance_profile(InstanceProfileName="gpulab-dev_1", Tags=listed(OURS))
    account.iam.add_role_to_instance_profile(InstanceProfileName="gpulab-dev_1", RoleName=role)
    url = "https://oidc.eks.us-east-1.amazonaws.com/id/1"
    account.iam.create_open_id_connect_provider(Url=url, ThumbprintList=["a" * 40], Tags=listed(OURS))
    queue = account.sqs.create_queue(QueueName="gpulab-dev-karpenter", tags=OURS)["QueueUrl"]
    account.events.put_rule(Name="gpulab-dev-spot", EventPattern='{"source": ["aws.ec2"]}', Tags=listed(OURS))
    queue_arn = account.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    account.events.put_targets(Rule="gpulab-dev-spot", Targets=[{"Id": "queue", "Arn": queue_arn}])
    account.logs.create_log_group(logGroupName="/aws/eks/gpulab-dev/cluster")
    account.acm.request_certificate(DomainName="lab.example.com", Tags=listed(OURS))
    volume = account.volume(CLUSTER)
    account.ec2.create_snapshot(VolumeId=volume, TagSpecifications=account.tags("snapshot", CLUSTER))
    key = account.kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in OURS.items()])
    account.kms.create_alias(AliasName="alias/gpulab-dev-data-1", TargetKeyId=key["KeyMetadata"]["KeyId"])
    ecr = account.account.client("ecr")
    ecr.create_repository(repositoryName="gpulab-dev/quay/jupyter/base-notebook", tags=listed(OURS))
    manifest = '{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}'
    ecr.put_image(repositoryName="gpulab-dev/quay/jupyter/base-notebook", imageManifest=manifest, imageTag="1")
    ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="gpulab-dev/quay", upstreamRegistryUrl="quay.io")
    account.s3.create_bucket(Bucket="gpulab-dev-alb-logs")
    account.s3.put_bucket_tagging(Bucket="gpulab-dev-alb-logs", Tagging={"TagSet": listed(OURS)})
    account.s3.put_object(Bucket="gpulab-dev-alb-logs", Key="one")
    backups = bucket_of_backups(account)
    for key in ("one", "two", "three", "one"):
        account.s3.put_object(Bucket=backups, Key=key)
    account.s3.delete_object(Bucket=backups, Key="two")
    data = {"BlockDeviceMappings": []}
    account.ec2.create_launch_template(
        LaunchTemplateName="gpulab-dev-system",
        LaunchTemplateData=data,
        TagSpecifications=account.tags("launch-template", OURS),
    )


def bucket_of_backups(account: Planting) -> str:
    """A bucket with versions, which has backups of a database."""
    name = "gpulab-dev-identity-database-backups-1"
    account.s3.create_bucket(Bucket=name)
    account.s3.put_bucket_tagging(
        Bucket=name, Tagging={"TagSet": listed({**OURS, "gpulab.dev/backups-of": "keycloak"})}
    )
    account.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def policy(action: str) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


def test_the_lines_remove_everything_in_their_order_and_nothing_of_others(account: Planting) -> None:
    kept = f"ec2 Volumes {account.volume(OTHERS)}"
    before = {str(one) for listing in LISTINGS for one in account.account.listed(listing)}
    network(account)
    the_rest(account)
    report = account.look(DEV)
    assert report.not_looked_at == []
    found = {str(one.held.kind) for one in report.of("forgotten")}
    assert found >= {
        "AccessPoints", "Addresses", "Aliases", "BackupVaultList", "Buckets", "CertificateSummaryList", "DBInstances",
        "DBParameterGroups", "DBSubnetGroups", "FileSystems", "InstanceProfiles", "Instances", "InternetGateways",
        "Keys", "LaunchTemplates", "LoadBalancers", "NatGateways", "NetworkInterfaces", "OpenIDConnectProviderList",
        "Policies", "QueueUrls", "Roles", "RouteTables", "Rules", "SecurityGroups", "Snapshots", "Subnets",
        "TargetGroups", "Volumes", "VpcEndpoints", "Vpcs", "clusters", "logGroups",
        "pullThroughCacheRules", "repositories",
    }  # fmt: skip
    CommandLine(account.account).carry_out(report.script)
    after = account.look(DEV)
    assert named(after.of("forgotten")) == []
    assert [one.held.type for one in after.of("scheduled")] == [("kms", "Keys")]
    left = {str(one) for listing in LISTINGS for one in account.account.listed(listing) if not one.is_gone}
    assert kept in left
    assert before <= left


@pytest.mark.parametrize(("there_for", "status", "asked"), [(0, 0, 1), (3, 0, 4), (1000, 1, 40)])
def test_a_line_that_waits_does_so_in_any_shell_and_not_for_ever(
    there_for: int, status: int, asked: int, account: Planting, tmp_path: Path
) -> None:
    """With an `aws` that lists a mount target so many times, and a `sleep` that does not."""
    subnet = account.ec2.create_subnet(
        VpcId=account.vpc("10.40.0.0/16", OURS), CidrBlock="10.40.0.0/24", AvailabilityZone="us-east-1a"
    )["Subnet"]["SubnetId"]
    file_system = account.efs.create_file_system(CreationToken="gpulab-dev-storage", Tags=listed(OURS))["FileSystemId"]
    account.efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet)
    (waiting,) = [line for line in account.look(DEV).script if "describe-mount-targets" in line]
    calls = tmp_path / "calls"
    aws = f'echo "$@" >> {calls}; if [ $(wc -l < {calls}) -gt {there_for} ]; then echo 0; else echo 1; fi'
    for name, body in (("aws", aws), ("sleep", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", waiting], env=environment, check=False)
    assert done.returncode == status
    said = calls.read_text(encoding="utf-8").splitlines()
    assert len(said) == asked
    assert said[0].startswith("efs describe-mount-targets --file-system-id fs-")
    assert said[0].endswith(" --query length(MountTargets) --output text --region us-east-1")


@pytest.mark.parametrize(("rounds", "fails", "status"), [(0, False, 0), (2, False, 0), (2, True, 1)])
def test_a_line_that_empties_a_bucket_does_so_in_any_shell_and_ends_where_it_may_not(
    rounds: int, fails: bool, status: int, account: Planting, tmp_path: Path
) -> None:
    """With an `aws` that lists an object so many times, and may or may not delete it."""
    account.s3.put_object(Bucket=bucket_of_backups(account), Key="one")
    (emptying,) = [line for line in account.look(DEV).script if "list-object-versions" in line]
    calls, listed_object = tmp_path / "calls", '[{"Key": "a b", "VersionId": "1"}]'
    counted = f"$(grep -c list-object-versions {calls})"
    answer = f"if [ {counted} -gt {rounds} ]; then echo '[]'; else echo '{listed_object}'; fi"
    body = f'echo "$@" >> {calls}; case "$2" in list-*) {answer} ;; *) exit {int(fails)} ;; esac'
    (tmp_path / "aws").write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (tmp_path / "aws").chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run(["/bin/sh", "-c", emptying], env=environment, check=False).returncode == status
    deleted = [line for line in calls.read_text(encoding="utf-8").splitlines() if "delete-objects" in line]
    assert len(deleted) == (1 if fails else rounds)
    for line in deleted:
        document = line.partition("--delete ")[2].partition(" --region")[0]
        assert json.loads(document) == {"Objects": json.loads(listed_object), "Quiet": True}


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


def test_a_snapshot_of_aws_backup_goes_with_its_vault_and_ec2_refuses_to_delete_it(account: Planting) -> None:
    volume = account.volume(CLUSTER)
    account.backup.create_backup_vault(BackupVaultName="gpulab-dev-storage", BackupVaultTags=OURS)
    role = account.role("gpulab-dev-backup", OURS)
    made = account.backup.start_backup_job(
        BackupVaultName="gpulab-dev-storage",
        ResourceArn=f"arn:aws:ec2:us-east-1:123456789012:volume/{volume}",
        IamRoleArn=account.iam.get_role(RoleName=role)["Role"]["Arn"],
    )
    snapshot = made["RecoveryPointArn"].rpartition("/")[2]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*managed by the AWS Backup service"):
        account.ec2.delete_snapshot(SnapshotId=snapshot)
    report = account.look(DEV)
    assert not [one for one in report.found if one.held.kind == "Snapshots"]
    CommandLine(account.account).carry_out(report.script)
    assert account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_forgotten_database_leaves_no_snapshot_that_nobody_asks_for(account: Planting) -> None:
    account.database("gpulab-dev-keycloak", OURS)
    CommandLine(account.account).carry_out(account.look(DEV).script)
    assert account.look(DEV).found == []


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


def test_every_kind_can_be_removed() -> None:
    types = [(listing.service, listing.kind) for listing in LISTINGS]
    assert len(set(types)) == len(types)
    ranks = {type_: rank(mock.Mock(type=type_)) for type_ in types}
    assert ranks["elbv2", "LoadBalancers"] < ranks["elbv2", "TargetGroups"] < ranks["ec2", "SecurityGroups"]
    assert ranks["iam", "Roles"] < ranks["iam", "InstanceProfiles"]
    assert ranks["kms", "Aliases"] < ranks["kms", "Keys"] == max(ranks.values())


def test_the_actions_are_in_the_docs_and_are_actions_that_read() -> None:
    document = (PROJECT / "docs" / "reports.md").read_text(encoding="utf-8")
    (block,) = [one.partition("```")[0] for one in document.split("```json\n")[1:]]
    assert json.loads(block)["Statement"][0]["Action"] == leftovers.actions()
    clients = {"elasticfilesystem": ["efs"], "elasticloadbalancing": ["elb", "elbv2"]}
    for action in leftovers.actions():
        prefix, _, operation = action.partition(":")
        assert operation.startswith(("List", "Describe", "Get"))
        if action != "s3:ListAllMyBuckets":  # that of ListBuckets
            models = [boto3.client(one, "us-east-1").meta.service_model for one in clients.get(prefix, [prefix])]
            assert any(operation in model.operation_names for model in models), action
