"""Teams in a whole platform: what is made for each, who has rights in it, and the order of its deletion."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import ingress_mocks
import platform_lab
import pytest
from engine_mocks import EngineMocks
from hypothesis import given
from hypothesis import strategies as st

from components.identity.realm.people import ADMINISTRATORS_GROUP
from components.teams.team import label_value
from settings.people.names import ROLES

QUOTA = {"cpu": 8, "memory": 32, "notebooks": 4}
STACK: dict[str, Any] = {
    "gpulab:owner": "ml-platform@example.com",
    "gpulab:costCenter": "research 042",
    "gpulab:network": {"cidr": "10.40.0.0/16", "zones": ["us-east-1a", "us-east-1b"], "interfaceEndpoints": ["sts"]},
    "gpulab:nodePools": {
        "cpu": {"categories": ["m"], "limits": {"cpu": 64}},
        "gpu": {"categories": ["g"], "gpus": {"min": 1, "max": 4}, "limits": {"gpus": 8}},
    },
    "gpulab:profiles": {
        "python": {"displayName": "Python", "image": "quay.io/jupyter/base-notebook:2026-08-03", "cpu": 2, "memory": 4},
    },
    "gpulab:teams": {
        "research": {
            "description": "Language models",
            "quota": {"gpus": 2, **QUOTA},
            "profiles": ["python"],
            "buckets": {"read": ["s3://corpus/text/"], "write": ["s3://results/research/"]},
        },
        "data-platform": {
            "description": "Datasets",
            "quota": QUOTA,
            "profiles": ["python"],
            "nodePools": ["cpu"],
            "reaches": ["10.50.0.0/16"],
            "writes": {"datasets": ["developer"]},
        },
    },
}

Deploy = Callable[..., Any]


@pytest.fixture
def deploy(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Deploys the platform with two teams, and with other sections as given."""

    def deployed(**changed: Any) -> Any:
        platform_lab.deploy(mocks, **{**STACK, **changed})
        return mocks

    with platform_lab.answering_eks(mocks, monkeypatch):
        yield deployed


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    """The graph of the platform with two teams, which tests only read."""
    return platform_lab.deployed(**STACK)


def of_namespace(mocks: Any, kind: str, namespace: str) -> Any:
    (found,) = [one for one in mocks.all(kind) if one.inputs["metadata"].get("namespace") == namespace]
    return found


def test_a_namespace_says_whose_it_is_and_who_may_run_where(lab: EngineMocks) -> None:
    spaces = {one.inputs["metadata"]["name"]: one.inputs["metadata"] for one in lab.all("kubernetes:core/v1:Namespace")}
    assert {"team-research", "team-data-platform"} <= spaces.keys()
    labels = spaces["team-data-platform"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert labels["gpulab.dev/team"] == "data-platform"
    assert labels["gpulab.dev/cost-center"] == "research-042"
    assert labels["gpulab.dev/owner"] == "ml-platform-at-example.com"
    assert spaces["team-data-platform"]["annotations"]["gpulab.dev/node-pools"] == "cpu"
    assert spaces["team-research"]["annotations"]["gpulab.dev/node-pools"] == "cpu,gpu"


def test_a_team_may_go_where_private_dns_sends_it(lab: EngineMocks) -> None:
    """Endpoints have addresses in their subnets, and their names lead only there."""
    (endpoint,) = [
        one for one in lab.all("aws:ec2/vpcEndpoint:VpcEndpoint") if one.inputs["vpcEndpointType"] == "Interface"
    ]
    assert endpoint.inputs["privateDnsEnabled"]
    subnets = [one for one in lab.all("aws:ec2/subnet:Subnet") if one.id in endpoint.inputs["subnetIds"]]
    policy = of_namespace(lab, "kubernetes:networking.k8s.io/v1:NetworkPolicy", "team-research").inputs["spec"]
    (rule,) = [one for one in policy["egress"] if one.get("ports") == [{"protocol": "TCP", "port": 443}]]
    assert {peer["ipBlock"]["cidr"] for peer in rule["to"]} == {one.inputs["cidrBlock"] for one in subnets}


def test_only_the_team_that_names_a_range_reaches_it(lab: EngineMocks) -> None:
    for team, is_reached in (("team-data-platform", True), ("team-research", False)):
        policy = of_namespace(lab, "kubernetes:networking.k8s.io/v1:NetworkPolicy", team).inputs["spec"]
        assert ({"to": [{"ipBlock": {"cidr": "10.50.0.0/16"}}]} in policy["egress"]) is is_reached


@given(text=st.text(min_size=1, max_size=256))
def test_any_owner_makes_a_label(text: str) -> None:
    assert re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", label_value(text))
    assert len(label_value(text)) <= 63


def test_the_role_of_a_team_is_for_the_notebooks_of_its_own_namespace(lab: EngineMocks) -> None:
    (association,) = [
        one
        for one in lab.all("aws:eks/podIdentityAssociation:PodIdentityAssociation")
        if one.inputs["namespace"].startswith("team-")
    ]
    account = of_namespace(lab, "kubernetes:core/v1:ServiceAccount", "team-research").inputs
    assert association.inputs["namespace"] == "team-research"
    assert association.inputs["serviceAccount"] == account["metadata"]["name"] == "notebook"
    role = lab.one("aws:iam/role:Role", "gpulab-dev-team-research-buckets")
    assert association.inputs["roleArn"] == role.outputs["arn"]
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    tags = statement["Condition"]["StringEquals"]
    assert tags["aws:RequestTag/kubernetes-namespace"] == "team-research"
    assert tags["aws:RequestTag/kubernetes-service-account"] == "notebook"
    assert len(role.inputs["namePrefix"]) <= 38


def test_no_account_of_a_team_brings_a_token_of_the_api(lab: EngineMocks) -> None:
    accounts = [
        one.inputs
        for one in lab.all("kubernetes:core/v1:ServiceAccount")
        if one.inputs["metadata"]["namespace"].startswith("team-")
    ]
    assert len(accounts) == 2
    assert all(one["automountServiceAccountToken"] is False for one in accounts)


def test_people_are_bound_only_where_the_api_knows_their_sign_in(lab: EngineMocks) -> None:
    bindings = [one.inputs for one in lab.all("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")]
    assert bindings
    assert {subject["kind"] for one in bindings for subject in one["subjects"]} == {"ServiceAccount"}


def test_the_hub_has_rights_in_namespaces_alone(lab: EngineMocks) -> None:
    assert lab.all("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding") == []
    binding = of_namespace(lab, "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "team-research").inputs
    role = of_namespace(lab, "kubernetes:rbac.authorization.k8s.io/v1:Role", "team-research").inputs
    assert binding["roleRef"]["kind"] == "Role"
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [(one["namespace"], one["name"]) for one in binding["subjects"]] == [("hub", "hub")]


def test_a_registrys_credentials_are_a_secret_in_each_namespace(deploy: Deploy) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gpulab/registry-AbCdEf"
    hub = {"registry": {"mirror": "mirror.example.com", "pullSecret": {"secretsManager": arn}}}
    identity = {"administrators": ["ada@example.com"]}
    mocks = deploy(**{"gpulab:hub": hub, "gpulab:identity": identity})
    for namespace in ("team-research", "team-data-platform"):
        (secret,) = [
            one.inputs
            for one in mocks.all("kubernetes:core/v1:Secret")
            if one.inputs["metadata"]["namespace"] == namespace
        ]
        assert secret["type"] == "kubernetes.io/dockerconfigjson"
        assert "kept in Secrets Manager" in secret["stringData"][".dockerconfigjson"]
        account = of_namespace(mocks, "kubernetes:core/v1:ServiceAccount", namespace).inputs
        assert account["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]


def test_a_team_goes_before_the_gate_and_comes_after_what_refuses(lab: EngineMocks) -> None:
    gate = next(one for one in lab.resources if one.type.endswith(":VolumeGate"))
    policies = lab.all("kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding")
    assert len(policies) == 3
    spaces = [
        one for one in lab.all("kubernetes:core/v1:Namespace") if one.inputs["metadata"]["name"].startswith("team-")
    ]
    assert len(spaces) == 2
    for space in spaces:
        assert lab.needs(space, gate)
        assert all(lab.needs(space, policy) for policy in policies)
        name = space.inputs["metadata"]["name"]
        inside = [
            one
            for one in lab.resources
            if one.type.startswith("kubernetes:") and one.inputs.get("metadata", {}).get("namespace") == name
        ]
        assert len(inside) >= 10
        for one in inside:
            assert one.deleted_with == space.urn, one.urn
        for volume in lab.all("kubernetes:core/v1:PersistentVolume"):
            if volume.inputs["spec"]["claimRef"]["namespace"] == name:
                assert lab.needs(space, volume)


def test_teams_have_groups_in_the_realm(deploy: Deploy) -> None:
    mocks = deploy(**{"gpulab:identity": {"administrators": ["ada@example.com"]}})
    documents = [
        json.loads(text)
        for one in mocks.all("kubernetes:core/v1:ConfigMap")
        for text in one.inputs.get("data", {}).values()
        if '"realm": "gpulab"' in text or '"realm":"gpulab"' in text
    ]
    assert documents
    assert {"research", "data-platform", ADMINISTRATORS_GROUP} == {group["name"] for group in documents[0]["groups"]}


def test_the_writers_of_a_volume_are_those_of_the_teams_too(lab: EngineMocks) -> None:
    modes = {
        one.inputs["metadata"]["name"]: one.inputs["spec"]["csi"]["readOnly"]
        for one in lab.all("kubernetes:core/v1:PersistentVolume")
    }
    assert modes["team-data-platform-datasets"] is False
    assert modes["team-research-datasets"] is True


PUBLISHED = {
    "gpulab:cluster": {**platform_lab.LAB["gpulab:cluster"], "oidc": True},
    "gpulab:identity": {"administrators": ["ada@example.com"]},
    "gpulab:ingress": {
        "access": "internet-facing",
        "domain": "lab.example.com",
        "cidrs": ["203.0.113.0/24"],
        "checkDelegation": False,
    },
}


@pytest.fixture(scope="module")
def published() -> EngineMocks:
    """The graph of a platform with a domain, whose API takes the platform's sign-in; tests only read it."""
    return platform_lab.deployed(**{**STACK, **PUBLISHED})


def test_the_api_takes_the_realms_tokens_once_the_realm_answers(published: EngineMocks) -> None:
    mocks = published
    provider = mocks.one("aws:eks/identityProviderConfig:IdentityProviderConfig")
    oidc = provider.inputs["oidc"]
    assert oidc["issuerUrl"] == "https://auth.lab.example.com/realms/gpulab"
    (realm,) = [
        json.loads(text)
        for one in mocks.all("kubernetes:core/v1:ConfigMap")
        for text in one.inputs.get("data", {}).values()
        if "clientRepresentations" not in text and '"realm"' in text and '"clients"' in text
    ]
    (client,) = [one for one in realm["clients"] if one["clientId"] == oidc["clientId"]]
    assert client["publicClient"] is True
    assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    assert {mapper["config"]["claim.name"] for mapper in client["protocolMappers"]} >= {oidc["groupsClaim"]}
    for needed in ("kubernetes:batch/v1:Job", "aws:lb/listenerRule:ListenerRule", "aws:route53/record:Record"):
        assert mocks.all(needed), needed
        assert all(mocks.needs(provider, one) for one in mocks.all(needed)), needed


def test_eks_gets_at_the_realms_keys_from_the_internet_and_nobody_at_anything_else(published: EngineMocks) -> None:
    mocks = published
    opened = mocks.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "gpulab-dev-alb-open")
    assert opened.inputs["cidrIpv4"] == "0.0.0.0/0"
    assert mocks.needs(mocks.one("aws:eks/identityProviderConfig:IdentityProviderConfig"), opened)
    open_paths = set()
    for rule in mocks.all("aws:lb/listenerRule:ListenerRule"):
        said = {key: value["values"] for one in rule.inputs["conditions"] for key, value in one.items()}
        if "sourceIp" in said:
            assert said["sourceIp"] == PUBLISHED["gpulab:ingress"]["cidrs"]
        else:
            open_paths |= set(said["pathPattern"])
    assert open_paths == {
        "/realms/gpulab/.well-known/openid-configuration",
        "/realms/gpulab/protocol/openid-connect/certs",
    }


def bound_in_research(mocks: Any) -> dict[str, str]:
    """The ClusterRole of each group that the API knows there."""
    return {
        subject["name"]: binding.inputs["roleRef"]["name"]
        for binding in mocks.all("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding")
        if binding.inputs["metadata"]["namespace"] == "team-research"
        for subject in binding.inputs["subjects"]
        if subject["kind"] == "Group"
    }


def test_people_of_a_directory_have_the_rights_of_its_groups_too(
    deploy: Deploy, mocks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingress_mocks.answer(mocks, monkeypatch)
    ldap = platform_lab.directory({"cn-dev": "/research/developer"})
    bound = bound_in_research(
        deploy(**{**PUBLISHED, "gpulab:identity": {**PUBLISHED["gpulab:identity"], "ldap": ldap}})
    )
    assert bound["gpulab:/research/developer/cn-dev"] == bound["gpulab:/research/developer"]


def test_people_have_the_rights_of_their_groups_as_tokens_name_them(published: EngineMocks) -> None:
    mocks = published
    prefix = mocks.one("aws:eks/identityProviderConfig:IdentityProviderConfig").inputs["oidc"]["groupsPrefix"]
    bound = bound_in_research(mocks)
    roles = {one.inputs["metadata"]["name"] for one in mocks.all("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")}
    assert bound.keys() == {f"{prefix}/research/{role}" for role in ROLES}
    assert set(bound.values()) <= roles
