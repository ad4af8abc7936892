"""A program that publishes two Services, on the real engine and API server: preflight, targets, checks, destroy."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import pytest
from karpenter_lab import until

from rehearsal.checks import ingress as ingress_checks
from rehearsal.checks.checking import DoesNotHold, Subject
from rehearsal.controllers.target_groups import BINDINGS, FINALIZER
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.run import Options, Rehearsal
from tests.rehearsal.labs import lab

pytestmark = pytest.mark.seconds(200)

PROGRAM = PROJECT / "tests" / "rehearsal" / "programs" / "publishing"
NAMESPACE = "default"
BINDING = f"/apis/elbv2.k8s.aws/v1beta1/namespaces/{NAMESPACE}/targetgroupbindings"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SECRETS = "/api/v1/namespaces/kube-system/secrets"
MERGE = "application/merge-patch+json"


def published() -> Options:
    return Options(stack_file=PROGRAM / "Pulumi.published.yaml", stack="published", project=PROGRAM)


def delegate(rehearsal: Rehearsal, *name_servers: str) -> None:
    """Sets the name servers at the registrar of the stack's zone."""
    given = {"zone": "example.com", "nameServers": name_servers}
    request = urllib.request.Request(
        f"{rehearsal.aws_url}/gpulab/delegation", data=json.dumps(given).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=60):
        pass


def own_name_servers(rehearsal: Rehearsal) -> list[str]:
    zone = rehearsal.account.client("route53").get_hosted_zone(Id="Z0123456789ABCDEFGHIJ")
    return zone["DelegationSet"]["NameServers"]


@pytest.fixture(scope="module")
def rehearsal(toolchain: Toolchain) -> Iterator[Rehearsal]:
    """The program, previewed with a zone that is not delegated, and then deployed."""
    with lab(published()) as made:
        yield made


@pytest.fixture(scope="module")
def up(rehearsal: Rehearsal) -> Rehearsal:
    delegate(rehearsal, *own_name_servers(rehearsal))
    rehearsal.up()
    return rehearsal


def subject(rehearsal: Rehearsal) -> Subject:
    return Subject(
        settings=rehearsal.settings,
        workspace=rehearsal.workspace,
        folder=rehearsal.session.folder,
        session_id=rehearsal.session.id,
        resources=rehearsal.engine.resources(),
        outputs=rehearsal.engine.outputs(),
        account=rehearsal.account,
        aws_url=rehearsal.aws_url,
        plane=rehearsal.plane,
    )


def finding(rehearsal: Rehearsal) -> str:
    """The check's finding; empty if everything is right."""
    try:
        ingress_checks.load_balancer_matches(subject(rehearsal))
    except DoesNotHold as found:
        return str(found)
    return ""


def settled(rehearsal: Rehearsal) -> None:
    """Waits until all is well."""
    until(lambda: not finding(rehearsal), "the load balancer matches", lambda: finding(rehearsal))


def mend(rehearsal: Rehearsal) -> None:
    """Has the engine put back what is gone."""
    assert rehearsal.engine.run("up", "--yes", "--skip-preview", "--refresh").ok
    settled(rehearsal)


def patch(rehearsal: Rehearsal, path: str, changes: dict[str, Any]) -> None:
    rehearsal.plane.request("PATCH", path, changes, MERGE)


def exists(rehearsal: Rehearsal, path: str) -> bool:
    try:
        rehearsal.plane.request("GET", path)
    except HTTPError as error:
        if error.code != 404:
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("command", "name_servers", "said"),
    [
        (["preview"], (), "has no name servers for it"),
        (["up", "--yes", "--skip-preview"], ("ns.elsewhere.net",), "leads to ns.elsewhere.net"),
    ],
    ids=["preview", "up"],
)
def test_a_zone_that_is_not_delegated_stops_preview_and_up_before_anything_is_made(
    rehearsal: Rehearsal, command: list[str], name_servers: tuple[str, ...], said: str
) -> None:
    delegate(rehearsal, *name_servers)
    result = rehearsal.engine.run(*command)
    message = "\n".join(result.errors)
    assert not result.ok
    assert said in message
    assert "gpulab:ingress.domain lab.example.com" in message
    assert all(f"example.com. NS {server}." in message for server in own_name_servers(rehearsal))
    assert "Traceback" not in message
    made = {step.type for step in result.steps if step.op == "create"}
    assert made <= {"pulumi:pulumi:Stack", "gpulab:index:Platform", "pulumi:providers:aws"}


def test_hosts_rules_targets_and_pods_belong_together(up: Rehearsal) -> None:
    settled(up)
    assert up.engine.outputs()["urls"] == {
        "echo": "https://echo.lab.example.com",
        "echo-reports": "https://echo.lab.example.com",
    }
    up.second_preview()
    assert up.report.second_preview_changes == []
    up.refresh()
    assert up.report.refresh_changes == []


def test_targets_follow_the_pods(up: Rehearsal) -> None:
    elb = up.account.client("elbv2")

    def of_echo() -> int:
        (group,) = [one for one in elb.describe_target_groups()["TargetGroups"] if one["Port"] == 8080]
        health = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
        return len(health)

    patch(up, f"{DEPLOYMENT}/echo", {"spec": {"replicas": 3}})
    until(lambda: of_echo() == 3, "the third pod is registered")
    patch(up, f"{DEPLOYMENT}/echo", {"spec": {"replicas": 2}})
    until(lambda: of_echo() == 2, "it is taken out again")


def test_a_binding_without_its_service_says_so_and_empties_its_group(up: Rehearsal) -> None:
    up.plane.request("DELETE", f"{SERVICE}/echo")
    found = until(lambda: finding(up), "the check sees it")
    assert "the Service default/echo, which does not exist" in found
    events = f"/api/v1/namespaces/{NAMESPACE}/events?fieldSelector=involvedObject.name%3Decho"
    until(
        lambda: [one for one in up.plane.request("GET", events)["items"] if one["reason"] == "BackendNotFound"],
        "the binding says why",
    )
    mend(up)


def test_each_break_on_the_way_in_is_found(up: Rehearsal) -> None:
    """The check finds a lost security group rule, record and listener rule; after a refresh, `up` restores them.

    The check finds each new break before those made already.
    """
    route53, elb, ec2 = (up.account.client(name) for name in ("route53", "elbv2", "ec2"))
    resources = up.engine.resources()
    (door,) = [one["outputs"] for one in resources if one["urn"].endswith("gpulab-published-from-alb-9000")]
    ec2.revoke_security_group_ingress(
        GroupId=door["securityGroupId"], SecurityGroupRuleIds=[door["securityGroupRuleId"]]
    )
    assert "the nodes do not admit the load balancer to the ports 9000" in finding(up)

    (rule,) = [
        one["outputs"]["arn"]
        for one in resources
        if one["urn"].endswith("::gpulab-published-echo") and "ListenerRule" in one["type"]
    ]
    elb.delete_rule(RuleArn=rule)
    assert "1 rules for 2 published services" in finding(up)

    zone = "Z0123456789ABCDEFGHIJ"
    (record,) = [
        one
        for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        if "AliasTarget" in one
    ]
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": record}]}
    )
    assert "echo.lab.example.com resolves to []" in finding(up)
    mend(up)


def test_a_delegation_that_is_lost_is_found(up: Rehearsal) -> None:
    delegate(up)
    try:
        assert "resolves to []" in finding(up)
    finally:
        delegate(up, *own_name_servers(up))


def test_a_binding_stays_for_ever_when_its_controller_goes_first(up: Rehearsal) -> None:
    selector = "?labelSelector=owner%3Dhelm,name%3Daws-load-balancer-controller"
    (release,) = up.plane.request("GET", SECRETS + selector)["items"]
    name = release["metadata"]["name"]
    patch(up, f"{SECRETS}/{name}", {"metadata": {"labels": {"status": "uninstalled"}}})
    binding = up.plane.request("GET", f"{BINDING}/echo")
    assert binding["metadata"]["finalizers"] == [FINALIZER]
    let_controllers_pass(up)  # a turn that began before the release was gone would still let it go
    up.plane.request("DELETE", f"{BINDING}/echo")
    let_controllers_pass(up)
    assert exists(up, f"{BINDING}/echo")
    assert up.plane.request("GET", f"{BINDING}/echo")["metadata"]["deletionTimestamp"]
    assert "TargetGroupBinding default/echo" in kubernetes_names(up)

    patch(up, f"{SECRETS}/{name}", {"metadata": {"labels": {"status": "deployed"}}})
    until(lambda: not exists(up, f"{BINDING}/echo"), "the controller lets it go")


def let_controllers_pass(rehearsal: Rehearsal) -> None:
    """Waits for a full round of all controllers: two Services, one after the other, get a load balancer."""
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    for name in ("first", "second"):
        given = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        rehearsal.plane.request("POST", SERVICE, given)

        def is_served(path: str = f"{SERVICE}/{name}") -> bool:
            return bool(rehearsal.plane.request("GET", path)["status"]["loadBalancer"].get("ingress"))

        until(is_served, f"{name} is served")
    for name in ("first", "second"):
        rehearsal.plane.request("DELETE", f"{SERVICE}/{name}")
        until(lambda path=f"{SERVICE}/{name}": not exists(rehearsal, path), f"{name} is gone")


def kubernetes_names(rehearsal: Rehearsal) -> set[str]:
    items = rehearsal.plane.request("GET", BINDINGS)["items"]
    return {f"TargetGroupBinding {one['metadata']['namespace']}/{one['metadata']['name']}" for one in items}


def test_destroy_keeps_the_order_and_leaves_nothing(up: Rehearsal) -> None:
    up.destroy()
    (order,) = [check for check in up.report.checks if "order" in check.name]
    assert order.ok, order
    up.look_for_leftovers()
    assert up.report.left is not None
    assert not up.report.left, up.report.left
