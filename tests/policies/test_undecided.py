"""What policies cannot read is reported as not decided, and never accepted."""

from __future__ import annotations

import base64

import pytest

from tests.policies.conftest import (
    UNKNOWN,
    examined,
    kubernetes,
    listener_rule,
    release,
    resource,
    text,
)

GPU = "nvidia.com/gpu"
HUB = "jupyterhub"


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
