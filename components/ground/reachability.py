"""Checks that this machine will reach the API of a cluster that is about to be made.

A private endpoint answers only inside its VPC, to what the cluster's security group admits. If one `up` makes both, no
machine is inside yet: the first object in the cluster would fail after 12 minutes, when everything that costs money
exists. Only the engine knows what it will make. It calls a hook before it creates the control plane, and does not call
it if the cluster exists.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws

GUIDE = "docs/private-clusters.md"
_HTTPS = 443
# Seconds.
CONNECT_SECONDS = 5
RETRY_SECONDS = 2
NEW_ENDPOINT_SECONDS = 90
# What EKS and the provider answer for a cluster that does not exist.
_NOT_FOUND = ("ResourceNotFound", "couldn't find resource", "No cluster found")


class OutOfReachError(pulumi.RunError):
    """The new cluster could not be reached from this machine. The message says what to do."""


def private_endpoint_hook(
    name: str, resource: pulumi.Resource, *, cluster_name: str, private_cidrs: Sequence[str], rehearsed: bool
) -> pulumi.ResourceHook:
    """The hook that the engine calls in a preview before it creates a control plane without a public endpoint.

    It refuses a control plane that nobody could reach; `private_cidrs` are the ranges that may. Warnings belong to
    `resource`. In a rehearsal, whose API server is on this machine, a refusal is only a warning.
    """

    def before_create(args: pulumi.ResourceHookArgs) -> None:
        try:
            warning = reachability_warning(args.new_inputs or {}, cluster_name, private_cidrs)
        except OutOfReachError as refusal:
            if not rehearsed:
                raise
            warning = f"on a real account this preview would fail. {refusal}"
        if warning:
            pulumi.log.warn(warning, resource)

    return pulumi.ResourceHook(name, before_create, pulumi.ResourceHookOptions(on_dry_run=True))


def reachability_warning(
    control_plane: Mapping[str, Any], cluster_name: str, private_cidrs: Sequence[str]
) -> str | None:
    """What to prepare before the control plane with these inputs is made; None if nothing.

    Raises OutOfReachError if its subnets do not exist yet, or if its security group would admit only nodes.
    """
    if pulumi.contains_unknowns(control_plane.get("vpcConfig")):
        raise OutOfReachError(
            f"The API of the new cluster {cluster_name} would answer only inside its VPC, because "
            "gpulab:cluster.endpoint.publicCidrs is empty, and this run makes the VPC, so this machine is not inside. "
            "Add this machine's public address there (`curl https://checkip.amazonaws.com`), and remove it when a VPN "
            f"leads into the VPC; or make the network first, and the rest from inside ({GUIDE})."
        )
    if not private_cidrs:
        raise OutOfReachError(
            f"The API of the new cluster {cluster_name} would answer only its own nodes: add the networks from which "
            f"you connect to gpulab:cluster.endpoint.privateCidrs, such as the VPC's own range or a VPN's ({GUIDE})."
        )
    if any(map(is_inside, private_cidrs)):
        return None
    return (
        f"The API of the new cluster {cluster_name} will answer only {', '.join(private_cidrs)}, inside its VPC, and "
        f"this machine has no address there. Make sure that a VPN or a proxy leads there before you continue ({GUIDE})."
    )


def require_no_cluster(cluster_name: str, opts: pulumi.InvokeOptions) -> None:
    """For a stack that shall be only its network: raises OutOfReachError if its cluster may exist."""
    try:
        aws.eks.get_cluster(name=cluster_name, opts=opts)
    except Exception as error:  # an invoke's errors have no specific type
        if any(sign in str(error) for sign in _NOT_FOUND):
            return
        raise OutOfReachError(
            f"Cannot check that there is no cluster {cluster_name}, which gpulab:network.only would delete: {error}"
        ) from None
    raise OutOfReachError(
        f"gpulab:network.only would delete the cluster {cluster_name} with everything in it: remove this setting, or "
        f"destroy the stack ({GUIDE})."
    )


def is_inside(cidr: str) -> bool:
    """Whether this machine has an address in the range. Sends nothing."""
    network = ipaddress.IPv4Network(cidr)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(network.network_address + 1), _HTTPS))
        except OSError:  # no route leads there
            return False
        return ipaddress.IPv4Address(probe.getsockname()[0]) in network


class ClusterUnreachableError(pulumi.RunError):
    """This machine cannot reach the API server. The message says what to do about it."""


async def reachable_kubeconfig(
    endpoint: str, kubeconfig: str, *, cluster_name: str, public_cidrs: Sequence[str]
) -> str:
    """Returns `kubeconfig` once a connection to `endpoint` succeeds.

    A preview tries once; an update waits for a new cluster's endpoint. Without this check the Kubernetes provider would
    hang for minutes on the first object, and its error would not name the setting or say what to do.

    Raises:
        ClusterUnreachableError: no connection in time.
    """
    # The proxy makes the connection, and the Kubernetes client uses the same proxy.
    if "https" in urllib.request.getproxies() and not urllib.request.proxy_bypass(urlsplit(endpoint).netloc):
        return kubeconfig
    seconds = 0 if pulumi.runtime.is_dry_run() else NEW_ENDPOINT_SECONDS
    reason = await connection_failure(endpoint, seconds)
    if reason is not None:
        raise ClusterUnreachableError(unreachable_message(cluster_name, endpoint, reason, public_cidrs))
    return kubeconfig


async def connection_failure(endpoint: str, seconds: float) -> str | None:
    """Why TCP connections to `endpoint` fail, or None when one succeeds. Tries for `seconds`, at least once."""
    address = urlsplit(endpoint)
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = asyncio.open_connection(address.hostname, address.port or 443)
            _, writer = await asyncio.wait_for(connection, CONNECT_SECONDS)
        except OSError as error:
            if time.monotonic() >= deadline:
                return str(error) or f"no answer in {CONNECT_SECONDS} s"
        else:
            writer.close()
            return None
        await asyncio.sleep(RETRY_SECONDS)


def unreachable_message(cluster_name: str, endpoint: str, reason: str, public_cidrs: Sequence[str]) -> str:
    """Which setting blocks this machine, and what to do."""
    if public_cidrs:
        cause = f"gpulab:cluster.endpoint.publicCidrs admits only {', '.join(public_cidrs)}."
        remedy = "add this machine's public address there"
    else:
        cause = (
            "The endpoint is private: gpulab:cluster.endpoint.publicCidrs is empty, and privateCidrs says who can "
            "reach it inside the VPC."
        )
        remedy = "add this machine's public address to gpulab:cluster.endpoint.publicCidrs"
    return (
        f"The API server of {cluster_name} cannot be reached from here: {endpoint} ({reason}). {cause} "
        f"Connect through a VPN, run Pulumi on a machine inside the VPC, or {remedy}."
    )
