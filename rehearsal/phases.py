"""The phases of a rehearsal of a stack on EKS: those of every stack, and what AWS and Karpenter add to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from settings import EksSettings

from .checks import plugin_differences
from .checks.checking import Subject, aws_calls, outcome, run_all
from .checks.cluster import CLUSTER_CHECKS
from .checks.drained_nodes import drained
from .checks.final_snapshots import all_taken, final_snapshots
from .checks.gpu import GPU_CHECKS
from .checks.hub import HUB_CHECKS
from .checks.ingress import INGRESS_CHECKS
from .checks.leftovers import Account, kubernetes_objects
from .checks.node_trial import NodeTrial
from .checks.permissions import PERMISSION_CHECKS, admitted, pods_are_admitted
from .checks.retained import Retained, all_there, kept_and_left, retained
from .checks.secrets import SECRET_CHECKS
from .checks.storage import STORAGE_CHECKS
from .checks.teams import TEAM_CHECKS
from .cloud import starting as aws
from .controllers import starting as controllers
from .controllers.world import Kubernetes
from .machine.engine import Result
from .report import Check
from .stack_phases import REHEARSAL_DAY, Options, PhaseFailed, StackPhases

__all__ = ["REHEARSAL_DAY", "Options", "PhaseFailed", "Rehearsal"]


@dataclass(kw_only=True)
class Rehearsal(StackPhases[EksSettings]):
    """A running rehearsal of a stack on EKS. Until `connect` only a preview can run."""

    aws_url: str
    account: Account
    aws_before: set[str] = field(default_factory=set)
    to_be_kept: list[Retained] = field(default_factory=list)
    final_snapshots: set[str] = field(default_factory=set)
    trial: NodeTrial | None = None

    def begin(self) -> None:
        """The preview needs no cluster: the update makes it."""
        self.preview()
        self.wait_for_kubernetes()

    def connect(self) -> None:
        """Waits for the control plane and connects AWS and the controllers to it. Raises what `plane` raises."""
        plane = self.plane
        aws.connect(self.aws_url, url=plane.url, ca=plane.ca, token=plane.token)
        controllers.start(
            self.session.processes,
            program=self.toolchain.path("karpenter"),
            environment={**self.workspace.environment, **self.of_nodes},
            kubeconfig=plane.kubeconfig,
            region=self.settings.region,
            zones=self.settings.network.zones,
        )
        self.kubernetes_before = kubernetes_objects(plane)

    @property
    def of_nodes(self) -> Mapping[str, str]:
        """Environment variables that tell AWS and the controllers what nodes are made of; none where KWOK has them."""
        return {}

    def checks(self) -> list[Check]:
        """Of the cluster, of AWS, and of the platform."""
        resources = self.engine.resources()
        if "aws" not in self.workspace.stand_ins:
            environment, region = self.workspace.environment, self.settings.region
            self.report.plugin_differences = plugin_differences.compared(resources, environment, region)
        subject = Subject(
            settings=self.settings,
            workspace=self.workspace,
            folder=self.session.folder,
            session_id=self.session.id,
            resources=resources,
            outputs=self.engine.outputs(),
            account=self.account,
            aws_url=self.aws_url,
            plane=self.plane,
        )
        all_checks = {
            **CLUSTER_CHECKS,
            **STORAGE_CHECKS,
            **TEAM_CHECKS,
            **INGRESS_CHECKS,
            **GPU_CHECKS,
            **HUB_CHECKS,
            **SECRET_CHECKS,
            **PERMISSION_CHECKS,
        }
        return run_all(subject, all_checks)

    def run_pods(self) -> None:
        """Runs pods for which Karpenter buys nodes, and leaves some running: the destroy must remove their nodes."""
        with self._timed("pods"):
            self.trial = NodeTrial(
                settings=self.settings,
                kubernetes=Kubernetes(self.plane.kubeconfig),
                account=self.account,
                aws_url=self.aws_url,
                show=lambda step: self.progress.show("pods", step),
            )
            self.report.checks += self.trial.run()

    @property
    def shell_variables(self) -> Mapping[str, str]:
        """The region of the aws CLI."""
        return {"AWS_DEFAULT_REGION": self.settings.region}

    def destroy(self) -> Result:
        """As for every stack; its nodes must go, and every call to AWS must have been admitted."""
        resources = self.engine.resources()
        self.to_be_kept = retained(resources)
        self.final_snapshots = final_snapshots(resources)
        left_running = self.trial.running() if self.trial else []
        result = super().destroy()
        if self.trial:
            kubernetes = self.trial.kubernetes
            self.report.checks.append(
                outcome("nodes with running pods go", lambda: drained(kubernetes, self.settings, left_running, result))
            )
        account_id = self.account.client("sts").get_caller_identity()["Account"]
        self.report.checks.append(
            outcome(
                "workflows' roles admit every call",
                lambda: admitted(aws_calls(self.aws_url), self.settings, resources, account_id),
            )
        )
        self.report.checks.append(
            outcome("controllers' roles admit every call", lambda: pods_are_admitted(aws_calls(self.aws_url)))
        )
        return result

    def left_in_aws(self) -> list[str]:
        """Names what is left in AWS; what the destroy was to keep goes into `report.retained`."""
        found = self.account.holdings() - self.aws_before
        if self.final_snapshots:
            self.report.checks.append(all_taken(found, self.final_snapshots))
        self.report.retained, left = kept_and_left(found - self.final_snapshots, self.to_be_kept)
        if self.to_be_kept:
            self.report.checks.append(all_there(self.account, self.report.retained, self.to_be_kept))
        return left
