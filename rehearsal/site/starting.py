"""Starts a rehearsal on a cluster that exists: its control plane, and the objects that it has before the stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import settings
from contracts import clusters
from rehearsal.controllers.world import Object
from rehearsal.machine import control_plane, workspace
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.engine import Engine
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.tools import Tool, control_plane_tools
from rehearsal.machine.workspace import STAND_INS, Workspace
from rehearsal.session import Session
from rehearsal.stack_phases import KUBELETS, Beginnings
from settings import ExistingSettings
from settings.kubernetes_versions import KUBERNETES_VERSIONS

from . import machines, secrets_given
from .cluster import without_programs
from .phases import SiteRehearsal
from .secrets_given import Given

# What a release of GPU software brings, by the names of programs in contracts/clusters/programs.json.
_FEATURES = "node-feature-discovery"
_NVIDIA = ("device-plugin", "gpu-feature-discovery", "gpu-operator", _FEATURES)


def tools(stack_settings: ExistingSettings) -> Sequence[Tool]:
    """The tools that it needs: the newest Kubernetes, so that none has to be built for it.

    Raises SettingsError for a distribution of which there is no fixture.
    """
    distribution = stack_settings.ground.distribution
    if distribution not in clusters.known():
        known = ", ".join(clusters.known())
        text = f"is {distribution}, of which no cluster is known to rehearse on (contracts/clusters has {known})"
        raise settings.SettingsError(stack_settings.stack, [settings.Mistake("gpulab:ground.distribution", text)])
    return control_plane_tools(KUBERNETES_VERSIONS[-1])


def start(given: Beginnings, stack_settings: ExistingSettings) -> SiteRehearsal:
    """Creates the workspace, while Kubernetes starts."""
    session, toolchain = given.session, given.toolchain
    starting_plane = session.processes.in_background(lambda: _start_kubernetes(session, toolchain))
    made = workspace_of(given, stack_settings)
    distribution = stack_settings.ground.distribution
    given.report.stand_ins = [
        *(STAND_INS[name] for name in made.workspace.stand_ins),
        KUBELETS,
        f"a cluster of {distribution} as contracts/clusters has it, with the stack's nodes",
        "NVIDIA's device plugin and feature discovery, provisioners and load balancers of the site",
    ]
    return SiteRehearsal(
        **made.parts(given, stack_settings),
        starting_plane=starting_plane,
        objects=[*cluster_before(stack_settings), *made.secrets.objects],
    )


@dataclass(frozen=True)
class SiteWorkspace:
    """The workspace of somebody who works with a site, and the secrets that the stack file names."""

    workspace: Workspace
    engine: Engine
    secrets: Given

    def parts(self, given: Beginnings, stack_settings: ExistingSettings) -> dict[str, Any]:
        """What a rehearsal is made of, beside its cluster."""
        return {
            "options": given.options,
            "settings": stack_settings,
            "toolchain": given.toolchain,
            "session": given.session,
            "workspace": self.workspace,
            "engine": self.engine,
            "progress": given.progress,
            "memory": given.memory,
            "report": given.report,
            "secrets": self.secrets.values,
            "kubeconfig": self.workspace.kubeconfig,
        }


def workspace_of(given: Beginnings, stack_settings: ExistingSettings, charts: Sequence[Path] = ()) -> SiteWorkspace:
    """Creates it. `charts` are folders with charts, in which those of the options are not found."""
    options, session = given.options, given.session
    project = workspace.make(
        session.folder,
        options.stack_file,
        project=options.project,
        stack=options.stack,
        toolchain=given.toolchain,
        plugins=given.plugins,
        aws_url=None,
        today=options.today,
        charts=[*options.charts, *charts],
        pull_charts=options.pull_charts,
    )
    # Programs that look for a kubeconfig of their own accord find the same file, whose current context is another one.
    project.change_config("gpulab:ground", kubeconfig=str(project.kubeconfig))
    engine = Engine(project, session.id, session.logs)
    engine.initialise()
    secrets = secrets_given.given(stack_settings)
    for key, value in secrets.config.items():
        engine.configure(key, value, secret=True)
    return SiteWorkspace(project, engine, secrets)


def cluster_before(stack_settings: ExistingSettings) -> list[Object]:
    """The objects of the distribution's cluster before the stack, with the nodes that the stack file tells of."""
    brought = programs_brought(stack_settings)
    objects = without_programs(clusters.cluster(stack_settings.ground.distribution), brought)
    nodes = machines.fitted([one for one in objects if one["kind"] == "Node"], stack_settings.node_pools)
    if brought & {*_NVIDIA}:
        nodes = [machines.before_nvidia(node) for node in nodes]
    return [*nodes, *(one for one in objects if one["kind"] != "Node")]


def programs_brought(stack_settings: ExistingSettings) -> set[str]:
    """The programs that the stack installs: its site has none of them."""
    gpu, storage, ingress = stack_settings.gpu, stack_settings.storage.install, stack_settings.ingress.install
    nvidia = _NVIDIA if gpu.feature_discovery.nfd else [name for name in _NVIDIA if name != _FEATURES]
    return {
        *(nvidia if gpu.plugin != "present" else ()),
        *(["seaweedfs-csi"] if storage.seaweedfs else ()),
        *(["nfs-csi"] if storage.nfs else ()),
        *(["traefik"] if ingress.traefik else ()),
        *(["cert-manager"] if ingress.cert_manager else ()),
    }


def _start_kubernetes(session: Session, toolchain: Toolchain) -> ControlPlane:
    """Starts a control plane, once all programs are there: a small machine has no memory for a build beside it."""
    toolchain.wait_for()
    return control_plane.start(session.folder / "kubernetes", toolchain, session.processes)
