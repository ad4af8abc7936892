"""Starts a rehearsal of a stack on EKS: a simulated AWS, what the stack file names there, and a control plane."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import settings
from settings import EksSettings

from . import account_secrets
from .checks.leftovers import Account
from .cloud import starting as aws
from .cloud.access import access_bindings
from .controllers.starting import CONSOLIDATE_AFTER_SECONDS, GRACE_PERIOD_SECONDS
from .machine import control_plane, workspace
from .machine.control_plane import ControlPlane
from .machine.engine import Engine
from .machine.processes import free_ports
from .machine.toolchain import Toolchain
from .machine.tools import Tool, rehearsal_tools
from .machine.workspace import PROJECT, STAND_INS
from .phases import Rehearsal
from .session import Session
from .stack_phases import KUBELETS, Beginnings


def tools(stack_settings: EksSettings) -> Sequence[Tool]:
    """The tools that it needs. Raises SettingsError for a stack that has no cluster to rehearse."""
    if stack_settings.network.only:
        only = settings.Mistake(
            "gpulab:network.only", "leaves only the network to rehearse: remove it for the rehearsal"
        )
        raise settings.SettingsError(stack_settings.stack, [only])
    return rehearsal_tools(stack_settings.cluster.version)


def start(given: Beginnings, stack_settings: EksSettings) -> Rehearsal:
    """Starts AWS and creates the workspace, while Kubernetes starts."""
    session, toolchain = given.session, given.toolchain
    made = parts(given, stack_settings, lambda aws_url: _start_kubernetes(session, toolchain, aws_url))
    given.report.stand_ins.append(KUBELETS)
    return Rehearsal(**made)


def parts(
    given: Beginnings,
    stack_settings: EksSettings,
    start_plane: Callable[[str], ControlPlane],
    *,
    charts: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Starts AWS and creates the workspace; returns what a rehearsal is made of.

    `start_plane` is called in the background with the URL of AWS. `charts` are folders with charts, in which those of
    the options are not found; AWS has this `environment` beside the workspace's.
    """
    options, session, toolchain, report = given.options, given.session, given.toolchain, given.report
    aws_port, dns_port = free_ports(2)
    aws_url = f"http://127.0.0.1:{aws_port}"
    starting_plane = session.processes.in_background(lambda: start_plane(aws_url))
    has_domain = stack_settings.ingress.has_load_balancer
    project = workspace.make(
        session.folder,
        options.stack_file,
        project=options.project,
        stack=options.stack,
        toolchain=toolchain,
        plugins=given.plugins,
        aws_url=aws_url,
        today=options.today,
        dns_server=f"127.0.0.1:{dns_port}" if has_domain else None,
        charts=[*options.charts, *charts],
        pull_charts=options.pull_charts,
    )
    of_aws = {
        **project.environment,
        **(environment or {}),
        "PYTHONPATH": str(PROJECT),
        "GPULAB_QUOTAS": json.dumps(dict(options.quotas)),
    }
    aws.start(session.processes, aws_port, of_aws, dns_port=dns_port if has_domain else None)
    _create_given(aws_url, stack_settings)
    account = Account(aws_url, stack_settings.region)
    account_secrets.put(aws_url, stack_settings.identity, stack_settings.running_hub)
    engine = Engine(project, session.id, session.logs)
    engine.initialise()
    report.stand_ins = [] if "aws" in project.stand_ins else ["AWS by moto"]
    report.stand_ins += [
        *(STAND_INS[name] for name in project.stand_ins),
        f"waits: a node is empty after {CONSOLIDATE_AFTER_SECONDS} s, and ends pods after {GRACE_PERIOD_SECONDS} s",
        "`aws eks get-token` as the engine calls it",
    ]
    return {
        "options": options,
        "settings": stack_settings,
        "toolchain": toolchain,
        "session": session,
        "workspace": project,
        "engine": engine,
        "starting_plane": starting_plane,
        "aws_url": aws_url,
        "account": account,
        "progress": given.progress,
        "memory": given.memory,
        "report": report,
        "aws_before": account.holdings(),
    }


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
