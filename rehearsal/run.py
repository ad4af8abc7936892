"""One rehearsal from end to end: start everything, preview, up, preview again, refresh, check, destroy, look around."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

import settings
from settings import Settings

from . import account_secrets, control_plane, keeping, workspace
from .aws import starting as aws
from .aws.access import access_bindings
from .control_plane import ControlPlane
from .engine import Engine
from .leftovers import Account
from .phases import Options, PhaseFailed, Rehearsal, timed
from .plugins import given, installed
from .processes import MemoryWatch, describe, free_ports, marked
from .progress import Display, Progress
from .report import Report
from .session import Session, begin
from .toolchain import Toolchain, filled
from .tools import ENGINE, LANGUAGE_HOST, rehearsal_tools
from .workspace import PROJECT

_PARTS = {
    "aws": "AWS by moto and the aws provider",
    "eks": "the eks provider",
    "kubernetes": "the kubernetes provider",
    "random": "the random provider",
}
# No Kubernetes is there before the first update makes a cluster, and Helm renders no chart before that.
_FOR_A_PREVIEW = (*ENGINE.programs, *LANGUAGE_HOST.programs)


def rehearse(options: Options, console: Console) -> Report:
    """Rehearses a stack and returns what was found; shows its progress on `console`.

    Raises settings.SettingsError for a stack file that is refused, ToolMissing, ProcessFailed, and OSError where the
    stack file can't be read. A phase that fails ends up in the report, after everything that could be destroyed was.
    """
    with _begun(options, console) as rehearsal:
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
    """A rehearsal whose AWS and Kubernetes run, with nothing done yet; it all ends with the block."""
    with _begun(options, console) as rehearsal:
        rehearsal.wait_for_kubernetes()
        yield rehearsal


@contextlib.contextmanager
def _begun(options: Options, console: Console) -> Iterator[Rehearsal]:
    """A rehearsal that a preview can begin with: its control plane is starting, and may wait for its programs."""
    stack_settings = settings.check_stack_file(options.stack_file, stack=options.stack, today=options.today)
    if stack_settings.network.only:
        only = settings.Mistake("gpulab:network.only", "leaves nothing to rehearse but the network: take it out here")
        raise settings.SettingsError(options.stack, [only])
    _reach_loopback_directly()
    report = Report(stack=options.stack, kept=options.keep)
    display = Display(console)
    progress = Progress(display)
    with (
        begin(options.stack, keep=options.keep) as session,
        filled(display, rehearsal_tools(stack_settings.cluster.version)) as toolchain,
        MemoryWatch(toolchain.builds) as memory,
    ):
        toolchain.wait_for(*_FOR_A_PREVIEW, *(["helm"] if options.pull_charts else []))
        if toolchain.awaited:
            display.report("the first preview can start; the rest is made while it runs")
        plugins = installed(toolchain, console) | given(options.plugins)
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
    rehearsal.wait_for_kubernetes()
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
    """Starts AWS and lays out the workspace; Kubernetes starts meanwhile."""
    aws_port, dns_port = free_ports(2)
    aws_url = f"http://127.0.0.1:{aws_port}"
    starting_plane = session.processes.in_background(lambda: _start_kubernetes(session, toolchain, aws_url))
    has_domain = stack_settings.ingress.has_load_balancer
    project = workspace.make(
        session.folder,
        options.stack_file,
        project=options.project,
        stack=options.stack,
        toolchain=toolchain,
        plugins=plugins,
        aws_url=aws_url,
        today=options.today,
        dns_server=f"127.0.0.1:{dns_port}" if has_domain else None,
        charts=options.charts,
        pull_charts=options.pull_charts,
    )
    environment = {
        **project.environment,
        "PYTHONPATH": str(PROJECT),
        "GPULAB_QUOTAS": json.dumps(dict(options.quotas)),
    }
    aws.start(session.processes, aws_port, environment, dns_port=dns_port if has_domain else None)
    _furnish(aws_url, stack_settings)
    account = Account(aws_url, stack_settings.region)
    account_secrets.put(aws_url, stack_settings.identity, stack_settings.running_hub)
    engine = Engine(project, session.id, session.logs)
    engine.initialise()
    report.stand_ins = [_PARTS[name] for name in project.stand_ins]
    report.stand_ins += [
        "kubelets and nodes by KWOK, so that no admission webhook of a chart is called",
        "`aws eks get-token` as the engine calls it",
    ]
    return Rehearsal(
        options=options,
        settings=stack_settings,
        toolchain=toolchain,
        session=session,
        workspace=project,
        engine=engine,
        starting_plane=starting_plane,
        aws_url=aws_url,
        account=account,
        progress=progress,
        memory=memory,
        report=report,
        aws_before=account.holdings(),
    )


def _start_kubernetes(session: Session, toolchain: Toolchain, aws_url: str) -> ControlPlane:
    """A control plane, once all that an update needs is there."""
    # With some of it already running beside a build, a small machine would be short of memory.
    toolchain.wait_for()
    return control_plane.start(
        session.folder / "kubernetes",
        toolchain,
        session.processes,
        token_review_url=f"{aws_url}/gpulab/token-review",
        bindings=access_bindings(),
    )


def _furnish(url: str, stack_settings: Settings) -> None:
    """Makes in the account what the stack file takes for given: a delegated hosted zone, a web ACL."""
    ingress = stack_settings.ingress
    if not ingress.has_load_balancer:
        return
    given = {
        "region": stack_settings.region,
        "hostedZone": ingress.zone_name,
        "hostedZoneId": ingress.hosted_zone_id,
        "webAclArn": ingress.waf_acl_arn,
    }
    aws.furnish(url, given)
