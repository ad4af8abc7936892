"""One rehearsal from end to end: start, preview, up, preview again, refresh, checks, pods, destroy, leftovers."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

import settings
from settings import EksSettings

from . import account_secrets, keeping
from .checks.leftovers import Account
from .cloud import starting as aws
from .cloud.access import access_bindings
from .controllers.starting import CONSOLIDATE_AFTER_SECONDS, GRACE_PERIOD_SECONDS
from .machine import control_plane, workspace
from .machine.control_plane import ControlPlane
from .machine.engine import Engine
from .machine.plugins import given, installed
from .machine.processes import MemoryWatch, describe, free_ports, marked
from .machine.toolchain import Toolchain, filled
from .machine.tools import ENGINE, LANGUAGE_HOST, rehearsal_tools
from .machine.workspace import PROJECT
from .phases import Options, PhaseFailed, Rehearsal, timed
from .progress import Display, Progress
from .report import Report
from .session import Session, begin

_PARTS = {
    "aws": "AWS by moto and the aws provider",
    "eks": "the eks provider",
    "kubernetes": "the kubernetes provider",
    "random": "the random provider",
}
# The first preview needs no Kubernetes and no Helm: the cluster is created by the update.
_FOR_A_PREVIEW = (*ENGINE.programs, *LANGUAGE_HOST.programs)


def rehearse(options: Options, console: Console) -> Report:
    """Rehearses a stack and returns the report; shows its progress on `console`.

    Raises settings.SettingsError for a wrong stack file, OSError if it can't be read, ToolMissing and ProcessFailed. A
    failed phase is in the report; before that, everything that can be destroyed is destroyed.
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
    """A rehearsal whose AWS and Kubernetes run and that has done nothing yet. Everything ends with the block."""
    with _begun(options, console) as rehearsal:
        rehearsal.wait_for_kubernetes()
        yield rehearsal


@contextlib.contextmanager
def _begun(options: Options, console: Console) -> Iterator[Rehearsal]:
    """A rehearsal that is ready for a preview. Its control plane is starting and may wait for its programs."""
    stack_settings = settings.on_eks(
        settings.check_stack_file(options.stack_file, stack=options.stack, today=options.today)
    )
    if stack_settings.network.only:
        only = settings.Mistake(
            "gpulab:network.only", "leaves only the network to rehearse: remove it for the rehearsal"
        )
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
            display.report("the first preview can start; the other programs are built while it runs")
        plugins = installed(toolchain, console, options.requested_plugins) | given(options.plugins)
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
    """Makes calls to this machine bypass the user's proxy, which is only for the toolchain's downloads."""
    if not urllib.request.proxy_bypass("127.0.0.1"):
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        os.environ["no_proxy"] = f"{others},127.0.0.1" if others else "127.0.0.1"


def _go_through(rehearsal: Rehearsal) -> None:
    """Runs all phases in order. If one fails, the stack is still destroyed, and leftovers are reported."""
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
    stack_settings: EksSettings,
    session: Session,
    toolchain: Toolchain,
    progress: Progress,
    memory: MemoryWatch,
    report: Report,
) -> Rehearsal:
    """Starts AWS and creates the workspace, while Kubernetes starts."""
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
    _create_given(aws_url, stack_settings)
    account = Account(aws_url, stack_settings.region)
    account_secrets.put(aws_url, stack_settings.identity, stack_settings.running_hub)
    engine = Engine(project, session.id, session.logs)
    engine.initialise()
    report.stand_ins = [] if "aws" in project.stand_ins else ["AWS by moto"]
    report.stand_ins += [_PARTS[name] for name in project.stand_ins]
    report.stand_ins += [
        "kubelets by KWOK, so that no container runs and no admission webhook of a chart is called",
        f"waits: a node is empty after {CONSOLIDATE_AFTER_SECONDS} s, and ends pods after {GRACE_PERIOD_SECONDS} s",
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
    """Starts a control plane, once all programs that an update needs are there."""
    # On a small machine the memory is not enough for a part of it and a build at the same time.
    toolchain.wait_for()
    return control_plane.start(
        session.folder / "kubernetes",
        toolchain,
        session.processes,
        token_review_url=f"{aws_url}/gpulab/token-review",
        bindings=access_bindings(),
    )


def _create_given(url: str, stack_settings: EksSettings) -> None:
    """Creates in the account what the stack file names: capacity reservations, a delegated hosted zone, a web ACL."""
    ingress = stack_settings.ingress
    given: dict[str, Any] = {"region": stack_settings.region, "reservations": _reservations(stack_settings)}
    if ingress.has_load_balancer:
        given |= {
            "hostedZone": ingress.zone_name,
            "hostedZoneId": ingress.hosted_zone_id,
            "webAclArn": ingress.waf_acl_arn,
        }
    aws.furnish(url, given)


def _reservations(stack_settings: EksSettings) -> list[dict[str, Any]]:
    """A machine for each reservation of a pool, of the pool's cheapest type."""
    return [
        {"id": id, "instanceType": pool.instance_types[0].name, "zone": (pool.zones or stack_settings.network.zones)[0]}
        for pool in stack_settings.node_pools.values()
        for id in pool.capacity_reservations
    ]
