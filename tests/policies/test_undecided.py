"""What no policy can read is reported as not decided, never passed; and labels of EKS Auto Mode are read."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from policies.catalogue import POLICIES
from tests.policies.conftest import (
    HERE,
    UNKNOWN,
    examined,
    kubernetes,
    listener_rule,
    node_pool,
    release,
    resource,
    text,
)

CASES = HERE.parent / "cases"
GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "true", "effect": "NoSchedule"}
HUB = "jupyterhub"


def pool_of(manifest):
    return kubernetes("NodePool", manifest["spec"], api=manifest["apiVersion"], metadata=manifest["metadata"])


def findings(pool):
    return {policy.name: said for policy in POLICIES if (said := examined(policy, pool))}


def test_a_pool_of_eks_auto_mode_has_the_findings_of_the_same_pool_of_karpenter():
    written = (CASES / "nodepool-auto-mode.yaml").read_text(encoding="utf-8")
    auto_mode = findings(pool_of(yaml.safe_load(written)))
    karpenter = written.replace("eks.amazonaws.com/instance", "karpenter.k8s.aws/instance")
    own = karpenter.replace("eks.amazonaws.com, kind: NodeClass", "karpenter.k8s.aws, kind: EC2NodeClass")
    assert auto_mode == findings(pool_of(yaml.safe_load(own)))
    assert auto_mode.keys() >= {
        "gpu-pool-taint",
        "gpu-pool-gpu-limit",
        "notebooks-on-spot-alone",
        "notebook-pool-consolidation",
        "notebook-pool-drift-budget",
    }


def asks(key, *values, operator="In", **more):
    return node_pool(requirements=[{"key": key, "operator": operator, "values": list(values)}], **more)


# What is asked of instance types, and a part of what is then reported.
UNREAD = {
    "a requirement that the catalogue says nothing of": (
        asks("karpenter.k8s.aws/instance-hypervisor", "nitro"),
        "its requirement karpenter.k8s.aws/instance-hypervisor",
    ),
    "one of Auto Mode's": (
        asks("eks.amazonaws.com/instance-network-bandwidth", "1000", operator="Gt"),
        "its requirement eks.amazonaws.com/instance-network-bandwidth",
    ),
    "a family that the catalogue does not have": (asks("karpenter.k8s.aws/instance-family", "g99"), "g99"),
    "a type that it does not have": (asks("node.kubernetes.io/instance-type", "p99.48xlarge"), "p99.48xlarge"),
    "another cloud's node class": (
        asks("karpenter.azure.com/sku-gpu-count", "1", nodeClassRef={"group": "karpenter.azure.com"}),
        "karpenter.azure.com",
    ),
    "requirements that no type meets": (asks("karpenter.k8s.aws/instance-gpu-count", "99"), "no instance type"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREAD)
@pytest.mark.parametrize("policy", ["gpu-pool-taint", "gpu-pool-gpu-limit", "notebook-pool-consolidation"])
def test_a_requirement_that_is_not_understood_leaves_the_policy_not_decided(policy, case):
    pool, why = UNREAD[case]
    said = examined(policy, pool)
    assert said.keys() == {"unknown"}
    assert said["unknown"][0].startswith("not decided: ")
    assert why in said["unknown"][0]


def test_what_is_not_understood_does_not_matter_where_the_rest_decides():
    nitro = {"key": "karpenter.k8s.aws/instance-hypervisor", "operator": "In", "values": ["nitro"]}
    gpus = {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g5"]}
    cpus = {**gpus, "values": ["m7i"]}
    assert examined("gpu-pool-taint", node_pool(requirements=[nitro, gpus])).keys() == {"gpu"}
    assert examined("gpu-pool-taint", node_pool(requirements=[nitro, cpus])) == {}
    by_limit = node_pool(requirements=[nitro], spec_={"limits": {GPU: "8"}})
    assert examined("gpu-pool-taint", by_limit).keys() == {"gpu"}


def test_what_a_pool_costs_is_not_decided_without_a_price():
    dear = asks("karpenter.k8s.aws/instance-family", "p5")
    assert "p5.48xlarge costs 55.04" in examined("instance-price", dear, usdAnHour=50)["gpu"][0]
    family = {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["p5"]}
    speed = {"key": "karpenter.k8s.aws/instance-network-bandwidth", "operator": "Lt", "values": ["9"]}
    assert (
        "instance-network-bandwidth"
        in examined("instance-price", node_pool(requirements=[family, speed]), usdAnHour=50)["unknown"][0]
    )
    assert "g99" in examined("instance-price", asks("karpenter.k8s.aws/instance-family", "g99"))["unknown"][0]
    nothing = asks("karpenter.k8s.aws/instance-gpu-count", "99")
    assert "what meets its requirements" in examined("instance-price", nothing)["unknown"][0]
    instance = resource("aws:ec2/instance:Instance", {"instanceType": "p99.48xlarge"})
    assert "p99.48xlarge" in examined("instance-price", instance)["unknown"][0]
    template = resource(
        "aws:ec2/launchTemplate:LaunchTemplate", {"instanceRequirements": {"acceleratorCount": {"min": 8}}}
    )
    assert "instanceRequirements" in examined("instance-price", template)["unknown"][0]


def test_capacity_is_read_however_it_is_asked_for():
    spot = {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["on-demand"]}
    assert examined("notebooks-on-spot-alone", node_pool(taints=[TAINT], requirements=[spot]))
    assert examined("notebooks-on-spot-alone", node_pool(taints=[TAINT])) == {}


def overlay(key, *values):
    requirement = {"key": key, "operator": "In", "values": list(values)}
    capacity = {GPU: "0", "nvidia.com/gpu.shared": "4"}
    return kubernetes("NodeOverlay", {"requirements": [requirement], "capacity": capacity}, api="karpenter.sh/v1alpha1")


def test_an_overlay_is_read_by_whatever_it_selects_nodes():
    limited = node_pool(spec_={"limits": {GPU: "8"}})
    for key, values in (
        ("karpenter.sh/nodepool", ["gpu"]),
        ("gpulab.dev/pool", ["gpu"]),
        ("karpenter.k8s.aws/instance-family", ["g5", "g6"]),
    ):
        assert examined("shared-pool-limit-resource", limited, overlay(key, *values)).keys() == {"gpu"}, key
    for key, values in (("gpulab.dev/pool", ["other"]), ("karpenter.k8s.aws/instance-family", ["p5"])):
        assert examined("shared-pool-limit-resource", limited, overlay(key, *values)) == {}, key
    for key, values in (
        ("node.kubernetes.io/instance-type", ["g5.xlarge"]),
        ("karpenter.k8s.aws/instance-network-bandwidth", ["1"]),
    ):
        assert "not decided" in examined("shared-pool-limit-resource", limited, overlay(key, *values))["unknown"][0], (
            key
        )


def profile(**override):
    labelled = {"labels": {"gpulab.dev/profiles": "team"}, "name": "profiles"}
    listed = [{"slug": "x", "kubespawner_override": override}]
    return kubernetes("ConfigMap", metadata=labelled, data={"x": text(listed)})


def test_a_profile_that_selects_nodes_by_their_type_is_held_against_that_type():
    small = profile(cpu_guarantee=8, node_selector={"node.kubernetes.io/instance-type": "g5.xlarge"})
    assert examined("profile-beyond-node", small, node_pool(taints=[TAINT])).keys() == {"profiles"}
    fits = profile(cpu_guarantee=2, node_selector={"node.kubernetes.io/instance-type": "g5.xlarge"})
    assert examined("profile-beyond-node", fits, node_pool(taints=[TAINT])) == {}
    elsewhere = profile(cpu_guarantee=8, node_selector={"example.com/nodes": "team"})
    assert "example.com/nodes=team" in examined("profile-beyond-node", elsewhere, node_pool())["unknown"][0]


def test_quotas_are_summed_by_their_short_names_and_against_pools_that_count_gpus():
    team = kubernetes("Namespace", metadata={"name": "team", "labels": {"gpulab.dev/team": "team"}})
    cpu = node_pool(
        requirements=[{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i"]}],
        spec_={"limits": {"cpu": "4"}},
    )
    short = kubernetes("ResourceQuota", {"hard": {"cpu": "5"}}, metadata={"namespace": "team"})
    assert examined("quotas-beyond-pool-limits", cpu, team, short)[""]
    gpus = kubernetes("ResourceQuota", {"hard": {f"requests.{GPU}": "9"}}, metadata={"namespace": "team"})
    counted, not_counted = node_pool("a", spec_={"limits": {GPU: "8"}}), node_pool("b", spec_={"limits": {"cpu": "8"}})
    assert examined("quotas-beyond-pool-limits", counted, team, gpus)[""]
    assert examined("quotas-beyond-pool-limits", counted, not_counted, team, gpus) == {}


def test_what_an_init_container_in_a_hubs_values_runs_and_as_whom():
    values = yaml.safe_load((CASES / "hub-values-init-container.yaml").read_text(encoding="utf-8"))
    given = release(HUB, values)
    place = "values.singleuser.initContainers.0"
    assert any(f"{place}.image is alpine" in message for message in examined("unpinned-image", given)[HUB])
    assert any(f"{place}: uid is 0" in message for message in examined("notebook-root", given)[HUB])
    assert examined("notebook-privilege-escalation", given)[HUB]
    # A hub that follows a catalogue adds it to the catalogue's notebooks.
    follows = release(HUB, {**values, "hub": {"labels": {"gpulab.dev/catalogue": "true"}}})
    assert examined("notebook-root", follows)[HUB]


ROOT = {"name": "x", "image": "alpine", "securityContext": {"runAsUser": 0, "privileged": True}}
OWN = {"kubespawner_override": {"init_containers": [ROOT]}}
CONTAINERS = {
    "init containers of notebooks": (HUB, {"singleuser": {"initContainers": [ROOT]}}),
    "by their names, as KubeSpawner takes them too": (HUB, {"singleuser": {"initContainers": {"x": ROOT}}}),
    "sidecars of notebooks": (HUB, {"singleuser": {"extraContainers": [ROOT]}}),
    "in a profile": (HUB, {"singleuser": {"profileList": [{"slug": "x", **OWN}]}}),
    "in the pod's own words": (HUB, {"singleuser": {"extraPodConfig": {"initContainers": [ROOT]}}}),
    "beside the hub": (HUB, {"hub": {"extraContainers": [ROOT]}}),
    "before the hub": (HUB, {"hub": {"initContainers": [ROOT]}}),
    "before the proxy": (HUB, {"proxy": {"traefik": {"extraInitContainers": [ROOT]}}}),
    "as a text": ("keycloakx", {"extraInitContainers": json.dumps([ROOT])}),
    "beside Karpenter": ("karpenter", {"controller": {"sidecarContainer": [ROOT]}}),
    "of a chart that nobody knows": ("somebodys", {"a": {"additionalContainers": [ROOT]}}),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_are_read_wherever_values_add_them(case):
    chart, values = CONTAINERS[case]
    given = release(chart, values)
    assert any("alpine" in message for message in examined("unpinned-image", given)[chart])
    assert examined("workload-privileged", given)[chart]
    if set(values) == {"singleuser"}:
        assert any("uid is 0" in message for message in examined("notebook-root", given)[chart])


def test_a_part_of_an_image_is_not_taken_for_its_whole():
    driver = {"repository": "nvcr.io/nvidia", "image": "driver", "version": "580.126.20"}
    assert examined("unpinned-image", release("gpu-operator", {"driver": driver})) == {}


def test_who_a_container_runs_as_is_its_images_choice_unless_something_is_said():
    given = release(HUB, {"singleuser": {"initContainers": [{"name": "x", "image": "busybox:1.37.0"}]}})
    assert "values.singleuser.initContainers.0" in examined("notebook-root", given)["unknown"][0]
    non_root = {"name": "x", "image": "busybox:1.37.0", "securityContext": {"runAsNonRoot": True}}
    assert examined("notebook-root", release(HUB, {"singleuser": {"initContainers": [non_root]}})) == {}
    assert "values.singleuser" in examined("notebook-root", release(HUB, {"singleuser": {"uid": None}}))["unknown"][0]


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("notebook-root", "c.KubeSpawner.uid = 0"),
        ("notebook-sudo", "c.Spawner.environment.update(GRANT_SUDO='yes')"),
        ("notebook-host-access", "c.KubeSpawner.volumes.append({'hostPath': {'path': '/'}})"),
        ("hub-allow-all", "c.GenericOAuthenticator.allow_all = True"),
        ("hub-administrators-in-notebooks", "c.Authenticator.admin_users = {'root'}"),
        ("hub-dummy-authenticator", "c.JupyterHub.authenticator_class = 'dummy'"),
    ],
)
def test_what_a_hub_sets_in_python_is_not_decided(policy, line):
    said = examined(policy, release(HUB, {"hub": {"extraConfig": {"own": line}}}))
    assert any("values.hub.extraConfig.own" in message for message in said["unknown"])
    assert "unknown" not in examined(policy, release(HUB, {"hub": {"extraConfig": {"own": "c.Spawner.cmd = ['x']"}}}))


NOT_DECIDED = {
    "a list of profiles that is none": (
        "notebook-root",
        kubernetes("ConfigMap", metadata={"labels": {"gpulab.dev/profiles": "team"}}, data={"x": "a: b: c"}),
    ),
    "a catalogue that is none": (
        "notebook-maximal-age",
        kubernetes("ConfigMap", metadata={"labels": {"gpulab.dev/catalogue": "true"}}, data={"x": "[]"}),
    ),
    "an IAM policy that is no document": (
        "iam-action-wildcard",
        resource("aws:iam/policy:Policy", {"policy": '{"Statement": [{"Action": "*"'}),
    ),
    "a realm that is no document": (
        "keycloak-brute-force",
        kubernetes("ConfigMap", data={"realm.json": '{"realm": "people", "clients": [{'}),
    ),
    "an image that people type": (
        "unpinned-image",
        release(
            HUB,
            {
                "singleuser": {
                    "profileList": [
                        {
                            "slug": "x",
                            "profile_options": {
                                "image": {
                                    "unlisted_choice": {
                                        "enabled": True,
                                        "kubespawner_override": {"image": "{value}"},
                                    }
                                }
                            },
                        }
                    ]
                }
            },
        ),
    ),
    "a text with a chart's own template": (
        "unpinned-image",
        release("keycloakx", {"extraInitContainers": "{{- if .Values.x }}\n- image: y\n{{- end }}"}),
    ),
    "an image that another may take the place of": (
        "unpinned-node-image",
        kubernetes("EC2NodeClass", {"amiSelectorTerms": [{"name": "my-image-*"}]}, api="karpenter.k8s.aws/v1"),
    ),
    "a prefix list": (
        "security-group-open",
        resource("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"protocol": "-1", "prefixListIds": ["pl-1"]}]}),
    ),
    "an expression for paths": (
        "admin-path-published",
        listener_rule(["auth.example.com"], [], pathPattern={"regexValues": ["^/admin/.*$"]}),
    ),
    "an expression for hosts that are opened": (
        "admin-path-published",
        listener_rule([], ["/*"], hostHeader={"regexValues": [".*"]}),
    ),
    "an expression for hosts": (
        "wildcard-host",
        listener_rule([], ["/*"], hostHeader={"regexValues": [".*"]}),
    ),
    "a launch template without volumes": ("ebs-encryption", resource("aws:ec2/launchTemplate:LaunchTemplate", {})),
    "another database": ("database-tls", resource("aws:rds/parameterGroup:ParameterGroup", {"family": "mysql8.4"})),
}


@pytest.mark.parametrize("case", NOT_DECIDED)
def test_what_cannot_be_read_is_never_passed(case):
    policy, given = NOT_DECIDED[case]
    assert "not decided: " in examined(policy, given)["unknown"][0]


def test_a_secret_in_the_environment_is_one_whatever_it_is_called():
    container = {"name": "x", "image": "x:1.0.0", "envFrom": [{"secretRef": {"name": UNKNOWN}}]}
    for namespace in ("team", UNKNOWN):
        pod = kubernetes("Pod", {"containers": [container]}, metadata={"namespace": namespace})
        assert "envFrom" in examined("secret-in-environment", pod)["one"][0]
        assert examined("workload-seccomp", pod)["one"]
    system = kubernetes("Pod", {"containers": [container]}, metadata={"namespace": "kube-system"})
    assert examined("secret-in-environment", system) == {}


def test_a_parameter_that_moves_is_refused():
    moves = "/aws/service/eks/optimized-ami/1.35/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
    term = {"amiSelectorTerms": [{"ssmParameter": moves}]}
    assert examined("unpinned-node-image", kubernetes("EC2NodeClass", term, api="karpenter.k8s.aws/v1"))["one"]


def test_a_roles_own_policies_are_read():
    everything = text({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    role = resource("aws:iam/role:Role", {"inlinePolicies": [{"name": "x", "policy": everything}]})
    assert examined("iam-action-wildcard", role)["one"]
    assert examined("iam-action-wildcard", resource("aws:iam/role:Role", {"assumeRolePolicy": everything})) == {}


def egress(**rule):
    return release(
        HUB, {"singleuser": {"cloudMetadata": {"blockWithIptables": False}, "networkPolicy": {"egress": [rule]}}}
    )


@pytest.mark.parametrize(
    ("rule", "refused"),
    [
        ({"to": []}, True),
        ({"to": [{"ipBlock": {"cidr": "128.0.0.0/1"}}]}, True),
        ({"to": [{"ipBlock": {"cidr": "169.254.0.0/16", "except": ["169.254.169.254/32"]}}]}, False),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 80}]}, True),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 1, "endPort": 1024}]}, True),
        ({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}, False),
        ({"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}, False),
        ({"to": [{"namespaceSelector": {}}]}, False),
    ],
)
def test_ranges_and_ports_are_read_not_compared(rule, refused):
    assert bool(examined("metadata-address-reachable", egress(**rule))) is refused


def test_a_backup_by_tag_is_of_what_has_the_tag():
    selection = resource(
        "aws:backup/selection:Selection", {"selectionTags": [{"type": "STRINGEQUALS", "key": "Backup", "value": "yes"}]}
    )
    tagged = resource("aws:efs/fileSystem:FileSystem", {"tags": {"Backup": "yes"}}, "homes")
    assert examined("data-without-backup", selection, tagged) == {}
    untagged = resource("aws:efs/fileSystem:FileSystem", {"tags": {"Backup": "no"}}, "homes")
    assert examined("data-without-backup", selection, untagged)["homes"]


def test_a_secret_is_read_as_the_provider_keeps_it():
    secret = kubernetes("Secret", data={"password": base64.b64encode(b"changeme").decode()})
    assert examined("default-password", secret)["one"]
    realm = {"realm": "people", "clients": [{"clientId": "x", "redirectUris": ["https://*"]}]}
    kept = kubernetes("Secret", data={"realm.json": base64.b64encode(text(realm).encode()).decode()})
    assert examined("wildcard-redirect", kept)["one"]
