"""All teams, the rights that they share, and what the API server refuses in their namespaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.gates.team_data import TeamData
from components.ground.secrets import SecretReader
from components.teams.admission import TeamAdmission
from components.teams.rbac import CLUSTER_ROLES
from components.teams.team import SharedArgs, Team, TeamArgs

if TYPE_CHECKING:
    from settings import Team as TeamSettings
    from settings.language.secret_reference import SecretReference


@dataclass(frozen=True, kw_only=True)
class TeamsArgs:
    """The teams of the settings, by name, and what all of them share.

    `pull_secret`: where the registry's credentials are, as a Docker `config.json`; `secret` reads it.
    """

    teams: Mapping[str, TeamSettings]
    shared: SharedArgs
    secret: SecretReader
    pull_secret: SecretReference | None = None


class Teams(pulumi.ComponentResource):
    """Every team of the stack.

    The hub depends on it, so a destroy deletes the hub before the namespaces of notebooks.
    """

    namespaces: dict[str, str]
    """The namespace of each team."""

    def __init__(self, name: str, args: TeamsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Teams", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        storage = args.shared.storage
        TeamData(
            f"{name}-data",
            teams=args.teams,
            homes=storage.homes,
            retain=storage.retain,
            facts=args.shared.files.facts,
            opts=child,
        )
        self.namespaces = {}
        if args.teams:
            self._make(name, args)
        self.register_outputs({"namespaces": self.namespaces})

    def _make(self, name: str, args: TeamsArgs) -> None:
        child = pulumi.ResourceOptions(parent=self)
        admission = TeamAdmission(name, args.shared.pools, opts=child)
        rights = [
            kubernetes.rbac.v1.ClusterRole(f"{name}-{role}", metadata={"name": role}, rules=rules, opts=child)
            for role, rules in CLUSTER_ROLES.items()
        ]
        shared = args.shared
        if args.pull_secret is not None:
            shared = dataclasses.replace(shared, pull_secret=args.secret(args.pull_secret, self))
        for team, settings in args.teams.items():
            made = Team(
                f"{name}-{team}",
                TeamArgs(name=team, settings=settings, shared=shared),
                # The policies must exist as long as the namespace does, so that they check every pod.
                opts=pulumi.ResourceOptions(parent=self, depends_on=[admission, *rights]),
            )
            self.namespaces[team] = made.namespace
