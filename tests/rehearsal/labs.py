"""Labs on the real engine: small stacks, and one rehearsal that a module's tests take one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import settings
from rehearsal.leftovers import kubernetes_objects
from rehearsal.phases import Options, Rehearsal
from rehearsal.processes import ProcessFailed
from rehearsal.report import Report
from rehearsal.run import staged
from rehearsal.workspace import PROJECT


def small_stack(folder: Path, *, people: bool = False, **sections: Mapping[str, Any]) -> Path:
    """A stack file in `folder`: dev with its CPU pool alone. `people` are one team with one profile, and its sign-in.

    With people come the hub and Keycloak's database; without them everything that a destroy can hang on is still there.
    `sections` are further values by section, such as `network={"prefixDelegation": True}`.
    """
    document: Any = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    config = document["config"]
    config["gpulab:nodePools"] = {"cpu": config["gpulab:nodePools"]["cpu"]}
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
    """A rehearsal with nothing done yet. No policy examines what it does: that is for the policy pack's own tests."""
    with staged(options, Console(quiet=True)) as rehearsal:
        rehearsal.engine.with_policies = False
        yield rehearsal


def changed(rehearsal: Rehearsal, section: str, **values: Any) -> Rehearsal:
    """A lab that is down, with other values in a section (such as `gpulab:storage`) of its stack file; a new report."""
    rehearsal.workspace.change_config(section, **values)
    stack_settings = settings.check_stack_file(
        rehearsal.workspace.stack_file, rehearsal.workspace.stack, rehearsal.options.today
    )
    return replace(rehearsal, settings=stack_settings, report=Report(stack=rehearsal.report.stack))


class SharedLab:
    """One rehearsal for all tests of a module, brought up for each of them.

    A test that leaves anything in the state, the cloud or the cluster, or no API server, gives the next one a new one.
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
