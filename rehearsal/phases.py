"""The phases of a rehearsal: each does one thing to the stack and notes in the report what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from settings import Settings

from . import chart_paths
from .aws import starting as aws
from .cache import cache_folder
from .checks import CHECKS, Subject, aws_calls, destroyed_in_order, outcome, run_all
from .control_plane import ControlPlane
from .controllers import starting as controllers
from .controllers.world import Kubernetes
from .engine import Engine, Result
from .final_snapshots import all_taken, final_snapshots
from .gpu_checks import GPU_CHECKS
from .hub_checks import HUB_CHECKS
from .ingress_checks import CHECKS as INGRESS_CHECKS
from .leftovers import Account, Left, kubernetes_objects, state_names
from .node_trial import NodeTrial
from .permission_checks import PERMISSION_CHECKS, admitted
from .processes import MemoryWatch, describe
from .progress import Progress
from .providers.kubernetes import archives
from .releases import described, releases
from .report import Check, Report
from .retained import Retained, all_there, kept_and_left, retained
from .secret_checks import SECRET_CHECKS
from .session import Session
from .storage_checks import STORAGE_CHECKS
from .team_checks import TEAM_CHECKS
from .toolchain import Toolchain
from .workspace import PROJECT, UNLOCK_CONFIG, Workspace

# The day on which every rehearsal takes place, so that a lab's date of expiry never decides what a test finds.
REHEARSAL_DAY = date(2026, 9, 1)

_ERRORS_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to rehearse. `project` is the program's folder, `plugins` one of real `pulumi-resource-NAME` plugins.

    `charts` are folders that hold Helm charts; with `pull_charts` others may be pulled from their repositories.
    A `quick` rehearsal runs no pods. `quotas` are the account's service quotas by code, where they are not what a lab's
    account usually has.
    """

    stack_file: Path
    stack: str
    project: Path = PROJECT
    plugins: Path | None = None
    keep: bool = False
    today: date = REHEARSAL_DAY
    charts: tuple[Path, ...] = ()
    pull_charts: bool = False
    quick: bool = False
    quotas: Mapping[str, float] = field(default_factory=dict)


class PhaseFailed(Exception):
    """A phase did not do what it had to; the message says what the engine said."""


@dataclass
class Rehearsal:
    """A rehearsal under way: its parts, and the report that it fills.

    Its control plane may still be starting: only a preview can do without, until `connect`.
    """

    options: Options
    settings: Settings
    toolchain: Toolchain
    session: Session
    workspace: Workspace
    engine: Engine
    starting_plane: Future[ControlPlane]
    aws_url: str
    account: Account
    progress: Progress
    memory: MemoryWatch
    report: Report
    aws_before: set[str] = field(default_factory=set)
    kubernetes_before: set[str] = field(default_factory=set)
    to_be_kept: list[Retained] = field(default_factory=list)
    final_snapshots: set[str] = field(default_factory=set)
    trial: NodeTrial | None = None

    @property
    def plane(self) -> ControlPlane:
        """The control plane, once it runs. Raises what kept it from starting: ProcessFailed, ToolMissing, OSError."""
        return self.starting_plane.result()

    def connect(self) -> None:
        """Waits for the control plane and makes it AWS's and the controllers' own. Raises what `plane` raises."""
        plane = self.plane
        aws.connect(self.aws_url, url=plane.url, ca=plane.ca, token=plane.token)
        controllers.start(
            self.session.processes,
            program=self.toolchain.path("karpenter"),
            environment=self.workspace.environment,
            kubeconfig=plane.kubeconfig,
            region=self.settings.region,
            zones=self.settings.network.zones,
        )
        self.kubernetes_before = kubernetes_objects(plane)

    def wait_for_kubernetes(self) -> None:
        """The same as a phase of its own: a first rehearsal waits here for the programs that are still built."""
        with self._timed("kubernetes"):
            self.connect()

    def preview(self) -> None:
        """A preview of the whole stack, before anything exists; what it warns of goes into the report."""
        result = self._phase("preview", "preview")
        # The engine's own, about its plugins, are about nothing in the stack.
        self.report.warnings = [one for one in result.warnings if one.startswith(f"{self.settings.cluster.name}")]
        self.report.violations += result.violations
        if "kubernetes" not in self.workspace.stand_ins:
            self._have_charts(result)

    def _have_charts(self, preview: Result) -> None:
        """Has every chart at hand that the real kubernetes plugin needs. Raises PhaseFailed."""
        asked = [step.chart for step in preview.steps if "chart" in step.chart and step.op == "create"]
        if all(archives.at(one["chart"]) for one in asked):
            return
        self.toolchain.wait_for("helm")
        found, missing = chart_paths.pulled(asked, cache_folder() / "charts", self.toolchain.path("helm"))
        if missing:
            raise PhaseFailed(
                f"the charts {', '.join(missing)} are in no folder and cannot be had from their repositories, and the"
                " real kubernetes plugin knows no recorded charts: give the folder that holds them with --charts"
            )
        if found:
            self.workspace.change_config("gpulab:charts", **{name: {"path": str(path)} for name, path in found.items()})

    def up(self) -> None:
        """The real update."""
        result = self._phase("up", "up", "--yes", "--skip-preview")
        told = set(self.report.violations)
        self.report.violations += [violation for violation in result.violations if violation not in told]
        self.report.resources_created = result.counts["create"]

    def second_preview(self) -> None:
        """A preview of what is up already: it has to change nothing."""
        result = self._phase("second preview", "preview")
        self.report.second_preview_changes = [f"{step.op} {step.name}" for step in result.changes]

    def refresh(self) -> None:
        """A refresh of the state: AWS and Kubernetes have to hold what the state says."""
        result = self._phase("refresh", "refresh", "--yes", "--skip-preview")
        differing = [step for step in result.steps if step.details or step.op in ("update", "delete")]
        self.report.refresh_changes = [f"{step.op} {step.name} {step.details}" for step in differing]

    def check(self) -> None:
        """Looks at what is running."""
        with self._timed("checks"):
            subject = Subject(
                settings=self.settings,
                workspace=self.workspace,
                folder=self.session.folder,
                session_id=self.session.id,
                resources=self.engine.resources(),
                outputs=self.engine.outputs(),
                account=self.account,
                aws_url=self.aws_url,
                plane=self.plane,
            )
            self.report.checks += run_all(
                subject,
                {
                    **CHECKS,
                    **STORAGE_CHECKS,
                    **TEAM_CHECKS,
                    **INGRESS_CHECKS,
                    **GPU_CHECKS,
                    **HUB_CHECKS,
                    **SECRET_CHECKS,
                    **PERMISSION_CHECKS,
                },
            )
            self.report.checks.append(outcome("the saved state passes the policies", self.engine.examine_state))
            self.report.stand_ins += described(releases(self.plane))

    def run_pods(self) -> None:
        """Has Karpenter buy nodes for pods, and leaves some running: the destroy has to take their nodes away."""
        with self._timed("pods"):
            self.trial = NodeTrial(
                settings=self.settings,
                kubernetes=Kubernetes(self.plane.kubeconfig),
                account=self.account,
                folder=controllers.folder(self.session.processes),
                show=lambda step: self.progress.show("pods", step),
            )
            self.report.checks += self.trial.run()

    def unlock(self) -> None:
        """Sees production's destroy refused, with what is protected named and nothing gone; then unlocks it."""
        before = self.engine.resources()
        protected = [one["urn"].rpartition("::")[2] for one in before if one.get("protect") and one.get("custom")]
        with self._timed("refused destroy"):
            result = self._run("destroy", "--yes", phase="refused destroy")
        said = "\n".join(result.errors)
        named = [name for name in protected if name in said]
        untouched = len(self.engine.resources()) == len(before)
        # The engine stops at the first one that it comes to, so it need not name them all.
        self.report.checks.append(
            Check(
                "production is protected",
                not result.ok and bool(named) and untouched,
                f"destroy ended with exit status {result.exit_code} and named {', '.join(named) or 'nothing'};"
                f" protected are {', '.join(protected) or 'none'}; deleted: {'none' if untouched else 'some'}",
            )
        )
        self.workspace.change_config("gpulab:lifecycle", unlock=True)
        # It lifts the very protection that the pack asks for.
        config = f"--policy-pack-config={UNLOCK_CONFIG}"
        self._phase("unlock", "up", "--yes", "--skip-preview", config)

    def destroy(self) -> None:
        """Destroys the stack, and sees whether each thing went before what it needs in order to go."""
        resources = self.engine.resources()
        self.to_be_kept = retained(resources)
        self.final_snapshots = final_snapshots(resources)
        left_running = self.trial.running() if self.trial else []
        result = self._phase("destroy", "destroy", "--yes", "--skip-preview")
        self.report.checks.append(destroyed_in_order(result))
        if self.trial:
            drained = self.trial.drained
            self.report.checks.append(outcome("nodes with running pods go", lambda: drained(left_running, result)))
        account_id = self.account.client("sts").get_caller_identity()["Account"]
        self.report.checks.append(
            outcome(
                "workflows' roles admit every call",
                lambda: admitted(aws_calls(self.aws_url), self.settings, resources, account_id),
            )
        )

    def look_for_leftovers(self) -> None:
        """Fills `report.left`, what the destroy should have taken and did not, and `report.retained`, what it kept."""
        strays = self.session.processes.strays()
        found = self.account.holdings() - self.aws_before
        if self.final_snapshots:
            self.report.checks.append(all_taken(found, self.final_snapshots))
        self.report.retained, left = kept_and_left(found - self.final_snapshots, self.to_be_kept)
        if self.to_be_kept:
            self.report.checks.append(all_there(self.account, self.report.retained, self.to_be_kept))
        self.report.left = Left(
            state=state_names(self.engine.resources()),
            aws=left,
            kubernetes=sorted(kubernetes_objects(self.plane) - self.kubernetes_before),
            processes=[describe(process) for process in strays],
        )

    def _phase(self, name: str, *command: str) -> Result:
        """Runs an engine command that must succeed. Raises PhaseFailed."""
        with self._timed(name):
            result = self._run(*command, phase=name)
            if not result.ok:
                self.report.violations = result.violations
                said = result.causes or result.output.strip().splitlines()[-_ERRORS_SHOWN:]
                shown = "\n".join(f"  {line}" for line in said[:_ERRORS_SHOWN])
                raise PhaseFailed(f"{name} ended with exit status {result.exit_code}:\n{shown}")
        return result

    def _run(self, *command: str, phase: str) -> Result:
        return self.engine.run(*command, on_step=lambda step: self.progress.advance(phase, step.name))

    @contextlib.contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        with timed(self.report, self.progress, self.memory, phase):
            yield


@contextlib.contextmanager
def timed(report: Report, progress: Progress, memory: MemoryWatch, phase: str) -> Iterator[None]:
    """Shows that `phase` is under way, and notes its seconds and its peak of memory in the report."""
    memory.begin_phase()
    with progress.phase(phase) as clock:
        yield
    report.seconds[phase] = clock.seconds
    report.memory_mib[phase] = memory.phase_mib
    report.program_memory_mib[phase] = memory.program_mib
