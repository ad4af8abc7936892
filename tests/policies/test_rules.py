"""What single policies decide where it is close, by shapes that are found in the wild."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi_policy import EnforcementLevel
from pulumi_policy.proxy import unknown_checking_proxy

import contracts
from policies.reading.quantities import quantity
from policies.reading.resources import SecretText
from tests.policies.conftest import (
    BY_NAME,
    UNKNOWN,
    examined,
    kubernetes,
    listener_rule,
    node_pool,
    release,
    resource,
    text,
)

TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
GPU = "nvidia.com/gpu"


def workload(kind="Deployment", namespace="team", **spec):
    container = {"name": "main", "image": "example.com/x:1.0.0", **spec.pop("container", {})}
    pod = {"containers": [container], **spec}
    return kubernetes(
        kind, {"template": {"spec": pod}} if kind != "Pod" else pod, metadata={"namespace": namespace}, api="apps/v1"
    )


def case(name, **changed):
    """An object that somebody had, with some of its `spec` changed."""
    obj = yaml.safe_load((Path(__file__).parents[1] / "cases" / name).read_text(encoding="utf-8"))
    return kubernetes(obj["kind"], {**obj["spec"], **changed}, metadata=obj["metadata"])


def role(*statements):
    return resource("aws:iam/policy:Policy", {"policy": text({"Statement": list(statements)})})


def allow(action, on="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": on, **more}


MOUNT = "elasticfilesystem:ClientMount"


def file_system(*statements):
    return resource("aws:efs/fileSystemPolicy:FileSystemPolicy", {"policy": text({"Statement": list(statements)})})


def hub(version="4.4.0", load_roles=None, **config):
    return release("jupyterhub", {"hub": {"config": config, "loadRoles": load_roles or {}}}, version=version)


REFUSED_AND_ACCEPTED = {
    "admin_access decides before there are roles, and nothing since": (
        "hub-administrators-in-notebooks",
        hub("1.2.0", JupyterHub={"admin_access": True}),
        hub("4.4.0", JupyterHub={"admin_access": True}),
    ),
    "before there are roles, the chart's default lets administrators in": (
        "hub-administrators-in-notebooks",
        hub("1.2.0"),
        hub("1.2.0", JupyterHub={"admin_access": False}),
    ),
    "administrators come from groups": (
        "hub-administrators-in-notebooks",
        hub(GenericOAuthenticator={"admin_users": ["ada"]}),
        hub(GenericOAuthenticator={"admin_groups": ["/platform-administrators"]}),
    ),
    "a role opens some notebooks, not everybody's": (
        "hub-administrators-in-notebooks",
        hub(load_roles={"mentors": {"scopes": ["self", "access:servers"]}}),
        hub(load_roles={"mentors": {"scopes": ["self", "access:servers!group=team"]}}),
    ),
    "a CPU pool needs no taint": (
        "gpu-pool-taint",
        node_pool(),
        kubernetes("NodePool", {"limits": {"cpu": "8"}}, api="karpenter.sh/v1"),
    ),
    "a GPU pool is known by its limit alone": (
        "gpu-pool-taint",
        node_pool(requirements=[], spec_={"limits": {"nvidia.com/mig-1g.10gb": "7"}}),
        node_pool(requirements=[], spec_={"limits": {"cpu": "7"}}),
    ),
    "NoExecute keeps pods away too": (
        "gpu-pool-taint-effect",
        node_pool(taints=[{**TAINT, "effect": "PreferNoSchedule"}]),
        node_pool(taints=[{**TAINT, "effect": "NoExecute"}]),
    ),
    "a share of a GPU is a GPU": (
        "gpu-request-without-toleration",
        workload(container={"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}}),
        workload(
            container={"resources": {"limits": {"nvidia.com/gpu.shared": "1"}}},
            tolerations=[{"key": GPU, "operator": "Exists"}],
        ),
    ),
    "a DaemonSet needs no GPU to tolerate its nodes": (
        "gpu-toleration-without-request",
        workload(tolerations=[{"key": GPU, "operator": "Exists"}]),
        workload("DaemonSet", tolerations=[{"key": GPU, "operator": "Exists"}]),
    ),
    "a pod of the wild with every GPU of a node that it asks nothing of": (
        "gpu-toleration-without-request",
        case("pod-without-gpu-on-gpu-pool.yaml"),
        case("pod-without-gpu-on-gpu-pool.yaml", tolerations=[]),
    ),
    "a notebook may hide the GPUs of its node, and choose among those that it has": (
        "notebook-visible-devices",
        release("jupyterhub", {"singleuser": {"extraEnv": {"NVIDIA_VISIBLE_DEVICES": "0,1"}}}),
        release(
            "jupyterhub", {"singleuser": {"extraEnv": {"NVIDIA_VISIBLE_DEVICES": "void", "CUDA_VISIBLE_DEVICES": "0"}}}
        ),
    ),
    "a system's pod may tolerate everything": (
        "toleration-of-everything",
        workload(tolerations=[{"operator": "Exists"}]),
        workload(namespace="kube-system", tolerations=[{"operator": "Exists"}]),
    ),
    "a limit in CPUs is no limit of GPUs": (
        "gpu-pool-gpu-limit",
        node_pool(spec_={"limits": {"cpu": "128"}}),
        node_pool(spec_={"limits": {"nvidia.com/gpu.shared": "8"}}),
    ),
    "a quota of requests is counted": (
        "quota-of-extended-limits",
        kubernetes("ResourceQuota", {"hard": {"limits.nvidia.com/mig-1g.5gb": "1"}}),
        kubernetes("ResourceQuota", {"hard": {"requests.nvidia.com/gpu": "1", "limits.cpu": "4"}}),
    ),
    "drift in a window": (
        "notebook-pool-drift-budget",
        node_pool(taints=[TAINT], spec_={"disruption": {"budgets": [{"nodes": "0", "reasons": ["Empty"]}]}}),
        node_pool(taints=[TAINT], spec_={"disruption": {"budgets": [{"nodes": "0", "schedule": "@daily"}]}}),
    ),
    "an expiry that never comes": (
        "notebook-pool-expiry",
        node_pool(taints=[TAINT], expireAfter="72h"),
        node_pool(taints=[TAINT], expireAfter="Never"),
    ),
    "Karpenter's default consolidates": (
        "notebook-pool-consolidation",
        node_pool(taints=[TAINT]),
        node_pool(taints=[TAINT], spec_={"disruption": {"consolidationPolicy": "WhenEmpty"}}),
    ),
    "reserved capacity is of one type": (
        "gpu-pool-types",
        node_pool(
            requirements=[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]}]
        ),
        node_pool(
            requirements=[
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reserved"]},
            ]
        ),
    ),
    "a quarter of the internet reaches the API": (
        "cluster-endpoint-open",
        resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": ["64.0.0.0/2"]}}),
        resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": ["17.0.0.0/8", "100.64.0.0/10"]}}),
    ),
    "a quarter of the internet reaches a port": (
        "security-group-open",
        resource(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv4": "0.0.0.0/2"},
        ),
        resource(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv4": "10.0.0.0/8"},
        ),
    ),
    "ranges of IPv6 that are the internet together": (
        "security-group-open",
        resource(
            "aws:ec2/securityGroup:SecurityGroup",
            {"ingress": [{"protocol": "-1", "ipv6CidrBlocks": ["2000::/16", "2001::/16"]}]},
        ),
        resource(
            "aws:ec2/securityGroup:SecurityGroup",
            {"ingress": [{"protocol": "-1", "ipv6CidrBlocks": ["2001:db8::/32", "fd00::/8"]}]},
        ),
    ),
    "a wildcard that Keycloak's administration is behind": (
        "admin-path-published",
        listener_rule(["app.example.com"], ["/adm*"]),
        listener_rule(["app.example.com"], ["/advice*", "/a?mi"]),
    ),
    "every realm is the realm master, too": (
        "admin-path-published",
        listener_rule(["auth.example.com"], ["/realms/*"]),
        listener_rule(["auth.example.com"], ["/realms/lab/*", "/resources/*"]),
    ),
    "every path of a name for sign-in": (
        "admin-path-published",
        listener_rule(["sso.example.com"], ["/*"]),
        listener_rule(["app.example.com"], ["/*"]),
    ),
    "a single public address": (
        "cluster-endpoint-open",
        resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": ["0.0.0.0/1", "128.0.0.0/1"]}}),
        resource("aws:eks/cluster:Cluster", {"vpcConfig": {"endpointPublicAccess": False}}),
    ),
    "a wide range of ports": (
        "security-group-open",
        resource(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {"ipProtocol": "tcp", "fromPort": 80, "toPort": 443, "cidrIpv4": "0.0.0.0/0"},
        ),
        resource(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"},
        ),
    ),
    "every port over IPv6": (
        "security-group-open",
        resource("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"protocol": "-1", "ipv6CidrBlocks": ["::/0"]}]}),
        resource(
            "aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"protocol": "-1", "cidrBlocks": ["10.0.0.0/8"]}]}
        ),
    ),
    "a Deny keeps from the root whoever is allowed to mount": (
        "file-system-root-mounted",
        file_system(allow(MOUNT, Principal="*")),
        file_system(
            allow(MOUNT, Principal="*"),
            {
                **allow("*", Principal={"AWS": "*"}, Condition={"Null": {"elasticfilesystem:AccessPointArn": "true"}}),
                "Effect": "Deny",
            },
        ),
    ),
    "a condition that no access point has to meet": (
        "file-system-root-mounted",
        file_system(
            allow(
                MOUNT,
                Principal={"AWS": ["*"]},
                Condition={"StringLikeIfExists": {"elasticfilesystem:AccessPointArn": "*"}},
            )
        ),
        file_system(
            allow(
                ["elasticfilesystem:ClientWrite", MOUNT],
                Principal={"AWS": "*"},
                Condition={"StringLike": {"elasticfilesystem:accessPointArn": "*"}},
            )
        ),
    ),
    "a role of one's own may see all of it": (
        "file-system-root-mounted",
        file_system(allow("elasticfilesystem:*", Principal="*")),
        file_system(allow("elasticfilesystem:*", Principal={"AWS": "arn:aws:iam::123456789012:role/migration"})),
    ),
    "a service's every action": ("iam-action-wildcard", role(allow("s3:*")), role(allow("s3:Get*"))),
    "everything but a few": (
        "iam-action-wildcard",
        role({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}),
        role({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}),
    ),
    "changes of everything": (
        "iam-resource-wildcard",
        role(allow(["ec2:DescribeInstances", "ec2:TerminateInstances"])),
        role(allow(["ec2:DescribeInstances", "pricing:GetProducts"])),
    ),
    "changes of what carries a tag": (
        "iam-resource-wildcard",
        role(allow("ec2:TerminateInstances")),
        role(allow("ec2:TerminateInstances", Condition={"StringEquals": {"aws:ResourceTag/team": "ml"}})),
    ),
    "a redirect is no answer": (
        "listener-without-tls",
        resource("aws:lb/listener:Listener", {"port": 80, "defaultActions": [{"type": "forward"}]}),
        resource(
            "aws:lb/listener:Listener",
            {"port": 80, "protocol": "HTTP", "defaultActions": [{"redirect": {"protocol": "HTTPS"}}]},
        ),
    ),
    "a digest pins": (
        "unpinned-image",
        workload(container={"image": "localhost:5000/x"}),
        workload(container={"image": f"x@sha256:{'0' * 64}"}),
    ),
    "a range of versions": (
        "unpinned-chart",
        resource("kubernetes:helm.sh/v3:Release", {"chart": "x", "version": "~1.2"}),
        resource("kubernetes:helm.sh/v3:Release", {"chart": "x", "version": "v26.7.0"}),
    ),
    "an internal load balancer": (
        "public-service",
        kubernetes("Service", {"type": "LoadBalancer"}),
        kubernetes(
            "Service",
            {"type": "LoadBalancer"},
            metadata={"annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}},
        ),
    ),
    "a Secret by its name": (
        "cluster-role-wildcard",
        kubernetes("ClusterRole", rules=[{"resources": ["secrets"], "verbs": ["get"]}]),
        kubernetes("ClusterRole", rules=[{"resources": ["secrets"], "verbs": ["get"], "resourceNames": ["x"]}]),
    ),
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
    "a default class is for no homes": (
        "storage-class-deletes-homes",
        kubernetes("StorageClass", metadata={"name": "team-homes"}, provisioner="efs.csi.aws.com"),
        kubernetes("StorageClass", metadata={"name": "gp3"}, provisioner="ebs.csi.aws.com"),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    policy, refused, accepted = REFUSED_AND_ACCEPTED[case]
    assert examined(policy, refused)
    assert examined(policy, accepted) == {}


def made_from(source, made, key):
    """The same, with its property `key` made from another resource."""
    made.dependencies = [source]
    made.property_dependencies = {key: [source]}
    return made


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
    assert "hex is said to be secret" in examined("secret-as-resource-id", token)["one"][0]


PROFILE = {"slug": "x", "kubespawner_override": {"node_selector": {"gpulab.dev/pool": "gpu"}}}


def profiles(**override):
    own = {**PROFILE["kubespawner_override"], **override}
    listed = [{**PROFILE, "kubespawner_override": own}]
    return kubernetes(
        "ConfigMap", metadata={"labels": {"gpulab.dev/profiles": "team"}, "name": "profiles"}, data={"x": text(listed)}
    )


def quota(name="team", **hard):
    return kubernetes(
        "ResourceQuota",
        {"hard": {key.replace("__", "."): value for key, value in hard.items()}},
        metadata={"name": name, "namespace": name},
    )


def test_a_profile_is_held_against_its_teams_quota_and_no_others():
    asks = profiles(cpu_guarantee=8, mem_guarantee="16G")
    assert "profiles" in examined("profile-beyond-quota", asks, quota(requests__cpu="4"))
    assert "profiles" in examined("profile-beyond-quota", asks, quota(requests__memory="15Gi"))
    assert examined("profile-beyond-quota", asks, quota(requests__cpu="8", requests__memory="16Gi")) == {}
    assert examined("profile-beyond-quota", asks, quota("other", requests__cpu="4")) == {}


def test_a_profile_is_held_against_the_largest_machine_of_its_pool():
    pool = node_pool(taints=[TAINT])
    # g5.48xlarge has 192 vCPUs, 768 GiB and eight GPUs, of which nodes keep some memory.
    assert examined("profile-beyond-node", profiles(extra_resource_limits={GPU: 8}), pool) == {}
    assert examined("profile-beyond-node", profiles(extra_resource_limits={GPU: 9}), pool)
    assert examined("profile-beyond-node", profiles(mem_guarantee="768G"), pool)
    assert examined("profile-beyond-node", profiles(mem_guarantee="700G"), pool) == {}
    assert examined("profile-beyond-node", profiles(extra_resource_limits={"nvidia.com/gpu.shared": 1}), pool)
    # Four of them are on machines with fewer processors than the one that has as many.
    small = node_pool(
        requirements=[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge"]}]
    )
    assert examined("profile-beyond-node", profiles(cpu_guarantee=5), small)


def test_quotas_are_summed_over_teams_and_held_against_the_pools():
    pool = node_pool(spec_={"limits": {GPU: "8"}})
    teams = [
        kubernetes("Namespace", metadata={"name": name, "labels": {"gpulab.dev/team": name}}) for name in ("a", "b")
    ]
    quotas = [quota(name, **{f"requests__{GPU}": "5"}) for name in ("a", "b")]
    assert examined("quotas-beyond-pool-limits", pool, *teams, *quotas)[""]
    assert examined("quotas-beyond-pool-limits", pool, *teams, *quotas, overcommit=2) == {}
    assert examined("quotas-beyond-pool-limits", pool, *teams, quotas[0]) == {}
    # Nodes of GPUs have CPUs too: a limit of CPUs that one pool alone has is no limit of the stack.
    small = node_pool(spec_={"limits": {"cpu": "4"}})
    asked = [quota(name, requests__cpu="4") for name in ("a", "b")]
    assert examined("quotas-beyond-pool-limits", small, *teams, *asked)[""]
    assert examined("quotas-beyond-pool-limits", small, pool, *teams, *asked) == {}


def test_what_is_said_of_a_whole_stack_is_said_of_its_root():
    pool = node_pool(spec_={"limits": {GPU: "1"}})
    team = kubernetes("Namespace", metadata={"name": "a", "labels": {"gpulab.dev/team": "a"}})
    root = resource("pulumi:pulumi:Stack", {}, "gpulab-dev")
    found = examined("quotas-beyond-pool-limits", root, pool, team, quota("a", **{f"requests__{GPU}": "5"}))
    assert found.keys() == {"gpulab-dev"}


def test_a_quota_has_to_name_what_any_pool_advertises():
    overlay = kubernetes(
        "NodeOverlay",
        {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu"]}],
            "capacity": {GPU: "0", "nvidia.com/gpu.shared": "4"},
        },
        api="karpenter.sh/v1alpha1",
    )
    pool = node_pool(spec_={"limits": {"nvidia.com/gpu.shared": "16"}})
    team = kubernetes("Namespace", metadata={"name": "team", "labels": {"gpulab.dev/team": "team"}})
    whole = quota(**{f"requests__{GPU}": "5"})
    said = examined("quota-misses-advertised-gpu", pool, overlay, team, whole)
    assert "nvidia.com/gpu.shared" in said["team"][0]
    named = quota(**{f"requests__{GPU}": "0", f"requests__{GPU}__shared": "4"})
    assert examined("quota-misses-advertised-gpu", pool, overlay, team, named) == {}


@pytest.mark.parametrize(
    ("given", "amount"),
    [("1.2.3", None), (".", None), ("", None), ("1.", 1), (".5", 0.5), ("2e3", 2000), ("16Gi", 2**34)],
)
def test_what_is_no_quantity_is_none(given, amount):
    assert quantity(given) == amount


def test_a_limit_that_is_no_quantity_limits_nothing():
    (said,) = examined("node-pool-limits", node_pool(spec_={"limits": {"cpu": "1.2.3"}}))["gpu"]
    assert "without end" in said


def test_what_a_stack_does_not_know_yet_keeps_nothing_else_from_being_examined():
    known, unknown = node_pool("known", taints=[TAINT]), node_pool("unknown", taints=UNKNOWN)
    said = examined("gpu-pool-gpu-limit", known, unknown)
    assert set(said) == {"known", "unknown"}


@pytest.mark.parametrize(
    ("policy", "one"),
    [
        ("iam-action-wildcard", resource("aws:iam/policy:Policy", {"policy": UNKNOWN})),
        ("cluster-endpoint-open", resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": UNKNOWN}})),
        ("security-group-open", resource("aws:ec2/securityGroup:SecurityGroup", {"ingress": UNKNOWN})),
        ("node-pool-limits", node_pool(spec_={"limits": UNKNOWN})),
        ("ebs-encryption", resource("aws:ebs/volume:Volume", {"encrypted": UNKNOWN})),
        ("unpinned-image", workload(container={"image": UNKNOWN})),
    ],
)
def test_what_is_not_known_is_never_passed(policy, one):
    assert "not yet known" in examined(policy, one)["unknown"][0]


def test_a_published_policy_passes_as_long_as_nothing_is_added_to_it():
    published = [dict(statement) for statement in contracts.published_statements()]
    assert examined("iam-resource-wildcard", role(*published)) == {}
    assert examined("iam-resource-wildcard", role(*published), published=False)
    assert examined("iam-resource-wildcard", role(*published, allow("ec2:TerminateInstances")))


def test_a_permissions_boundary_allows_nobody_anything():
    everything = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    document = text({"Statement": [everything, allow("sqs:*")]})
    boundary = resource("aws:iam/policy:Policy", {"name": "the-boundary", "policy": document})
    attached = resource("aws:iam/rolePolicy:RolePolicy", {"name": "the-boundary", "policy": document})
    for policy in ("iam-action-wildcard", "iam-resource-wildcard"):
        assert examined(policy, boundary, boundaries=["the-boundary"]) == {}
        assert examined(policy, boundary, boundaries=["another"])
        assert examined(policy, attached, boundaries=["the-boundary"])  # a role's own policy is none


def test_a_lab_lives_through_its_last_day(monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2027-06-30")
    for day, refused in (("2027-06-30", False), ("2027-06-29", True), ("soon", True)):
        tags = text({"tags": {"Lifecycle": "lab", "Expires": day}})
        assert bool(examined("lab-expiry", resource("pulumi:providers:aws", {"defaultTags": tags}))) is refused
    assert examined("lab-expiry", resource("pulumi:providers:aws", {"defaultTags": text({"tags": {}})})) == {}


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"version": "1.36"}, None),
        ({"version": "1.34"}, "leaves EKS's standard support on 2026-12-02; then its control plane costs 0.60 USD"),
        ({"version": "1.34", "upgradePolicy": {"supportType": "STANDARD"}}, "then EKS upgrades the cluster to 1.35"),
        ({"version": "1.33"}, "left EKS's standard support on 2026-07-29: its control plane costs 0.60 USD"),
        ({"version": "1.99"}, "not known here"),
        ({"version": "1.33", "upgradePolicy": {"supportType": UNKNOWN}}, "not yet known"),
        ({}, None),
    ],
)
def test_versions_of_kubernetes_say_that_their_support_ends(inputs, said, monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2026-11-30")
    found = examined("kubernetes-support", resource("aws:eks/cluster:Cluster", inputs))
    assert len(found) == (said is not None)
    assert all(said in message for messages in found.values() for message in messages)


def test_the_end_of_support_is_an_advice_in_production_too():
    assert BY_NAME["kubernetes-support"].enforcement_level is EnforcementLevel.ADVISORY


@pytest.mark.parametrize(("repository", "found"), [({"name": "own"}, 1), ({"name": "cache", "forceDelete": True}, 0)])
def test_repositories_of_images_are_protected_unless_their_images_may_go(repository: Any, found: int) -> None:
    made = resource("aws:ecr/repository:Repository", repository)
    assert len(examined("stateful-unprotected", made)) == found
