"""The way in: who reaches the load balancer, what it sends where, and in which order all of it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ingress_mocks
import pulumi_kubernetes as kubernetes
import pytest
from ingress_mocks import BALANCER, HUB, VALIDATION_VALUE

import contracts
from components.access_logs import access_logs_policy
from components.certificate import Certificate, CertificateArgs
from components.cluster import SYSTEM_NODE_LABELS, SYSTEM_TAINT
from components.ingress import MOST_RULES, Ingress, IngressArgs, check_published, name_prefix, rules_of
from components.load_balancer import LONGEST_NAME, LoadBalancer, LoadBalancerArgs, balancer_name
from components.load_balancer_controller import (
    NAMESPACE,
    SERVICE_ACCOUNT,
    LoadBalancerController,
    LoadBalancerControllerArgs,
    controller_policy,
    controller_values,
)
from components.published_service import MOST_PATHS, PublishedService, port_forward_commands
from settings.cluster import LONGEST_ROLE_SUFFIX, NAME_LIMIT

LISTENER = "aws:lb/listener:Listener"
RULE = "aws:lb/listenerRule:ListenerRule"
GROUP = "aws:lb/targetGroup:TargetGroup"
RECORD = "aws:route53/record:Record"
ADMITTED = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
LET_OUT = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
BINDING = "kubernetes:elbv2.k8s.aws/v1beta1:TargetGroupBinding"
RELEASE = "kubernetes:helm.sh/v3:Release"
BUCKET = "aws:s3/bucket:Bucket"

SIGN_IN = PublishedService(
    name="auth",
    host="auth.lab.example.com",
    priority=100,
    namespace="identity",
    service="keycloak-http",
    port=80,
    target_port=8080,
    paths=("/realms/gpulab/*", "/resources/*"),
    health_check_path="/health/ready",
    health_check_port=9000,
)
BALANCER_ARGS = LoadBalancerArgs(
    cluster_name="gpulab-lab",
    internal=False,
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b"],
    cidrs=["203.0.113.0/24", "198.51.100.0/24"],
    idle_timeout=3600,
    account_id="123456789012",
)


@pytest.fixture(autouse=True)
def answers(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AWS computes."""
    ingress_mocks.answer(mocks, monkeypatch)


@pytest.fixture
def balance(mocks: Any) -> Callable[..., LoadBalancer]:
    return lambda **changes: mocks.deploy(lambda: LoadBalancer("lab", replace(BALANCER_ARGS, **changes)))


@pytest.fixture
def publish(mocks: Any) -> Callable[..., Ingress]:
    """Deploys the way in with all that it needs; a callable makes its services there."""

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
            cidrs=cidrs,
        )
        return Ingress("lab", args)

    return lambda *services, **more: mocks.deploy(lambda: program(*services, **more))


def test_only_the_ranges_given_reach_the_load_balancer_by_http_and_https(mocks, balance):
    balance()
    rules = {(rule.inputs["cidrIpv4"], rule.inputs["fromPort"], rule.inputs["toPort"]) for rule in mocks.all(ADMITTED)}
    assert rules == {(cidr, port, port) for cidr in BALANCER_ARGS.cidrs for port in (80, 443)}
    (group,) = mocks.all("aws:ec2/securityGroup:SecurityGroup")
    assert not group.inputs.keys() & {"ingress", "egress"}
    assert mocks.one(BALANCER).inputs["securityGroups"] == [group.id]


def test_load_balancer_drops_invalid_headers_and_keeps_silent_connections(mocks, balance):
    balance(internal=True, idle_timeout=900)
    inputs = mocks.one(BALANCER).inputs
    assert inputs["dropInvalidHeaderFields"] is True
    assert inputs["idleTimeout"] == 900
    assert inputs["internal"] is True
    assert "accessLogs" not in inputs


def test_logs_go_to_a_private_bucket_that_is_there_before_and_after_the_load_balancer(mocks, balance):
    balance(access_logs_retention_days=30)
    bucket, balancer = mocks.one(BUCKET), mocks.one(BALANCER)
    policy = mocks.one("aws:s3/bucketPolicy:BucketPolicy")
    blocked = mocks.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock").inputs
    assert all(blocked[key] is True for key in blocked if key != "bucket")
    assert mocks.needs(balancer, policy)
    assert mocks.needs(balancer, bucket)
    (rule,) = mocks.one(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    ).inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    (rule,) = mocks.one("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration").inputs["rules"]
    assert rule["expiration"] == {"days": 30}
    assert rule["status"] == "Enabled"


def test_logs_are_writable_for_load_balancers_of_the_account_alone_and_never_without_tls():
    statements = json.loads(access_logs_policy("arn:aws:s3:::logs", "123456789012"))["Statement"]
    (allowed,) = [one for one in statements if one["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert allowed["Action"] == "s3:PutObject"
    assert allowed["Resource"] == "arn:aws:s3:::logs/AWSLogs/123456789012/*"
    (denied,) = [one for one in statements if one["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(denied["Resource"]) == {"arn:aws:s3:::logs", "arn:aws:s3:::logs/*"}


@pytest.mark.parametrize("protected", [True, False])
def test_production_keeps_the_load_balancer_and_its_logs(mocks, balance, protected: bool):
    balance(access_logs_retention_days=30, deletion_protection=protected)
    assert mocks.one(BALANCER).inputs["enableDeletionProtection"] is protected
    assert mocks.one(BUCKET).protect is protected
    assert mocks.one(BUCKET).inputs["forceDestroy"] is not protected


def test_web_acl_is_put_in_front_where_one_is_named(mocks, balance):
    arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/lab/0123"
    balance(web_acl_arn=arn)
    association = mocks.one("aws:wafv2/webAclAssociation:WebAclAssociation").inputs
    assert association == {"webAclArn": arn, "resourceArn": mocks.one(BALANCER).outputs["arn"]}


def test_names_of_load_balancers_fit_and_stay_apart():
    assert balancer_name("gpulab-dev") == "gpulab-dev"
    long = ["a" * NAME_LIMIT, "a" * (NAME_LIMIT - 1) + "b", "a-" * 17]
    names = {balancer_name(name) for name in long}
    assert len(names) == len(long)
    assert all(len(name) <= LONGEST_NAME and "--" not in name for name in names)


def test_certificate_covers_domain_and_wildcard_with_one_record(mocks):
    mocks.deploy(lambda: Certificate("lab", CertificateArgs(domain="lab.example.com", zone_id="Z1")))
    certificate = mocks.one("aws:acm/certificate:Certificate").inputs
    assert certificate["domainName"] == "lab.example.com"
    assert certificate["subjectAlternativeNames"] == ["*.lab.example.com"]
    assert certificate["validationMethod"] == "DNS"
    record = mocks.one(RECORD)
    assert record.inputs["records"] == [VALIDATION_VALUE]
    validation = mocks.one("aws:acm/certificateValidation:CertificateValidation")
    assert validation.inputs["validationRecordFqdns"] == [record.outputs["fqdn"]]
    assert validation.custom_timeouts


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


RANGES = tuple(f"198.18.{number}.0/24" for number in range(29))
OPEN = ("/realms/gpulab/.well-known/openid-configuration", "/realms/gpulab/protocol/openid-connect/certs")


def conditions(rule: Any) -> dict[str, list[str]]:
    return {key: value["values"] for one in rule.inputs["conditions"] for key, value in one.items()}


@pytest.mark.parametrize("count", [1, 2, 29])
def test_each_range_reaches_each_path_and_no_rule_has_more_values_than_elb_takes(count: int):
    for service in (HUB, SIGN_IN, replace(SIGN_IN, paths=("/a/*", "/b/*", "/c/*"))):
        rules = list(rules_of(service, RANGES[:count]))
        assert [cidr for rule in rules for cidr in rule.cidrs] == list(RANGES[:count])
        assert all(rule.paths == service.paths for rule in rules)
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
    with pytest.raises(ValueError, match=f"which has {MOST_RULES} at most"):
        check_published(more, "lab.example.com", RANGES)
    with pytest.raises(ValueError, match="priority of their own: 201 is there twice"):
        check_published([HUB, replace(HUB, name="next", priority=201)], "lab.example.com", RANGES[:6])
    with pytest.raises(ValueError, match="no room for a range"):
        check_published([replace(HUB, paths=("/a", "/b", "/c", "/d"))], "lab.example.com", RANGES[:1])


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


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"host": "platform.other.example.com"}, "the certificate covers lab.example.com"),
        ({"host": "a.platform.lab.example.com"}, "the certificate covers"),
        ({"host": "evillab.example.com"}, "the certificate covers"),
    ],
)
def test_hosts_without_a_certificate_are_refused(changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        check_published([replace(HUB, **changes)], "lab.example.com")


def test_names_and_priorities_are_there_once():
    check_published([HUB, SIGN_IN, replace(HUB, name="apex", priority=1, host="lab.example.com")], "lab.example.com")
    with pytest.raises(ValueError, match="priority of their own: 200 is there twice"):
        check_published([HUB, replace(SIGN_IN, priority=200)], "lab.example.com")
    with pytest.raises(ValueError, match="name of their own: platform is there twice"):
        check_published([HUB, replace(HUB, priority=1)], "lab.example.com")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Hub"}, "no name"),
        ({"paths": ()}, "0 paths"),
        ({"paths": tuple(f"/{number}" for number in range(MOST_PATHS + 1))}, "5 paths"),
        ({"paths": ("hub/*",)}, "unlike hub/"),
        ({"open_paths": ("keys",)}, "unlike keys"),
        ({"open_paths": tuple(f"/{number}" for number in range(MOST_PATHS + 1))}, "5 open paths"),
        ({"health_check_path": "health"}, "unlike health"),
        ({"priority": 0}, "priority 0"),
        ({"priority": 50_001}, "priority 50001"),
    ],
)
def test_what_a_rule_cannot_be_is_no_published_service(changes: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        replace(HUB, **changes)


@pytest.mark.parametrize("name", ["a", "auth", "platform", "abcd-efg"])
def test_names_of_target_groups_begin_with_their_service_and_fit(name: str):
    prefix = name_prefix(name)
    assert prefix.endswith("-")
    assert "--" not in prefix
    assert len(prefix) <= 6
    assert name.startswith(prefix[:-1])


def test_port_forward_lines_never_share_a_local_port(mocks):
    services = [HUB, replace(HUB, name="other", priority=1, service="other"), replace(HUB, name="low", target_port=80)]
    commands = {name: mocks.value(line) for name, line in port_forward_commands(services).items()}
    assert commands["platform"] == "kubectl --namespace hub port-forward service/proxy-public 8000:80"
    local = [line.split()[-1].partition(":")[0] for line in commands.values()]
    assert len(set(local)) == len(services)
    assert all(int(port) >= 1024 for port in local)


def test_a_binding_waits_for_the_release_that_names_its_service(mocks, publish):
    """Hub and Identity hand on what their releases know."""

    def services() -> list[PublishedService]:
        namespace = kubernetes.core.v1.Namespace("hub", metadata={"name": "hub"})
        return [replace(HUB, namespace=namespace.metadata.apply(lambda metadata: metadata["name"] or ""))]

    publish(services)
    binding = mocks.one(BINDING)
    assert binding.inputs["metadata"]["namespace"] == "hub"
    assert mocks.needs(binding, mocks.one("kubernetes:core/v1:Namespace"))
