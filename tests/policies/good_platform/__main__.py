"""The platform of `bad_platform` as the policy pack wants it: the same kinds of resources, and nothing refused."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s
import pulumi_random as random

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


def custom(name: str, api_version: str, kind: str, spec: dict) -> None:
    """A custom resource of that name."""
    k8s.apiextensions.CustomResource(
        name, api_version=api_version, kind=kind, metadata={"name": name}, spec=spec, opts=in_cluster
    )


def node_pool(name: str, limits: dict, taints: list, *requirements: dict) -> None:
    """A NodePool of notebooks."""
    custom(
        name,
        "karpenter.sh/v1",
        "NodePool",
        {
            "template": {
                "metadata": {"labels": {"gpulab.dev/pool": name}},
                "spec": {
                    "requirements": [
                        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
                        *requirements,
                    ],
                    "taints": taints,
                    "startupTaints": [{"key": "example.com/not-ready", "effect": "NoSchedule"}] if taints else [],
                    "expireAfter": "720h",
                    "terminationGracePeriod": "4h",
                },
            },
            "limits": limits,
            "disruption": {
                "consolidationPolicy": "WhenEmpty",
                "consolidateAfter": "10m",
                "budgets": [{"nodes": "10%"}, {"nodes": "0", "reasons": ["Drifted"]}],
            },
        },
    )


GPU_TAINT: Any = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
ON_GPU_NODES: Any = [
    {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "example.com/not-ready", "operator": "Exists", "effect": "NoSchedule"},
]
CATEGORY = "karpenter.k8s.aws/instance-category"

node_pool("cpu", {"cpu": "128", "memory": "512Gi"}, [], {"key": CATEGORY, "operator": "In", "values": ["c", "m"]})
node_pool(
    "gpu",
    {"nvidia.com/gpu": "16"},
    [GPU_TAINT],
    {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g5", "g6"]},
)
node_pool(
    "shared",
    {"nvidia.com/gpu.shared": "16"},
    [GPU_TAINT],
    {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge", "g6.xlarge"]},
)
custom(
    "shares",
    "karpenter.sh/v1alpha1",
    "NodeOverlay",
    {
        "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["shared"]}],
        "capacity": {"nvidia.com/gpu": "0", "nvidia.com/gpu.shared": "4"},
    },
)
custom(
    "nodes",
    "karpenter.k8s.aws/v1",
    "EC2NodeClass",
    {
        "amiSelectorTerms": [{"alias": "al2023@v20260930"}],
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi", "encrypted": True}}],
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
    },
)

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
for name in ("team", "hub"):
    k8s.core.v1.Namespace(name, metadata={"name": name, "labels": RESTRICTED}, opts=in_cluster)
    k8s.core.v1.ResourceQuota(
        name,
        metadata={"name": name, "namespace": name},
        spec={
            "hard": {
                "requests.cpu": "32",
                "requests.memory": "128Gi",
                "requests.nvidia.com/gpu": "4",
                "requests.nvidia.com/gpu.shared": "8",
                "pods": "40",
            }
        },
        opts=in_cluster,
    )
    k8s.core.v1.LimitRange(
        name,
        metadata={"name": name, "namespace": name},
        spec={"limits": [{"type": "Container", "max": {"memory": "64Gi"}}]},
        opts=in_cluster,
    )
PROFILES = [
    {
        "slug": "gpu",
        "kubespawner_override": {
            "cpu_guarantee": 2,
            "mem_guarantee": "8G",
            "node_selector": {"gpulab.dev/pool": "gpu"},
            "extra_resource_limits": {"nvidia.com/gpu": 1},
            "tolerations": ON_GPU_NODES[:1],
            "image": "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-10",
            "uid": 1000,
            "allow_privilege_escalation": False,
            "environment": {"CUDA_VISIBLE_DEVICES": "0"},
        },
    }
]
REALM = {
    "realm": "people",
    "bruteForceProtected": True,
    "clients": [
        {
            "clientId": "hub",
            "secret": "$(env:HUB_CLIENT_SECRET)",
            "redirectUris": ["https://platform.example.com/hub/oauth_callback"],
            "attributes": {"pkce.code.challenge.method": "S256"},
        }
    ],
}
k8s.core.v1.ConfigMap(
    "settings",
    metadata={"name": "settings", "namespace": "hub", "labels": {"gpulab.dev/profiles": "team"}},
    data={"profiles.yaml": json.dumps(PROFILES)},
    opts=in_cluster,
)
k8s.core.v1.ConfigMap(
    "realm",
    metadata={"name": "realm", "namespace": "hub"},
    data={"people.json": json.dumps(REALM), "clientSecretName": "hub-client"},
    opts=in_cluster,
)
CONFINED: Any = {
    "privileged": False,
    "allowPrivilegeEscalation": False,
    "runAsUser": 1000,
    "readOnlyRootFilesystem": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
MODEST: Any = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}}
k8s.core.v1.Secret(
    "token",
    metadata={"name": "token", "namespace": "team"},
    string_data={"token": random.RandomPassword("token", length=40).result},
    opts=in_cluster,
)
k8s.apps.v1.Deployment(
    "jobs",
    metadata={"name": "jobs", "namespace": "team"},
    spec={  # type: ignore[arg-type]
        "selector": {"matchLabels": {"app": "jobs"}},
        "template": {
            "metadata": {"labels": {"app": "jobs"}},
            "spec": {
                "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
                "containers": [
                    {
                        "name": "jobs",
                        "image": "example.com/jobs:1.4.2",
                        "securityContext": CONFINED,
                        "resources": MODEST,
                        "env": [{"name": "DB_PASSWORD_FILE", "value": "/run/secrets/db/password"}],
                        "volumeMounts": [{"name": "db", "mountPath": "/run/secrets/db", "readOnly": True}],
                    }
                ],
                "volumes": [{"name": "db", "secret": {"secretName": "db"}}],
            },
        },
    },
    opts=in_cluster,
)
k8s.core.v1.Pod(
    "cuda",
    metadata={"name": "cuda", "namespace": "team"},
    spec={  # type: ignore[arg-type]
        "tolerations": ON_GPU_NODES[:1],
        "containers": [
            {
                "name": "cuda",
                "image": "nvidia/cuda:13.0.1",
                "securityContext": CONFINED,
                "resources": {**MODEST, "limits": {**MODEST["limits"], "nvidia.com/gpu": "1"}},
            }
        ],
    },
    opts=in_cluster,
)
k8s.apps.v1.DaemonSet(
    "plugin",
    metadata={"name": "plugin", "namespace": "kube-system"},
    spec={  # type: ignore[arg-type]
        "selector": {"matchLabels": {"app": "plugin"}},
        "template": {
            "metadata": {"labels": {"app": "plugin"}},
            "spec": {
                "tolerations": ON_GPU_NODES,
                "containers": [{"name": "plugin", "image": "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"}],
            },
        },
    },
    opts=in_cluster,
)
k8s.storage.v1.StorageClass(
    "homes",
    metadata={"name": "homes"},
    provisioner="ebs.csi.aws.com",
    parameters={"type": "gp3", "encrypted": "true"},
    reclaim_policy="Retain",
    opts=in_cluster,
)
k8s.rbac.v1.ClusterRole(
    "reader",
    metadata={"name": "reader"},
    rules=[{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list"]}],  # type: ignore[arg-type]
    opts=in_cluster,
)
k8s.rbac.v1.Role(
    "own-secret",
    metadata={"name": "own-secret", "namespace": "hub"},
    rules=[{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["hub"], "verbs": ["get"]}],  # type: ignore[arg-type]
    opts=in_cluster,
)
k8s.helm.v3.Release(
    "hub",
    chart="jupyterhub",
    version="4.4.2",
    namespace="hub",
    repository_opts={"repo": "https://hub.jupyter.org/helm-chart/"},
    values={
        "hub": {
            "config": {
                "GenericOAuthenticator": {
                    "allowed_groups": ["/team"],
                    "admin_groups": ["/administrators"],
                    "client_id": "hub",
                },
                "JupyterHub": {"authenticator_class": "generic-oauth"},
            },
            "loadRoles": {"mentors": {"scopes": ["access:servers!group=team"], "groups": ["mentors"]}},
        },
        "proxy": {
            "service": {"type": "ClusterIP"},
            "secretToken": random.RandomPassword("proxy", length=64).result,
        },
        "singleuser": {
            "cloudMetadata": {"blockWithIptables": False},
            "storage": {"dynamic": {"storageClass": "homes"}},
        },
        "cull": {"maxAge": 86400},
    },
    opts=in_cluster,
)
k8s.helm.v3.Release(
    "keycloak",
    chart="keycloakx",
    version="7.1.11",
    namespace="hub",
    values={
        "command": ["/opt/keycloak/bin/kc.sh", "start", "--hostname=https://auth.example.com"],
        "database": {"existingSecret": "keycloak-database", "existingSecretKey": "password"},
        "extraEnv": json.dumps([{"name": "OIDC_ISSUER", "value": "https://auth.example.com/realms/people"}]),
    },
    opts=in_cluster,
)

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
    "sign-in",
    listener_arn=https.arn,
    conditions=[
        {"host_header": {"values": ["auth.example.com"]}},
        {"path_pattern": {"values": ["/realms/people/*", "/resources/*"]}},
    ],
    actions=[{"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x/1"}],
    opts=on_aws,
)
