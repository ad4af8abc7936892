"""Helm values as they are found in well-known blueprints, and as charts have them by default."""

from __future__ import annotations

import json

import pulumi
import pytest

from policies.reading.resources import SecretText
from tests.policies.conftest import UNKNOWN, examined, kubernetes, node_pool, release, resource, text

HUB = "jupyterhub"


def hub(**values):
    return release(HUB, values)


def singleuser(**values):
    return hub(singleuser=values)


BLUEPRINTS = {
    # Data on EKS and the like: everything that makes a first notebook start.
    "root by its uid": ("notebook-root", singleuser(uid=0)),
    "root by the pod": ("notebook-root", singleuser(extraPodConfig={"securityContext": {"runAsUser": 0}})),
    "root by NB_UID": ("notebook-root", singleuser(extraEnv={"NB_UID": "0"})),
    "sudo": ("notebook-sudo", singleuser(extraEnv={"GRANT_SUDO": "yes"})),
    "sudo in a profile": (
        "notebook-sudo",
        singleuser(profileList=[{"slug": "x", "kubespawner_override": {"environment": {"GRANT_SUDO": "1"}}}]),
    ),
    "every GPU of the node": ("notebook-visible-devices", singleuser(extraEnv={"NVIDIA_VISIBLE_DEVICES": "all"})),
    "escalation": ("notebook-privilege-escalation", singleuser(allowPrivilegeEscalation=True)),
    "a host's path": (
        "notebook-host-access",
        singleuser(storage={"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]}),
    ),
    "everybody": ("hub-allow-all", hub(hub={"config": {"Authenticator": {"allow_all": True}}})),
    "everybody who signs up": ("hub-allow-all", hub(hub={"config": {"NativeAuthenticator": {"open_signup": True}}})),
    "everybody who has a GitHub account": (
        "hub-allow-all",
        hub(hub={"config": {"GitHubOAuthenticator": {"client_id": "x", "allow_all": True}}}),
    ),
    "temporary users": (
        "hub-dummy-authenticator",
        hub(hub={"config": {"JupyterHub": {"authenticator_class": "tmp"}}}),
    ),
    "a literal client secret": (
        "literal-secret",
        hub(hub={"config": {"GenericOAuthenticator": {"client_secret": "f2f9d2c1-42a3"}}}),
    ),
    "a literal proxy token": ("literal-secret", hub(proxy={"secretToken": "0f9cd5de68e9ddd5"})),
    "a shared dummy password": (
        "default-password",
        hub(hub={"config": {"DummyAuthenticator": {"password": "jupyter"}}}),
    ),
    "a public proxy": ("public-service", hub(proxy={"service": {"type": "LoadBalancer"}})),
    "a public proxy by annotations": (
        "public-service",
        hub(
            proxy={
                "service": {
                    "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"},
                }
            }
        ),
    ),
    "an iptables container": (
        "hub-iptables-init-container",
        singleuser(cloudMetadata={"blockWithIptables": True}),
    ),
    "an open metadata address": (
        "metadata-address-reachable",
        singleuser(cloudMetadata={"blockWithIptables": False}, networkPolicy={"enabled": False}),
    ),
    "egress to everywhere": (
        "metadata-address-reachable",
        singleuser(
            cloudMetadata={"blockWithIptables": False},
            networkPolicy={"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
        ),
    ),
    "a moving notebook image": (
        "unpinned-image",
        singleuser(image={"name": "jupyter/datascience-notebook", "tag": "latest"}),
    ),
    "GPUs without a toleration": (
        "gpu-request-without-toleration",
        singleuser(
            profileList=[{"slug": "gpu", "kubespawner_override": {"extra_resource_limits": {"nvidia.com/gpu": "1"}}}]
        ),
    ),
    "training with 64 MiB of shared memory": (
        "notebook-shared-memory",
        singleuser(
            profileList=[{"slug": "gpu", "kubespawner_override": {"extra_resource_limits": {"nvidia.com/gpu": "1"}}}]
        ),
    ),
    "tolerations for everybody": (
        "gpu-toleration-without-request",
        singleuser(extraTolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]),
    ),
    "keycloak in dev mode": ("keycloak-dev-mode", release("keycloakx", {"args": ["start-dev"]})),
    "keycloak's admin password": (
        "default-password",
        release("keycloakx", {"extraEnv": "- name: KEYCLOAK_ADMIN_PASSWORD\n  value: admin\n"}),
    ),
    "keycloak's admin console": (
        "admin-path-published",
        release("keycloakx", {"ingress": {"enabled": True, "rules": [{"host": "x", "paths": [{"path": "/"}]}]}}),
    ),
    "the realm master for people": (
        "keycloak-master-realm",
        hub(hub={"config": {"GenericOAuthenticator": {"token_url": "https://a.example.com/realms/master/protocol"}}}),
    ),
    "grafana's password": (
        "default-password",
        release("kube-prometheus-stack", {"grafana": {"adminPassword": "prom-operator"}}),
    ),
    "a device plugin that misses a taint": (
        "daemonset-misses-pool-taint",
        release("nvidia-device-plugin", {"tolerations": []}),
    ),
}  # fmt: skip

GPU_POOL = node_pool(taints=[{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}])


@pytest.mark.parametrize("blueprint", BLUEPRINTS)
def test_the_values_of_blueprints_are_refused(blueprint):
    policy, given = BLUEPRINTS[blueprint]
    assert given.name in examined(policy, given, GPU_POOL)


DEFAULTS = {
    HUB: [
        "hub-dummy-authenticator",
        "hub-iptables-init-container",
        "public-service",
        "notebook-maximal-age",
        "hub-homes-deleted",
    ],
    "keycloakx": ["keycloak-dev-mode"],
}


@pytest.mark.parametrize(("chart", "policy"), [(chart, policy) for chart in DEFAULTS for policy in DEFAULTS[chart]])
def test_a_charts_own_defaults_are_examined(chart, policy):
    assert examined(policy, release(chart))[chart]


@pytest.mark.parametrize(
    "chart", ["gpu-operator", "nvidia-device-plugin", "kube-prometheus-stack", "aws-efs-csi-driver"]
)
def test_charts_whose_defaults_run_on_gpu_nodes_are_accepted(chart):
    assert examined("daemonset-misses-pool-taint", release(chart), GPU_POOL) == {}


def test_another_taint_of_the_pool_is_missed_by_the_operators_defaults():
    pool = node_pool(
        taints=[
            {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"},
            {"key": "team", "value": "vision", "effect": "NoSchedule"},
        ]
    )
    said = examined("daemonset-misses-pool-taint", release("gpu-operator"), pool)["gpu-operator"]
    assert all("team=vision:NoSchedule" in message for message in said)
    everything = {
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}, {"key": "team", "operator": "Exists"}]
    }
    values = {"daemonsets": everything, "node-feature-discovery": {"worker": everything}}
    assert examined("daemonset-misses-pool-taint", release("gpu-operator", values), pool) == {}


def test_a_secret_of_pulumis_is_no_literal_and_may_still_be_a_default():
    def given(password):
        return release("keycloakx", {"database": {"password": password}})

    assert examined("literal-secret", given("s3cr3t-enough"))
    assert examined("literal-secret", given(SecretText("s3cr3t-enough"))) == {}
    assert examined("default-password", given(SecretText("changeme")))


def test_names_of_secrets_are_no_secrets():
    values = {
        "database": {"existingSecret": "db", "existingSecretKey": "password", "passwordSecretRef": {"name": "db"}},
        "imagePullSecrets": ["registry"],
        "hub": {"pullSecret": "registry"},
        "auth": {"secretName": "x", "tokenUrl": "https://x.example.com", "passwordPolicy": "length(12)"},
        "extraEnv": text([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]),
        "podAnnotations": {"checksum/db-secret": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
    }
    assert examined("literal-secret", release("keycloakx", values)) == {}


def test_a_value_that_is_not_known_yet_is_told_and_the_others_are_examined():
    values = {"database": {"password": UNKNOWN}, "auth": {"adminPassword": "changeme"}}
    said = examined("literal-secret", release("keycloakx", values))
    assert "values.database.password" in said["unknown"][0]
    assert any("values.auth.adminPassword" in message for message in said["keycloakx"])


def test_values_that_are_not_known_as_a_whole_are_never_passed():
    unknown = release(HUB, UNKNOWN)
    for policy in ("hub-allow-all", "notebook-root", "literal-secret", "unpinned-image", "public-service"):
        assert "not yet known: values" in examined(policy, unknown)["unknown"][0], policy


def test_a_file_of_values_counts_as_values_do(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("singleuser: {uid: 0}\nproxy: {secretToken: 0f9cd5de68e9ddd5}\n", encoding="utf-8")
    given = release(HUB, valueYamlFiles=[pulumi.FileAsset(str(file))])
    assert examined("notebook-root", given)
    assert examined("literal-secret", given)
    gone = release(HUB, valueYamlFiles=[pulumi.FileAsset(str(tmp_path / "elsewhere.yaml"))])
    assert "valueYamlFiles" in examined("literal-secret", gone)["unknown"][0]


def test_own_values_stand_above_a_file_and_the_charts_defaults(tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("singleuser: {uid: 0}\n", encoding="utf-8")
    given = release(HUB, {"singleuser": {"uid": 1000}}, valueYamlFiles=[pulumi.FileAsset(str(file))])
    assert examined("notebook-root", given) == {}


@pytest.mark.parametrize(
    "chart", ["oci://ghcr.io/x/jupyterhub", "./charts/jupyterhub", "/charts/jupyterhub-4.4.0.tgz", "jupyterhub"]
)
def test_a_chart_is_known_wherever_it_comes_from(chart):
    assert examined("hub-dummy-authenticator", release(chart))


def test_a_profile_list_in_a_configmap_is_a_profile_list():
    profiles = [{"slug": "x", "kubespawner_override": {"uid": 0}}]
    labelled = {"labels": {"gpulab.dev/profiles": "team"}}
    assert examined("notebook-root", kubernetes("ConfigMap", metadata=labelled, data={"x": json.dumps(profiles)}))
    assert examined("notebook-root", kubernetes("ConfigMap", data={"x": json.dumps(profiles)})) == {}


def catalogue(pool=None, **profile):
    """A ConfigMap with a catalogue as gpulab's hub reads it: a team with one profile."""
    document = {
        "teams": {"a": {"namespace": "team-a", "profiles": ["x"], "nodePools": ["cpu", "gpu"]}},
        "profiles": {
            "x": {
                "image": "quay.io/x/y:1",
                "env": {},
                "cpu": 2,
                "memory": "8Gi",
                "gpu": None,
                "lifetime": 3600,
                **profile,
            }
        },
        "pools": {
            "cpu": {"gpu": False, "tolerations": []},
            "gpu": {"gpu": True, "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}], **(pool or {})},
        },
    }
    labelled = {"labels": {"gpulab.dev/catalogue": "true"}, "name": "catalogue"}
    return kubernetes("ConfigMap", metadata=labelled, data={"catalogue.json": json.dumps(document)})


def test_a_catalogues_profiles_are_examined_as_others_are():
    assert "a/x" in examined("unpinned-image", catalogue(image="quay.io/x/y:latest"))["catalogue"][0]
    assert examined("unpinned-image", catalogue()) == {}
    assert "lifetime" in examined("notebook-maximal-age", catalogue(lifetime=None))["catalogue"][0]
    assert "200 h" in examined("notebook-maximal-age", catalogue(lifetime=200 * 3600))["catalogue"][0]
    assert examined("notebook-maximal-age", catalogue()) == {}
    quota = kubernetes(
        "ResourceQuota", {"hard": {"requests.cpu": "1"}}, metadata={"name": "team", "namespace": "team-a"}
    )
    assert "a/x" in examined("profile-beyond-quota", catalogue(), quota)["catalogue"][0]
    gpu = {"pool": "gpu", "resource": "nvidia.com/gpu", "count": 4}
    small = node_pool(
        requirements=[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge"]}]
    )
    assert examined("profile-beyond-node", catalogue(gpu=gpu), small)


def test_a_profile_that_discovers_gpus_is_examined_in_each_gpu_pool_of_the_team():
    discovered = catalogue(discovery={"byNode": False})
    granted = {"requests.cpu": "8", "requests.nvidia.com/gpu": "1"}
    team = {"name": "team", "namespace": "team-a"}
    assert (
        examined("profile-beyond-quota", discovered, kubernetes("ResourceQuota", {"hard": granted}, metadata=team))
        == {}
    )
    none = kubernetes("ResourceQuota", {"hard": {**granted, "requests.nvidia.com/gpu": "0"}}, metadata=team)
    assert "nvidia.com/gpu" in examined("profile-beyond-quota", discovered, none)["catalogue"][0]
    assert "64 MiB" in examined("notebook-shared-memory", discovered)["catalogue"][0]


def test_a_notebook_on_nodes_that_are_there_tolerates_what_these_have():
    gpu = {"pool": "gpu", "resource": "nvidia.com/gpu", "count": 1}
    bare = {"tolerations": [], "nodeSelector": {"role": "gpu"}}
    assert examined("gpu-request-without-toleration", catalogue(bare, gpu=gpu))
    assert examined("gpu-request-without-toleration", catalogue({**bare, "capacityTypes": []}, gpu=gpu)) == {}


def test_a_hub_that_follows_a_catalogue_has_no_notebook_of_its_own():
    follows = {"labels": {"gpulab.dev/catalogue": "true"}}
    assert examined("notebook-maximal-age", hub(hub=follows, cull={"enabled": False})) == {}
    assert examined("notebook-maximal-age", hub(cull={"enabled": False}))
    assert examined("notebook-namespace-quota", hub(hub=follows)) == {}
    assert examined("notebook-namespace-quota", hub())


def test_an_option_of_a_profile_is_examined():
    option = {"choices": {"latest": {"kubespawner_override": {"image": "quay.io/x/y:latest"}}}}
    given = singleuser(profileList=[{"slug": "x", "profile_options": {"image": option}}])
    assert "x/latest" in examined("unpinned-image", given)[HUB][0]


def test_a_database_password_that_everybody_knows():
    given = resource("aws:rds/instance:Instance", {"password": SecretText("postgres")})
    assert examined("default-password", given)
