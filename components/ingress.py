"""The way in: listeners, and for each published service a target group, a rule, a binding and a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.load_balancer import HTTP, HTTPS, LoadBalancer
from components.network import ANYWHERE
from components.published_service import MOST_PATHS, PRIORITIES, PublishedService

# TLS 1.2 with forward secrecy and authenticated encryption, and 1.3. "Security policies for your Application Load
# Balancer", Elastic Load Balancing user guide.
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"

# Seconds. A pod that goes is sent no new request at once; what is open gets this long, and a websocket opens again.
DEREGISTRATION_DELAY = 30

# Quotas of Application Load Balancers: rules without the default ones.
MOST_RULES = 100
# A service's rules begin at its priority, and the one of its open paths comes so much later: there are not as many.
_OPEN_RULE = 50

# Of a target group's name AWS leaves this much to us, before 26 characters of its provider's own.
_NAME_PREFIX = 6


@dataclass(frozen=True, kw_only=True)
class IngressArgs:
    """What the way in is made of.

    `zone_id` is the hosted zone of `domain`, `certificate_arn` an issued certificate for it and its wildcard,
    `node_security_group_id` the group of all nodes. Bindings depend on `controller`, the release of the AWS Load
    Balancer Controller. `cidrs` are the ranges that services are for, but for their open paths; without any they are
    for whoever reaches the load balancer.
    """

    domain: str
    zone_id: pulumi.Input[str]
    certificate_arn: pulumi.Input[str]
    load_balancer: LoadBalancer
    vpc_id: pulumi.Input[str]
    node_security_group_id: pulumi.Input[str]
    controller: pulumi.Resource
    published: Sequence[PublishedService] = ()
    cidrs: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule of the listener: the requests to a host's paths, from some ranges or from anywhere."""

    name: str
    priority: int
    host: str
    paths: Sequence[str]
    cidrs: Sequence[str] = ()

    @property
    def conditions(self) -> list[aws.lb.ListenerRuleConditionArgsDict]:
        """As ELB takes them: all of them have to be met."""
        found: list[aws.lb.ListenerRuleConditionArgsDict] = [
            {"host_header": {"values": [self.host]}},
            {"path_pattern": {"values": list(self.paths)}},
        ]
        if self.cidrs:
            found.append({"source_ip": {"values": list(self.cidrs)}})
        return found


class Ingress(pulumi.ComponentResource):
    """Publishes services of the cluster by the load balancer; what is not published is answered with 404."""

    urls: dict[str, str]
    """Where each published service is, by its name."""
    bindings: dict[str, kubernetes.apiextensions.CustomResource]

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Ingress", name, None, opts)
        check_published(args.published, args.domain, args.cidrs)
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
        doors = self._doors(name, args)
        rules: list[aws.lb.ListenerRule] = []
        for host in dict.fromkeys(service.host for service in args.published):
            aws.route53.Record(
                f"{name}-{host}",
                zone_id=args.zone_id,
                name=host,
                type="A",
                aliases=[
                    {
                        "name": args.load_balancer.dns_name,
                        "zone_id": args.load_balancer.zone_id,
                        # There is no other load balancer to go to.
                        "evaluate_target_health": False,
                    }
                ],
                opts=child,
            )
        self.bindings = {}
        for service in args.published:
            own, self.bindings[service.name] = self._publish(name, args, service, https, doors)
            rules += own
        if args.cidrs and any(service.open_paths for service in args.published):
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-alb-open",
                security_group_id=args.load_balancer.security_group_id,
                description="HTTPS from anywhere, for open paths; rules of the listener have the ranges of the others",
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                cidr_ipv4=ANYWHERE,
                # Not before each rule has its ranges.
                opts=pulumi.ResourceOptions(parent=self, depends_on=rules),
            )

        self.urls = {service.name: f"https://{service.host}" for service in args.published}
        self.register_outputs({"urls": self.urls})

    def _doors(self, name: str, args: IngressArgs) -> list[pulumi.Resource]:
        """What lets the load balancer reach the pods, which have their nodes' security group: a rule at either end."""
        child = pulumi.ResourceOptions(parent=self)
        doors: list[pulumi.Resource] = []
        for port in sorted({port for service in args.published for port in service.node_ports}):
            doors.append(
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
            doors.append(
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
        return doors

    def _publish(
        self,
        name: str,
        args: IngressArgs,
        service: PublishedService,
        listener: aws.lb.Listener,
        doors: Sequence[pulumi.Resource],
    ) -> tuple[list[aws.lb.ListenerRule], kubernetes.apiextensions.CustomResource]:
        """The service's target group, the rules that send requests to it, and the binding that fills it with pods."""
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
                actions=[{"type": "forward", "target_group_arn": target_group.arn}],
                tags={"Name": f"{name}-{rule.name}"},
                opts=child,
            )
            for rule in rules_of(service, args.cidrs)
        ]
        binding = kubernetes.apiextensions.CustomResource(
            f"{name}-{service.name}",
            api_version="elbv2.k8s.aws/v1beta1",
            kind="TargetGroupBinding",
            metadata={"name": service.name, "namespace": service.namespace},
            spec=binding_spec(service, target_group_arn=target_group.arn, vpc_id=args.vpc_id),
            # Targets of a group that no rule uses are never asked for their health, and without a door they fail it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[args.controller, *rules, *doors]),
        )
        return rules, binding


def rules_of(service: PublishedService, cidrs: Sequence[str] = ()) -> Iterator[Rule]:
    """The rules of a service for ranges, as many of these in each as ELB takes beside the host and the paths."""
    room = MOST_PATHS - len(service.paths)
    chunks = [cidrs[first : first + room] for first in range(0, len(cidrs), room)] if cidrs else [()]
    for number, chunk in enumerate(chunks):
        yield Rule(
            name=f"{service.name}-{number + 1}" if number else service.name,
            priority=service.priority + number,
            host=service.host,
            paths=service.paths,
            cidrs=chunk,
        )
    if cidrs and service.open_paths:
        yield Rule(
            name=f"{service.name}-open",
            priority=service.priority + _OPEN_RULE,
            host=service.host,
            paths=service.open_paths,
        )


def binding_spec(
    service: PublishedService, *, target_group_arn: pulumi.Input[str], vpc_id: pulumi.Input[str]
) -> dict[str, Any]:
    """The `spec` of a TargetGroupBinding (elbv2.k8s.aws/v1beta1).

    All that the controller's webhook would fill in is said, so that it finds nothing to change. `networking` is left
    out: with it the controller would write rules into the nodes' security group.
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
    """How a target group asks pods for their health. Times are in seconds: a pod is in after 20, out after 30."""
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
    """What the names of a service's target groups begin with; the rest is new with each, so that one replaces another.

    A group that a rule uses cannot be deleted, so the next has to be there before the last is gone.
    """
    return f"{service_name[: _NAME_PREFIX - 1].rstrip('-')}-"


def check_published(published: Sequence[PublishedService], domain: str, cidrs: Sequence[str] = ()) -> None:
    """Raises ValueError for services that one load balancer with one certificate can't publish together for ranges."""
    for service in published:
        if cidrs and len(service.paths) == MOST_PATHS:
            raise ValueError(f"{service.name} has {MOST_PATHS} paths, and a rule has no room for a range beside them")
        label, _, rest = service.host.partition(".")
        if service.host != domain and (rest != domain or not label):
            raise ValueError(f"{service.name} is at {service.host}: the certificate covers {domain} and *.{domain}")
    for kind, values in (
        ("name", [service.name for service in published]),
        ("priority", [str(rule.priority) for service in published for rule in rules_of(service, cidrs)]),
    ):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            raise ValueError(f"published services have each a {kind} of their own: {', '.join(twice)} is there twice")
    rules = [rule for service in published for rule in rules_of(service, cidrs)]
    if len(rules) > MOST_RULES:
        raise ValueError(
            f"{len(published)} services for {len(cidrs)} ranges take {len(rules)} rules of the load balancer, which "
            f"has {MOST_RULES} at most: publish fewer, or put ranges together"
        )
    if beyond := [rule.name for rule in rules if rule.priority not in PRIORITIES]:
        raise ValueError(f"rules of {', '.join(beyond)} would have a priority above {PRIORITIES[-1]}")
