"""The platform of `bad_platform` as the policy pack wants it: the same kinds of resources, and nothing refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s
import pulumi_random as random

# A rehearsal links to this file only; the modules beside it are found where the file really is.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from helm_charts import make_releases
from kubernetes_objects import make_nodes, make_teams, make_workloads

TAGS = {"Lifecycle": "production", "Owner": "ml@example.com", "CostCenter": "research"}

production = aws.Provider("production", region="us-east-1", default_tags={"tags": TAGS})
lab = aws.Provider(
    "lab", region="us-east-1", default_tags={"tags": {**TAGS, "Lifecycle": "lab", "Expires": "2099-12-31"}},
    opts=pulumi.ResourceOptions(depends_on=[production]),
)  # fmt: skip
cluster = k8s.Provider("cluster", kubeconfig="{}", opts=pulumi.ResourceOptions(depends_on=[production]))
on_aws = pulumi.ResourceOptions(provider=production)
protected = pulumi.ResourceOptions(provider=production, protect=True)
in_cluster = pulumi.ResourceOptions(provider=cluster)


for make in (make_nodes, make_teams, make_workloads, make_releases):
    make(in_cluster)

ACCOUNT = "arn:aws:iam::123456789012:root"
assumable = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}, "Action": ["sts:AssumeRole"]}
    ],
}
reads = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["ec2:DescribeInstances"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["ec2:TerminateInstances"],
            "Resource": "*",
            "Condition": {"StringEquals": {"aws:ResourceTag/kubernetes.io/cluster/x": "owned"}},
        },
        {"Effect": "Allow", "Action": ["sqs:DeleteMessage"], "Resource": "arn:aws:sqs:us-east-1:123456789012:queue"},
    ],
}
tls_alone = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "elasticfilesystem:ClientMount"},
        {
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ],
}
role = aws.iam.Role("workload", assume_role_policy=json.dumps(assumable), opts=on_aws)
aws.iam.RolePolicy("workload", role=role.name, policy=json.dumps(reads), opts=on_aws)
aws.iam.RolePolicyAttachment(
    "workload", role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy", opts=on_aws
)
aws.eks.Cluster(
    "cluster",
    version="1.36",
    role_arn="arn:aws:iam::123456789012:role/cluster",
    enabled_cluster_log_types=["api", "audit", "authenticator"],
    encryption_config={
        "provider": {"key_arn": "arn:aws:kms:us-east-1:123456789012:key/1"},
        "resources": ["secrets"],
    },
    vpc_config={
        "subnet_ids": ["subnet-1", "subnet-2"],
        "endpoint_private_access": True,
        "endpoint_public_access": True,
        "public_access_cidrs": ["203.0.113.0/24"],
    },
    opts=protected,
)
aws.eks.NodeGroup(
    "system",
    cluster_name="cluster",
    node_role_arn="arn:aws:iam::123456789012:role/nodes",
    subnet_ids=["subnet-1"],
    instance_types=["m7i.large"],
    scaling_config={"min_size": 2, "max_size": 2, "desired_size": 2},
    taints=[{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}],
    opts=on_aws,
)
aws.eks.Addon("dns", cluster_name="cluster", addon_name="coredns", addon_version="v1.12.1-eksbuild.2", opts=on_aws)
aws.ec2.NatGateway("way-out", subnet_id="subnet-1", connectivity_type="private", opts=on_aws)
aws.ec2.Eip("address", domain="vpc", opts=on_aws)
aws.ec2.SecurityGroup(
    "web",
    ingress=[
        {"protocol": "tcp", "from_port": 443, "to_port": 443, "cidr_blocks": ["0.0.0.0/0"]},
        {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["10.0.0.0/8"]},
    ],
    opts=on_aws,
)
aws.ebs.Volume("disk", availability_zone="us-east-1a", size=10, encrypted=True, opts=protected)
file_system = aws.efs.FileSystem("homes", encrypted=True, opts=protected)
aws.efs.FileSystemPolicy("homes", file_system_id=file_system.id, policy=json.dumps(tls_alone), opts=on_aws)
plan = aws.backup.Plan("homes", rules=[{"rule_name": "daily", "target_vault_name": "vault"}], opts=on_aws)
aws.backup.Selection("homes", plan_id=plan.id, iam_role_arn=role.arn, resources=[file_system.arn], opts=on_aws)
aws.rds.Instance(
    "people",
    engine="postgres",
    instance_class="db.t4g.medium",
    allocated_storage=20,
    username="keycloak",
    password=random.RandomPassword("people", length=40).result,
    storage_encrypted=True,
    publicly_accessible=False,
    skip_final_snapshot=False,
    final_snapshot_identifier=random.RandomId("people", byte_length=4).hex.apply(lambda end: f"people-final-{end}"),
    backup_retention_period=14,
    opts=protected,
)
aws.rds.ParameterGroup("people", family="postgres17", opts=on_aws)
aws.kms.Key("key", enable_key_rotation=True, opts=protected)
aws.sqs.Queue("queue", sqs_managed_sse_enabled=True, opts=on_aws)
bucket = aws.s3.Bucket("logs", opts=protected)
aws.s3.BucketServerSideEncryptionConfiguration(
    "logs",
    bucket=bucket.id,
    rules=[{"apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}}],
    opts=on_aws,
)
aws.s3.BucketPublicAccessBlock(
    "logs",
    bucket=bucket.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
    opts=on_aws,
)
balancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/1"
aws.lb.Listener(
    "http",
    load_balancer_arn=balancer,
    port=80,
    protocol="HTTP",
    default_actions=[{"type": "redirect", "redirect": {"port": "443", "protocol": "HTTPS", "status_code": "HTTP_301"}}],
    opts=on_aws,
)
https = aws.lb.Listener(
    "https",
    load_balancer_arn=balancer,
    port=443,
    protocol="HTTPS",
    ssl_policy="ELBSecurityPolicy-TLS13-1-2-2021-06",
    certificate_arn="arn:aws:acm:us-east-1:123456789012:certificate/1",
    default_actions=[{"type": "fixed-response", "fixed_response": {"content_type": "text/plain"}}],
    opts=on_aws,
)
aws.lb.ListenerRule(
    "notebooks",
    listener_arn=https.arn,
    conditions=[{"host_header": {"values": ["*.hub.example.com"]}}],
    actions=[{"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x/1"}],
    opts=on_aws,
)
aws.lb.ListenerRule(
    "sign-in",
    listener_arn=https.arn,
    conditions=[
        {"host_header": {"values": ["auth.example.com"]}},
        {"path_pattern": {"values": ["/realms/people/*", "/resources/*"]}},
    ],
    actions=[{"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x/1"}],
    opts=on_aws,
)
