"""`python -m rehearsal bootstrap`: the bootstrap of an account from end to end, on the real engine and a simulated AWS.

The bootstrap has no cluster. The rehearsal checks that a destroy keeps the bucket and the key, and that both work: with
the commands that the bootstrap prints, a stack stores its state in the bucket and encrypts its secrets with the key.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from .checks.checking import outcome, require
from .checks.leftovers import Account, Left, state_names
from .cloud import starting as aws
from .machine import workspace
from .machine.engine import Engine, Result
from .machine.plugins import installed
from .machine.processes import MARK, MemoryWatch, describe, free_ports, marked
from .machine.toolchain import ensure
from .machine.tools import ENGINE, LANGUAGE_HOST
from .machine.workspace import PROJECT, Workspace
from .progress import Display, Progress
from .report import Report
from .session import Session, begin
from .stack_phases import REHEARSAL_DAY, PhaseFailed, timed

FOLDER = PROJECT / "bootstrap"
EXAMPLE = FOLDER / "Pulumi.example.yaml"
# Without this configuration the pack would refuse the boundary, because it looks like permissions.
_POLICY_CONFIG = f"--policy-pack-config={FOLDER / 'policies.json'}"
_UNLOCK_CONFIG = f"--policy-pack-config={FOLDER / 'unlock.json'}"
_STACK = "example"


@dataclass
class Bootstrapping:
    """A running bootstrap: its parts, and the report that it fills."""

    session: Session
    workspace: Workspace
    engine: Engine
    account: Account
    aws_url: str
    region: str
    progress: Progress
    memory: MemoryWatch
    report: Report
    aws_before: set[str]

    def run(self, phase: str, *command: str, fails: bool = False) -> Result:
        """Runs an engine command as a phase. Raises PhaseFailed if it does not end as expected."""
        with timed(self.report, self.progress, self.memory, phase):
            result = self.engine.run(*command, on_step=lambda step: self.progress.advance(phase, step.name))
        if result.ok == fails:
            errors = "\n".join(f"  {cause}" for cause in result.causes or [result.output.strip()[-800:]])
            raise PhaseFailed(f"{phase} ended with exit status {result.exit_code}:\n{errors}")
        self.report.violations += [one for one in result.violations if one not in self.report.violations]
        return result


@contextlib.contextmanager
def staged(console: Console, stack_file: Path = EXAMPLE) -> Iterator[Bootstrapping]:
    """A bootstrap whose AWS runs and that has done nothing yet. Everything ends with the block."""
    toolchain = ensure(console, (ENGINE, LANGUAGE_HOST))
    report = Report(stack="bootstrap")
    progress = Progress(Display(console))
    with MemoryWatch() as memory, begin("bootstrap", keep=False) as session:
        with timed(report, progress, memory, "start"):
            (port,) = free_ports(1)
            url = f"http://127.0.0.1:{port}"
            project = workspace.make(
                session.folder,
                stack_file,
                project=FOLDER,
                stack=_STACK,
                toolchain=toolchain,
                plugins=installed(toolchain, console),
                aws_url=url,
                today=REHEARSAL_DAY,
            )
            aws.start(session.processes, port, {**project.environment, "PYTHONPATH": str(PROJECT)})
            engine = Engine(project, session.id, session.logs)
            engine.initialise()
            region = engine.config("aws:region")
            account = Account(url, region)
        report.stand_ins = ["AWS by moto and the aws provider"]
        before = account.holdings()
        yield Bootstrapping(session, project, engine, account, url, region, progress, memory, report, before)
        report.peak_memory_mib = memory.peak_mib


def rehearse(console: Console) -> Report:
    """Rehearses the bootstrap and returns what was found. Raises what `rehearsal.run.rehearse` raises."""
    with staged(console) as bootstrap:
        report = bootstrap.report
        try:
            go_through(bootstrap)
        except PhaseFailed as failed:
            report.failure = f"{failed}\n  Logs: {bootstrap.session.keep_logs()}"
    if report.left is not None:
        report.left.processes.extend(describe(process) for process in marked(bootstrap.session.id))
    return report


def go_through(bootstrap: Bootstrapping) -> None:
    """All phases in order. Raises PhaseFailed."""
    report = bootstrap.report
    bootstrap.run("preview", "preview", _POLICY_CONFIG)
    report.resources_created = bootstrap.run("up", "up", "--yes", "--skip-preview", _POLICY_CONFIG).counts["create"]
    second = bootstrap.run("second preview", "preview", _POLICY_CONFIG)
    report.second_preview_changes = [f"{step.op} {step.name}" for step in second.changes]
    refreshed = bootstrap.run("refresh", "refresh", "--yes", "--skip-preview")
    differing = [step for step in refreshed.steps if step.details or step.op in ("update", "delete")]
    report.refresh_changes = [f"{step.op} {step.name} {step.details}" for step in differing]
    report.checks += [
        outcome("the bucket keeps a stack's state", lambda: state_is_kept(bootstrap)),
        outcome("a destroy is refused", lambda: destroy_is_refused(bootstrap)),
    ]
    bootstrap.engine.configure("gpulab-bootstrap:unlock", "true")
    bootstrap.run("unlock", "up", "--yes", "--skip-preview", _UNLOCK_CONFIG)
    bootstrap.run("destroy", "destroy", "--yes", "--skip-preview")
    started = {process.pid for process in bootstrap.session.processes.running()}
    report.left = Left(
        state=state_names(bootstrap.engine.resources()),
        aws=sorted(bootstrap.account.holdings() - bootstrap.aws_before),
        processes=[describe(one) for one in marked(bootstrap.session.id) if one.pid not in started],
    )


def destroy_is_refused(bootstrap: Bootstrapping) -> str:
    """The bucket and the key are protected: Pulumi deletes nothing and names what is protected."""
    before = len(bootstrap.engine.resources())
    result = bootstrap.run("refused destroy", "destroy", "--yes", fails=True)
    protected = [one["urn"].rpartition("::")[2] for one in bootstrap.engine.resources() if one.get("protect")]
    named = [name for name in protected if any(name in error for error in result.errors)]
    require(bool(named), f"the destroy failed but named none of {', '.join(protected)}")
    require(len(bootstrap.engine.resources()) == before, "the refused destroy still deleted something")
    return f"protected: {', '.join(sorted(set(protected)))}"


def state_is_kept(bootstrap: Bootstrapping) -> str:
    """The printed commands store a stack's state in the bucket, with versions, and encrypt its secrets by the key."""
    outputs = bootstrap.engine.outputs()
    stack, init = next(iter(outputs["stackInit"].items()))
    (backend,) = shlex.split(outputs["login"])[2:]
    folder = bootstrap.session.folder / "state-trial"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: gpulab\nruntime: yaml\n", encoding="utf-8")
    environment = {
        **bootstrap.workspace.environment,
        # moto has only one address, so the bucket's name must be in the path.
        "PULUMI_BACKEND_URL": f"{backend}&endpoint={bootstrap.aws_url}&s3ForcePathStyle=true&disableSSL=true",
        MARK: bootstrap.session.id,
    }

    def pulumi(*command: str) -> None:
        done = subprocess.run(
            ["pulumi", *command, "--non-interactive"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        require(done.returncode == 0, f"`pulumi {shlex.join(command)}`: {done.stderr.strip()[-400:]}")

    pulumi(*shlex.split(init)[1:])
    pulumi("config", "set", "--secret", "word", "open-sesame")
    pulumi("config", "get", "word")
    s3 = bootstrap.account.client("s3")
    bucket = backend.removeprefix("s3://").partition("?")[0]
    listed = s3.list_object_versions(Bucket=bucket)
    keys = {one["Key"] for one in listed.get("Versions", [])}
    wanted = f".pulumi/stacks/gpulab/{stack}.json"
    require(wanted in keys, f"{wanted} is not in the bucket, which has {', '.join(sorted(keys)) or 'nothing'}")
    require(
        "open-sesame" not in (folder / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"),
        "the secret is in plain text",
    )
    return f"s3://{bucket}/{wanted}, {init.partition(' --')[2].partition('?')[0]}"
