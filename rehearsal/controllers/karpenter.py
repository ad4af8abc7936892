"""The real Karpenter for AWS, running while the cluster has a deployed Helm release of its chart.

So it is there for exactly as long as its pods would be: when the release goes before the node pools, nobody takes their
nodes away, and the destroy hangs as it would on AWS. It has what its pods would have: the environment that the chart
makes of the release's values, the rights of its service account, and the credentials of that account's Pod Identity.
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

import yaml

import contracts
from rehearsal.controllers.world import World, place
from rehearsal.machine.control_plane import FRUGAL
from rehearsal.machine.processes import die_with_parent, free_ports

CHART = "karpenter"

_LOG = logging.getLogger("controllers.karpenter")
_RESTART_SECONDS = 2.0
_END_SECONDS = 10.0
_NAMESPACE = "kube-system"
_ACCOUNTS = "/api/v1/serviceaccounts"
# A rehearsal may be kept for a year.
_TOKEN_SECONDS = 365 * 24 * 3600
# Of Go's heap: the process then stays below 300 MB in a burst of pods. With less it collects garbage all the time.
_MEMORY = "180MiB"
_POD_IDENTITY = "pods.eks.amazonaws.com"
# The rehearsal's own key, which the pods do not have.
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# The chart's `settings` that become environment variables (templates/deployment.yaml); an empty one becomes none.
_SETTINGS = {
    "batchMaxDuration": "BATCH_MAX_DURATION",
    "batchIdleDuration": "BATCH_IDLE_DURATION",
    "preferencePolicy": "PREFERENCE_POLICY",
    "minValuesPolicy": "MIN_VALUES_POLICY",
    "clusterCABundle": "CLUSTER_CA_BUNDLE",
    "clusterName": "CLUSTER_NAME",
    "clusterEndpoint": "CLUSTER_ENDPOINT",
    "isolatedVPC": "ISOLATED_VPC",
    "eksControlPlane": "EKS_CONTROL_PLANE",
    "vmMemoryOverheadPercent": "VM_MEMORY_OVERHEAD_PERCENT",
    "interruptionQueue": "INTERRUPTION_QUEUE",
    "enableZonalShift": "ENABLE_ZONAL_SHIFT",
    "reservedENIs": "RESERVED_ENIS",
    "ignoreDRARequests": "IGNORE_DRA_REQUESTS",
    "disableClusterStateObservability": "DISABLE_CLUSTER_STATE_OBSERVABILITY",
    "disableDryRun": "DISABLE_DRY_RUN",
    "amiRefreshInterval": "AMI_REFRESH_INTERVAL",
    "subnetRefreshInterval": "SUBNET_REFRESH_INTERVAL",
}


def release_environment(values: Mapping[str, Any]) -> dict[str, str]:
    """The environment that the chart makes of a release's values, and of its own defaults."""
    chart = contracts.chart(CHART).values
    default, given = chart["settings"], values.get("settings") or {}
    gates = {**default["featureGates"], **(given.get("featureGates") or {})}
    named = {name[0].upper() + name[1:]: _text(on) for name, on in gates.items()}
    settings = {variable: given.get(name, default[name]) for name, variable in _SETTINGS.items()}
    controller = values.get("controller") or {}
    return {
        "KUBERNETES_MIN_VERSION": "1.19.0-0",
        "KARPENTER_SERVICE": CHART,
        "LOG_LEVEL": str(values.get("logLevel", chart["logLevel"])),
        "FEATURE_GATES": ",".join(f"{name}={on}" for name, on in named.items()),
        **{variable: _text(value) for variable, value in settings.items() if value},
        **{one["name"]: str(one["value"]) for one in controller.get("env", []) if "value" in one},
    }


class Karpenter:
    """Keeps Karpenter running, or not, as the cluster's releases say."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] | None = None
        self._started = 0.0

    @property
    def running(self) -> bool:
        """Whether Karpenter runs."""
        return self._process is not None and self._process.poll() is None

    def reconcile(self, world: World) -> None:
        """Starts or ends Karpenter; one that ended by itself, as without its definitions, starts again."""
        release = world.deployed(CHART)
        if release is None:
            self._end()
            return
        environment = release_environment(release.values)
        if self.running and environment == self._environment:
            return
        if not self.running and time.monotonic() < self._started + _RESTART_SECONDS:
            return
        self._end()
        self._environment = environment
        account = (release.values.get("serviceAccount") or {}).get("name") or CHART
        self._start(world, account, environment)

    def _start(self, world: World, account: str, environment: Mapping[str, str]) -> None:
        metrics, health = free_ports(2)
        # Beside the administrator's kubeconfig, as logs may be kept.
        folder = Path(os.environ["KUBECONFIG"]).parent
        identity = _write(folder / "karpenter-pod-identity.token", _token(world, account, _POD_IDENTITY))
        own = {name: value for name, value in os.environ.items() if name not in _KEYS}
        own |= {
            **FRUGAL,
            "GOMEMLIMIT": _MEMORY,
            **environment,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{os.environ['AWS_ENDPOINT_URL']}/gpulab/pod-credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(identity),
            "KUBECONFIG": str(_kubeconfig(world, account, folder)),
            "SYSTEM_NAMESPACE": _NAMESPACE,
            "METRICS_PORT": str(metrics),
            "HEALTH_PROBE_PORT": str(health),
        }
        with (world.folder / "karpenter.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), "--disable-leader-election"],
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        self._started = time.monotonic()
        _LOG.info("started with %s", environment)

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


def _kubeconfig(world: World, account: str, folder: Path) -> Path:
    """A kubeconfig of the service account, in `folder`."""
    content = world.kubernetes.config
    token = _write(folder / "karpenter.token", _token(world, account))
    (user,) = content["users"]
    signed = {**content, "users": [{**user, "user": {"tokenFile": str(token)}}]}
    return _write(folder / "karpenter.kubeconfig", yaml.safe_dump(signed))


def _token(world: World, account: str, audience: str | None = None) -> str:
    """A token of the service account, as kubelet asks for those of a pod. Raises ApiError without the account."""
    spec = {"expirationSeconds": _TOKEN_SECONDS, **({"audiences": [audience]} if audience else {})}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"{place(_ACCOUNTS, account, _NAMESPACE)}/token"
    return world.kubernetes.request("POST", path, request)["status"]["token"]


def _write(path: Path, text: str) -> Path:
    """Writes a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
