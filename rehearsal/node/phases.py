"""The phases of a rehearsal on nodes that run containers."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import Named, named
from rehearsal.checks.leftovers import kubernetes_objects
from rehearsal.machine.workspace import PROJECT
from rehearsal.site import cluster, kubeconfig
from rehearsal.site.cluster import Snapshot
from rehearsal.site.phases import SiteRehearsal
from settings.pools.found_nodes import with_found

from . import given_cluster, leftovers
from .gpu import of_site
from .gpu.charts import NAME as DEVICE_PLUGIN_CHART
from .rig import Rig


@dataclass(kw_only=True)
class ContainersRehearsal(SiteRehearsal):
    """A running rehearsal on nodes that run containers. `objects` are those that its cluster has before the stack."""

    def connect(self) -> None:
        """Waits for the control plane."""
        plane = self.plane
        kubeconfig.write(self.kubeconfig, plane, self.settings.ground.context)
        client = cluster.connected(plane.kubeconfig)
        nodes: Any = plane.request("GET", "/api/v1/nodes")
        found = FoundCluster.of({**node, "kind": "Node"} for node in nodes["items"])
        self.settings = with_found(self.settings, found.nodes)
        self.kubernetes_before = kubernetes_objects(plane)
        self.before = Snapshot.of(client, self.objects)

    @property
    def kept_by_charts(self) -> frozenset[Named]:
        """The definitions in the crds/ folders of charts: Helm installs them, and never removes them."""
        files = (self.session.folder / "charts").rglob("crds/*.yaml")
        found = (one for file in files for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one)
        return frozenset(named(one) for one in found)


@dataclass(kw_only=True)
class GivenRehearsal(ContainersRehearsal):
    """A running rehearsal on somebody's cluster."""

    @property
    def outlives(self) -> bool:
        """The cluster stays when the rehearsal ends."""
        return True

    def connect(self) -> None:
        """Makes what the stack file names of the site."""
        cluster.fill(cluster.connected(self.plane.kubeconfig), self.objects)
        super().connect()

    def look_for_leftovers(self) -> None:
        """As for every site; then the cluster is as it was."""
        super().look_for_leftovers()
        self.abandon()

    def abandon(self) -> None:
        """Removes what the rehearsal made beside the stack."""
        given_cluster.disconnect(self.options.kubeconfig or Path(), self.objects)


@dataclass(kw_only=True)
class NodeRehearsal(ContainersRehearsal):
    """A running rehearsal on nodes of its own."""

    starting_rig: Future[Rig]

    @property
    def rig(self) -> Rig:
        """The rig, once it runs. Raises the error of its start."""
        return self.starting_rig.result()

    def connect(self) -> None:
        """Waits for the nodes, and enters their network: from here on nothing else is reached."""
        self.rig.machines[0].enter_network()
        # There is no proxy in it.
        os.environ["no_proxy"] = "*"
        self.session.processes.start(
            "controllers",
            [sys.executable, "-m", "rehearsal.node", self.rig.address, str(leftovers.volumes(self.session.id))],
            {**self.workspace.environment, "PYTHONPATH": str(PROJECT), "KUBECONFIG": str(self.plane.kubeconfig)},
        )
        if self.settings.gpu.plugin == "present":
            helm, chart = self.toolchain.path("helm"), self.session.folder / "charts" / DEVICE_PLUGIN_CHART
            of_site.install(self.plane, helm, chart)
            self.report.stand_ins.append(of_site.STAND_IN)
        super().connect()

    @property
    def way_in(self) -> str:
        """The machine's network."""
        return self.rig.way_in
