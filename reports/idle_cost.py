"""What a stack costs an hour while nobody uses it, by list price in us-east-1, and which prices are not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import contracts
from contracts import eks
from policies.reading.resources import at, items, number, texts

from .previews import UNKNOWN, Step

HOURS_A_MONTH = 730
# What gp3 includes: more IOPS, and more MiB/s, cost by the month.
_GP3_IOPS, _GP3_MIBPS = 3000, 125
_LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"

Inputs = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A resource's price in USD an hour before and after; `what` says what is paid for."""

    step: Step
    before: float
    after: float
    what: str


@dataclass
class IdleCost:
    """The idle cost before and after: of the resources that the preview shows, which may be those that change alone."""

    priced: list[Priced] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Resources that cost something by the hour, or may, with why their price is not known."""
    by_use: list[str] = field(default_factory=list)

    @property
    def before(self) -> float:
        """USD an hour."""
        return sum(one.before for one in self.priced)

    @property
    def after(self) -> float:
        """USD an hour."""
        return sum(one.after for one in self.priced)

    @property
    def change(self) -> float:
        """USD an hour."""
        return self.after - self.before


class NoPrice(Exception):
    """A price that is not known; the message says of what."""


def idle_cost(steps: Sequence[Step]) -> IdleCost:
    """The idle cost of a preview's resources."""
    cost = IdleCost()
    for step in steps:
        billed = contracts.billing(step.type)
        if billed == "by use":
            cost.by_use.append(step.name)
        pricer = _PRICERS.get(step.type)
        if pricer is None:
            if billed is None and step.type.startswith("aws:"):
                cost.unknown.append(f"{step.name} ({step.type})")
            continue
        after_inputs = None if step.op == "delete" else step.new if step.new is not None else step.old
        try:
            before, what = pricer(_Facts(step.old, step, steps, after=False)) if step.old is not None else (0.0, "")
            after, what = (
                pricer(_Facts(after_inputs, step, steps, after=True)) if after_inputs is not None else (0.0, what)
            )
        except NoPrice as why:
            cost.unknown.append(f"{step.name} ({why})")
        else:
            cost.priced.append(Priced(step=step, before=before, after=after, what=what))
    return cost


@dataclass(frozen=True)
class _Facts:
    """One side of a step, and the steps around it."""

    inputs: Inputs
    step: Step
    steps: Iterable[Step]
    after: bool

    def get(self, path: str, default: Any = None) -> Any:
        """A value that has to be known. Raises NoPrice."""
        found = at(self.inputs, path, default)
        if found == UNKNOWN:
            raise NoPrice(f"{path} is not yet known")
        return found


def _monthly(key: str) -> float:
    return contracts.service_prices().a_month[key] / HOURS_A_MONTH


def _hourly(key: str) -> float:
    return contracts.service_prices().an_hour[key]


def _flat(price: Callable[[str], float], key: str, what: str) -> Callable[[_Facts], tuple[float, str]]:
    return lambda facts: (price(key), what)


def _endpoint(facts: _Facts) -> tuple[float, str]:
    if facts.get("vpcEndpointType", "Gateway") != "Interface":
        return 0.0, "a gateway endpoint is free"
    zones = len(items(facts.get("subnetIds", [])))
    return zones * _hourly("interfaceEndpointInAZone"), f"an interface endpoint in {zones} zones"


def _load_balancer(facts: _Facts) -> tuple[float, str]:
    kind = facts.get("loadBalancerType", "application")
    if kind == "gateway":
        raise NoPrice("a gateway load balancer")
    if facts.get("internal", False) is True:
        return _hourly("loadBalancer"), "a load balancer without its traffic"
    zones = len(items(facts.get("subnets", []))) or len(items(facts.get("subnetMappings", [])))
    price = _hourly("loadBalancer") + zones * _hourly("publicAddress")
    return price, f"a load balancer with {zones} public addresses, without its traffic"


def _control_plane(facts: _Facts) -> tuple[float, str]:
    """By the support that its version has today. Without a version EKS takes one in standard support."""
    name, support_type = facts.get("version"), facts.get("upgradePolicy.supportType", eks.EXTENDED)
    version = eks.versions().get(name or list(eks.versions())[-1])
    if version is None:
        raise NoPrice(f"EKS's support of Kubernetes {name} is not known")
    day = eks.today()
    notice = None if version.is_standard(day) else version.notice(day, support_type)
    return version.price(day, support_type), notice or "a control plane in standard support"


def _node_group(facts: _Facts) -> tuple[float, str]:
    names = texts(facts.get("instanceTypes"))
    if not names:
        raise NoPrice("instanceTypes is not given")
    count = int(number(facts.get("scalingConfig.desiredSize")) or 0)
    disk, price, said = _disk(facts), _instance(names[0]), f"{count} {names[0]}"
    capacity_type = facts.get("capacityType", "ON_DEMAND")
    if capacity_type == "SPOT":
        share = contracts.service_prices().spot_share
        price, said = price * share, f"{said} as spot, taken at {share:.0%} of the on-demand price"
    elif capacity_type != "ON_DEMAND":
        raise NoPrice(f"no price of {capacity_type} is known")
    each = price + disk
    said += ", with their volumes" if disk else ", without their volumes"
    return count * each, said


def _disk(facts: _Facts) -> float:
    """A node's volume, if the group's launch template is among the steps: it has the group's logical name."""
    for step in facts.steps:
        if step.type == _LAUNCH_TEMPLATE and step.name == facts.step.name:
            inputs = step.new if facts.after and step.new is not None else step.old
            mappings = items(at(inputs, "blockDeviceMappings", []))
            return sum(_gp3(at(one, "ebs", {}), "volumeSize") for one in mappings)
    return _gp3({"size": facts.get("diskSize")}, "size")


def _gp3(volume: Inputs, size: str) -> float:
    """What a gp3 volume costs an hour."""
    iops = max((number(volume.get("iops")) or 0) - _GP3_IOPS, 0)
    throughput = max((number(volume.get("throughput")) or 0) - _GP3_MIBPS, 0)
    held = (number(volume.get(size)) or 0) * _monthly("gp3GiB")
    return held + iops * _monthly("gp3Iops") + throughput * _monthly("gp3MiBps")


def _instance(name: str) -> float:
    found = contracts.instance_types().get(name)
    if found is None or found.price is None:
        raise NoPrice(f"no price of {name} is known")
    return found.price


def _ec2_instance(facts: _Facts) -> tuple[float, str]:
    name, root = facts.get("instanceType", ""), facts.get("rootBlockDevice", {})
    size = number(at(root, "volumeSize")) if at(root, "volumeType") == "gp3" else None
    if not size:
        return _instance(name), f"{name}, without its volumes"
    return _instance(name) + size * _monthly("gp3GiB"), f"{name} with {size:g} GiB of gp3"


def _volume(facts: _Facts) -> tuple[float, str]:
    size, kind = number(facts.get("size")) or 0, facts.get("type", "gp2")
    if kind != "gp3":
        raise NoPrice(f"no price of {kind} volumes is known")
    volume = {key: facts.get(key) for key in ("size", "iops", "throughput")}
    return _gp3(volume, "size"), f"{size:g} GiB of gp3"


def _file_system(facts: _Facts) -> tuple[float, str]:
    if facts.get("throughputMode", "bursting") != "provisioned":
        return 0.0, "a file system without what it stores and carries"
    provisioned = number(facts.get("provisionedThroughputInMibps")) or 0
    said = f"{provisioned:g} MiB/s of provisioned throughput, without what is stored"
    return provisioned * _monthly("efsMiBps"), said


def _database(facts: _Facts) -> tuple[float, str]:
    engine, name = facts.get("engine", "postgres"), facts.get("instanceClass", "")
    price = contracts.service_prices().postgres.get(name)
    if price is None or engine != "postgres":
        raise NoPrice(f"no price of {name} for {engine} is known")
    if facts.get("storageType", "gp3") != "gp3":
        raise NoPrice(f"no price of {facts.get('storageType')} storage is known")
    if facts.get("iops"):
        raise NoPrice("provisioned IOPS of a database")
    size = number(facts.get("allocatedStorage")) or 0
    # "Multi-AZ deployments": a standby, with storage of its own.
    copies = 2 if facts.get("multiAz", False) is True else 1
    said = f"{name} with {size:g} GiB" + (" in two zones" if copies > 1 else "")
    return copies * (price + size * _monthly("rdsGp3GiB")), said


_PRICERS: Mapping[str, Callable[[_Facts], tuple[float, str]]] = {
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/eip:Eip": _flat(_hourly, "publicAddress", "a public address"),
    "aws:ec2/instance:Instance": _ec2_instance,
    "aws:ec2/natGateway:NatGateway": _flat(_hourly, "natGateway", "a NAT gateway without its traffic"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _endpoint,
    "aws:efs/fileSystem:FileSystem": _file_system,
    "aws:eks/cluster:Cluster": _control_plane,
    "aws:eks/nodeGroup:NodeGroup": _node_group,
    "aws:kms/key:Key": _flat(_monthly, "kmsKey", "a key"),
    "aws:lb/loadBalancer:LoadBalancer": _load_balancer,
    "aws:rds/instance:Instance": _database,
    "aws:secretsmanager/secret:Secret": _flat(_monthly, "secret", "a secret"),
    "aws:wafv2/webAcl:WebAcl": _flat(_monthly, "webAcl", "a web ACL without its rules and requests"),
}
