"""The platform on a cluster that exists, deployed to the mocks: what is made, whose it is, in which order it goes."""

from __future__ import annotations

import base64
import datetime
import re
from pathlib import Path
from typing import Any

import pulumi
import pytest
from engine_mocks import EngineMocks
from existing_lab import PEOPLE, find, load, manifest
from kubernetes.client import ApiException
from test_shared_files import CLAIM, VOLUME, nfs

import settings
from components.ground import secrets
from components.ground.existing import ground
from components.ground.existing.addresses import addresses_of
from components.ground.existing.found import FoundCluster
from components.ground.existing.labels import stack_labels_transform
from components.ground.existing.report import UnfitClusterError
from components.ground.secrets import ClusterSecrets, SecretMissingError
from components.platform import Platform
from settings.language.secret_reference import SecretReference

STACKS = Path(__file__).parents[2] / "stacks"
NAMESPACE, PROVIDER = "kubernetes:core/v1:Namespace", "pulumi:providers:kubernetes"
RELEASE, SECRET = "kubernetes:helm.sh/v3:Release", "kubernetes:core/v1:Secret"
UID = "8f3c3a52-7c1f-4a3e-9d0c-6b1f2f0a7e11"
API = [
    {"kind": "Namespace", "metadata": {"name": "kube-system", "uid": UID}},
    {
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.43.0.1", "clusterIPs": ["10.43.0.1"], "ports": [{"port": 443}]},
    },
    {
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "endpoints": [{"addresses": ["192.168.1.10"]}, {"addresses": ["192.168.1.11"]}],
        "ports": [{"port": 6443}],
    },
]


def deploy(stack: settings.Settings, found: FoundCluster, mocks: EngineMocks | None = None) -> EngineMocks:
    mocks = mocks or EngineMocks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ground, "read_cluster", lambda *_: found)
        mocks.deploy(lambda: Platform(stack.name, stack))
    return mocks


@pytest.fixture(scope="module")
def made() -> EngineMocks:
    stack = settings.check_stack_file(STACKS / "existing-gpus.happy.yaml", "lab", datetime.date(2027, 1, 1))
    return deploy(stack, find("k3s", *API))


def test_no_aws_is_used(made: EngineMocks) -> None:
    assert {
        one.type for one in made.resources if one.type.startswith(("aws:", "eks:", "pulumi:providers:aws"))
    } == set()
    assert not [call for call in made.calls if call.token.startswith("aws:")]


def test_the_cluster_is_the_one_of_the_context_and_is_known_by_more_than_its_name(made: EngineMocks) -> None:
    provider = made.one(PROVIDER)
    assert provider.inputs["kubeconfig"] == "~/.kube/config"
    assert provider.inputs["context"] == "k3s"
    assert provider.inputs["clusterIdentifier"] == UID
    others = {one.provider.rpartition("::")[0] for one in made.resources if one.type.startswith("kubernetes:")}
    assert others == {provider.urn}


def labels(type_: str, **props: Any) -> dict[str, str]:
    """Those that the engine has the stack's transform add."""
    transform = stack_labels_transform(load())
    made = transform(pulumi.ResourceTransformArgs(True, type_, "name", props, pulumi.ResourceOptions()))
    return made.props["metadata"]["labels"] if made else {}  # type: ignore[union-attr]


def test_every_object_says_whose_it_is_and_every_namespace_that_it_is_a_labs() -> None:
    assert labels("kubernetes:core/v1:Secret", metadata={"name": "a", "labels": {"b": "c"}}) == {
        "b": "c",
        "gpulab.dev/stack": "lab",
    }
    of_a_lab = {"gpulab.dev/lifecycle": "lab", "gpulab.dev/expires": "2027-06-30"}
    assert labels(NAMESPACE, metadata={"name": "a"}) == {"gpulab.dev/stack": "lab", **of_a_lab}
    assert labels(RELEASE, chart="jupyterhub") == {}
    assert labels("random:index/randomPassword:RandomPassword", metadata={"name": "a"}) == {}


def test_the_hub_has_no_right_outside_its_namespaces_where_nobody_buys_machines(made: EngineMocks) -> None:
    roles = [one for one in made.all("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole") if "-hub" in one.name]
    assert roles == []


def test_policies_of_the_network_know_the_api_server_by_service_and_endpoints(made: EngineMocks) -> None:
    (hub,) = [one for one in made.all(RELEASE) if one.inputs["chart"].endswith("jupyterhub")]
    rules = hub.inputs["values"]["hub"]["networkPolicy"]["egress"]
    (api,) = [rule for rule in rules if any("ipBlock" in peer for peer in rule["to"])]
    assert [peer["ipBlock"]["cidr"] for peer in api["to"]] == ["10.43.0.1/32", "192.168.1.10/32", "192.168.1.11/32"]
    assert [port["port"] for port in api["ports"]] == [443, 6443]


def test_a_destroy_ends_the_platform_before_it_takes_the_marks_off_the_nodes(made: EngineMocks) -> None:
    marks = next(one for one in made.resources if "NodeMarks" in one.type)
    (gate,) = [one for one in made.resources if "VolumeGate" in one.type]
    assert made.needs(gate, marks)
    for chart in ("nvidia-device-plugin", "jupyterhub", "keycloakx"):
        (release,) = [one for one in made.all(RELEASE) if one.inputs["chart"].endswith(chart)]
        assert made.needs(release, marks), chart
    assert gate.inputs["namespaces"] == ["gpulab-files", "hub", "identity", "team-lab"]


def test_a_destroy_does_not_wait_for_files_that_it_keeps() -> None:
    storage = {"homes": "shared", "homeSize": 20, "retain": True, "sharedClass": "nfs"}
    shares = {**manifest("StorageClass", "nfs"), "provisioner": "nfs.csi.k8s.io"}
    mocks = EngineMocks()
    mocks.outputs[CLAIM] = lambda one: {"spec": {**one.inputs["spec"], "volumeName": f"pvc-{one.name}"}}
    mocks.outputs[VOLUME] = lambda one: {"spec": {**nfs(), **(one.inputs.get("spec") or {})}}
    deploy(load(**PEOPLE, storage=storage), find("k3s", shares), mocks)
    (gate,) = [one for one in mocks.resources if "VolumeGate" in one.type]
    assert gate.inputs["namespaces"] == ["hub", "identity", "team-vision"]


def test_gates_keep_where_the_kubeconfig_is_and_not_what_is_in_it(made: EngineMocks) -> None:
    (gate,) = [one for one in made.resources if "VolumeGate" in one.type]
    assert gate.inputs["kubeconfig"] == '{"path": "~/.kube/config", "context": "k3s"}'


def test_what_is_in_the_way_is_told_at_once_and_nothing_is_made() -> None:
    sections = {"nodePools": {"gpu": {"nodes": ["ws-9999"], "gpus": {"count": 1}}}, **PEOPLE}
    mocks = EngineMocks()
    with pytest.raises(UnfitClusterError) as refused:
        deploy(load(**sections), find("k3s", manifest("Namespace", "hub")), mocks)
    assert "gpulab:nodePools.gpu.nodes: has ws-9999, and the cluster has no such node" in str(refused.value)
    assert "Namespace hub is there already" in str(refused.value)
    assert [one.type for one in mocks.resources if one.custom] == []


def test_a_database_operator_of_others_is_used_and_keycloaks_data_are_in_the_class_of_homes() -> None:
    operator = {
        **manifest("Deployment", "cnpg-controller-manager", "cnpg"),
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "manager", "image": "ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0"}]}
            }
        },
    }
    storage = {"homes": "per-person", "homeSize": 20, "homeClass": "local-path"}
    mocks = deploy(load(**PEOPLE, storage=storage), find("k3s", operator))
    assert not [one for one in mocks.all(RELEASE) if one.inputs["chart"].endswith("cloudnative-pg")]
    database = mocks.one("kubernetes:postgresql.cnpg.io/v1:Cluster")
    assert database.inputs["spec"]["storage"]["storageClass"] == "local-path"


def test_system_nodes_lead_the_platforms_own_pods() -> None:
    at = {
        "selector": {"kubernetes.io/hostname": "ws-cpu"},
        "taints": [{"key": "role", "value": "system", "effect": "NoSchedule"}],
    }
    kind = {"kind": "existing", "context": "k3s", "distribution": "k3s", "systemNodes": at}
    mocks = deploy(load(**{**PEOPLE, "ground": kind}), find("k3s"))
    (keycloak,) = [one for one in mocks.all(RELEASE) if one.inputs["chart"].endswith("keycloakx")]
    assert keycloak.inputs["values"]["nodeSelector"] == {"kubernetes.io/hostname": "ws-cpu"}
    assert keycloak.inputs["values"]["tolerations"] == [
        {"key": "role", "operator": "Equal", "value": "system", "effect": "NoSchedule"}
    ]


def test_credentials_of_a_registry_come_from_a_secret_that_the_cluster_has() -> None:
    reference = {"kubernetesSecret": "harbor", "namespace": "tools", "key": ".dockerconfigjson"}
    hub = {"registry": {"mirror": "harbor.example.com/quay", "pullSecret": reference}}
    asked = []

    def read(access: dict[str, str], *place: str) -> dict[str, str]:
        asked.append((access["context"], *place))
        return {".dockerconfigjson": base64.b64encode(b'{"auths": {}}').decode()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "read_secret", read)
        mocks = deploy(load(**{**PEOPLE, "hub": hub}), find("k3s"))
    assert set(asked) == {("k3s", "tools", "harbor")}
    given = [one.inputs["stringData"] for one in mocks.all(SECRET) if one.inputs.get("metadata", {}).get("name")]
    pulls = [one[".dockerconfigjson"] for one in given if ".dockerconfigjson" in one]
    assert pulls
    assert set(pulls) == {'{"auths": {}}'}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ApiException(status=404), "Secret tools/harbor, which the stack file names, is not in the cluster: make it"),
        (OSError("refused"), "Secret tools/harbor, which the stack file names, can't be read: refused"),
        ({"other": "eA=="}, "Secret tools/harbor has no key token: set a key that it has (other)"),
    ],
)
def test_a_secret_that_is_not_as_the_stack_file_says_is_named(
    answer: Any, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    reference = SecretReference.model_validate({"kubernetesSecret": "harbor", "namespace": "tools", "key": "token"})
    monkeypatch.setattr(secrets, "read_secret", read)
    with pytest.raises(SecretMissingError, match=re.escape(words)):
        ClusterSecrets({})(reference, None)  # type: ignore[arg-type]


def test_pods_are_in_the_smallest_range_that_has_those_of_all_nodes() -> None:
    nodes = [{"spec": {"podCIDR": cidr}} for cidr in ("10.42.0.0/24", "10.42.1.0/24", "10.42.7.0/24")]
    assert addresses_of(nodes, [], []).pods == "10.42.0.0/21"
    assert addresses_of([], [], []).pods == "10.0.0.0/8"
