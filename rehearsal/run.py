"""One rehearsal from end to end: start everything, preview, up, preview again, refresh, check, destroy, look around."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from rich.console import Console

import settings
from settings import Settings

from . import control_plane, workspace
from .aws.access import access_bindings
from .checks import Subject, destroyed_in_order, run_all
from .control_plane import ControlPlane
from .controllers import starting as controllers
from .engine import Engine, Result
from .leftovers import Account, Left, kubernetes_objects, state_names
from .plugins import given, installed
from .processes import MemoryWatch, answers, describe, free_ports, marked
from .progress import Progress
from .releases import described, releases
from .report import Check, Report
from .session import Session, begin
from .toolchain import Toolchain, ensure
from .workspace import PROJECT, Workspace

# The day on which every rehearsal takes place, so that a lab's date of expiry never decides what a test finds.
REHEARSAL_DAY = date(2026, 9, 1)

_AWS_READY_SECONDS = 30
_ERRORS_SHOWN = 12
_PARTS = {
    "aws": "AWS by moto and the aws provider",
    "eks": "the eks provider",
    "kubernetes": "the kubernetes provider",
    "random": "the random provider",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to rehearse. `project` is the program's folder, `plugins` one of real `pulumi-resource-NAME` plugins.

    `charts` are folders that hold Helm charts; with `pull_charts` others may be pulled from their repositories.
    """

    stack_file: Path
    stack: str
    project: Path = PROJECT
    plugins: Path | None = None
    keep: bool = False
    today: date = REHEARSAL_DAY
    charts: tuple[Path, ...] = ()
    pull_charts: bool = False


class PhaseFailed(Exception):
    """A phase did not do what it had to; the message says what the engine said."""


@dataclass
class Rehearsal:
    """A rehearsal under way: its parts, and the report that it fills."""

    options: Options
    settings: Settings
    session: Session
    workspace: Workspace
    engine: Engine
    plane: ControlPlane
    aws_url: str
    account: Account
    progress: Progress
    memory: MemoryWatch
    report: Report
    aws_before: set[str] = field(default_factory=set)
    kubernetes_before: set[str] = field(default_factory=set)

    def preview(self) -> None:
        """A preview of the whole stack, before anything exists."""
        self._phase("preview", "preview")

    def up(self) -> None:
        """The real update."""
        result = self._phase("up", "up", "--yes", "--skip-preview")
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
            self.report.checks += run_all(subject)
            self.report.stand_ins += described(releases(self.plane))

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
        self._phase("unlock", "up", "--yes", "--skip-preview")

    def destroy(self) -> None:
        """Destroys the stack, and sees whether each thing went before what it needs in order to go."""
        result = self._phase("destroy", "destroy", "--yes", "--skip-preview")
        self.report.checks.append(destroyed_in_order(result))

    def look_for_leftovers(self) -> None:
        """Fills `report.left`: what the destroy should have taken, and did not."""
        started = {process.pid for process in self.session.processes.running()}
        strays = [one for one in marked(self.session.id) if one.pid not in started]
        self.report.left = Left(
            state=state_names(self.engine.resources()),
            aws=sorted(self.account.holdings() - self.aws_before),
            kubernetes=sorted(kubernetes_objects(self.plane) - self.kubernetes_before),
            processes=[describe(process) for process in strays],
        )

    def _phase(self, name: str, *command: str) -> Result:
        """Runs an engine command that must succeed. Raises PhaseFailed."""
        with self._timed(name):
            result = self._run(*command, phase=name)
            if not result.ok:
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


def rehearse(options: Options, console: Console) -> Report:
    """Rehearses a stack and returns what was found; shows its progress on `console`.

    Raises settings.SettingsError for a stack file that is refused, ToolMissing, ProcessFailed, and OSError where the
    stack file can't be read. A phase that fails ends up in the report, after everything that could be destroyed was.
    """
    with staged(options, console) as rehearsal:
        report, session = rehearsal.report, rehearsal.session
        try:
            _go_through(rehearsal)
        except PhaseFailed as failed:
            report.failure = f"{failed}\n  Logs: {session.keep_logs()}"
            report.kept = False
        if report.kept:
            _keep(rehearsal, console)
    if report.left is not None:
        report.left.processes.extend(describe(process) for process in marked(session.id))
    return report


@contextlib.contextmanager
def staged(options: Options, console: Console) -> Iterator[Rehearsal]:
    """A rehearsal whose AWS and Kubernetes run, with nothing done yet; it all ends with the block."""
    stack_settings = settings.check_stack_file(options.stack_file, stack=options.stack, today=options.today)
    toolchain = ensure(console)
    plugins = installed(toolchain, console) | given(options.plugins)
    _reach_loopback_directly()
    report = Report(stack=options.stack, kept=options.keep)
    progress = Progress(console)
    with MemoryWatch() as memory, begin(options.stack, keep=options.keep) as session:
        with timed(report, progress, memory, "start"):
            rehearsal = _assemble(
                options=options,
                plugins=plugins,
                stack_settings=stack_settings,
                session=session,
                toolchain=toolchain,
                progress=progress,
                memory=memory,
                report=report,
            )
        yield rehearsal
        report.peak_memory_mib = memory.peak_mib


def _reach_loopback_directly() -> None:
    """Sends no call to a proxy of the user's: that is for the toolchain's downloads, the rest is on this machine."""
    if not urllib.request.proxy_bypass("127.0.0.1"):
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = f"{others},127.0.0.1" if others else "127.0.0.1"


def _go_through(rehearsal: Rehearsal) -> None:
    """All phases in order. After one that failed the stack is destroyed all the same: what that leaves, counts."""
    rehearsal.preview()
    try:
        rehearsal.up()
        if rehearsal.options.keep:
            rehearsal.check()
            return
        rehearsal.second_preview()
        rehearsal.refresh()
        rehearsal.check()
        if rehearsal.settings.lifecycle.protects:
            rehearsal.unlock()
    except PhaseFailed:
        with contextlib.suppress(PhaseFailed):  # the first failure is the one to report
            rehearsal.destroy()
        rehearsal.look_for_leftovers()
        raise
    try:
        rehearsal.destroy()
    except PhaseFailed:
        rehearsal.look_for_leftovers()
        raise
    rehearsal.look_for_leftovers()


def _assemble(
    *,
    options: Options,
    plugins: Mapping[str, Path],
    stack_settings: Settings,
    session: Session,
    toolchain: Toolchain,
    progress: Progress,
    memory: MemoryWatch,
    report: Report,
) -> Rehearsal:
    """Starts AWS and Kubernetes and lays out the workspace."""
    (aws_port,) = free_ports(1)
    aws_url = f"http://127.0.0.1:{aws_port}"
    project = workspace.make(
        session.folder,
        options.stack_file,
        project=options.project,
        stack=options.stack,
        toolchain=toolchain,
        plugins=plugins,
        aws_url=aws_url,
        today=options.today,
        charts=options.charts,
        pull_charts=options.pull_charts,
    )
    plane = control_plane.start(
        session.folder / "kubernetes",
        toolchain,
        session.processes,
        token_review_url=f"{aws_url}/gpulab/token-review",
        bindings=access_bindings(),
    )
    _start_aws(session, project, plane, aws_url, aws_port)
    controllers.start(
        session.processes,
        program=toolchain.path("karpenter"),
        environment=project.environment,
        kubeconfig=plane.kubeconfig,
        region=stack_settings.region,
        zones=stack_settings.network.zones,
    )
    account = Account(aws_url, stack_settings.region)
    engine = Engine(project, session.id, session.logs)
    engine.initialise()
    report.stand_ins = [_PARTS[name] for name in project.stand_ins]
    report.stand_ins += ["kubelets and nodes by KWOK", "`aws eks get-token` as the engine calls it"]
    return Rehearsal(
        options=options,
        settings=stack_settings,
        session=session,
        workspace=project,
        engine=engine,
        plane=plane,
        aws_url=aws_url,
        account=account,
        progress=progress,
        memory=memory,
        report=report,
        aws_before=account.holdings(),
        kubernetes_before=kubernetes_objects(plane),
    )


def _start_aws(session: Session, project: Workspace, plane: ControlPlane, url: str, port: int) -> None:
    environment = {
        **project.environment,
        "PYTHONPATH": str(PROJECT),
        "GPULAB_KUBERNETES_URL": plane.url,
        "GPULAB_KUBERNETES_CA": plane.ca,
        "GPULAB_KUBERNETES_TOKEN": plane.token,
    }
    # It is the cloud itself: its own clients must not be sent to it.
    del environment["AWS_ENDPOINT_URL"]
    session.processes.start("aws", [sys.executable, "-m", "rehearsal.aws.server", "--port", str(port)], environment)
    session.processes.wait_until("aws", lambda: answers(f"{url}/gpulab/health"), seconds=_AWS_READY_SECONDS)


def _keep(rehearsal: Rehearsal, console: Console) -> None:
    """Leaves the stack up, and says how to look at it and how to end it."""
    rehearsal.session.keep()
    environment = rehearsal.workspace.environment
    console.print("\nThe stack is up. To look at it:", highlight=False)
    console.print(
        f"  export KUBECONFIG={shlex.quote(str(rehearsal.plane.kubeconfig))}", highlight=False, soft_wrap=True
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        console.print(f"  export {name}={environment[name]}", highlight=False, soft_wrap=True)
    console.print(f"  export AWS_DEFAULT_REGION={rehearsal.settings.region}", highlight=False)
    console.print("To end it:", highlight=False)
    console.print(
        f"  {shlex.quote(sys.executable)} -m rehearsal down {rehearsal.session.id}", highlight=False, soft_wrap=True
    )
