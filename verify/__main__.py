"""The command line: `python -m verify STACK`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kubernetes.config import ConfigException
from rich.console import Console

import settings as stack_files
from contracts import eks
from settings import ExistingSettings, Settings, SettingsError, StackFileError
from verify import account, cluster, gpus, history, notebooks, run, run_reports, services, versions
from verify.checks import Check
from verify.cleaning import Cleaner
from verify.cluster_api import ClusterApi
from verify.run import Run

WORKS, FAILS, USAGE, INTERRUPTED = 0, 1, 2, 130
_TIMEOUT_SECONDS = 1800


def main(arguments: list[str] | None = None) -> int:
    """Runs the checks and returns the exit status: 0 only if none failed and none was left out for lack of time."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        _refuse_unwritable(options)
        stack_settings = _settings(options.stack)
        cluster_of = _kubeconfig(options, stack_settings)
        api = ClusterApi(*cluster_of)
        team = notebooks.team_of(stack_settings, options.team)
        with (
            Cleaner(*cluster_of) as cleaner,
            notebooks.Notebooks(api, cleaner, stack_settings, team, options.timeout, options.keep_failed) as started,
        ):
            trial = gpus.Trial(api, cleaner, secrets.token_hex(4), options.keep_failed)
            checks = [*_checks(api, stack_settings, trial), *notebooks.checks(started, options.profile)]
            done = _run(run.selected(checks, options.only), options.timeout, console)
    except (SettingsError, StackFileError, ConfigException, OSError, ValueError) as error:
        Console(stderr=True).print(f"verify: {error}", markup=False, highlight=False, soft_wrap=True)
        return USAGE
    done.cut_off = done.cut_off or cleaner.left
    run_reports.table(done, console)
    _write(done, options, stack_settings.stack)
    if done.cut_off == run.INTERRUPTED:
        return INTERRUPTED
    return WORKS if done.ok else FAILS


def _run(checks: Sequence[Check], seconds: float, console: Console) -> Run:
    """Runs the checks, and shows on a terminal which one runs; elsewhere each gets a line."""
    with console.status("") as status:
        return run.run(checks, status.update if console.is_terminal else console.print, seconds=seconds)


def _write(done: Run, options: argparse.Namespace, stack: str) -> None:
    """Writes the reports that the command line asks for."""
    if options.json:
        run_reports.write_json(done, options.json)
    if options.junit:
        run_reports.write_junit(done, options.junit, f"verify {stack}")
    if options.history:
        runs = history.add(options.history, stack, done, datetime.now(UTC))
        if options.html:
            history.write_page(options.html, stack, done, runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m verify", description="Proves that a stack that is up works, and says what does not."
    )
    parser.add_argument("stack", metavar="STACK", help="a stack (dev) or its file")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="the cluster's kubeconfig (default: the stack file's, or yours)"
    )
    parser.add_argument("--context", metavar="NAME", help="its context (default: the stack file's, or the current one)")
    parser.add_argument(
        "--only",
        metavar="TEXT",
        action="append",
        default=[],
        help="only checks whose part or name has this text; can be given more than once",
    )
    parser.add_argument("--team", metavar="NAME", help="try the notebooks of this team (default: the first)")
    parser.add_argument(
        "--profile",
        metavar="NAME",
        action="append",
        default=[],
        help="only the notebook of this profile of the team; can be given more than once",
    )
    parser.add_argument(
        "--keep-failed", action="store_true", help="leave the pods and the notebook that failed, for a look"
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=_TIMEOUT_SECONDS,
        help="begin no check after this time (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON to FILE")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML to FILE, for CI")
    parser.add_argument(
        "--history", type=Path, metavar="FOLDER", help="keep what was found there, a line a run, for the trend"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a page with the run and the trend to FILE (with --history)"
    )
    return parser


def _settings(stack: str) -> Settings:
    path = Path(stack)
    if path.suffix in (".yaml", ".yml"):
        return stack_files.check_stack_file(path, stack=path.stem.removeprefix("Pulumi."), today=eks.today())
    return stack_files.check_stack_file(f"Pulumi.{stack}.yaml", stack=stack, today=eks.today())


def _kubeconfig(options: argparse.Namespace, stack_settings: Settings) -> tuple[str | None, str | None]:
    """Kubeconfig and context: those of the command line, else of the stack file, else what kubectl would use."""
    if options.kubeconfig or options.context or not isinstance(stack_settings, ExistingSettings):
        return options.kubeconfig, options.context
    ground = stack_settings.ground
    return ground.kubeconfig and str(Path(ground.kubeconfig).expanduser()), ground.context


def _checks(api: ClusterApi, stack_settings: Settings, trial: gpus.Trial) -> list[Check]:
    """All checks, in the order in which one explains the next."""
    return [
        *cluster.checks(api, stack_settings),
        *services.checks(api, stack_settings),
        *versions.checks(api, stack_settings),
        *account.checks(stack_settings),
        *gpus.checks(trial, stack_settings),
    ]


def _refuse_unwritable(options: argparse.Namespace) -> None:
    """Refuses paths of reports, and of the kubeconfig, before the first check. Raises OSError, ValueError."""
    if options.kubeconfig and not Path(options.kubeconfig).is_file():
        raise FileNotFoundError(f"--kubeconfig: {options.kubeconfig} is not a file")
    if options.html and not options.history:
        raise ValueError("--html draws the trend of earlier runs: give --history FOLDER too, where they are kept")
    if options.history:
        options.history.mkdir(parents=True, exist_ok=True)
    for file in filter(None, (options.json, options.junit, options.html)):
        if file.is_dir() or not os.access(file.parent, os.W_OK):
            raise OSError(f"{file} cannot be written: give a file in a folder that is there")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # Between two checks, or while the cleaner works, which goes on.
        print("verify: interrupted; what the run made is being removed", file=sys.stderr)
        sys.exit(INTERRUPTED)
