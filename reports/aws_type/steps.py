"""The steps that remove a thing: lines for the AWS CLI, and what the CLI has no command for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reports.account import Account, Held

Command = list[str]


@dataclass(frozen=True)
class Gone:
    """Waits until a listing of the CLI has nothing more under `path`. For what the CLI has no waiter for."""

    listing: Command
    path: str


@dataclass(frozen=True)
class Emptied:
    """Deletes every version of all objects in a bucket, some hundreds at a time. The CLI has no command for this."""

    bucket: str


Step = Command | Gone | Emptied
Steps = Iterator[Step]
Remove = Callable[[Account, Held], Steps]


def by_command(service: str, operation: str, option: str) -> Remove:
    """One command with the id."""

    def remove(_account: Account, held: Held) -> Steps:
        yield ["aws", service, operation, option, held.id]

    return remove


def without_interfaces(operation: str, option: str, filter: str) -> Remove:
    """Waits until no network interface is left in a subnet or a security group, then removes it.

    The interfaces of load balancers, endpoints and the like outlive their owners for a while.
    """

    def remove(account: Account, held: Held) -> Steps:
        is_used = [{"Name": filter, "Values": [held.id]}]
        if any(account.pages("ec2", "describe_network_interfaces", "NetworkInterfaces", Filters=is_used)):
            filters = ["--filters", f"Name={filter},Values={held.id}"]
            yield Gone(["aws", "ec2", "describe-network-interfaces", *filters], "NetworkInterfaces")
        yield ["aws", "ec2", operation, option, held.id]

    return remove
