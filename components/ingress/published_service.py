"""A Service that users open in their browser: what the load balancer or `kubectl port-forward` needs to know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

# A quota of Application Load Balancers: a rule has five values in all its conditions, and the host is one of them.
MOST_PATHS = 4
# The priorities that a listener's rules may have.
PRIORITIES = range(1, 50_001)

_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_UNPRIVILEGED_PORT = 1024


@dataclass(frozen=True, kw_only=True)
class PublishedService:
    """A Service of the cluster that is published at `https://HOST` for some paths.

    `port` is the Service's port; `target_port` is the pods', to which requests go. Health checks use
    `health_check_path`, at `health_check_port` if that differs from `target_port`, and expect one of
    `health_check_codes` (`200` or `200-399`). `paths` are ALB's patterns (`/realms/gpulab/*`), four at most.
    `open_paths` are open to the whole internet, whatever ranges the other paths have. `paths_below` are also published
    at each name one level below the host (`*.HOST`); other requests there are redirected to the host. If two rules
    match, the lower priority number wins. A service's rules are numbered from `priority`. This number must stay the
    same, because two rules cannot swap their priorities.
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
    paths_below: Sequence[str] = ()
    health_check_path: str = "/"
    health_check_port: int | None = None
    health_check_codes: str = "200"

    def __post_init__(self) -> None:
        """Raises ValueError for what a load balancer would refuse."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} can't be the name of a published service: use lower-case letters, digits and hyphens"
            )
        if not 1 <= len(self.paths) <= MOST_PATHS:
            raise ValueError(f"{self.name} has {len(self.paths)} paths: a rule accepts 1 to {MOST_PATHS}")
        if len(self.open_paths) > MOST_PATHS:
            raise ValueError(f"{self.name} has {len(self.open_paths)} open paths: a rule accepts {MOST_PATHS} at most")
        if len(self.paths_below) > MOST_PATHS:
            raise ValueError(
                f"{self.name} has {len(self.paths_below)} paths below it: a rule accepts {MOST_PATHS} at most"
            )
        all_paths = (*self.paths, *self.open_paths, *self.paths_below, self.health_check_path)
        if wrong := [path for path in all_paths if not path.startswith("/")]:
            raise ValueError(f"{self.name}: a path must begin with a slash, unlike {', '.join(wrong)}")
        if self.priority not in PRIORITIES:
            raise ValueError(f"{self.name} has the priority {self.priority}: it must be 1 to {PRIORITIES[-1]}")

    @property
    def hosts(self) -> tuple[str, ...]:
        """Its names in Route 53: its host, and `*.HOST` if it has paths below."""
        return (self.host, f"*.{self.host}") if self.paths_below else (self.host,)

    @property
    def node_ports(self) -> frozenset[int]:
        """The pods' ports that the load balancer uses: for requests and for health checks."""
        return frozenset({self.target_port, self.health_check_port or self.target_port})


def wildcards(services: Sequence[PublishedService]) -> list[str]:
    """The wildcard names of the services."""
    return list(dict.fromkeys(host for service in services for host in service.hosts if host.startswith("*.")))


def port_forward_commands(
    services: Sequence[PublishedService], kubectl: str = "kubectl"
) -> dict[str, pulumi.Output[str]]:
    """The `kubectl port-forward` command of each service, by its name; each uses its own port on localhost.

    `kubectl` is how commands for the cluster begin.
    """
    commands: dict[str, pulumi.Output[str]] = {}
    taken: set[int] = set()
    for service in services:
        wanted = service.target_port
        local = wanted if wanted >= _UNPRIVILEGED_PORT else wanted + 8000
        while local in taken:
            local += 1
        taken.add(local)
        commands[service.name] = pulumi.Output.concat(
            f"{kubectl} --namespace ",
            service.namespace,
            " port-forward service/",
            service.service,
            f" {local}:{service.port}",
        )
    return commands
