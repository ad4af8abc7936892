"""Exposure policies close to their edge: address ranges, ports, listeners, published paths, and IAM."""

from __future__ import annotations

import pytest

import contracts
from tests.policies.conftest import (
    examined,
    kubernetes,
    listener_rule,
    resource,
    text,
)
from tests.policies.objects import hub, refuses_the_first_only


def role(*statements):
    return resource("aws:iam/policy:Policy", {"policy": text({"Statement": list(statements)})})


def allow(action, on="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": on, **more}


MOUNT = "elasticfilesystem:ClientMount"


def file_system(*statements):
    return resource("aws:efs/fileSystemPolicy:FileSystemPolicy", {"policy": text({"Statement": list(statements)})})


REFUSED_AND_ACCEPTED = {
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
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])


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


@pytest.mark.parametrize(
    "subdomain_host",
    ["https://hub.example.com", "hub.example.com", "https://Hub.example.com:8443/", "hub.example.com:80"],
)
def test_a_wildcard_is_for_the_names_that_jupyterhub_gives_people(subdomain_host):
    at_hub = listener_rule(["*.hub.example.com"], ["/*"])
    record = resource("aws:route53/record:Record", {"name": "*.hub.example.com", "type": "A"}, "record")
    with_names = hub(JupyterHub={"subdomain_host": subdomain_host})
    assert examined("wildcard-host", at_hub, record, with_names) == {}
    for others in ((), (hub(),), (hub(JupyterHub={"subdomain_host": "https://b.example.com"}),)):
        assert examined("wildcard-host", at_hub, record, *others).keys() == {at_hub.name, record.name}
    assert examined("wildcard-host", listener_rule(["*.example.com"], ["/*"]), with_names)
