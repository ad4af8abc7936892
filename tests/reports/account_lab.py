"""Puts resources of a stack, and of others, into a simulated account."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import settings
from reports import leftovers
from reports.account import Account
from settings import EksSettings

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

    def look(self, stack: EksSettings, *keep: str) -> leftovers.Leftovers:
        return leftovers.look(self.account, stack, keep)


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def named(found: list[leftovers.Leftover]) -> list[str]:
    return sorted(str(one.held) for one in found)


def stack_of(name: str, **changes: Any) -> EksSettings:
    config = settings.read_stack_file(PROJECT / f"Pulumi.{name}.yaml")
    for section, values in changes.items():
        key = f"gpulab:{section}"
        config[key] = json.dumps({**json.loads(config.get(key) or "{}"), **values})
    return settings.on_eks(settings.load(config, stack=name, today=datetime.date.min))


DEV = stack_of("dev")


def network(account: Planting) -> None:
    """A VPC with everything in it, including two security groups that refer to each other."""
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
