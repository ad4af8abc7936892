"""Publishes services: listeners, and for each service a target group, rules, a binding and a DNS name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.ground.network import ANYWHERE
from components.ingress.load_balancer import HTTP, HTTPS, LoadBalancer
from components.ingress.published_service import MOST_PATHS, PRIORITIES, PublishedService

if TYPE_CHECKING:
    from settings import Ingress as IngressSettings

# TLS 1.2 with forward secrecy and authenticated encryption, and 1.3. "Security policies for your Application Load
# Balancer", Elastic Load Balancing user guide.
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"

# Seconds. A pod that ends gets no new requests; open requests get this long, and websockets reconnect.
DEREGISTRATION_DELAY = 30

# A quota of Application Load Balancers: rules, not counting the default ones.
MOST_RULES = 100
# Offsets from a service's priority, at which its other rules begin: the rule for its open paths, the rules for paths
# below its host, and those that redirect the rest there. A service never has so many rules that they meet.
_OPEN_RULE, _RULES_BELOW, _RULES_ELSEWHERE = 50, 51, 80

# Characters of a target group's name that are ours; the provider adds 26.
_NAME_PREFIX = 6


@dataclass(frozen=True, kw_only=True)
class IngressArgs:
    """What publishing needs.

    `zone_id` is the hosted zone of `domain`, `certificate_arn` an issued certificate for it, its wildcard and the
    services' (`published_service.wildcards`), `node_security_group_id` the group of all nodes. Bindings depend on
    `controller`, the release of the AWS Load Balancer Controller. The settings' `ruled_cidrs` are the ranges that may
    use the services; open paths are for everybody. Without any, everybody who reaches the load balancer may use them.
    """

    settings: IngressSettings
    domain: str
    zone_id: pulumi.Input[str]
    certificate_arn: pulumi.Input[str]
    load_balancer: LoadBalancer
    vpc_id: pulumi.Input[str]
    node_security_group_id: pulumi.Input[str]
    controller: pulumi.Resource
    published: Sequence[PublishedService] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule of the listener, for requests to a host's paths from some ranges or from anywhere.

    It forwards them to the service, or redirects them to the host `redirect_to`.
    """

    name: str
    priority: int
    host: str
    paths: Sequence[str]
    cidrs: Sequence[str] = ()
    redirect_to: str | None = None

    @property
    def conditions(self) -> list[aws.lb.ListenerRuleConditionArgsDict]:
        """The conditions in ELB's form; all of them must be met."""
        found: list[aws.lb.ListenerRuleConditionArgsDict] = [
            {"host_header": {"values": [self.host]}},
            {"path_pattern": {"values": list(self.paths)}},
        ]
        if self.cidrs:
            found.append({"source_ip": {"values": list(self.cidrs)}})
        return found

    def action(self, target_group_arn: pulumi.Input[str]) -> aws.lb.ListenerRuleActionArgsDict:
        """What happens to the requests. `target_group_arn` is the service's target group."""
        if self.redirect_to is None:
            return {"type": "forward", "target_group_arn": target_group_arn}
        return {"type": "redirect", "redirect": {"host": self.redirect_to, "status_code": "HTTP_302"}}


class Ingress(pulumi.ComponentResource):
    """Publishes services of the cluster through the load balancer, which answers all other requests with 404."""

    urls: dict[str, str]
    """The address of each published service, by its name."""
    bindings: dict[str, kubernetes.apiextensions.CustomResource]

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Ingress", name, None, opts)
        check_published(args.published, args.domain, args.settings.ruled_cidrs)
        child = pulumi.ResourceOptions(parent=self)

        aws.lb.Listener(
            f"{name}-http",
            load_balancer_arn=args.load_balancer.arn,
            port=HTTP,
            protocol="HTTP",
            default_actions=[
                {
                    "type": "redirect",
                    "redirect": {"port": str(HTTPS), "protocol": "HTTPS", "status_code": "HTTP_301"},
                }
            ],
            tags={"Name": f"{name}-http"},
            opts=child,
        )
        https = aws.lb.Listener(
            f"{name}-https",
            load_balancer_arn=args.load_balancer.arn,
            port=HTTPS,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=args.certificate_arn,
            default_actions=[
                {
                    "type": "fixed-response",
                    "fixed_response": {"content_type": "text/plain", "message_body": "Not found", "status_code": "404"},
                }
            ],
            tags={"Name": f"{name}-https"},
            opts=child,
        )
        pod_access = self._pod_access(name, args)
        rules: list[aws.lb.ListenerRule] = []
        for host in dict.fromkeys(host for service in args.published for host in service.hosts):
            aws.route53.Record(
                # No asterisk in a resource's name: in `--target` it means any characters.
                f"{name}-{host.replace('*.', 'below-')}",
                zone_id=args.zone_id,
                name=host,
                type="A",
                aliases=[
                    {
                        "name": args.load_balancer.dns_name,
                        "zone_id": args.load_balancer.zone_id,
                        # There is no second load balancer to fail over to.
                        "evaluate_target_health": False,
                    }
                ],
                opts=child,
            )
        self.bindings = {}
        for service in args.published:
            own, self.bindings[service.name] = self._publish(name, args, service, https, pod_access)
            rules += own
        if args.settings.ruled_cidrs and any(service.open_paths for service in args.published):
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-alb-open",
                security_group_id=args.load_balancer.security_group_id,
                description="HTTPS from anywhere, for open paths; rules of the listener have the ranges of the others",
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                cidr_ipv4=ANYWHERE,
                # Only after each rule has its ranges.
                opts=pulumi.ResourceOptions(parent=self, depends_on=rules),
            )

        self.urls = {service.name: f"https://{service.host}" for service in args.published}
        self.register_outputs({"urls": self.urls})

    def _pod_access(self, name: str, args: IngressArgs) -> list[pulumi.Resource]:
        """Lets the load balancer reach the pods, which have their nodes' security group: rules on both sides."""
        child = pulumi.ResourceOptions(parent=self)
        rules: list[pulumi.Resource] = []
        for port in sorted({port for service in args.published for port in service.node_ports}):
            rules.append(
                aws.vpc.SecurityGroupEgressRule(
                    f"{name}-to-nodes-{port}",
                    security_group_id=args.load_balancer.security_group_id,
                    description="To pods",
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    referenced_security_group_id=args.node_security_group_id,
                    opts=child,
                )
            )
            rules.append(
                aws.vpc.SecurityGroupIngressRule(
                    f"{name}-from-alb-{port}",
                    security_group_id=args.node_security_group_id,
                    description="From the load balancer",
                    ip_protocol="tcp",
                    from_port=port,
                    to_port=port,
                    referenced_security_group_id=args.load_balancer.security_group_id,
                    opts=child,
                )
            )
        return rules

    def _publish(
        self,
        name: str,
        args: IngressArgs,
        service: PublishedService,
        listener: aws.lb.Listener,
        pod_access: Sequence[pulumi.Resource],
    ) -> tuple[list[aws.lb.ListenerRule], kubernetes.apiextensions.CustomResource]:
        """Makes the service's target group, the rules that send requests to it, and the binding that adds its pods."""
        child = pulumi.ResourceOptions(parent=self)
        target_group = aws.lb.TargetGroup(
            f"{name}-{service.name}",
            name_prefix=name_prefix(service.name),
            port=service.target_port,
            protocol="HTTP",
            target_type="ip",
            vpc_id=args.vpc_id,
            deregistration_delay=DEREGISTRATION_DELAY,
            health_check=health_check(service),
            tags={"Name": f"{name}-{service.name}"},
            opts=child,
        )
        rules = [
            aws.lb.ListenerRule(
                f"{name}-{rule.name}",
                listener_arn=listener.arn,
                priority=rule.priority,
                conditions=rule.conditions,
                actions=[rule.action(target_group.arn)],
                tags={"Name": f"{name}-{rule.name}"},
                opts=child,
            )
            for rule in rules_of(service, args.settings.ruled_cidrs)
        ]
        binding = kubernetes.apiextensions.CustomResource(
            f"{name}-{service.name}",
            api_version="elbv2.k8s.aws/v1beta1",
            kind="TargetGroupBinding",
            metadata={"name": service.name, "namespace": service.namespace},
            spec=binding_spec(service, target_group_arn=target_group.arn, vpc_id=args.vpc_id),
            # ELB does not check targets of a group that no rule uses, and the checks fail until it can reach the pods.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.controller, *rules, *pod_access]),
        )
        return rules, binding


def rules_of(service: PublishedService, cidrs: Sequence[str] = ()) -> Iterator[Rule]:
    """The rules of a service for `cidrs`. Each has as many ranges as ELB accepts next to its host and paths.

    The more specific rules come first, because the first rule that matches decides.
    """
    first = Rule(name=service.name, priority=service.priority, host=service.host, paths=service.paths)
    yield from _for_ranges(first, cidrs)
    if cidrs and service.open_paths:
        yield Rule(
            name=f"{service.name}-open",
            priority=service.priority + _OPEN_RULE,
            host=service.host,
            paths=service.open_paths,
        )
    if service.paths_below:
        _, below = service.hosts
        name, priority = f"{service.name}-below", service.priority + _RULES_BELOW
        yield from _for_ranges(Rule(name=name, priority=priority, host=below, paths=service.paths_below), cidrs)
        name, priority = f"{service.name}-elsewhere", service.priority + _RULES_ELSEWHERE
        elsewhere = Rule(name=name, priority=priority, host=below, paths=("/*",), redirect_to=service.host)
        yield from _for_ranges(elsewhere, cidrs)


def _for_ranges(rule: Rule, cidrs: Sequence[str]) -> Iterator[Rule]:
    """The rule for these ranges, split into as many rules as they need."""
    room = MOST_PATHS - len(rule.paths)
    chunks = [cidrs[first : first + room] for first in range(0, len(cidrs), room)] if cidrs else [()]
    for number, chunk in enumerate(chunks):
        name = f"{rule.name}-{number + 1}" if number else rule.name
        yield replace(rule, name=name, priority=rule.priority + number, cidrs=chunk)


def binding_spec(
    service: PublishedService, *, target_group_arn: pulumi.Input[str], vpc_id: pulumi.Input[str]
) -> dict[str, Any]:
    """The `spec` of a TargetGroupBinding (elbv2.k8s.aws/v1beta1).

    It sets everything that the controller's webhook would fill in, so that the webhook changes nothing. `networking` is
    left out: with it, the controller would write rules into the nodes' security group.
    """
    return {
        "serviceRef": {"name": service.service, "port": service.port},
        "targetGroupARN": target_group_arn,
        "targetGroupProtocol": "HTTP",
        "targetType": "ip",
        "ipAddressType": "ipv4",
        "vpcID": vpc_id,
    }


def health_check(service: PublishedService) -> aws.lb.TargetGroupHealthCheckArgs:
    """How a target group checks pods. A pod counts as healthy after 20 s, as unhealthy after 30 s."""
    return aws.lb.TargetGroupHealthCheckArgs(
        protocol="HTTP",
        path=service.health_check_path,
        port=str(service.health_check_port) if service.health_check_port else "traffic-port",
        matcher=service.health_check_codes,
        interval=10,
        timeout=5,
        healthy_threshold=2,
        unhealthy_threshold=3,
    )


def name_prefix(service_name: str) -> str:
    """The prefix of the names of a service's target groups.

    The rest is new each time, so that a new one can replace an old one.

    A group that a rule uses cannot be deleted, so the new group must exist before the old one is deleted.
    """
    return f"{service_name[: _NAME_PREFIX - 1].rstrip('-')}-"


def check_published(published: Sequence[PublishedService], domain: str, cidrs: Sequence[str] = ()) -> None:
    """Raises ValueError if one load balancer with one certificate can't publish the services for these ranges."""
    for service in published:
        if cidrs and MOST_PATHS in (len(service.paths), len(service.paths_below)):
            raise ValueError(f"{service.name} has {MOST_PATHS} paths, so its rule has no room for a range")
        label, _, rest = service.host.partition(".")
        if service.host != domain and (rest != domain or not label):
            raise ValueError(
                f"{service.name} is at {service.host}, but the certificate covers only {domain} and *.{domain}"
            )
        if service.paths_below and service.host == domain:
            raise ValueError(f"{service.name} would take all names below {domain}, which other services use")
    for kind, values in (
        ("name", [service.name for service in published]),
        ("priority", [str(rule.priority) for service in published for rule in rules_of(service, cidrs)]),
    ):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ValueError(f"each published service needs its own {kind}, but {', '.join(twice)} is used twice")
    rules = [rule for service in published for rule in rules_of(service, cidrs)]
    if len(rules) > MOST_RULES:
        raise ValueError(
            f"{len(published)} services for {len(cidrs)} ranges need {len(rules)} rules, but the load balancer has "
            f"{MOST_RULES} at most: publish fewer services, or merge ranges"
        )
    if beyond := [rule.name for rule in rules if rule.priority not in PRIORITIES]:
        raise ValueError(f"rules of {', '.join(beyond)} would have a priority above {PRIORITIES[-1]}")
