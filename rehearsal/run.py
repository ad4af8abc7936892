"""One rehearsal from end to end: start, preview, up, preview again, refresh, checks, pods, destroy, leftovers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

from rich.console import Console

import settings
from settings import ExistingSettings, Settings

from . import eks, keeping
from .machine.control_plane import reach_directly
from .machine.plugins import given, installed
from .machine.processes import MemoryWatch, describe, marked
from .machine.toolchain import filled
from .machine.tools import ENGINE, HELM, LANGUAGE_HOST, Tool, ToolMissing
from .node import eks as eks_nodes
from .node import starting as nodes
from .phases import Rehearsal
from .progress import Display, Progress
from .report import Report
from .session import begin
from .site import starting as site
from .stack_phases import Beginnings, Options, PhaseFailed, StackPhases, timed

# What a first preview needs of the programs, unless it asks a cluster that exists.
_FOR_A_PREVIEW = (*ENGINE.programs, *LANGUAGE_HOST.programs)


def rehearse(options: Options, console: Console) -> Report:
    """Rehearses a stack and returns the report; shows its progress on `console`.

    Raises settings.SettingsError for a wrong stack file, OSError if it can't be read, ToolMissing and ProcessFailed. A
    failed phase is in the report; before that, everything that can be destroyed is destroyed.
    """
    with begun(options, console) as rehearsal:
        report, session = rehearsal.report, rehearsal.session
        try:
            _go_through(rehearsal)
        except PhaseFailed as failed:
            report.failure = f"{failed}\n  Logs: {session.keep_logs()}"
            report.kept = False
        if report.kept:
            report.next_steps = keeping.keep(rehearsal)
    if report.left is not None:
        report.left.processes.extend(describe(process) for process in marked(session.id))
    return report


@contextlib.contextmanager
def staged(options: Options, console: Console) -> Iterator[Rehearsal]:
    """A rehearsal on EKS whose AWS and Kubernetes run and that has done nothing. Everything ends with the block."""
    with begun(options, console) as rehearsal:
        rehearsal.wait_for_kubernetes()
        yield cast("Rehearsal", rehearsal)


@contextlib.contextmanager
def begun(options: Options, console: Console) -> Iterator[StackPhases[Any]]:
    """A rehearsal that has done nothing yet. Its control plane is starting and may wait for its programs."""
    stack_settings = settings.check_stack_file(options.stack_file, stack=options.stack, today=options.today)
    tools = _tools(stack_settings, options)
    reach_directly("127.0.0.1")
    report = Report(stack=options.stack, kept=options.keep)
    display = Display(console)
    progress = Progress(display)
    with (
        begin(options.stack, keep=options.keep) as session,
        filled(display, tools) as toolchain,
        MemoryWatch(toolchain.builds) as memory,
    ):
        toolchain.wait_for(*_FOR_A_PREVIEW, *(["helm"] if options.pull_charts else []))
        if toolchain.awaited:
            display.report("the first preview can start; the other programs are built while it runs")
        plugins = installed(toolchain, console, options.requested_plugins) | given(options.plugins)
        with timed(report, progress, memory, "start"):
            rehearsal = _start(
                Beginnings(
                    options=options,
                    plugins=plugins,
                    session=session,
                    toolchain=toolchain,
                    progress=progress,
                    memory=memory,
                    report=report,
                ),
                stack_settings,
            )
        yield rehearsal
        report.peak_memory_mib = memory.peak_mib


def _tools(stack_settings: Settings, options: Options) -> Sequence[Tool]:
    """The tools that the stack's ground needs.

    Raises SettingsError for a stack with nothing to rehearse, and ToolMissing where the options exclude each other.
    """
    if options.node and options.kubeconfig:
        raise ToolMissing("Give --node or --kubeconfig, not both: each says which nodes run the containers.")
    if isinstance(stack_settings, ExistingSettings):
        if options.kubeconfig:
            return (ENGINE, LANGUAGE_HOST, HELM)
        return nodes.tools(stack_settings) if options.node else site.tools(stack_settings)
    if options.kubeconfig:
        text = "must be existing for --kubeconfig: an EKS cluster is rehearsed on one of the rehearsal's own"
        raise settings.SettingsError(stack_settings.stack, [settings.Mistake("gpulab:ground.kind", text)])
    if options.node and options.keep:
        raise ToolMissing(
            "Give --node or --keep for a stack on EKS, not both: this process starts the machines of new instances, so "
            "none would join a stack that is kept. Without --node it can be kept."
        )
    on_eks = settings.on_eks(stack_settings)
    return eks_nodes.tools(on_eks) if options.node else eks.tools(on_eks)


def _start(beginnings: Beginnings, stack_settings: Settings) -> StackPhases[Any]:
    """Starts what the stack's ground needs, and makes the workspace, while Kubernetes starts."""
    if isinstance(stack_settings, ExistingSettings):
        options = beginnings.options
        start = nodes.start if options.node else nodes.start_on_given if options.kubeconfig else site.start
        return start(beginnings, stack_settings)
    on_eks = settings.on_eks(stack_settings)
    return eks_nodes.start(beginnings, on_eks) if beginnings.options.node else eks.start(beginnings, on_eks)


def _go_through(rehearsal: StackPhases[Any]) -> None:
    """Runs all phases in order. If one fails, the stack is still destroyed, and leftovers are reported."""
    try:
        rehearsal.begin()
    except BaseException:
        rehearsal.abandon()
        raise
    try:
        rehearsal.up()
        if rehearsal.options.keep:
            rehearsal.check()
            return
        rehearsal.second_preview()
        rehearsal.refresh()
        rehearsal.check()
        if not rehearsal.options.quick:
            rehearsal.run_pods()
        if rehearsal.settings.lifecycle.protects:
            rehearsal.unlock()
    except (PhaseFailed, KeyboardInterrupt) as ended:
        # Without its cluster nothing is left of the stack.
        if isinstance(ended, PhaseFailed) or rehearsal.outlives:
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
