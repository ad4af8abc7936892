"""A Service that users reach by their browser: what the load balancer, or `kubectl port-forward`, has to know of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

# Quotas of Application Load Balancers: values of all conditions of one rule. The host is one of them.
MOST_PATHS = 4
# Rules of a listener are numbered so.
PRIORITIES = range(1, 50_001)

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_UNPRIVILEGED_PORT = 1024


@dataclass(frozen=True, kw_only=True)
class PublishedService:
    """One Service of the cluster, published at `https://HOST` for some paths.

    `port` is the Service's, `target_port` its pods', to which requests go. Health is asked of the pods at
    `health_check_path`, at `health_check_port` where that is another than `target_port`, and answered with one of
    `health_check_codes` (`200` or `200-399`). `paths` are ALB's patterns (`/realms/gpulab/*`), four at most.
    `open_paths` are those that the whole internet reaches, whatever ranges the others are for. Of two rules that match,
    the one of the lower priority counts; a service has those from `priority` on, which stay with it, as rules that swap
    theirs would be in each other's way.
    """

    name: str
    host: str
    priority: int
    namespace: pulumi.Input[str]
    service: pulumi.Input[str]
    port: int
    target_port: int
    paths: Sequence[str] = ("/*",)
    open_paths: Sequence[str] = ()
    health_check_path: str = "/"
    health_check_port: int | None = None
    health_check_codes: str = "200"

    def __post_init__(self) -> None:
        """Raises ValueError for what a load balancer would refuse."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a published service: lower-case letters, digits and hyphens")
        if not 1 <= len(self.paths) <= MOST_PATHS:
            raise ValueError(f"{self.name} has {len(self.paths)} paths: a rule takes 1 to {MOST_PATHS} beside the host")
        if len(self.open_paths) > MOST_PATHS:
            raise ValueError(
                f"{self.name} has {len(self.open_paths)} open paths: a rule takes {MOST_PATHS} beside the host"
            )
        all_paths = (*self.paths, *self.open_paths, self.health_check_path)
        if wrong := [path for path in all_paths if not path.startswith("/")]:
            raise ValueError(f"{self.name}: a path begins with a slash, unlike {', '.join(wrong)}")
        if self.priority not in PRIORITIES:
            raise ValueError(f"{self.name} has the priority {self.priority}: 1 to {PRIORITIES[-1]} are possible")

    @property
    def node_ports(self) -> frozenset[int]:
        """The ports at which the load balancer reaches the pods: for requests and for health checks."""
        return frozenset({self.target_port, self.health_check_port or self.target_port})


def port_forward_commands(services: Sequence[PublishedService]) -> dict[str, pulumi.Output[str]]:
    """The `kubectl port-forward` line of each service, by its name: each to a port of localhost that no other has."""
    commands: dict[str, pulumi.Output[str]] = {}
    taken: set[int] = set()
    for service in services:
        wanted = service.target_port
        local = wanted if wanted >= _UNPRIVILEGED_PORT else wanted + 8000
        while local in taken:
            local += 1
        taken.add(local)
        commands[service.name] = pulumi.Output.concat(
            "kubectl --namespace ",
            service.namespace,
            " port-forward service/",
            service.service,
            f" {local}:{service.port}",
        )
    return commands
