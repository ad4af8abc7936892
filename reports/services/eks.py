"""Amazon EKS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import contracts
from contracts import eks
from policies.reading.resources import at, items, number, texts
from reports.account import Account, Held, Raw
from reports.aws_type import AwsType, Inputs
from reports.aws_type.listing import Listing, inline_tags
from reports.aws_type.pricing import Facts, NoPrice, free, gp3, instance
from reports.aws_type.stack_names import StackNames, by_name
from reports.aws_type.steps import Steps

_PART = free("https://aws.amazon.com/eks/pricing/: a part of the cluster")
_LAUNCH_TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"


def _clusters(account: Account) -> Iterator[tuple[str, Raw]]:
    for name in account.pages("eks", "list_clusters", "clusters"):
        yield name, account.client("eks").describe_cluster(name=name)["cluster"]


def _is_the_stacks(held: Held, tags: Mapping[str, str], names: StackNames) -> str | None:
    return "the cluster" if held.id == names.cluster else by_name(held, tags, names)


def _remove_cluster(account: Account, held: Held) -> Steps:
    for group in account.pages("eks", "list_nodegroups", "nodegroups", clusterName=held.id):
        named = ["--cluster-name", held.id, "--nodegroup-name", group]
        yield ["aws", "eks", "delete-nodegroup", *named]
        yield ["aws", "eks", "wait", "nodegroup-deleted", *named]
    if held.raw.get("deletionProtection"):
        yield ["aws", "eks", "update-cluster-config", "--name", held.id, "--no-deletion-protection"]
        yield ["aws", "eks", "wait", "cluster-active", "--name", held.id]
    yield ["aws", "eks", "delete-cluster", "--name", held.id]
    yield ["aws", "eks", "wait", "cluster-deleted", "--name", held.id]


def _pod_identities(account: Account, inputs: Inputs) -> Iterator[str]:
    found = account.client("eks").list_pod_identity_associations(
        clusterName=inputs["clusterName"], namespace=inputs["namespace"], serviceAccount=inputs["serviceAccount"]
    )
    yield from (association["associationId"] for association in found["associations"])


def _control_plane_price(facts: Facts) -> tuple[float, str]:
    """Depends on the support that its version has today. Without a version EKS takes one in standard support."""
    name, support_type = facts.get("version"), facts.get("upgradePolicy.supportType", eks.EXTENDED)
    version = eks.versions().get(name or list(eks.versions())[-1])
    if version is None:
        raise NoPrice(f"EKS's support of Kubernetes {name} is not known")
    day = eks.today()
    notice = None if version.is_standard(day) else version.notice(day, support_type)
    return version.price(day, support_type), notice or "a control plane in standard support"


def _node_group_price(facts: Facts) -> tuple[float, str]:
    names = texts(facts.get("instanceTypes"))
    if not names:
        raise NoPrice("instanceTypes is not given")
    count = int(number(facts.get("scalingConfig.desiredSize")) or 0)
    disk, price, what = _disk_price(facts), instance(names[0]), f"{count} {names[0]}"
    capacity_type = facts.get("capacityType", "ON_DEMAND")
    if capacity_type == "SPOT":
        share = contracts.service_prices().spot_share
        price, what = price * share, f"{what} as spot, taken at {share:.0%} of the on-demand price"
    elif capacity_type != "ON_DEMAND":
        raise NoPrice(f"no price of {capacity_type} is known")
    what += ", with their volumes" if disk else ", without their volumes"
    return count * (price + disk), what


def _disk_price(facts: Facts) -> float:
    """A node's volume, if the group's launch template is among the steps: it has the group's logical name."""
    for step in facts.steps:
        if step.type == _LAUNCH_TEMPLATE and step.name == facts.step.name:
            inputs = step.new if facts.after and step.new is not None else step.old
            mappings = items(at(inputs, "blockDeviceMappings", []))
            return sum(gp3(at(mapping, "ebs", {}), "volumeSize") for mapping in mappings)
    return gp3({"size": facts.get("diskSize")}, "size")


TYPES = (
    AwsType(type="aws:eks/accessEntry:AccessEntry", id="{clusterName}:{principalArn}", bill=_PART),
    AwsType(
        type="aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
        id="{clusterName}#{principalArn}#{policyArn}",
        bill=_PART,
    ),
    AwsType(
        type="aws:eks/addon:Addon",
        id="{clusterName}:{addonName}",
        bill=free("https://aws.amazon.com/eks/pricing/: AWS's own addons"),
    ),
    AwsType(
        type="aws:eks/cluster:Cluster",
        listing=Listing(
            service="eks",
            kind="clusters",
            actions=("eks:ListClusters", "eks:DescribeCluster"),
            items=_clusters,
            tags=inline_tags("tags"),
        ),
        recognise=_is_the_stacks,
        remove=_remove_cluster,
        after=("ec2 Instances", "elb LoadBalancerDescriptions", "elbv2 LoadBalancers"),
        actions=("eks:ListNodegroups",),
        id="{name}",
        price=_control_plane_price,
    ),
    AwsType(
        type="aws:eks/identityProviderConfig:IdentityProviderConfig",
        if_made_again="refused",
        bill=_PART,
    ),
    AwsType(
        type="aws:eks/nodeGroup:NodeGroup",
        id="{clusterName}:{nodeGroupName}",
        price=_node_group_price,
    ),
    AwsType(
        type="aws:eks/podIdentityAssociation:PodIdentityAssociation",
        lookup=_pod_identities,
        bill=_PART,
    ),
)
