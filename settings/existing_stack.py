"""A stack on a cluster that exists: what its file says under `gpulab:`."""

from __future__ import annotations

import datetime
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from settings.ground import ExistingGround, on_eks_only
from settings.ingress import PLATFORM
from settings.language.section import Facts, Findings, rule
from settings.notebooks.discovered import discovery_findings
from settings.notebooks.fixed_findings import fixed_profile_findings, may_fit
from settings.people.findings import team_findings
from settings.pools.fixed_findings import fixed_pool_findings, site_gpu_findings, unpartitioned_warnings
from settings.pools.fixed_pools import FixedPool
from settings.pools.labels import LABEL_VALUE, LONGEST_LABEL_VALUE
from settings.pools.node_pools import PoolName
from settings.pools.site_gpu import SiteGpu
from settings.site_ingress import SiteIngress
from settings.site_storage import SiteStorage
from settings.stack import Settings, StackSettings


class ExistingStack(StackSettings):
    """What a stack file has under `gpulab:` for a cluster that exists."""

    kind = "existing"
    more_gpus = "add nodes or GPUs to a pool"
    elsewhere = on_eks_only(
        network="the cluster has its own",
        cluster="ground names the cluster (context, distribution)",
        tags="there are no AWS resources to tag",
        images="a registry of the site serves in its place (hub.registry)",
        permissionsBoundary="there are no roles of IAM",
    )

    ground: ExistingGround = Field(description="The cluster: kind, kubeconfig, context, distribution.")
    node_pools: dict[PoolName, FixedPool] = Field(
        description="Nodes that are there, by the pool's name, at least one pool: selector or nodes, and gpus.",
        json_schema_extra={"minProperties": 1, "additionalProperties": False},
    )
    gpu: SiteGpu = Field(default=SiteGpu(), description="What gives GPUs to pods: plugin, and how that is set up.")
    storage: SiteStorage = Field(
        default=SiteStorage(), description="Homes and shared volumes: homes, homeClass, volumes."
    )
    ingress: SiteIngress = Field(
        default=SiteIngress(), description="How users reach the platform: access, domain, certificate, install."
    )

    @rule
    def _gpus_for_those_who_discover_them(self, facts: Facts) -> Findings:
        yield from discovery_findings(self.profiles, self.teams, self.node_pools)

    @rule
    def _stack_that_a_label_can_name(self, facts: Facts) -> Findings:
        name = facts.stack
        if name is not None and (len(name) > LONGEST_LABEL_VALUE or not re.fullmatch(LABEL_VALUE, name)):
            yield (
                ("ground",),
                f"is of stack {name}, whose name can't be a label, by which its objects are told from others': use at "
                f"most {LONGEST_LABEL_VALUE} characters, a letter or digit first and last (`pulumi stack rename`)",
            )

    @rule
    def _labs_that_cost_nothing_idle(self, facts: Facts) -> Findings:
        for name in ("thrift", "park_at_night"):
            if getattr(self.lifecycle, name):
                key = type(self.lifecycle).model_fields[name].alias or name
                yield (
                    ("lifecycle", key),
                    "is for gpulab:ground.kind eks: leave it out, nothing here is paid by the hour",
                )

    @rule
    def _backups_in_production(self, facts: Facts) -> Findings:
        if self.lifecycle.kind == "production" and self.storage.backed_up_by is None:
            yield (
                ("storage", "backedUpBy"),
                "is missing: production needs backups, which the stack makes none of here. Write who backs up the "
                "volumes of the storage classes, and how",
            )

    @rule
    def _no_buckets(self, facts: Facts) -> Findings:
        for name, team in self.teams.items():
            if team.buckets is not None:
                yield (
                    ("teams", name, "buckets"),
                    "is for gpulab:ground.kind eks: leave it out; people can keep credentials of an object store in "
                    "their home, and storage.volumes has files that all of the team share",
                )

    @rule
    def _pools_that_go_together(self, facts: Facts) -> Findings:
        yield from fixed_pool_findings(self.node_pools, self.gpu.plugin)

    @rule
    def _gpu_software_for_the_nodes(self, facts: Facts) -> Findings:
        yield from site_gpu_findings(self.gpu, self.ground.distribution)

    @rule
    def _profiles_that_pools_can_run(self, facts: Facts) -> Findings:
        yield from fixed_profile_findings(self.profiles, self.node_pools)

    @rule
    def _teams_that_can_use_what_they_have(self, facts: Facts) -> Findings:
        yield from team_findings(self.teams, self.node_pools, self.profiles, may_fit)

    def warnings(self, today: datetime.date) -> Findings:
        """Beside those of every stack: what nothing in the cluster does."""
        yield from super().warnings(today)
        yield from unpartitioned_warnings(self.node_pools, self.gpu.plugin)

    @rule
    def _names_of_notebooks_in_the_certificate(self, facts: Facts) -> Findings:
        manager = self.ingress.install.cert_manager
        if self.hub is not None and self.hub.subdomains and manager is not None and manager.dns01 is None:
            yield (
                ("hub", "subdomains"),
                f"needs a certificate for *.{PLATFORM}.{self.ingress.domain}, which Let's Encrypt gives by DNS-01 "
                "only: set ingress.install.certManager.dns01, or leave this out",
            )

    def settings(self, facts: Facts, sections: Mapping[str, Any]) -> ExistingSettings:
        """The settings."""
        return ExistingSettings(stack=facts.stack or "", **sections)


@dataclass(frozen=True, kw_only=True)
class ExistingSettings(Settings):
    """Everything that a stack on an existing cluster is made from."""

    ground: ExistingGround
    node_pools: dict[str, FixedPool]
    storage: SiteStorage
    """With the writers that the teams name."""
    ingress: SiteIngress
    gpu: SiteGpu = field(default_factory=SiteGpu)

    @property
    def name(self) -> str:
        """That of the stack: the cluster has a name that others gave it."""
        return f"gpulab-{self.stack}"

    @property
    def runtime_class(self) -> str:
        """The RuntimeClass of pods with GPUs."""
        return self.gpu.runtime_class

    @property
    def kubectl(self) -> str:
        """With the context, as the current one may be another cluster's."""
        ground = self.ground
        usual = ground.kubeconfig == type(ground).model_fields["kubeconfig"].default
        kubeconfig = "" if usual else f" --kubeconfig {_quoted(ground.kubeconfig)}"
        return f"kubectl{kubeconfig} --context {shlex.quote(ground.context)}"

    def summary(self) -> Iterator[str]:
        """What it comes to, a line each."""
        yield f"Stack {self.stack}, on the {self.ground.distribution} cluster of context {self.ground.context}"
        for name, pool in self.node_pools.items():
            which = ", ".join(pool.nodes or (f"{key}={value}" for key, value in pool.selector.items()))
            yield f"  pool {name}: nodes {which}"


def _quoted(path: str) -> str:
    """For a shell, which still replaces ~."""
    return f"~/{shlex.quote(path.removeprefix('~/'))}" if path.startswith("~/") else shlex.quote(path)
