"""The real Karpenter, running while the cluster has a deployed Helm release of its chart.

So it is there for exactly as long as its pods would be: when the release goes before the node pools, nobody takes their
nodes away, and the destroy hangs as it would on AWS.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contracts
from rehearsal.control_plane import FRUGAL
from rehearsal.controllers import instance_types
from rehearsal.controllers.world import DEFINITIONS, World, place_of
from rehearsal.processes import die_with_parent, free_ports

CHART = "karpenter"

_LOG = logging.getLogger("controllers.karpenter")
_KWOK_NODE_CLASS = "kwoknodeclasses.karpenter.kwok.sh"
_RESTART_SECONDS = 2.0
_END_SECONDS = 10.0
# The chart's settings that become environment variables of the controllers that every Karpenter has.
_SETTINGS = {
    "batchMaxDuration": "BATCH_MAX_DURATION",
    "batchIdleDuration": "BATCH_IDLE_DURATION",
    "preferencePolicy": "PREFERENCE_POLICY",
    "minValuesPolicy": "MIN_VALUES_POLICY",
}


def settings_environment(values: Mapping[str, Any]) -> dict[str, str]:
    """The environment that the chart makes of `settings` in a release's values, and of its own defaults."""
    default, given = contracts.chart(CHART).values["settings"], values.get("settings") or {}
    gates = {**default["featureGates"], **(given.get("featureGates") or {})}
    named = {name[0].upper() + name[1:]: str(on).lower() for name, on in gates.items()}
    return {
        "FEATURE_GATES": ",".join(f"{name}={on}" for name, on in named.items()),
        **{variable: str(given.get(name, default[name])) for name, variable in _SETTINGS.items()},
    }


class Karpenter:
    """Keeps Karpenter running, or not, as the cluster's releases say."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] | None = None
        self._spot = True
        self._started = 0.0
        self._defined = False

    @property
    def running(self) -> bool:
        """Whether Karpenter runs."""
        return self._process is not None and self._process.poll() is None

    def reconcile(self, world: World) -> None:
        """Starts or ends Karpenter; one that ended by itself, as without its definitions, starts again."""
        self._define_node_class(world)
        release = world.deployed(CHART)
        if release is None:
            self._end()
            return
        environment, spot = settings_environment(release.values), not instance_types.spot_is_out(world.folder)
        if self.running and (environment, spot) == (self._environment, self._spot):
            return
        if not self.running and time.monotonic() < self._started + _RESTART_SECONDS:
            return
        self._end()
        self._environment, self._spot = environment, spot
        self._start(world)

    def _define_node_class(self, world: World) -> None:
        """Installs the definition of KWOK's node classes, early: the garbage collector sees new kinds every 30 s."""
        if not self._defined:
            definition = dict(contracts.crd(_KWOK_NODE_CLASS))
            world.kubernetes.apply(place_of(DEFINITIONS, definition), definition)
            self._defined = True

    def _start(self, world: World) -> None:
        types = world.folder / instance_types.FILE
        instance_types.write(types, region=world.region, zones=world.zones, spot=self._spot)
        metrics, health = free_ports(2)
        command = [str(self._program), "--instance-types-file-path", str(types), "--disable-leader-election"]
        environment = {
            **os.environ,
            **(self._environment or {}),
            **FRUGAL,
            "SYSTEM_NAMESPACE": "kube-system",
            "METRICS_PORT": str(metrics),
            "HEALTH_PROBE_PORT": str(health),
        }
        with (world.folder / "karpenter.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        self._started = time.monotonic()
        _LOG.info("started, spot %s, with %s", "to be had" if self._spot else "out", self._environment)

    def _end(self) -> None:
        if self._process is None:
            return
        code = self._process.poll()
        if code is not None:
            _LOG.info("ended by itself with exit status %s", code)
        self._process.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        if code is None:
            _LOG.info("ended")
