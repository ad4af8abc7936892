"""What has to hold of the way in while a rehearsed stack is up: names, rules, targets and pods belong together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from components.keycloak import DISCOVERY_PATHS
from components.network import ANYWHERE

from .checks import NotTried, Subject, require
from .controllers.target_groups import BINDINGS, ENDPOINT_SLICES, endpoints, service_port
from .releases import releases
from .workspace import DNS_SERVER

_ADDRESS_PATIENCE = 60.0


def load_balancer_matches(subject: Subject) -> str:
    """Each published host resolves to the load balancer, and each rule leads to a target group of a Service's pods."""
    elb = subject.account.client("elbv2")
    balancers = _of_type(subject, "aws:lb/loadBalancer:LoadBalancer")
    if not subject.settings.ingress.has_load_balancer:
        require(not balancers, f"there is a load balancer although access is {subject.settings.ingress.access}")
        raise NotTried("the stack has no load balancer: its services are reached by kubectl port-forward")
    require(len(balancers) == 1, f"{len(balancers)} load balancers in the state, one is asked for")
    balancer = elb.describe_load_balancers(LoadBalancerArns=[balancers[0]["arn"]])["LoadBalancers"][0]
    listeners = {one["Port"]: one for one in elb.describe_listeners(LoadBalancerArn=balancers[0]["arn"])["Listeners"]}
    _listeners_are_right(listeners)
    hosts = {urlsplit(url).netloc for url in subject.outputs["urls"].values()}
    _names_are_right(subject, hosts, balancer["DNSName"], listeners[443]["Certificates"][0]["CertificateArn"])

    rules = [
        one for one in elb.describe_rules(ListenerArn=listeners[443]["ListenerArn"])["Rules"] if not one["IsDefault"]
    ]
    ruled = {host for rule in rules for host in _values(rule, "host-header")}
    require(ruled == hosts, f"rules are for {sorted(ruled)}, published are {sorted(hosts)}")
    groups = {_target_group(rule) for rule in rules}
    require(
        len(groups) == len(subject.outputs["urls"]),
        f"{len(groups)} rules for {len(subject.outputs['urls'])} published services",
    )
    _ranges_are_kept(subject, balancer["SecurityGroups"], rules)
    bindings = {one["spec"]["targetGroupARN"]: one for one in _list(subject, BINDINGS)}
    made = {one["arn"] for one in _of_type(subject, "aws:lb/targetGroup:TargetGroup")}
    require(groups == made, f"rules lead to {len(groups & made)} of {len(made)} target groups")
    require(bindings.keys() == groups, f"{len(bindings.keys() & groups)} of {len(groups)} target groups have a binding")
    recorded = {one.namespace for one in releases(subject.plane) if one.recorded}
    targets, unseen = 0, []
    for arn in sorted(groups):
        name = f"{bindings[arn]['metadata']['namespace']}/{bindings[arn]['spec']['serviceRef']['name']}"
        service = _service(subject, bindings[arn], recorded)
        if service is None:
            unseen.append(name)
        else:
            targets += _targets_are_right(subject, arn, bindings[arn], service)
    _doors_are_open(subject, balancer["SecurityGroups"], groups)
    if not hosts:
        return f"{balancer['LoadBalancerName']} publishes nothing: 404 for everybody"
    return (
        f"{', '.join(sorted(hosts))}: {len(rules)} rules, {len(groups)} target groups and bindings, {targets} targets, "
        f"at {balancer['LoadBalancerName']}"
        + (f"; not looked for, as their charts' releases are recorded: {', '.join(unseen)}" if unseen else "")
    )


def _listeners_are_right(listeners: Mapping[int, Mapping[str, Any]]) -> None:
    """HTTPS answers what no rule takes with 404, and HTTP sends to HTTPS."""
    require(listeners.keys() == {80, 443}, f"there are listeners at {sorted(listeners)}")
    (https,), (http,) = listeners[443]["DefaultActions"], listeners[80]["DefaultActions"]
    require(listeners[443]["Protocol"] == "HTTPS", f"443 is {listeners[443]['Protocol']}")
    require("TLS13-1-2" in listeners[443]["SslPolicy"], f"443 has the TLS policy {listeners[443]['SslPolicy']}")
    answer = https.get("FixedResponseConfig", {}).get("StatusCode")
    require(answer == "404", f"what is not published is answered with {answer}")
    require(http.get("RedirectConfig", {}).get("Protocol") == "HTTPS", f"80 does {http['Type']}")


def _ranges_are_kept(subject: Subject, groups: list[str], rules: list[Mapping[str, Any]]) -> None:
    """Nobody but the stack file's ranges gets to a service, except for what EKS reads of sign-in."""
    ingress, oidc = subject.settings.ingress, subject.settings.cluster.oidc
    described = subject.account.client("ec2").describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": groups}]
    )["SecurityGroupRules"]
    admitted = {rule["CidrIpv4"] for rule in described if not rule["IsEgress"] and rule["FromPort"] == 443}
    opened = {ANYWHERE} if oidc and ingress.ruled_cidrs else set[str]()
    require(admitted == {*ingress.cidrs, *opened}, f"443 admits {sorted(admitted)}")
    if not ingress.ruled_cidrs:
        return
    for rule in rules:
        sources, paths = set(_values(rule, "source-ip")), set(_values(rule, "path-pattern"))
        require(
            bool(sources) or (oidc and paths <= set(DISCOVERY_PATHS)),
            f"a rule forwards {', '.join(sorted(paths))} for any address",
        )
        require(sources <= set(ingress.cidrs), f"a rule is for {sorted(sources)}")


def _names_are_right(subject: Subject, hosts: set[str], balancer_name: str, certificate_arn: str) -> None:
    """Public DNS leads from each host to the load balancer, whose certificate is for it."""
    certificate = subject.account.client("acm").describe_certificate(CertificateArn=certificate_arn)["Certificate"]
    require(certificate["Status"] == "ISSUED", f"the certificate is {certificate['Status']}")
    names = set(certificate["SubjectAlternativeNames"])
    expected = _addresses(subject, balancer_name)
    require(bool(expected), f"{balancer_name} has no address")
    for host in sorted(hosts):
        found = _addresses(subject, host)
        require(found == expected, f"{host} resolves to {sorted(found)}, the load balancer is at {sorted(expected)}")
        wildcard = f"*.{host.partition('.')[2]}"
        require(bool({host, wildcard} & names), f"the certificate is for {sorted(names)}, not for {host}")


def _addresses(subject: Subject, host: str) -> set[str]:
    # A DNS client, which stacks without a domain start without.
    import dns.resolver  # noqa: PLC0415

    address, _, port = subject.workspace.environment[DNS_SERVER].rpartition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], int(port)
    try:
        return {record.address for record in resolver.resolve(f"{host}.", "A", lifetime=_ADDRESS_PATIENCE)}
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
        return set()


def _service(subject: Subject, binding: Mapping[str, Any], recorded: Collection[str]) -> dict[str, Any] | None:
    """The Service of a binding; None where it would be that of a chart whose release is recorded, which makes none."""
    namespace, name = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]["name"]
    try:
        return subject.plane.request("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
    except HTTPError as error:
        if error.code != 404:
            raise
        told = f"{binding['metadata']['name']} is for the Service {namespace}/{name}, which is not there"
        require(namespace in recorded, told)
        return None


def _targets_are_right(subject: Subject, arn: str, binding: Mapping[str, Any], service: dict[str, Any]) -> int:
    """The group's targets are the ready pods of the binding's Service; how many there are."""
    namespace, reference = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]
    name = f"{namespace}/{reference['name']}"
    port = service_port(service, reference["port"])
    selector = f"?labelSelector=kubernetes.io%2Fservice-name%3D{reference['name']}"
    slices = subject.plane.request("GET", f"{_in(namespace, ENDPOINT_SLICES)}{selector}")["items"]
    wanted = endpoints(slices, port.get("name"))
    require(bool(wanted), f"the Service {name} has no ready pod")
    health = subject.account.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    found = {(one["Target"]["Id"], int(one["Target"]["Port"])) for one in health}
    require(found == wanted, f"targets of {name} are {sorted(found)}, its pods are at {sorted(wanted)}")
    generation = binding.get("status", {}).get("observedGeneration")
    require(generation == binding["metadata"]["generation"], f"the controller has not seen {name} as it is now")
    return len(found)


def _doors_are_open(subject: Subject, balancer_groups: list[str], target_groups: set[str]) -> None:
    """The load balancer may go to each port of targets and of health checks, and the nodes let it in there."""
    elb, ec2 = subject.account.client("elbv2"), subject.account.client("ec2")
    wanted: set[int] = set()
    for arn in target_groups:
        group = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
        health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        wanted |= {int(one["Target"]["Port"]) for one in health}
        wanted |= {int(group["HealthCheckPort"])} if group["HealthCheckPort"].isdigit() else set()
    (cluster,) = _of_type(subject, "aws:eks/cluster:Cluster")
    nodes = cluster["vpcConfig"]["clusterSecurityGroupId"]
    for egress, here, there in ((True, balancer_groups, [nodes]), (False, [nodes], balancer_groups)):
        rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": here}])["SecurityGroupRules"]
        between = [
            rule
            for rule in rules
            if rule["IsEgress"] == egress and rule.get("ReferencedGroupInfo", {}).get("GroupId") in there
        ]
        closed = {port for port in wanted if not any(rule["FromPort"] <= port <= rule["ToPort"] for rule in between)}
        side = "the load balancer may not go to" if egress else "the nodes do not let the load balancer in at"
        require(not closed, f"{side} {', '.join(map(str, sorted(closed)))}")


def _of_type(subject: Subject, token: str) -> list[Mapping[str, Any]]:
    """The outputs of all resources of a type."""
    return [one["outputs"] for one in subject.resources if one["type"] == token]


def _list(subject: Subject, collection: str) -> list[dict[str, Any]]:
    """All objects of a collection; none when nobody serves it."""
    try:
        return subject.plane.request("GET", collection)["items"]
    except HTTPError as error:
        if error.code != 404:
            raise
        return []


def _in(namespace: str, collection: str) -> str:
    root, _, plural = collection.rpartition("/")
    return f"{root}/namespaces/{namespace}/{plural}"


def _values(rule: Mapping[str, Any], field: str) -> list[str]:
    found: list[str] = []
    for condition in rule["Conditions"]:
        if condition["Field"] == field:
            config = next((value for key, value in condition.items() if key.endswith("Config")), {})
            found += condition.get("Values") or config.get("Values", [])
    return found


def _target_group(rule: Mapping[str, Any]) -> str:
    (action,) = rule["Actions"]
    require(action["Type"] == "forward", f"a rule does {action['Type']}")
    return action["TargetGroupArn"]


CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "load balancer, rules, targets and names match": load_balancer_matches,
}
