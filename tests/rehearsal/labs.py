"""Labs on the real engine: small stacks, and a rehearsal that a module's tests use one after the other."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import settings
from rehearsal.checks.leftovers import kubernetes_objects
from rehearsal.machine.processes import ProcessFailed
from rehearsal.machine.workspace import POLICY_PACK, PROJECT
from rehearsal.phases import Options, Rehearsal
from rehearsal.report import Report
from rehearsal.run import staged


def small_stack(
    folder: Path, *, people: bool = False, pools: Sequence[str] = ("cpu",), **sections: Mapping[str, Any]
) -> Path:
    """A stack file in `folder`: dev with these of its pools. `people` are one team with one profile, and its sign-in.

    With `people`, it has a team with a profile, sign-in, the hub and Keycloak's database. Without them, it still has
    everything on which a destroy can hang. `sections` are further values by section, such as
    `network={"prefixDelegation": True}`.
    """
    document: Any = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    config = document["config"]
    config["gpulab:nodePools"] = {pool: config["gpulab:nodePools"][pool] for pool in pools}
    if people:
        config["gpulab:profiles"] = {"python": config["gpulab:profiles"]["python"]}
        quota = {"cpu": 48, "memory": 192, "notebooks": 8}
        config["gpulab:teams"] = {"research": {"description": "One team", "quota": quota, "profiles": ["python"]}}
    else:
        for section in ("identity", "teams", "profiles"):
            del config[f"gpulab:{section}"]
    for section, values in sections.items():
        config[f"gpulab:{section}"].update(values)
    path = folder / "Pulumi.dev.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@contextlib.contextmanager
def lab(options: Options) -> Iterator[Rehearsal]:
    """A rehearsal before its first phase. Policies are off: the policy pack has its own tests."""
    with staged(options, Console(quiet=True)) as rehearsal:
        rehearsal.engine.with_policies = False
        # Nobody asks how much memory a lab uses, and the samples take 3 % of a core.
        rehearsal.memory.end()
        yield rehearsal


def name_guardrails(rehearsal: Rehearsal) -> None:
    """Makes `--policy-pack policies` work in the project's folder, as the workflows' steps use it.

    Their engine starts the pack's folder through its language host. Here that word becomes the rehearsal's own pack.
    """
    workspace = rehearsal.workspace
    (workspace.folder / "policies").symlink_to(POLICY_PACK)
    pulumi = Path(workspace.environment["PATH"].split(os.pathsep)[0], "pulumi")
    pulumi.write_text(
        f"""#!/bin/sh
for argument do
  shift
  [ "$argument" = policies ] && argument={shlex.quote(str(workspace.policy_pack))}
  set -- "$@" "$argument"
done
exec {shlex.quote(str(rehearsal.toolchain.path("pulumi")))} "$@"
""",
        encoding="utf-8",
    )
    pulumi.chmod(0o755)


def changed(rehearsal: Rehearsal, section: str, **values: Any) -> Rehearsal:
    """A lab that is down, with other values in a section (such as `gpulab:storage`) of its stack file; a new report."""
    rehearsal.workspace.change_config(section, **values)
    stack_settings = settings.on_eks(
        settings.check_stack_file(rehearsal.workspace.stack_file, rehearsal.workspace.stack, rehearsal.options.today)
    )
    return replace(rehearsal, settings=stack_settings, report=Report(stack=rehearsal.report.stack))


class SharedLab:
    """A rehearsal for all tests of a module, brought up for each of them.

    If a test leaves anything in the state, the cloud or the cluster, or ends the API server, the next test gets a new
    one.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stack = contextlib.ExitStack()
        self._rehearsal: Rehearsal | None = None

    def up(self) -> Rehearsal:
        """The lab, up."""
        if self._rehearsal and not self._is_clean(self._rehearsal):
            self.end()
        if not self._rehearsal:
            self._rehearsal = self._stack.enter_context(lab(self._options))
        self._rehearsal.up()
        return self._rehearsal

    def end(self) -> None:
        """Ends its processes."""
        self._stack.close()
        self._rehearsal = None

    @staticmethod
    def _is_clean(rehearsal: Rehearsal) -> bool:
        try:
            return not (
                rehearsal.engine.resources()
                or rehearsal.account.holdings() - rehearsal.aws_before
                or kubernetes_objects(rehearsal.plane) - rehearsal.kubernetes_before
            )
        except (OSError, ProcessFailed):
            return False
