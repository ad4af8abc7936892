"""Load balancers of Services: one in Elastic Load Balancing for each, with its target groups and network interfaces.

Two controllers make them. The cloud provider, in EKS's own control plane, serves Services that ask for nothing special
for as long as there is a cluster (https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html). The
AWS Load Balancer Controller serves those of its class while its Helm release is deployed. Each holds its Services with
a finalizer, so that one whose controller has gone does not go either.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.controllers.finalizers import with_finalizer, without_finalizer
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.world import Object, World, place_of

SERVICES = "/api/v1/services"
CONTROLLER_CHART = "aws-load-balancer-controller"
ANNOTATION = "service.beta.kubernetes.io/aws-load-balancer-"
SCHEME, INTERNAL, TYPE, TAGS = (ANNOTATION + key for key in ("scheme", "internal", "type", "additional-resource-tags"))

_LOG = logging.getLogger("controllers.load_balancers")
_TYPE = "LoadBalancer"
_CLASS = "service.k8s.aws/nlb"
# What a Service says of its type when the cloud provider is to leave it alone.
_EXTERNAL = frozenset({"external", "nlb-ip"})
_LONGEST_NAME = 32
# How the network interfaces of a network load balancer are described: `ELB net/NAME/ID`.
_INTERFACE = "ELB net"
_PUBLIC_ROLE, _INTERNAL_ROLE = "kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"
_SCHEMES = {_PUBLIC_ROLE: "internet-facing", _INTERNAL_ROLE: "internal"}


class CannotBalance(Exception):
    """A Service gets no load balancer; the message says why."""


@dataclass(frozen=True)
class Keeper:
    """One of the two controllers: the AWS Load Balancer Controller (`external`), or else the cloud provider."""

    external: bool

    @property
    def finalizer(self) -> str:
        """By which it holds its Services."""
        return "service.k8s.aws/resources" if self.external else "service.kubernetes.io/load-balancer-cleanup"

    def name(self, service: Object) -> str:
        """The load balancer's name."""
        metadata = service["metadata"]
        uid = metadata["uid"].replace("-", "")
        if not self.external:
            return f"a{uid}"[:_LONGEST_NAME]
        return f"k8s-{metadata['namespace'][:8]}-{metadata['name'][:8]}-{uid[:10]}"

    def role(self, service: Object) -> str:
        """The tag of the subnets that it looks for. Without a word the controller's are internal, the others public."""
        if self.external:
            is_internal = _said(service, SCHEME) != _SCHEMES[_PUBLIC_ROLE]
        else:
            is_internal = _said(service, INTERNAL) == "true"
        return _INTERNAL_ROLE if is_internal else _PUBLIC_ROLE

    def tags(self, service: Object, cluster: str) -> dict[str, str]:
        """The tags of what it makes."""
        metadata = service["metadata"]
        full_name = f"{metadata['namespace']}/{metadata['name']}"
        pairs = (pair.partition("=") for pair in _said(service, TAGS).split(",") if pair)
        asked = {key.strip(): value.strip() for key, _, value in pairs}
        if self.external:
            return {**asked, "elbv2.k8s.aws/cluster": cluster, "service.k8s.aws/stack": full_name}
        return {**asked, f"kubernetes.io/cluster/{cluster}": "owned", "kubernetes.io/service-name": full_name}


class LoadBalancers:
    """Keeps load balancers in line with the Services of type LoadBalancer."""

    def __init__(self) -> None:
        self._warnings = Warnings("Service")

    def reconcile(self, world: World) -> None:
        """Makes what Services ask for and takes away what goes with them."""
        due = [service for service in world.listed(SERVICES) if is_due(service)]
        if not due:
            return
        clusters = world.aws.clusters()
        for service in due:
            keeper = keeper_of(service)
            if keeper is None or not clusters or (keeper.external and not controller_is_deployed(world)):
                continue
            if not is_wanted(service):
                _take_away(world, keeper, service)
                continue
            try:
                _make(world, keeper, service, clusters[0])
            except (CannotBalance, ClientError) as error:
                self._warnings.report(world, service, "SyncLoadBalancerFailed", str(error))


def is_wanted(service: Object) -> bool:
    """Whether a Service asks for a load balancer, and is not on its way out."""
    return service["spec"].get("type") == _TYPE and "deletionTimestamp" not in service["metadata"]


def is_due(service: Object) -> bool:
    """Whether there is anything to do: a load balancer to make, or one to take away."""
    served = bool(service.get("status", {}).get("loadBalancer", {}).get("ingress"))
    held = any(
        Keeper(external).finalizer in (service["metadata"].get("finalizers") or []) for external in (True, False)
    )
    return not (served and held) if is_wanted(service) else held


def keeper_of(service: Object) -> Keeper | None:
    """Who serves a Service: who holds it already, else whom it asks for; None for a class that nobody knows."""
    held = service["metadata"].get("finalizers") or []
    for keeper in (Keeper(external=True), Keeper(external=False)):
        if keeper.finalizer in held:
            return keeper
    asked = service["spec"].get("loadBalancerClass")
    if asked not in (None, _CLASS):
        return None
    return Keeper(external=asked == _CLASS or _said(service, TYPE) in _EXTERNAL)


def target_groups(service: Object) -> dict[str, Mapping[str, Any]]:
    """The port that each target group of a Service is for, by the group's name."""
    ports = {f"{service['metadata']['uid']}/{port['port']}": port for port in service["spec"]["ports"]}
    return {f"k8s-{hashlib.sha256(key.encode()).hexdigest()[:28]}": port for key, port in ports.items()}


def one_per_zone(subnets: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of the subnets that a load balancer takes: the first by id in each zone."""
    chosen: dict[str, str] = {}
    for subnet in sorted(subnets, key=lambda one: one["SubnetId"]):
        chosen.setdefault(subnet["AvailabilityZone"], subnet["SubnetId"])
    return list(chosen.values())


def _said(service: Object, annotation: str) -> str:
    return (service["metadata"].get("annotations") or {}).get(annotation, "")


def controller_is_deployed(world: World) -> bool:
    """Whether the AWS Load Balancer Controller runs: for as long as its Helm release is deployed."""
    return world.deployed(CONTROLLER_CHART) is not None


def _make(world: World, keeper: Keeper, service: Object, cluster: str) -> None:
    path, name = place_of(SERVICES, service), keeper.name(service)
    with_finalizer(world, path, keeper.finalizer)
    balancer = _find(world, name)
    if balancer is None:
        role = keeper.role(service)
        vpc = world.aws.client("eks").describe_cluster(name=cluster)["cluster"]["resourcesVpcConfig"]["vpcId"]
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "tag-key", "Values": [role]}]
        subnets = one_per_zone(world.aws.client("ec2").describe_subnets(Filters=filters)["Subnets"])
        if not subnets:
            raise CannotBalance(f"could not find any suitable subnets for creating the ELB: none is tagged {role}")
        tags = _as_list(keeper.tags(service, cluster))
        balancer = world.aws.client("elbv2").create_load_balancer(
            Name=name, Subnets=subnets, Scheme=_SCHEMES[role], Type="network", Tags=tags
        )["LoadBalancers"][0]
        # They are what keeps AWS from deleting the subnets of a load balancer.
        interface = f"{_INTERFACE}/{name}/{balancer['LoadBalancerArn'].rpartition('/')[2]}"
        for subnet in subnets:
            world.aws.client("ec2").create_network_interface(SubnetId=subnet, Description=interface)
        _LOG.info("made %s for %s", name, service["metadata"]["name"])
    _listen(world, balancer, service, _as_list(keeper.tags(service, cluster)))
    ingress = [{"hostname": balancer["DNSName"]}]
    world.kubernetes.patch(f"{path}/status", {"status": {"loadBalancer": {"ingress": ingress}}})


def _listen(world: World, balancer: Mapping[str, Any], service: Object, tags: list[dict[str, str]]) -> None:
    """A listener and a target group for each port that has none yet."""
    elb = world.aws.client("elbv2")
    arn = balancer["LoadBalancerArn"]
    listening = {one["Port"] for one in elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]}
    for name, port in target_groups(service).items():
        if port["port"] in listening:
            continue
        protocol, node_port = port.get("protocol", "TCP"), port.get("nodePort")
        group = elb.create_target_group(
            Name=name,
            Protocol=protocol,
            # A Service may go without node ports; its targets are pods then.
            Port=node_port or port["port"],
            VpcId=balancer["VpcId"],
            TargetType="instance" if node_port else "ip",
            Tags=tags,
        )["TargetGroups"][0]["TargetGroupArn"]
        forward = [{"Type": "forward", "TargetGroupArn": group}]
        elb.create_listener(LoadBalancerArn=arn, Protocol=protocol, Port=port["port"], DefaultActions=forward)


def _take_away(world: World, keeper: Keeper, service: Object) -> None:
    """Deletes what there is, by names that tell it: a pass that broke off is made up for by the next."""
    elb, ec2 = world.aws.client("elbv2"), world.aws.client("ec2")
    path, name = place_of(SERVICES, service), keeper.name(service)
    if balancer := _find(world, name):
        elb.delete_load_balancer(LoadBalancerArn=balancer["LoadBalancerArn"])
        _LOG.info("deleted %s", name)
    named = target_groups(service)
    for group in elb.describe_target_groups()["TargetGroups"]:
        if group["TargetGroupName"] in named:
            elb.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    for interface in ec2.describe_network_interfaces()["NetworkInterfaces"]:
        if interface["Description"].startswith(f"{_INTERFACE}/{name}/"):
            ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
    if "deletionTimestamp" not in service["metadata"]:
        world.kubernetes.patch(f"{path}/status", {"status": {"loadBalancer": {"ingress": None}}})
    without_finalizer(world, path, keeper.finalizer)


def _find(world: World, name: str) -> dict[str, Any] | None:
    elb = world.aws.client("elbv2")
    try:
        return elb.describe_load_balancers(Names=[name])["LoadBalancers"][0]
    except elb.exceptions.LoadBalancerNotFoundException:
        return None


def _as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
