"""Whether this machine will reach the API of a cluster that is about to be made.

A private endpoint answers inside its VPC, as far as the cluster's security group admits. Where one `up` makes both,
nothing is inside yet, and the first object in the cluster would fail after 12 minutes, with all that costs in place.
Only the engine knows what it is about to make: it calls a hook before it creates the control plane, and does not where
the cluster exists.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

GUIDE = "docs/private-clusters.md"
_HTTPS = 443
# What EKS, and the provider, say of a cluster that does not exist.
_NOT_FOUND = ("ResourceNotFound", "couldn't find resource", "No cluster found")


class OutOfReachError(pulumi.RunError):
    """The new cluster could not be reached from this machine. The message says what to do."""


def private_endpoint_hook(
    name: str, resource: pulumi.Resource, *, cluster_name: str, private_cidrs: Sequence[str], rehearsed: bool
) -> pulumi.ResourceHook:
    """What the engine calls in a preview before it creates a control plane without a public endpoint.

    It refuses one that nobody could reach; `private_cidrs` are the ranges that may. Warnings are those of `resource`. A
    rehearsal, whose API server is on this machine, only says what a real account would make of it.
    """

    def before_create(args: pulumi.ResourceHookArgs) -> None:
        try:
            warning = examined(args.new_inputs or {}, cluster_name, private_cidrs)
        except OutOfReachError as refusal:
            if not rehearsed:
                raise
            warning = f"a real account would refuse this preview. {refusal}"
        if warning:
            pulumi.log.warn(warning, resource)

    return pulumi.ResourceHook(name, before_create, pulumi.ResourceHookOptions(on_dry_run=True))


def examined(control_plane: Mapping[str, Any], cluster_name: str, private_cidrs: Sequence[str]) -> str | None:
    """What to see to before the control plane with these inputs is made, if anything.

    Raises OutOfReachError where its subnets are not there yet, and where its security group would admit nodes only.
    """
    if pulumi.contains_unknowns(control_plane.get("vpcConfig")):
        raise OutOfReachError(
            f"The API of the new cluster {cluster_name} would answer inside its VPC only, as "
            "gpulab:cluster.endpoint.publicCidrs is empty, and this run makes the VPC: no machine is inside it yet, "
            "this one included. Name this machine's public address there (`curl https://checkip.amazonaws.com`), and "
            "take it out again once a VPN leads into the VPC; or make the network first, and the rest from inside: "
            f"{GUIDE}."
        )
    if not private_cidrs:
        raise OutOfReachError(
            f"The API of the new cluster {cluster_name} would answer its own nodes only: name the networks from which "
            f"you come in gpulab:cluster.endpoint.privateCidrs, such as the VPC's own range or a VPN's ({GUIDE})."
        )
    if any(map(is_inside, private_cidrs)):
        return None
    return (
        f"The API of the new cluster {cluster_name} will answer {', '.join(private_cidrs)} only, inside its VPC, and "
        f"this machine has no address there. See that a VPN or a proxy leads there before you go on ({GUIDE})."
    )


def require_no_cluster(cluster_name: str, opts: pulumi.InvokeOptions) -> None:
    """For a stack that is to be its network only: raises OutOfReachError where its cluster may exist."""
    try:
        aws.eks.get_cluster(name=cluster_name, opts=opts)
    except Exception as error:  # what an invoke raises has no type of its own
        if any(sign in str(error) for sign in _NOT_FOUND):
            return
        raise OutOfReachError(
            f"Cannot look up whether the cluster {cluster_name} exists, which gpulab:network.only would delete: {error}"
        ) from None
    raise OutOfReachError(
        f"gpulab:network.only would delete the cluster {cluster_name} and all that is in it: take it out, or destroy "
        f"the stack ({GUIDE})."
    )


def is_inside(cidr: str) -> bool:
    """Whether this machine would speak to a range from an address in it. Nothing is sent."""
    network = ipaddress.IPv4Network(cidr)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(network.network_address + 1), _HTTPS))
        except OSError:  # no route leads there
            return False
        return ipaddress.IPv4Address(probe.getsockname()[0]) in network
