"""The command line: `python -m verify STACK`."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

from kubernetes.config import ConfigException
from rich.console import Console

import settings as stack_files
from contracts import eks
from settings import ExistingSettings, Settings, SettingsError, StackFileError
from verify import cluster, gpus, run, services, telling, versions
from verify.checks import Check
from verify.cleaning import Cleaner
from verify.cluster_api import ClusterApi

WORKS, FAILS, USAGE, INTERRUPTED = 0, 1, 2, 130
_TIMEOUT_SECONDS = 1800


def main(arguments: list[str] | None = None) -> int:
    """Runs the checks and returns the exit status: 0 only if none failed and none was left out for lack of time."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        for file in filter(None, (options.json, options.junit)):
            _refuse_unwritable(file)
        if options.kubeconfig and not Path(options.kubeconfig).is_file():
            raise FileNotFoundError(f"--kubeconfig: {options.kubeconfig} is not a file")
        stack_settings = _settings(options.stack)
        cluster_of = _kubeconfig(options, stack_settings)
        api = ClusterApi(*cluster_of)
    except (SettingsError, StackFileError, ConfigException, OSError, ValueError) as error:
        return _refuse(error)
    run_id = secrets.token_hex(4)
    with console.status("") as status, Cleaner(*cluster_of) as cleaner:
        found = _checks(api, stack_settings, gpus.Trial(api, cleaner, run_id))
        try:
            checks = run.selected(found, options.only)
        except ValueError as error:
            return _refuse(error)
        done = run.run(checks, status.update, seconds=options.timeout)
        status.update("removing what the run made")
    if cleaner.left:
        done.cut_off = done.cut_off or cleaner.left
    telling.table(done, console)
    if options.json:
        telling.write_json(done, options.json)
    if options.junit:
        telling.write_junit(done, options.junit, f"verify {stack_settings.stack}")
    if done.cut_off == run.INTERRUPTED:
        return INTERRUPTED
    return WORKS if done.ok else FAILS


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
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=_TIMEOUT_SECONDS,
        help="begin no check after this time (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found as JSON to FILE")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML to FILE, for CI")
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
        *gpus.checks(trial, stack_settings),
    ]


def _refuse_unwritable(file: Path) -> None:
    """Refuses a report's path before the first check, not after the last. Raises OSError."""
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        raise OSError(f"{file} cannot be written: give a file in a folder that is there")


def _refuse(error: Exception) -> int:
    Console(stderr=True).print(f"verify: {error}", markup=False, highlight=False, soft_wrap=True)
    return USAGE


if __name__ == "__main__":
    sys.exit(main())
