"""Exposure: what the internet can reach, and how."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from policies.encryption import CLUSTER
from policies.reading import documents, helm
from policies.reading.resources import (
    NotDecided,
    Resource,
    at,
    either,
    is_kind,
    is_type,
    items,
    kind_of,
    mappings,
    number,
    parsed,
    texts,
)
from policies.rules import CRITICAL, HIGH, MEDIUM, Found, Limits, best_practices, cis, resource_policy

NETWORK = best_practices("Security: Network security")
_TLS = best_practices("Security: Network security, encryption in transit")
_LISTENERS = ("aws:lb/listener:Listener", "aws:alb/listener:Listener", "aws:elasticloadbalancingv2/listener:Listener")
# No organisation has more of IPv4 than a /8, and no registry assigns more of IPv6 than a /16. fc00::/7 is private.
_WIDEST, _WIDEST_OF_IPV6 = 8, 16
_OWN = ipaddress.IPv6Network("fc00::/7")
_Network = TypeVar("_Network", ipaddress.IPv4Network, ipaddress.IPv6Network)
RULES = ("aws:lb/listenerRule:ListenerRule", "aws:alb/listenerRule:ListenerRule")


@resource_policy(
    "cluster-endpoint-open",
    "The API of an EKS cluster is not open to any address",
    fix="Set vpcConfig.publicAccessCidrs to your networks, or vpcConfig.endpointPublicAccess to false",
    severity=CRITICAL,
    concerns=is_type(CLUSTER),
    framework=cis("5.4.1"),
)
def cluster_endpoint_open(cluster: Resource, _limits: Limits) -> Iterator[Found]:
    """EKS's default is a public endpoint for the whole internet."""
    config = at(cluster.props, "vpcConfig", {})
    cidrs = texts(config.get("publicAccessCidrs"))
    if config.get("endpointPublicAccess", True) is not False and (not cidrs or _open_to(cidrs)):
        yield f"its API is open to {', '.join(cidrs) or '0.0.0.0/0 (the default)'}"


@resource_policy(
    "cluster-endpoint-private",
    "Nodes reach the API of their EKS cluster inside the VPC",
    fix="Set vpcConfig.endpointPrivateAccess to true",
    severity=MEDIUM,
    concerns=is_type(CLUSTER),
    framework=cis("5.4.2"),
)
def cluster_endpoint_private(cluster: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise nodes reach it over the internet, and the public endpoint must admit their addresses."""
    if at(cluster.props, "vpcConfig.endpointPrivateAccess") is not True:
        yield "its API has no private endpoint"


@resource_policy(
    "security-group-open",
    "A security group opens only ports 80 and 443 to the internet",
    fix="Name your networks in cidrBlocks or cidrIpv4, or refer to a security group",
    severity=CRITICAL,
    concerns=is_type(
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/securityGroupRule:SecurityGroupRule",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    ),
    framework=NETWORK,
    limits={
        "ports": {
            "type": "array",
            "items": {"type": "integer"},
            "default": [80, 443],
            "description": "The TCP ports that may be open to the internet.",
        }
    },
)
def security_group_open(group: Resource, limits: Limits) -> Iterator[Found]:
    """Attackers try an open port within minutes."""
    for rule in _ingress(group):
        open_to = _open_to(_sources(rule))
        first, last = number(rule.get("fromPort")), number(rule.get("toPort"))
        protocol = str(rule.get("protocol") or rule.get("ipProtocol"))
        one_port = protocol == "tcp" and first is not None and first == last
        if open_to and not (one_port and first in limits["ports"]):
            ports = "every port" if first is None or protocol == "-1" else f"port {first:g} to {last or first:g}"
            yield f"{ports} is open to {', '.join(open_to)}"
        if lists := texts(rule.get("prefixListIds")) + texts(rule.get("prefixListId")):
            yield NotDecided(f"who {group.name} admits: no policy can read the prefix list {', '.join(lists)}")


def _open_to(ranges: Iterable[str]) -> list[str]:
    """The ranges that admit, each or together, more addresses than one organisation can have."""
    four: dict[ipaddress.IPv4Network, str] = {}
    six: dict[ipaddress.IPv6Network, str] = {}
    for text in ranges:
        with contextlib.suppress(ValueError):  # AWS refuses an invalid range
            found = ipaddress.ip_network(text, strict=False)
            if isinstance(found, ipaddress.IPv4Network):
                four[found] = text
            elif not found.subnet_of(_OWN):
                six[found] = text
    return sorted([*_wider(four, _WIDEST), *_wider(six, _WIDEST_OF_IPV6)])


def _wider(texts_of: Mapping[_Network, str], widest: int) -> Iterator[str]:
    wide = [block for block in ipaddress.collapse_addresses(texts_of) if block.prefixlen < widest]
    yield from (text for one, text in texts_of.items() if any(one.subnet_of(block) for block in wide))


def _ingress(group: Resource) -> list[Mapping[str, Any]]:
    if group.resource_type.endswith("IngressRule"):
        return [group.props]
    if group.resource_type.endswith("SecurityGroupRule"):
        return [group.props] if group.props.get("type") == "ingress" else []
    return items(group.props.get("ingress"))


def _sources(rule: Mapping[str, Any]) -> Iterator[str]:
    for key in ("cidrBlocks", "ipv6CidrBlocks", "cidrIpv4", "cidrIpv6"):
        yield from texts(rule.get(key))


@resource_policy(
    "public-service",
    "A Kubernetes Service does not create a public load balancer",
    fix="Set the Service's type to ClusterIP (values.proxy.service.type for JupyterHub) and publish it by a listener",
    severity=HIGH,
    concerns=either(is_kind("Service"), helm.RELEASES),
    framework=NETWORK,
)
def public_service(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """A controller creates it outside Pulumi's state, without TLS and DNS name, and a destroy may leave it behind."""
    if kind_of(resource) == "Service":
        if at(resource.props, "spec.type") == "LoadBalancer" and not _is_internal(resource.props, "metadata"):
            yield "spec.type is LoadBalancer"
        return
    for path, mapping in mappings(helm.values(resource), "values"):
        public = path.endswith(("service", "Service")) and mapping.get("type") == "LoadBalancer"
        if public and not _is_internal(mapping, ""):
            yield f"{path}.type is LoadBalancer"


def _is_internal(holder: Mapping[str, Any], path: str) -> bool:
    annotations = at(holder, f"{path}.annotations".lstrip("."), {})
    scheme = annotations.get("service.beta.kubernetes.io/aws-load-balancer-scheme")
    old = str(annotations.get("service.beta.kubernetes.io/aws-load-balancer-internal", "")).lower()
    return scheme == "internal" or old == "true"


@resource_policy(
    "listener-without-tls",
    "A listener uses TLS or redirects to HTTPS",
    fix="Set protocol to HTTPS with certificateArn, or defaultActions to a redirect to HTTPS",
    severity=HIGH,
    concerns=either(is_type(*_LISTENERS), is_kind("Ingress")),
    framework=_TLS,
)
def listener_without_tls(listener: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise passwords and tokens cross the internet unencrypted."""
    if kind_of(listener) == "Ingress":
        annotations = at(listener.props, "metadata.annotations", {})
        if not at(listener.props, "spec.tls", []) and "alb.ingress.kubernetes.io/certificate-arn" not in set(
            annotations
        ):
            yield "spec.tls is empty"
        return
    if listener.props.get("protocol", "HTTP") in ("HTTPS", "TLS"):
        return
    redirects = [at(action, "redirect.protocol") == "HTTPS" for action in items(listener.props.get("defaultActions"))]
    if not redirects or not all(redirects):
        yield f"it serves {listener.props.get('protocol', 'HTTP')} on port {listener.props.get('port')}"


@resource_policy(
    "listener-tls-policy",
    "A TLS listener accepts only TLS 1.2 or newer",
    fix="Set sslPolicy to ELBSecurityPolicy-TLS13-1-2-2021-06 or newer",
    severity=MEDIUM,
    concerns=is_type(*_LISTENERS),
    framework=_TLS,
)
def listener_tls_policy(listener: Resource, _limits: Limits) -> Iterator[Found]:
    """The default policy accepts TLS 1.0."""
    if listener.props.get("protocol") in ("HTTPS", "TLS"):
        policy = str(listener.props.get("sslPolicy") or "ELBSecurityPolicy-2016-08")
        if (
            "TLS13-1-2" not in policy
            and "TLS13-1-3" not in policy
            and "TLS-1-2" not in policy
            and "FS-1-2" not in policy
        ):
            yield f"its policy {policy} accepts versions older than TLS 1.2"


def in_conditions(rule: Resource, kind: str) -> tuple[list[str], list[str]]:
    """The values of a listener rule's conditions of a kind (`pathPattern`): ELB wildcards, and regular expressions."""
    conditions = items(rule.props.get("conditions"))
    values, expressions = (
        [text for one in conditions for text in texts(at(one, f"{kind}.{key}"))] for key in ("values", "regexValues")
    )
    return values, expressions


@resource_policy(
    "bucket-public-access",
    "An S3 bucket blocks public access",
    fix="Set blockPublicAcls, blockPublicPolicy, ignorePublicAcls and restrictPublicBuckets to true",
    severity=HIGH,
    concerns=is_type("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", "aws:s3/bucketAcl:BucketAcl"),
    framework=NETWORK,
)
def bucket_public_access(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Buckets hold logs and data sets."""
    if resource.resource_type.endswith(":BucketAcl"):
        if str(resource.props.get("acl")).startswith("public-"):
            yield f"its acl is {resource.props.get('acl')}"
        return
    off = [
        key
        for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
        if resource.props.get(key) is not True
    ]
    if off:
        yield f"not set to true: {', '.join(off)}"


@resource_policy(
    "database-public",
    "A database has no public address",
    fix="Set publiclyAccessible to false",
    severity=CRITICAL,
    concerns=is_type("aws:rds/instance:Instance", "aws:rds/clusterInstance:ClusterInstance"),
    framework=NETWORK,
)
def database_public(database: Resource, _limits: Limits) -> Iterator[Found]:
    """With publiclyAccessible it gets a public address."""
    if database.props.get("publiclyAccessible") is True:
        yield "publiclyAccessible is true"


@resource_policy(
    "file-system-root-mounted",
    "Clients cannot mount the root of a file system",
    fix="Add to policy a statement with Effect Deny, Action elasticfilesystem:ClientMount and Condition StringNotLike "
    "elasticfilesystem:AccessPointArn arn:aws:elasticfilesystem:REGION:ACCOUNT:access-point/*",
    severity=HIGH,
    concerns=is_type("aws:efs/fileSystemPolicy:FileSystemPolicy"),
    framework=best_practices("Security: Data encryption and secrets management, use EFS access points"),
)
def file_system_root_mounted(policy: Resource, _limits: Limits) -> Iterator[Found]:
    """NFS trusts the user id that a client sends. Only an access point fixes the directory and the user."""
    given = at(parsed(str(policy.props.get("policy") or "{}")), "Statement")
    found = [one for one in ([given] if isinstance(given, Mapping) else items(given)) if _is_of_mounts(one)]
    denied = (at(one, "Condition", {}) for one in found if one.get("Effect") == "Deny")
    # A Deny with a further condition does not apply to everybody.
    if any(len(one) == 1 and _about_access_points(one, _WITHOUT) for one in denied):
        return
    for one in found:
        if one.get("Effect") == "Allow" and not _about_access_points(at(one, "Condition", {}), _WITH):
            yield f"{documents.name_of(one)} lets anybody mount every directory, as any user"


# The condition operators that match only mounts with an access point, and those that match only mounts without one.
_WITH = {"stringequals": "", "stringlike": "", "arnequals": "", "arnlike": "", "null": "false"}
_WITHOUT = {"stringnotequals": "", "stringnotlike": "", "arnnotequals": "", "arnnotlike": "", "null": "true"}


def _is_of_mounts(statement: documents.Statement) -> bool:
    """Whether a statement applies to the mounts of every client."""
    mount = "elasticfilesystem:clientmount"
    return "*" in documents.principals(statement) and any(
        fnmatchcase(mount, one.lower()) for one in documents.actions(statement)
    )


def _about_access_points(condition: Mapping[str, Any], operators: Mapping[str, str]) -> bool:
    for operator, keys in condition.items():
        wanted = operators.get(operator.lower())
        for key, value in keys.items():
            if wanted is not None and key.lower() == "elasticfilesystem:accesspointarn":
                return not wanted or wanted == str(value).lower()
    return False


@resource_policy(
    "namespace-pod-security",
    "A namespace enforces a Pod Security level",
    fix="Set the label pod-security.kubernetes.io/enforce to restricted, or to baseline if that is not possible",
    severity=MEDIUM,
    concerns=is_kind("Namespace"),
    framework=cis("4.2.1"),
)
def namespace_pod_security(namespace: Resource, _limits: Limits) -> Iterator[Found]:
    """Without the label the namespace admits privileged pods."""
    if "pod-security.kubernetes.io/enforce" not in set(at(namespace.props, "metadata.labels", {})):
        yield "it admits privileged pods"
