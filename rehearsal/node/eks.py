"""A rehearsal of a stack on EKS whose nodes run containers: AWS is simulated, and instances are machines of a rig."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.storage.volumes import EFS_DRIVER
from rehearsal import eks
from rehearsal.checks.checking import outcome, require
from rehearsal.checks.hub import catalogue
from rehearsal.cloud import nodes
from rehearsal.cloud.access import access_bindings
from rehearsal.controllers.volumes import DRIVER as EBS_DRIVER
from rehearsal.controllers.world import Kubernetes
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.engine import Result
from rehearsal.machine.tools import Tool
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import Rehearsal
from rehearsal.report import Check
from rehearsal.stack_phases import Beginnings
from settings import EksSettings

from . import databases, images, references, rig, root
from .gpu import of_eks
from .gpu.charts import NAME as DEVICE_PLUGIN_CHART
from .gpu.charts import differences as nvidia_differences
from .instances import Instances
from .rig import Rig, RigArgs
from .starting import charts_of_ours, stand_ins, with_nodes
from .trial import EksTrial

_DRIVERS = (EFS_DRIVER, EBS_DRIVER)
_REAL_NODES = {nodes.REAL: "1"}


def tools(stack_settings: EksSettings) -> Sequence[Tool]:
    """The tools that it needs. Raises ToolMissing where no node can run, and SettingsError."""
    return with_nodes(eks.tools(stack_settings))


def start(given: Beginnings, stack_settings: EksSettings) -> EksNodeRehearsal:
    """Makes images, then starts AWS and creates the workspace in the network of a machine for the control plane."""
    session, display = given.session, given.progress.display
    given.toolchain.wait_for()
    made = images.ensure(references.of_stack(stack_settings), display)
    args = RigArgs(
        root=root.ensure(display),
        images=made,
        rewrites=databases.REWRITES,
        api_address=_in_vpc(stack_settings),
        objects=[databases.NAMESPACE_OBJECT],
        drivers=_DRIVERS,
    )
    laid_out = rig.lay_out(session.processes, session.folder, given.toolchain, args, display)
    # There is no proxy in it.
    os.environ["no_proxy"] = "*"

    def start_plane(aws_url: str) -> ControlPlane:
        return laid_out.start_control_plane(
            token_review_url=f"{aws_url}/gpulab/token-review", bindings=access_bindings()
        )

    charts = charts_of_ours(session.folder / "charts")
    parts = eks.parts(given, stack_settings, start_plane, charts=[charts], environment=_REAL_NODES)
    given.report.stand_ins += [
        *stand_ins(made, _DRIVERS),
        databases.STAND_IN,
        of_eks.STAND_IN,
        "the cores, the memory and the GPUs of instances; the driver is a library of ours that computes nothing",
        *nvidia_differences(),
    ]
    instances = Instances(laid_out, session.processes, display)
    return EksNodeRehearsal(**parts, rig=laid_out, instances=instances)


def _in_vpc(stack_settings: EksSettings) -> str:
    """The last address of the VPC, where EKS has the interfaces of the control plane: network policies admit these."""
    return str(ipaddress.ip_network(stack_settings.network.cidr)[-2])


@dataclass(kw_only=True)
class EksNodeRehearsal(Rehearsal):
    """A running rehearsal of a stack on EKS with machines of its own."""

    rig: Rig
    instances: Instances

    @property
    def of_nodes(self) -> Mapping[str, str]:
        """Nodes have kubelets of their own."""
        return _REAL_NODES

    def connect(self) -> None:
        """As with KWOK, and machines join from now on."""
        super().connect()
        self.session.processes.start(
            "node-services",
            [sys.executable, "-m", "rehearsal.node", self.rig.address],
            {**self.workspace.environment, "PYTHONPATH": str(PROJECT), "KUBECONFIG": str(self.plane.kubeconfig)},
        )
        self.session.processes.in_background(self.instances.watch)

    def up(self) -> None:
        """The update; then NVIDIA's device plugin runs as the GPU Operator would run it."""
        super().up()
        of_eks.install(self.plane, self.toolchain.path("helm"), self.session.folder / "charts" / DEVICE_PLUGIN_CHART)

    def checks(self) -> list[Check]:
        """As with KWOK; and each node is a machine."""
        return [*super().checks(), self._machines_joined()]

    def run_pods(self) -> None:
        """Runs notebooks of the stack's catalogue on machines for which Karpenter buys instances."""
        if self.settings.running_hub is None:
            return
        with self._timed("pods"):
            trial = EksTrial(
                kubernetes=Kubernetes(self.plane.kubeconfig),
                catalogue=catalogue(self.plane),
                show=lambda step: self.progress.show("pods", step),
            )
            self.report.checks += trial.run()

    def destroy(self) -> Result:
        """Takes the device plugin away first, which is not the stack's."""
        of_eks.remove(self.plane, self.toolchain.path("helm"))
        return super().destroy()

    @property
    def way_in(self) -> str:
        """The network of the machines."""
        return self.rig.way_in

    def _machines_joined(self) -> Check:
        def joined() -> str:
            failures = list(self.instances.failures())
            require(not failures, "; ".join(failures))
            return ", ".join(machine.name for machine in self.rig.machines[1:])

        return outcome("each node is a machine that runs containers", joined)
