"""A platform with every mistake that the policy pack knows of. It is never deployed: tests only preview it."""

from __future__ import annotations

import json

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s
import pulumi_random as random

production = aws.Provider("production", region="us-east-1", default_tags={"tags": {"Lifecycle": "production"}})
forgotten = aws.Provider(
    "forgotten",
    region="us-east-1",
    default_tags={"tags": {"Lifecycle": "lab", "Expires": "2020-01-31"}},
    opts=pulumi.ResourceOptions(depends_on=[production]),
)
cluster = k8s.Provider("cluster", kubeconfig="{}", opts=pulumi.ResourceOptions(depends_on=[production]))
on_aws = pulumi.ResourceOptions(provider=production)
in_cluster = pulumi.ResourceOptions(provider=cluster)


def custom(name: str, api_version: str, kind: str, spec: dict) -> None:
    """A custom resource of that name."""
    k8s.apiextensions.CustomResource(
        name, api_version=api_version, kind=kind, metadata={"name": name}, spec=spec, opts=in_cluster
    )


def node_pool(name: str, template: dict, **spec: object) -> None:
    """A NodePool of that name, whose nodes carry its name as a label."""
    labels = {"metadata": {"labels": {"gpulab.dev/pool": name, "nvidia.com/mig.config": "all-1g.10gb"}}}
    custom(name, "karpenter.sh/v1", "NodePool", {"template": {**labels, "spec": template}, **spec})


GPU_TYPES = {"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["g"]}
NVIDIA = {"key": "karpenter.k8s.aws/instance-gpu-manufacturer", "operator": "In", "values": ["nvidia"]}
SPOT = {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}

node_pool("endless", {"requirements": [GPU_TYPES, NVIDIA, SPOT], "expireAfter": "12h"})
node_pool(
    "dear",
    {
        "requirements": [{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]}],
        "terminationGracePeriod": "1h",
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "nodes"},
    },
    limits={"cpu": "16"},
)
node_pool(
    "shared",
    {
        "requirements": [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge"]},
        ],
        "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "PreferNoSchedule"}],
        "startupTaints": [{"key": "example.com/not-ready", "effect": "NoSchedule"}],
        "terminationGracePeriod": "1h",
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "sharing-nodes"},
    },
    limits={"nvidia.com/gpu": "4", "nvidia.com/mig-1g.10gb": "1"},
)
custom(
    "sharing-nodes",
    "karpenter.k8s.aws/v1",
    "EC2NodeClass",
    {
        "amiSelectorTerms": [{"alias": "bottlerocket@v1.66.0"}],
        "userData": '[settings.kubelet-device-plugins.nvidia]\ndevice-sharing-strategy = "mps"\n',
    },
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
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "4096Gi", "encrypted": False}}],
        "metadataOptions": {"httpTokens": "optional", "httpPutResponseHopLimit": 2},
    },
)

k8s.core.v1.Namespace("team", metadata={"name": "team"}, opts=in_cluster)
k8s.core.v1.Namespace("hub", metadata={"name": "hub"}, opts=in_cluster)
k8s.core.v1.ResourceQuota(
    "team",
    metadata={"name": "team", "namespace": "team"},
    spec={
        "hard": {
            "requests.cpu": "64",
            "requests.nvidia.com/gpu": "8",
            "limits.nvidia.com/gpu": "8",
            "requests.nvidia.com/mig-1g.10gb": "7",
        }
    },
    opts=in_cluster,
)
PROFILES = [
    {
        "slug": "huge",
        "kubespawner_override": {
            "cpu_guarantee": 500,
            "mem_guarantee": "1T",
            "node_selector": {"gpulab.dev/pool": "shared"},
            "extra_resource_limits": {"nvidia.com/gpu": 16},
            "image": "example.com/notebook:latest",
            "uid": 0,
            "allow_privilege_escalation": True,
            "environment": {"GRANT_SUDO": "yes", "NVIDIA_VISIBLE_DEVICES": "all"},
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}],
        },
    }
]
REALM = {
    "realm": "people",
    "clients": [{"clientId": "hub", "secret": "hunter2hunter2", "redirectUris": ["https://*.example.com/*"]}],
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
    data={
        "master.json": json.dumps({"realm": "master", "users": [{"username": "ada"}]}),
        "people.json": json.dumps(REALM),
        "clientSecret": "hunter2hunter2",
    },
    opts=in_cluster,
)
token = random.RandomId(
    "token", byte_length=16, opts=pulumi.ResourceOptions(additional_secret_outputs=["hex", "b64Std"])
)
k8s.core.v1.Secret(
    "token", metadata={"name": "token", "namespace": "team"}, string_data={"token": token.hex}, opts=in_cluster
)
k8s.apps.v1.Deployment(
    "jobs",
    metadata={"name": "jobs", "namespace": "team"},
    spec={  # type: ignore[arg-type]
        "selector": {"matchLabels": {"app": "jobs"}},
        "template": {
            "metadata": {"labels": {"app": "jobs"}},
            "spec": {
                "tolerations": [{"operator": "Exists"}, {"key": "nvidia.com/gpu", "operator": "Exists"}],
                "containers": [
                    {
                        "name": "jobs",
                        "image": "example.com/jobs",
                        "securityContext": {"privileged": True},
                        "env": [
                            {"name": "DB_PASSWORD", "value": "changeme"},
                            {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "api", "key": "key"}}},
                        ],
                    }
                ],
            },
        },
    },
    opts=in_cluster,
)
k8s.core.v1.Pod(
    "cuda",
    metadata={"name": "cuda", "namespace": "team"},
    spec={
        "containers": [
            {"name": "cuda", "image": "nvidia/cuda:13.0.1", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        ]
    },
    opts=in_cluster,
)
for namespace in ("team", "hub"):
    k8s.core.v1.Pod(
        f"share-of-{namespace}",
        metadata={"name": "share", "namespace": namespace},
        spec={
            "node_selector": {"gpulab.dev/pool": "shared"},
            "containers": [
                {"name": "cuda", "image": "nvidia/cuda:13.0.1", "resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}
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
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
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
    parameters={"type": "gp3"},
    opts=in_cluster,
)
k8s.rbac.v1.ClusterRole(
    "all",
    metadata={"name": "all"},
    rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],  # type: ignore[arg-type]
    opts=in_cluster,
)
k8s.helm.v3.Release(
    "hub",
    chart="jupyterhub",
    namespace="hub",
    repository_opts={"repo": "https://hub.jupyter.org/helm-chart/"},
    values={
        "hub": {
            "config": {
                "GenericOAuthenticator": {"allow_all": True, "admin_users": ["root"]},
                "JupyterHub": {"authenticator_class": "dummy"},
            }
        },
        "singleuser": {"networkPolicy": {"enabled": False}, "cloudMetadata": {"blockWithIptables": False}},
    },
    opts=in_cluster,
)
k8s.helm.v3.Release(
    "gpu-operator", chart="gpu-operator", namespace="gpus", values={"driver": {"enabled": False}}, opts=in_cluster
)
k8s.helm.v3.Release(
    "blueprint",
    chart="jupyterhub",
    version="4.4.2",
    namespace="hub",
    values={"proxy": {"secretToken": "0123456789abcdef0123456789abcdef"}},
    opts=in_cluster,
)
k8s.helm.v3.Release(
    "keycloak",
    chart="keycloakx",
    version="7.1.11",
    namespace="hub",
    values={
        "command": ["/opt/keycloak/bin/kc.sh", "start-dev"],
        "ingress": {"enabled": True, "console": {"enabled": True}},
        "extraEnv": json.dumps([{"name": "OIDC_ISSUER", "value": "https://auth.example.com/realms/master"}]),
    },
    opts=in_cluster,
)

anybody = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
role = aws.iam.Role("anybody", assume_role_policy=json.dumps(anybody), opts=on_aws)
aws.iam.RolePolicy("everything", role=role.name, policy=json.dumps(everything), opts=on_aws)
aws.iam.RolePolicyAttachment(
    "administrator", role=role.name, policy_arn="arn:aws:iam::aws:policy/AdministratorAccess", opts=on_aws
)
aws.eks.Cluster(
    "cluster",
    version="1.32",
    role_arn="arn:aws:iam::123456789012:role/cluster",
    vpc_config={"subnet_ids": ["subnet-1", "subnet-2"]},
    opts=on_aws,
)
aws.eks.NodeGroup(
    "system",
    cluster_name="cluster",
    node_role_arn="arn:aws:iam::123456789012:role/nodes",
    subnet_ids=["subnet-1"],
    scaling_config={"min_size": 2, "max_size": 2, "desired_size": 2},
    opts=on_aws,
)
aws.eks.Addon("dns", cluster_name="cluster", addon_name="coredns", opts=on_aws)
for number in range(5):
    aws.ec2.NatGateway(f"way-out-{number}", subnet_id="subnet-1", connectivity_type="private", opts=on_aws)
for number in range(9):
    aws.ec2.Eip(f"address-{number}", domain="vpc", opts=on_aws)
aws.ec2.SecurityGroup(
    "open",
    ingress=[{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}],
    opts=on_aws,
)
aws.ebs.Volume("disk", availability_zone="us-east-1a", size=10, opts=on_aws)
file_system = aws.efs.FileSystem("homes", opts=on_aws)
mounts = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "elasticfilesystem:Client*"}
aws.efs.FileSystemPolicy(
    "homes", file_system_id=file_system.id, policy=json.dumps({**anybody, "Statement": [mounts]}), opts=on_aws
)
aws.rds.Instance(
    "people",
    engine="postgres",
    instance_class="db.t4g.medium",
    allocated_storage=20,
    username="postgres",
    password="postgres",
    publicly_accessible=True,
    skip_final_snapshot=True,
    backup_retention_period=0,
    opts=on_aws,
)
aws.rds.ParameterGroup("people", family="postgres14", opts=on_aws)
aws.kms.Key("key", opts=on_aws)
aws.sqs.Queue("queue", opts=on_aws)
bucket = aws.s3.Bucket("logs", opts=on_aws)
aws.s3.BucketPublicAccessBlock("logs", bucket=bucket.id, block_public_acls=False, opts=on_aws)
aws.lb.Listener(
    "http",
    load_balancer_arn="arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/1",
    port=80,
    protocol="HTTP",
    default_actions=[{"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x/1"}],
    opts=on_aws,
)
https = aws.lb.Listener(
    "https",
    load_balancer_arn="arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/x/1",
    port=443,
    protocol="HTTPS",
    certificate_arn="arn:aws:acm:us-east-1:123456789012:certificate/1",
    default_actions=[{"type": "fixed-response", "fixed_response": {"content_type": "text/plain"}}],
    opts=on_aws,
)
aws.lb.ListenerRule(
    "admin",
    listener_arn=https.arn,
    conditions=[{"host_header": {"values": ["*.example.com"]}}, {"path_pattern": {"values": ["/admin/*"]}}],
    actions=[{"type": "forward", "target_group_arn": "arn:aws:elasticloadbalancing:::targetgroup/x/1"}],
    opts=on_aws,
)
