"""Kills the engine at a chosen operation of a chosen resource, from inside the providers' stand-ins.

Only a provider knows when an object exists in the cloud and the engine does not know it yet. `plugins` makes
executables that serve the rehearsal's own providers. Before and after each operation they check whether it is the one
that `Killer.at` named. This module, run as a program, is such a provider.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

# As a plugin it is a script, run from wherever the engine stands.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rehearsal.providers.protocol import process
from rehearsal.providers.protocol.servicer import Servicer

ENGINE = "pulumi"
PROVIDERS = ("aws", "kubernetes")
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Point:
    """Create, Read or Delete of a resource, and whether the engine is killed before the call to the cloud."""

    operation: str
    urn: str
    when: str

    def __str__(self) -> str:
        kind, name = self.urn.split("::")[2:]
        return f"{self.when} {self.operation} of {kind.rpartition('$')[2]} {name}"


class Killer:
    """The providers that kill. `folder` becomes the one to give to the rehearsal as `plugins`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._order = folder / "order.json"
        folder.mkdir()
        for name in PROVIDERS:
            script = folder / f"pulumi-resource-{name}"
            command = [sys.executable, __file__, name, str(self._order)]
            script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
            script.chmod(0o755)

    def at(self, point: Point) -> None:
        """The next engine is killed at `point`."""
        written = self._order.with_suffix(".new")
        written.write_text(json.dumps(asdict(point)), encoding="utf-8")
        written.rename(self._order)

    @property
    def struck(self) -> bool:
        """Whether the point was come to."""
        return not self._order.exists()


class _KillingServicer(Servicer):
    """A provider's protocol side, which kills the engine at the point that the order names."""

    order: Path

    def Create(self, request, context):
        if request.preview:
            return super().Create(request, context)
        return self._around("Create", super().Create, request, context)

    def Read(self, request, context):
        return self._around("Read", super().Read, request, context)

    def Delete(self, request, context):
        return self._around("Delete", super().Delete, request, context)

    def _around(self, operation, carry_out, request, context):
        self._strike(Point(operation, request.urn, BEFORE))
        result = carry_out(request, context)
        self._strike(Point(operation, request.urn, AFTER))
        return result

    def _strike(self, here: Point) -> None:
        try:
            order = Point(**json.loads(self.order.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        if order != here:
            return
        self.order.unlink()
        engine = psutil.Process(os.getppid())
        assert engine.name() == ENGINE, f"the provider was not started by {ENGINE} but by {engine.name()}"
        engine.send_signal(signal.SIGKILL)
        # This process notices by itself that its engine is gone; until then nobody may hear of what was done.
        time.sleep(60)


def _serve(name: str, order: Path) -> None:
    _KillingServicer.order = order
    process.Servicer = _KillingServicer
    if name == "aws":
        from rehearsal.providers.aws.provider import AwsProvider as Provider  # noqa: PLC0415 - only its own
    else:
        from rehearsal.providers.kubernetes.provider import KubernetesProvider as Provider  # noqa: PLC0415
    process.serve(Provider())


if __name__ == "__main__":
    provider, path = sys.argv[1:3]
    del sys.argv[1:3]  # the rest is the engine's, which tells its address
    _serve(provider, Path(path))
