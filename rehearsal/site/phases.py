"""The phases of a rehearsal on a cluster that exists: those of every stack, on a cluster that was there before."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import Named
from rehearsal.checks.checking import run_all
from rehearsal.checks.hub import HUB_CHECKS, catalogue
from rehearsal.checks.leftovers import kubernetes_objects
from rehearsal.checks.secrets import SECRET_CHECKS
from rehearsal.checks.teams import TEAM_CHECKS
from rehearsal.controllers.world import Kubernetes, Object
from rehearsal.machine.workspace import PROJECT
from rehearsal.report import Check
from rehearsal.stack_phases import StackPhases
from settings import ExistingSettings
from settings.pools.found_nodes import with_found

from . import cluster, kubeconfig
from .checks import SITE_CHECKS, SiteSubject, as_it_was
from .cluster import Snapshot
from .kept_files import all_kept, as_listed, kept_files
from .trial import SiteTrial


@dataclass(kw_only=True)
class SiteRehearsal(StackPhases[ExistingSettings]):
    """A running rehearsal on a cluster that exists. `objects` are those that it has before the stack."""

    objects: Sequence[Object]
    secrets: Mapping[str, str]
    kubeconfig: Path
    before: Snapshot = field(default_factory=lambda: Snapshot(frozenset()))

    def begin(self) -> None:
        """The preview asks the cluster what it has."""
        self.wait_for_kubernetes()
        self.preview()

    def connect(self) -> None:
        """Waits for the control plane and makes it a cluster that people have used."""
        plane = self.plane
        kubeconfig.write(self.kubeconfig, plane, self.settings.ground.context)
        client = cluster.connected(plane.kubeconfig)
        cluster.fill(client, self.objects)
        self.session.processes.start(
            "controllers",
            [sys.executable, "-m", "rehearsal.site"],
            {
                **self.workspace.environment,
                "PYTHONPATH": str(PROJECT),
                "KUBECONFIG": str(plane.kubeconfig),
                "GPULAB_DISTRIBUTION": self.settings.ground.distribution,
                "GPULAB_GPUS": "site" if self.settings.gpu.plugin == "present" else "stack",
            },
        )
        self.settings = with_found(self.settings, FoundCluster.of(self.objects).nodes)
        self.kubernetes_before = kubernetes_objects(plane)
        self.before = Snapshot.of(client, self.objects)

    def checks(self) -> list[Check]:
        """Of the site, and of the platform."""
        subject = SiteSubject(
            settings=self.settings,
            workspace=self.workspace,
            folder=self.session.folder,
            session_id=self.session.id,
            resources=self.engine.resources(),
            outputs=self.engine.outputs(),
            plane=self.plane,
            kubeconfig=self.kubeconfig,
            secrets=self.secrets,
        )
        return run_all(subject, {**SITE_CHECKS, **TEAM_CHECKS, **HUB_CHECKS, **SECRET_CHECKS})

    def run_pods(self) -> None:
        """Runs notebooks on the site's GPUs."""
        if self.settings.running_hub is None:
            return
        with self._timed("pods"):
            trial = SiteTrial(
                kubernetes=Kubernetes(self.plane.kubeconfig),
                catalogue=catalogue(self.plane),
                show=lambda step: self.progress.show("pods", step),
            )
            self.report.checks += trial.run()

    @property
    def kept_by_charts(self) -> frozenset[Named]:
        """What Helm leaves when it uninstalls the charts: nothing, of charts without archives."""
        return frozenset()

    @property
    def shell_variables(self) -> Mapping[str, str]:
        """None: kubectl has the site's kubeconfig already."""
        return {}

    def look_for_leftovers(self) -> None:
        """As for every stack, and what the destroy changed of others."""
        super().look_for_leftovers()
        client = cluster.connected(self.plane.kubeconfig)
        after = Snapshot.of(client, self.objects)
        left = self.report.left
        if left and self.settings.storage.retain:
            kept = kept_files(client)
            self.report.retained = sorted(map(as_listed, kept))
            others = [name for name in left.kubernetes if name not in self.report.retained]
            self.report.left = replace(left, kubernetes=others)
            self.report.checks.append(all_kept(self.settings, kept))
            after = replace(after, kept=after.kept | kept)
        after = replace(after, kept=after.kept | (self.kept_by_charts & after.names))
        self.report.checks.append(as_it_was(self.before, after))
