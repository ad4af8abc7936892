"""What a rehearsal does to any stack, phase by phase, whatever ground it stands on."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Generic, TypeVar

from settings import Settings

from .checks.checking import outcome
from .checks.destroy_order import destroyed_in_order
from .checks.helm_releases import described, releases
from .checks.leftovers import Left, kubernetes_objects, state_names
from .machine import chart_paths
from .machine.cache import cache_folder
from .machine.control_plane import ControlPlane
from .machine.engine import Engine, Result
from .machine.processes import MemoryWatch, describe
from .machine.toolchain import Toolchain
from .machine.workspace import PROJECT, UNLOCK_CONFIG, Workspace
from .progress import Progress
from .providers.kubernetes import archives
from .report import Check, Report
from .session import Session

# Every rehearsal uses this date as today, so that a lab's expiry date never changes the result of a test.
REHEARSAL_DAY = date(2026, 9, 1)

# As the report has it.
KUBELETS = "kubelets by KWOK, so that no container runs and no admission webhook of a chart is called"

_ERRORS_SHOWN = 12
S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to rehearse. `project` is the program's folder, `plugins` a folder of real `pulumi-resource-NAME` plugins.

    `requested_plugins` are published plugins to install, which a rehearsal otherwise does not use.
    `charts` are folders with Helm charts. With `pull_charts` missing ones are pulled from their repositories.
    A `quick` rehearsal runs no pods. With `node`, nodes are real and run containers; a `kubeconfig` names a
    cluster that has such nodes. `quotas` are service quotas by code that differ from those of a usual lab account.
    """

    stack_file: Path
    stack: str
    project: Path = PROJECT
    plugins: Path | None = None
    requested_plugins: tuple[str, ...] = ()
    keep: bool = False
    today: date = REHEARSAL_DAY
    charts: tuple[Path, ...] = ()
    pull_charts: bool = False
    quick: bool = False
    node: bool = False
    kubeconfig: Path | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)


class PhaseFailed(Exception):
    """A phase failed. The message has the engine's errors."""


@dataclass(frozen=True, kw_only=True)
class Beginnings:
    """What a rehearsal is made with. `plugins` are the folders of the plugins that replace a stand-in, by name."""

    options: Options
    plugins: Mapping[str, Path]
    session: Session
    toolchain: Toolchain
    progress: Progress
    memory: MemoryWatch
    report: Report


@dataclass(kw_only=True)
class StackPhases(ABC, Generic[S]):
    """A running rehearsal: its parts, and the report that it fills.

    Its control plane may still be starting: `connect` waits for it.
    """

    options: Options
    settings: S
    toolchain: Toolchain
    session: Session
    workspace: Workspace
    engine: Engine
    starting_plane: Future[ControlPlane]
    progress: Progress
    memory: MemoryWatch
    report: Report
    kubernetes_before: set[str] = field(default_factory=set)

    @abstractmethod
    def begin(self) -> None:
        """The first preview, and the cluster that it needs, or that the update needs. Raises PhaseFailed."""

    @abstractmethod
    def connect(self) -> None:
        """Waits for the control plane and connects everything to it. Raises what `plane` raises."""

    @abstractmethod
    def checks(self) -> list[Check]:
        """The results of the checks of the stack that is up."""

    @abstractmethod
    def run_pods(self) -> None:
        """Runs pods as people do, and reports what became of them."""

    @property
    def outlives(self) -> bool:
        """Whether what the stack made stays when all processes of the rehearsal have ended."""
        return False

    def abandon(self) -> None:
        """Removes what outlives a rehearsal that ends before its update: nothing, where the cluster ends with it."""

    @property
    def way_in(self) -> str:
        """The command that opens a shell from where a kept stack is reached; empty for any shell."""
        return ""

    @property
    @abstractmethod
    def shell_variables(self) -> Mapping[str, str]:
        """What programs in a shell of a kept stack need in addition to the workspace's environment."""

    @property
    def plane(self) -> ControlPlane:
        """The control plane, once it runs. Raises the error of its start: ProcessFailed, ToolMissing or OSError."""
        return self.starting_plane.result()

    def wait_for_kubernetes(self) -> None:
        """Does the same as `connect`, as a phase: a first rehearsal waits here for programs that are being built."""
        with self._timed("kubernetes"):
            self.connect()

    def preview(self) -> None:
        """A preview of the whole stack, before anything exists. Its warnings go into the report."""
        result = self._phase("preview", "preview")
        # Leave out the engine's own warnings about its plugins.
        self.report.warnings = [one for one in result.warnings if one.startswith(f"{self.settings.name}")]
        self.report.violations += result.violations
        if "kubernetes" not in self.workspace.stand_ins:
            self._get_charts(result)

    def _get_charts(self, preview: Result) -> None:
        """Gets every chart that the real kubernetes plugin needs. Raises PhaseFailed."""
        needed = [step.chart for step in preview.steps if "chart" in step.chart and step.op == "create"]
        if all(archives.at(one["chart"]) for one in needed):
            return
        self.toolchain.wait_for("helm")
        found, missing = chart_paths.pulled(needed, cache_folder() / "charts", self.toolchain.path("helm"))
        if missing:
            raise PhaseFailed(
                f"these charts are missing and cannot be downloaded: {', '.join(missing)}. The real kubernetes plugin"
                " needs the charts themselves, and no stand-in: name a folder that has them with --charts"
            )
        if found:
            self.workspace.change_config("gpulab:charts", **{name: {"path": str(path)} for name, path in found.items()})

    def up(self) -> None:
        """The update."""
        result = self._phase("up", "up", "--yes", "--skip-preview")
        known = set(self.report.violations)
        self.report.violations += [violation for violation in result.violations if violation not in known]
        self.report.resources_created = result.counts["create"]

    def second_preview(self) -> None:
        """A preview of the stack that is up: it must change nothing."""
        result = self._phase("second preview", "preview")
        self.report.second_preview_changes = [f"{step.op} {step.name}" for step in result.changes]

    def refresh(self) -> None:
        """A refresh of the state: it must match what is there."""
        result = self._phase("refresh", "refresh", "--yes", "--skip-preview")
        differing = [step for step in result.steps if step.details or step.op in ("update", "delete")]
        self.report.refresh_changes = [f"{step.op} {step.name} {step.details}" for step in differing]

    def check(self) -> None:
        """Runs the checks of the stack that is up."""
        with self._timed("checks"):
            self.report.checks += self.checks()
            self.report.checks.append(outcome("the saved state passes the policies", self.engine.examine_state))
            pods = "pods" if self.options.node else "pods, by KWOK,"
            self.report.stand_ins += described(releases(self.plane), pods=pods)

    def unlock(self) -> None:
        """Checks that production refuses a destroy, names what is protected and deletes nothing; then unlocks it."""
        before = self.engine.resources()
        protected = [one["urn"].rpartition("::")[2] for one in before if one.get("protect") and one.get("custom")]
        with self._timed("refused destroy"):
            result = self._run("destroy", "--yes", phase="refused destroy")
        errors = "\n".join(result.errors)
        named = [name for name in protected if name in errors]
        untouched = len(self.engine.resources()) == len(before)
        # The engine stops at the first protected resource, so it may not name all of them.
        self.report.checks.append(
            Check(
                "production is protected",
                not result.ok and bool(named) and untouched,
                f"destroy ended with exit status {result.exit_code} and named {', '.join(named) or 'nothing'};"
                f" protected: {', '.join(protected) or 'none'}; deleted: {'none' if untouched else 'some'}",
            )
        )
        self.workspace.change_config("gpulab:lifecycle", unlock=True)
        # The unlock removes the protection that the pack requires.
        config = f"--policy-pack-config={UNLOCK_CONFIG}"
        self._phase("unlock", "up", "--yes", "--skip-preview", config)

    def destroy(self) -> Result:
        """Destroys the stack, and checks that each thing was removed before what its removal needs."""
        result = self._phase("destroy", "destroy", "--yes", "--skip-preview")
        self.report.checks.append(destroyed_in_order(result))
        return result

    def look_for_leftovers(self) -> None:
        """Fills `report.left`: what the destroy failed to remove."""
        strays = self.session.processes.strays()
        self.report.left = Left(
            state=state_names(self.engine.resources()),
            aws=self.left_in_aws(),
            kubernetes=sorted(kubernetes_objects(self.plane) - self.kubernetes_before),
            processes=[describe(process) for process in strays],
        )

    def left_in_aws(self) -> list[str]:
        """What is left in AWS: nothing where a stack has nothing there."""
        return []

    def _phase(self, name: str, *command: str) -> Result:
        """Runs an engine command that must succeed. Raises PhaseFailed."""
        with self._timed(name):
            result = self._run(*command, phase=name)
            if not result.ok:
                self.report.violations = result.violations
                errors = result.causes or result.output.strip().splitlines()[-_ERRORS_SHOWN:]
                shown = "\n".join(f"  {line}" for line in errors[:_ERRORS_SHOWN])
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
    """Shows that `phase` is running, and records its seconds and peak memory in the report."""
    memory.begin_phase()
    with progress.phase(phase) as clock:
        yield
    report.seconds[phase] = clock.seconds
    report.memory_mib[phase] = memory.phase_mib
    report.program_memory_mib[phase] = memory.program_mib
