"""What must hold of a running stack's ingress: names, rules, targets and pods match."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from components.ground.network import ANYWHERE
from components.hub.values import CHART
from components.identity.keycloak import DISCOVERY_PATHS
from rehearsal.controllers.target_groups import BINDINGS, ENDPOINT_SLICES, endpoints, service_port
from rehearsal.machine.workspace import DNS_SERVER

from .checking import NotTried, Subject, require
from .helm_releases import releases

_ADDRESS_TIMEOUT_SECONDS = 60.0


def load_balancer_matches(subject: Subject) -> str:
    """Each published host resolves to the load balancer, and each rule leads to a target group of a Service's pods."""
    elb = subject.account.client("elbv2")
    balancers = _of_type(subject, "aws:lb/loadBalancer:LoadBalancer")
    if not subject.settings.ingress.has_load_balancer:
        require(not balancers, f"there is a load balancer although access is {subject.settings.ingress.access}")
        raise NotTried("the stack has no load balancer: use kubectl port-forward to reach its services")
    require(len(balancers) == 1, f"{len(balancers)} load balancers in the state instead of one")
    balancer = elb.describe_load_balancers(LoadBalancerArns=[balancers[0]["arn"]])["LoadBalancers"][0]
    listeners = {
        listener["Port"]: listener
        for listener in elb.describe_listeners(LoadBalancerArn=balancers[0]["arn"])["Listeners"]
    }
    _listeners_are_right(listeners)
    hosts = {urlsplit(url).netloc for url in subject.outputs["urls"].values()} | _wildcards(subject)
    _names_are_right(subject, hosts, balancer["DNSName"], listeners[443]["Certificates"][0]["CertificateArn"])

    rules = [
        rule for rule in elb.describe_rules(ListenerArn=listeners[443]["ListenerArn"])["Rules"] if not rule["IsDefault"]
    ]
    ruled = {host for rule in rules for host in _values(rule, "host-header")}
    require(ruled == hosts, f"the rules are for {sorted(ruled)}, the published hosts are {sorted(hosts)}")
    _wildcards_redirect(rules)
    groups = {arn for rule in rules if (arn := _target_group(rule))}
    require(
        len(groups) == len(subject.outputs["urls"]),
        f"{len(groups)} rules for {len(subject.outputs['urls'])} published services",
    )
    _ranges_are_kept(subject, balancer["SecurityGroups"], rules)
    bindings = {binding["spec"]["targetGroupARN"]: binding for binding in _list(subject, BINDINGS)}
    made = {outputs["arn"] for outputs in _of_type(subject, "aws:lb/targetGroup:TargetGroup")}
    require(groups == made, f"rules lead to {len(groups & made)} of {len(made)} target groups")
    require(bindings.keys() == groups, f"{len(bindings.keys() & groups)} of {len(groups)} target groups have a binding")
    stand_ins = {release.namespace for release in releases(subject.plane) if release.is_stand_in}
    targets, unseen = 0, []
    for arn in sorted(groups):
        name = f"{bindings[arn]['metadata']['namespace']}/{bindings[arn]['spec']['serviceRef']['name']}"
        service = _service(subject, bindings[arn], stand_ins)
        if service is None:
            unseen.append(name)
        else:
            targets += _targets_are_right(subject, arn, bindings[arn], service)
    _ports_are_open(subject, balancer["SecurityGroups"], groups)
    if not hosts:
        return f"{balancer['LoadBalancerName']} publishes nothing: 404 for everybody"
    return (
        f"{', '.join(sorted(hosts))}: {len(rules)} rules, {len(groups)} target groups and bindings, {targets} targets, "
        f"at {balancer['LoadBalancerName']}"
        + (f"; not checked, because their charts are stand-ins: {', '.join(unseen)}" if unseen else "")
    )


def _wildcards(subject: Subject) -> set[str]:
    """The wildcard hosts of hubs that give each person a subdomain."""
    configurations = [
        release.values["hub"]["config"]["JupyterHub"] for release in releases(subject.plane) if release.chart == CHART
    ]
    hubs = [
        urlsplit(configuration["subdomain_host"]).netloc
        for configuration in configurations
        if "subdomain_host" in configuration
    ]
    return {f"*.{host}" for host in hubs}


def _wildcards_redirect(rules: Sequence[Mapping[str, Any]]) -> None:
    """A wildcard host serves only what is published there, and redirects everything else to the host itself."""
    for wildcard in {host for rule in rules for host in _values(rule, "host-header") if host.startswith("*.")}:
        of_it = [rule for rule in rules if wildcard in _values(rule, "host-header")]
        by_order = sorted(of_it, key=lambda rule: int(rule["Priority"]))
        everything = [rule for rule in by_order if "/*" in _values(rule, "path-pattern")]
        forwarding = [rule for rule in of_it if _target_group(rule)]
        require(bool(forwarding), f"no rule leads {wildcard} anywhere")
        redirects = {rule["Actions"][0].get("RedirectConfig", {}).get("Host") for rule in everything}
        require(redirects == {wildcard.removeprefix("*.")}, f"{wildcard}/* goes to {sorted(map(str, redirects))}")
        require(by_order == [*forwarding, *everything], f"{wildcard}/* comes before what is published there")


def _listeners_are_right(listeners: Mapping[int, Mapping[str, Any]]) -> None:
    """HTTPS answers requests that match no rule with 404, and HTTP redirects to HTTPS."""
    require(listeners.keys() == {80, 443}, f"there are listeners on the ports {sorted(listeners)}")
    (https,), (http,) = listeners[443]["DefaultActions"], listeners[80]["DefaultActions"]
    require(listeners[443]["Protocol"] == "HTTPS", f"the protocol of port 443 is {listeners[443]['Protocol']}")
    require("TLS13-1-2" in listeners[443]["SslPolicy"], f"port 443 has the TLS policy {listeners[443]['SslPolicy']}")
    answer = https.get("FixedResponseConfig", {}).get("StatusCode")
    require(answer == "404", f"requests that match no rule are answered with {answer}")
    require(
        http.get("RedirectConfig", {}).get("Protocol") == "HTTPS", f"the default action of port 80 is {http['Type']}"
    )


def _ranges_are_kept(subject: Subject, groups: list[str], rules: list[Mapping[str, Any]]) -> None:
    """Only the stack file's address ranges reach a service, except for the sign-in documents that EKS reads."""
    ingress, oidc = subject.settings.ingress, subject.settings.cluster.oidc
    described = subject.account.client("ec2").describe_security_group_rules(
        Filters=[{"Name": "group-id", "Values": groups}]
    )["SecurityGroupRules"]
    admitted = {rule["CidrIpv4"] for rule in described if not rule["IsEgress"] and rule["FromPort"] == 443}
    opened = {ANYWHERE} if oidc and ingress.ruled_cidrs else set[str]()
    require(admitted == {*ingress.cidrs, *opened}, f"port 443 admits {sorted(admitted)}")
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
    """In public DNS each host resolves to the load balancer, and the certificate covers it."""
    certificate = subject.account.client("acm").describe_certificate(CertificateArn=certificate_arn)["Certificate"]
    require(certificate["Status"] == "ISSUED", f"the certificate is {certificate['Status']}")
    names = set(certificate["SubjectAlternativeNames"])
    expected = _addresses(subject, balancer_name)
    require(bool(expected), f"{balancer_name} has no address")
    for host in sorted(hosts):
        # Any name matches the wildcard.
        found = _addresses(subject, host.replace("*", "somebody"))
        require(found == expected, f"{host} resolves to {sorted(found)}, the load balancer is at {sorted(expected)}")
        wildcard = f"*.{host.partition('.')[2]}"
        require(bool({host, wildcard} & names), f"the certificate is for {sorted(names)}, not for {host}")


def _addresses(subject: Subject, host: str) -> set[str]:
    # Imported here, because stacks without a domain do not need the DNS client.
    import dns.resolver  # noqa: PLC0415

    address, _, port = subject.workspace.environment[DNS_SERVER].rpartition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [address], int(port)
    try:
        return {record.address for record in resolver.resolve(f"{host}.", "A", lifetime=_ADDRESS_TIMEOUT_SECONDS)}
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
        return set()


def _service(subject: Subject, binding: Mapping[str, Any], stand_ins: Collection[str]) -> dict[str, Any] | None:
    """The Service of a binding; None if its chart is a stand-in, which creates no Service."""
    namespace, name = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]["name"]
    try:
        return subject.plane.request("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
    except HTTPError as error:
        if error.code != 404:
            raise
        finding = f"{binding['metadata']['name']} is for the Service {namespace}/{name}, which does not exist"
        require(namespace in stand_ins, finding)
        return None


def _targets_are_right(subject: Subject, arn: str, binding: Mapping[str, Any], service: dict[str, Any]) -> int:
    """Checks that the group's targets are the ready pods of the binding's Service. Returns their number."""
    namespace, reference = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]
    name = f"{namespace}/{reference['name']}"
    port = service_port(service, reference["port"])
    selector = f"?labelSelector=kubernetes.io%2Fservice-name%3D{reference['name']}"
    slices = subject.plane.request("GET", f"{_in(namespace, ENDPOINT_SLICES)}{selector}")["items"]
    wanted = endpoints(slices, port.get("name"))
    require(bool(wanted), f"the Service {name} has no ready pod")
    health = subject.account.client("elbv2").describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
    found = {(target["Target"]["Id"], int(target["Target"]["Port"])) for target in health}
    require(found == wanted, f"targets of {name} are {sorted(found)}, its pods are at {sorted(wanted)}")
    generation = binding.get("status", {}).get("observedGeneration")
    require(generation == binding["metadata"]["generation"], f"the controller has not seen {name} as it is now")
    return len(found)


def _ports_are_open(subject: Subject, balancer_groups: list[str], target_groups: set[str]) -> None:
    """Security groups admit the load balancer to each port of targets and health checks, on both sides."""
    elb, ec2 = subject.account.client("elbv2"), subject.account.client("ec2")
    wanted: set[int] = set()
    for arn in target_groups:
        group = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
        health = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        wanted |= {int(target["Target"]["Port"]) for target in health}
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
        side = "the load balancer may not connect to" if egress else "the nodes do not admit the load balancer to"
        require(not closed, f"{side} the ports {', '.join(map(str, sorted(closed)))}")


def _of_type(subject: Subject, token: str) -> list[Mapping[str, Any]]:
    """The outputs of all resources of a type."""
    return [resource["outputs"] for resource in subject.resources if resource["type"] == token]


def _list(subject: Subject, collection: str) -> list[dict[str, Any]]:
    """All objects of a collection; none if the API server does not have the kind."""
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


def _target_group(rule: Mapping[str, Any]) -> str | None:
    """The target group of a rule; None for a redirect."""
    (action,) = rule["Actions"]
    require(action["Type"] in ("forward", "redirect"), f"the action of a rule is {action['Type']}")
    return action.get("TargetGroupArn")


INGRESS_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "load balancer, rules, targets and names match": load_balancer_matches,
}
