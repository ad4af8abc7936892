"""The command line: `python -m rehearsal STACK`, `python -m rehearsal bootstrap` and `python -m rehearsal down`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import date
from pathlib import Path

from rich.console import Console

from . import bootstrapping, command
from .machine.plugins import ON_REQUEST, given
from .machine.workspace import PROJECT, STAND_INS
from .report import Report
from .run import rehearse
from .session import end_all
from .stack_phases import REHEARSAL_DAY, Options


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit status: 0 only if all checks passed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.session and options.stack != "down":
        parser.error(f"give one stack at a time: {options.stack} or {options.session}")
    if options.keep and options.kubeconfig:
        parser.error("--keep is not for --kubeconfig: the state, without which nobody destroys the stack, ends here")
    if options.stack == "down":
        return command.run(lambda console: _down(options.session, console), Console())
    if options.stack == "bootstrap":
        return command.run(lambda console: _bootstrap(options.json, console), Console())
    return command.run(lambda console: _rehearse(options, console), Console())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rehearsal",
        description="Runs preview, up, preview, refresh and destroy of a stack without a cloud account.",
    )
    parser.add_argument(
        "stack",
        metavar="STACK|bootstrap|down",
        help="a stack (dev) or its file, `bootstrap` for bootstrap/, or `down` to end rehearsals that were kept",
    )
    parser.add_argument("session", nargs="?", help="with `down`: the rehearsal to end (default: all that were kept)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON to FILE")
    parser.add_argument(
        "--plugins",
        type=Path,
        metavar="DIR|aws",
        help="use the pulumi-resource-NAME plugins in DIR, or the published plugin for AWS instead of its stand-in",
    )
    parser.add_argument(
        "--charts",
        type=Path,
        metavar="DIR",
        action="append",
        default=[],
        help="use the Helm charts (NAME/ or NAME-VERSION.tgz) in DIR; can be given more than once",
    )
    parser.add_argument(
        "--pull-charts", action="store_true", help="download charts that are missing here, and keep them"
    )
    containers = parser.add_mutually_exclusive_group()
    containers.add_argument(
        "--node",
        action="store_true",
        help="run all containers: kubelet and containerd in namespaces of their own (Linux, as root)",
    )
    containers.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="rehearse on the cluster of a kubeconfig's current context, such as one of kind or k3s",
    )
    parser.add_argument("--quick", action="store_true", help="run no pods, so skip the checks of Karpenter")
    parser.add_argument(
        "--quota",
        type=_quota,
        metavar="CODE=VALUE",
        action="append",
        default=[],
        help="set a service quota of the account, such as L-DB2E81BA=0; can be given more than once",
    )
    parser.add_argument("--keep", action="store_true", help="stop after up, and leave the stack running")
    parser.add_argument(
        "--project", type=Path, default=PROJECT, metavar="DIR", help="the folder of another program to rehearse"
    )
    parser.add_argument(
        "--today",
        type=_day,
        default=REHEARSAL_DAY,
        metavar="DATE",
        help=f"the date that the rehearsal uses as today (default: {REHEARSAL_DAY})",
    )
    return parser


def _quota(text: str) -> tuple[str, float]:
    code, _, value = text.partition("=")
    try:
        return code, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a quota; write CODE=VALUE, such as L-DB2E81BA=64") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date; write YYYY-MM-DD, such as {REHEARSAL_DAY}") from None


def _rehearse(options: argparse.Namespace, console: Console) -> int:
    stack_file, stack = _stack(options.stack, options.project)
    requested = ON_REQUEST if str(options.plugins) in ON_REQUEST else ()
    if requested:
        options.plugins = None
    if options.plugins and not given(options.plugins):
        names = ", ".join(f"pulumi-resource-{name}" for name in STAND_INS)
        raise FileNotFoundError(f"--plugins: {options.plugins} must be a folder with at least one of {names}")
    for folder in options.charts:
        if not folder.is_dir():
            raise FileNotFoundError(f"--charts: {folder} is not a folder")
    if options.kubeconfig and not options.kubeconfig.is_file():
        raise FileNotFoundError(f"--kubeconfig: {options.kubeconfig} is not a file")
    _check_writable(options.json)
    report = rehearse(
        Options(
            stack_file=stack_file,
            stack=stack,
            project=options.project.resolve(),
            plugins=options.plugins and options.plugins.resolve(),
            requested_plugins=requested,
            keep=options.keep,
            quick=options.quick,
            node=options.node,
            kubeconfig=options.kubeconfig and options.kubeconfig.resolve(),
            charts=tuple(folder.resolve() for folder in options.charts),
            pull_charts=options.pull_charts,
            today=options.today,
            quotas=dict(options.quota),
        ),
        console,
    )
    return _show(report, options.json, console)


def _bootstrap(json_file: Path | None, console: Console) -> int:
    _check_writable(json_file)
    return _show(bootstrapping.rehearse(console), json_file, console)


def _check_writable(file: Path | None) -> None:
    """Checks before the rehearsal, not after it, that the report can be written."""
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.is_dir() or not os.access(file.parent, os.W_OK):
            raise PermissionError(f"--json: cannot write to {file}")


def _show(report: Report, json_file: Path | None, console: Console) -> int:
    report.show(console)
    if json_file:
        json_file.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    return command.OK if report.ok else command.CHECKS_FAILED


def _stack(given: str, project: Path) -> tuple[Path, str]:
    """The stack file and the stack's name, from a name or from a path such as Pulumi.dev.yaml."""
    path = Path(given)
    if path.suffix in (".yaml", ".yml"):
        return path.resolve(), path.stem.removeprefix("Pulumi.")
    return project.resolve() / f"Pulumi.{given}.yaml", given


def _down(session: str | None, console: Console) -> int:
    ended, running = end_all(session)
    for one in ended:
        console.print(f"ended {one}", highlight=False)
    for one in running:
        console.print(
            f"{one} is still running: end it with Ctrl-C in its terminal, or with `down {one}`", highlight=False
        )
    if session and not ended:
        console.print(f"there is no rehearsal {session}", highlight=False)
        return command.USAGE
    if not ended and not running:
        console.print("nothing was kept")
    return command.OK


if __name__ == "__main__":
    sys.exit(main())
