"""Ingress: who reaches the load balancer, where it sends requests, and the order of its deletion."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ingress_mocks
import pulumi_kubernetes as kubernetes
import pytest
from ingress_mocks import BALANCER, BALANCER_ARGS, HUB, SETTINGS, SIGN_IN

import contracts
from components.ground.system_nodes import SYSTEM_NODE_LABELS, SYSTEM_TAINT
from components.ingress.certificate import Certificate, CertificateArgs
from components.ingress.controller import (
    NAMESPACE,
    SERVICE_ACCOUNT,
    LoadBalancerController,
    LoadBalancerControllerArgs,
    controller_policy,
    controller_values,
)
from components.ingress.ingress import MOST_RULES, Ingress, IngressArgs, check_published, rules_of
from components.ingress.load_balancer import LoadBalancer
from components.ingress.published_service import PublishedService
from settings.cluster import LONGEST_ROLE_SUFFIX

LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
GROUP = "aws:lb/targetGroup:TargetGroup"
RECORD = "aws:route53/record:Record"
ADMITTED = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
LET_OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
BINDING = "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding"
RELEASE = "kubernetes:helm.sh/v3:Release"
BUCKET = "aws:s3/bucket:Bucket"


@pytest.fixture(autouse=True)
def answers(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS computes."""
    ingress_mocks.answer(mocks, monkeypatch)


@pytest.fixture
def publish(mocks: Any) -> Callable[..., Ingress]:
    """Deploys Ingress with everything that it needs; a callable makes its services."""

    def program(
        *services: PublishedService | Callable[[], list[PublishedService]], cidrs: tuple[str, ...] = ()
    ) -> Ingress:
        controller = LoadBalancerController(
            "lab-alb-controller",
            LoadBalancerControllerArgs(
                cluster_name="gpulab-lab",
                cluster_arn="arn:aws:eks:us-east-1:123456789012:cluster/gpulab-lab",
                region="us-east-1",
                partition="aws",
                vpc_id="vpc-1",
            ),
        )
        certificate = Certificate("lab", CertificateArgs(domain="lab.example.com", zone_id="Z1"))
        args = IngressArgs(
            settings=SETTINGS.model_copy(update={"access": "internet-facing", "cidrs": cidrs or ("0.0.0.0/0",)}),
            domain="lab.example.com",
            zone_id="Z1",
            certificate_arn=certificate.certificate_arn,
            load_balancer=LoadBalancer("lab", BALANCER_ARGS),
            vpc_id="vpc-1",
            node_security_group_id="sg-nodes",
            controller=controller.release,
            published=[
                one for given in services for one in ([given] if isinstance(given, PublishedService) else given())
            ],
        )
        return Ingress("lab", args)

    return lambda *services, **more: mocks.deploy(lambda: program(*services, **more))


def test_https_waits_for_the_issued_certificate_and_http_only_redirects(mocks, publish):
    publish(HUB)
    https, http = mocks.one(LISTENER, "lab-https"), mocks.one(LISTENER, "lab-http")
    assert mocks.needs(https, mocks.one("aws:acm/certificateValidation:CertificateValidation"))
    assert (https.inputs["port"], https.inputs["protocol"]) == (443, "HTTPS")
    assert "TLS13-1-2" in https.inputs["sslPolicy"]
    (answer,) = https.inputs["defaultActions"]
    assert answer["fixedResponse"]["statusCode"] == "404"
    (redirect,) = http.inputs["defaultActions"]
    assert (redirect["type"], redirect["redirect"]["protocol"]) == ("redirect", "HTTPS")
    assert redirect["redirect"]["statusCode"] == "HTTP_301"


def test_each_service_has_a_rule_a_group_and_a_binding_that_belong_together(mocks, publish):
    ingress = publish(SIGN_IN, HUB)
    https = mocks.one(LISTENER, "lab-https")
    for service in (SIGN_IN, HUB):
        group, rule = mocks.one(GROUP, f"lab-{service.name}"), mocks.one(RULE, f"lab-{service.name}")
        binding = mocks.one(BINDING, f"lab-{service.name}")
        assert rule.inputs["listenerArn"] == https.outputs["arn"]
        assert rule.inputs["actions"] == [{"type": "forward", "targetGroupArn": group.outputs["arn"]}]
        conditions = {key: value["values"] for one in rule.inputs["conditions"] for key, value in one.items()}
        assert conditions == {"hostHeader": [service.host], "pathPattern": list(service.paths)}
        assert group.inputs["targetType"] == "ip"
        assert group.inputs["healthCheck"]["path"] == service.health_check_path
        assert binding.inputs["metadata"]["namespace"] == service.namespace
        spec = binding.inputs["spec"]
        assert spec["serviceRef"] == {"name": service.service, "port": service.port}
        assert spec["targetGroupARN"] == group.outputs["arn"]
        assert spec["targetType"] == group.inputs["targetType"]
        # The controller would write security group rules of its own, which nobody takes back.
        assert "networking" not in spec
    assert ingress.urls == {"auth": "https://auth.lab.example.com", "platform": "https://platform.lab.example.com"}


PEOPLE = replace(HUB, paths_below=("/jupyter/user/*",))


@pytest.mark.parametrize("cidrs", [(), ("198.51.100.0/24",)])
def test_names_below_a_host_lead_to_what_is_published_there_and_else_to_the_host(mocks, publish, cidrs):
    ingress = publish(SIGN_IN, PEOPLE, cidrs=cidrs)
    below, elsewhere = mocks.one(RULE, "lab-platform-below"), mocks.one(RULE, "lab-platform-elsewhere")
    ranges = {"sourceIp": list(cidrs)} if cidrs else {}
    wildcard = {"hostHeader": ["*.platform.lab.example.com"]}
    assert conditions(below) == {**wildcard, "pathPattern": ["/jupyter/user/*"], **ranges}
    assert below.inputs["actions"] == mocks.one(RULE, "lab-platform").inputs["actions"]
    assert conditions(elsewhere) == {**wildcard, "pathPattern": ["/*"], **ranges}
    (action,) = elsewhere.inputs["actions"]
    assert (action["type"], action["redirect"]["host"]) == ("redirect", HUB.host)
    assert below.inputs["priority"] < elsewhere.inputs["priority"], "the first that matches decides"
    names = {one.inputs["name"] for one in mocks.all(RECORD) if one.inputs["type"] == "A"}
    assert names == {SIGN_IN.host, HUB.host, "*.platform.lab.example.com"}
    assert ingress.urls["platform"] == f"https://{HUB.host}"


RANGES = tuple(f"198.18.{number}.0/24" for number in range(29))
OPEN = ("/realms/gpulab/.well-known/openid-configuration", "/realms/gpulab/protocol/openid-connect/certs")


def conditions(rule: Any) -> dict[str, list[str]]:
    return {key: value["values"] for one in rule.inputs["conditions"] for key, value in one.items()}


@pytest.mark.parametrize("count", [1, 2, 29])
def test_each_range_reaches_each_path_and_no_rule_has_more_values_than_elb_takes(count: int):
    many = ("/a/*", "/b/*", "/c/*")
    for service in (HUB, SIGN_IN, PEOPLE, replace(SIGN_IN, paths=many, open_paths=("/d",), paths_below=many)):
        rules = list(rules_of(service, RANGES[:count]))
        for paths, host in {service.paths: service.host, service.paths_below: f"*.{service.host}"}.items():
            ranged = [rule for rule in rules if (rule.paths, rule.host) == (paths, host)]
            assert [cidr for rule in ranged for cidr in rule.cidrs] == list(RANGES[:count] if paths else ())
        assert all(1 + len(rule.paths) + len(rule.cidrs) <= 5 for rule in rules)
        assert rules[0].name == service.name
        assert len({rule.name for rule in rules}) == len({rule.priority for rule in rules}) == len(rules)


def test_anybody_reaches_open_paths_and_only_ranges_the_rest(mocks, publish):
    publish(replace(SIGN_IN, open_paths=OPEN), HUB, cidrs=RANGES[:2])
    groups = {one.name: one.outputs["arn"] for one in mocks.all(GROUP)}
    open_rule = mocks.one(RULE, "lab-auth-open")
    assert conditions(open_rule) == {"hostHeader": [SIGN_IN.host], "pathPattern": list(OPEN)}
    assert open_rule.inputs["actions"] == [{"type": "forward", "targetGroupArn": groups["lab-auth"]}]
    restricted = [one for one in mocks.all(RULE) if one.name != open_rule.name]
    assert restricted
    assert all(set(conditions(one)["sourceIp"]) <= set(RANGES[:2]) for one in restricted)
    # 443 opens when every rule has its ranges, and closes before any of them goes.
    opened = mocks.one(ADMITTED, "lab-alb-open")
    assert (opened.inputs["cidrIpv4"], opened.inputs["fromPort"], opened.inputs["toPort"]) == ("0.0.0.0/0", 443, 443)
    assert opened.inputs["securityGroupId"] == mocks.one("aws:ec2/securityGroup:SecurityGroup").id
    assert all(mocks.needs(opened, one) for one in mocks.all(RULE))


@pytest.mark.parametrize(("open_paths", "cidrs"), [((), RANGES[:2]), (OPEN, ())])
def test_443_stays_as_it_is_where_nothing_is_open_or_everybody_comes_in_anyway(mocks, publish, open_paths, cidrs):
    publish(replace(SIGN_IN, open_paths=open_paths), cidrs=cidrs)
    assert "lab-alb-open" not in {one.name for one in mocks.all(ADMITTED)}
    assert "lab-auth-open" not in {one.name for one in mocks.all(RULE)}


def test_rules_for_ranges_fit_the_load_balancer_and_stay_apart():
    many = [replace(HUB, name=f"s{number}", priority=1000 * number) for number in range(1, 11)]
    check_published(many, "lab.example.com", RANGES)
    more = [replace(HUB, name=f"t{number}", priority=1000 * number) for number in range(1, 12)]
    with pytest.raises(ValueError, match=f"the load balancer has {MOST_RULES} at most"):
        check_published(more, "lab.example.com", RANGES)
    with pytest.raises(ValueError, match="needs its own priority, but 201 is used twice"):
        check_published([HUB, replace(HUB, name="next", priority=201)], "lab.example.com", RANGES[:6])
    for full in ({"paths": ("/a", "/b", "/c", "/d")}, {"paths_below": ("/a", "/b", "/c", "/d")}):
        with pytest.raises(ValueError, match="no room for a range"):
            check_published([replace(HUB, **full)], "lab.example.com", RANGES[:1])


def test_bindings_pass_the_schema_of_their_definition(mocks, publish):
    publish(SIGN_IN)
    schema = next(
        version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        for version in contracts.crd("targetgroupbindings.elbv2.k8s.aws")["spec"]["versions"]
        if version["name"] == "v1beta1"
    )
    spec = mocks.one(BINDING).inputs["spec"]
    assert spec.keys() <= schema.keys()
    for key, value in spec.items():
        assert value in schema[key].get("enum", [value])


def test_health_is_asked_where_requests_go_unless_another_port_is_named(mocks, publish):
    publish(SIGN_IN, HUB)
    ports = {name: mocks.one(GROUP, f"lab-{name}").inputs["healthCheck"]["port"] for name in ("auth", "platform")}
    assert ports == {"auth": "9000", "platform": "traffic-port"}


def test_every_port_has_one_door_at_either_end_and_no_other(mocks, publish):
    publish(SIGN_IN, HUB, replace(HUB, name="again", priority=300))
    balancers = mocks.one("aws:ec2/securityGroup:SecurityGroup").id
    wanted = [8000, 8080, 9000]
    out = mocks.all(LET_OUT)
    assert sorted(rule.inputs["fromPort"] for rule in out) == wanted
    assert {rule.inputs["securityGroupId"] for rule in out} == {balancers}
    assert {rule.inputs["referencedSecurityGroupId"] for rule in out} == {"sg-nodes"}
    inward = [rule for rule in mocks.all(ADMITTED) if rule.inputs["securityGroupId"] == "sg-nodes"]
    assert sorted(rule.inputs["fromPort"] for rule in inward) == wanted
    assert {rule.inputs["referencedSecurityGroupId"] for rule in inward} == {balancers}
    assert all(rule.inputs["fromPort"] == rule.inputs["toPort"] for rule in [*out, *inward])


def test_each_host_is_an_alias_of_the_load_balancer_once(mocks, publish):
    publish(HUB, replace(HUB, name="reports", priority=50, paths=("/reports/*",)))
    (record,) = [one for one in mocks.all(RECORD) if one.inputs["type"] == "A"]
    assert record.inputs["name"] == HUB.host
    (alias,) = record.inputs["aliases"]
    balancer = mocks.one(BALANCER).outputs
    assert (alias["name"], alias["zoneId"]) == (balancer["dnsName"], balancer["zoneId"])


def test_bindings_go_before_the_controller_and_the_controller_before_its_role(mocks, publish):
    publish(HUB)
    binding, release = mocks.one(BINDING), mocks.one(RELEASE)
    assert mocks.needs(binding, release)
    assert mocks.needs(binding, mocks.one(GROUP))
    assert mocks.needs(binding, mocks.one(RULE))
    assert mocks.needs(release, mocks.one("aws:eks/podIdentityAssociation:PodIdentityAssociation"))
    assert mocks.needs(release, mocks.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment"))


def test_controller_runs_as_the_account_that_the_role_is_bound_to(mocks, publish):
    publish()
    association = mocks.one("aws:eks/podIdentityAssociation:PodIdentityAssociation").inputs
    release = mocks.one(RELEASE).inputs
    assert association["namespace"] == release["namespace"] == NAMESPACE
    assert association["serviceAccount"] == release["values"]["serviceAccount"]["name"] == SERVICE_ACCOUNT
    role = mocks.one("aws:iam/role:Role")
    assert association["roleArn"] == role.outputs["arn"]
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    condition = trust["Condition"]["StringEquals"]
    assert condition["aws:RequestTag/kubernetes-service-account"] == SERVICE_ACCOUNT
    assert condition["aws:RequestTag/eks-cluster-arn"].endswith("cluster/gpulab-lab")


def test_controller_is_given_what_it_cannot_ask_and_runs_twice_on_the_system_nodes():
    values = controller_values(cluster_name="lab", region="us-east-1", vpc_id="vpc-1")
    assert (values["clusterName"], values["region"], values["vpcId"]) == ("lab", "us-east-1", "vpc-1")
    assert values["replicaCount"] == 2
    assert values["nodeSelector"] == SYSTEM_NODE_LABELS
    assert [one["key"] for one in values["tolerations"]] == [SYSTEM_TAINT["key"]]
    assert values["enableServiceMutatorWebhook"] is False
    # Values that the chart does not know would do nothing.
    assert values.keys() <= contracts.chart("aws-load-balancer-controller").values.keys()


def test_controllers_policy_is_the_published_one_in_its_partition():
    published = contracts.iam_policy("aws-load-balancer-controller")
    assert json.loads(controller_policy("aws")) == published
    china = controller_policy("aws-cn")
    assert "arn:aws:" not in china
    assert json.loads(china.replace("arn:aws-cn:", "arn:aws:")) == published
    assert len(controller_policy("aws-us-gov")) <= 6144  # IAM's limit, which counts no white space: there is none


def test_controllers_role_name_fits_the_longest_cluster_name():
    assert len("-alb-controller") <= len(LONGEST_ROLE_SUFFIX)


def test_a_binding_waits_for_the_release_that_names_its_service(mocks, publish):
    """Hub and Identity hand on what their releases know."""

    def services() -> list[PublishedService]:
        namespace = kubernetes.core.v1.Namespace("hub", metadata={"name": "hub"})
        return [replace(HUB, namespace=namespace.metadata.apply(lambda metadata: metadata["name"] or ""))]

    publish(services)
    binding = mocks.one(BINDING)
    assert binding.inputs["metadata"]["namespace"] == "hub"
    assert mocks.needs(binding, mocks.one("kubernetes:core/v1:Namespace"))
