"""Runs the real Helm, which installs, upgrades and uninstalls a release."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rehearsal.providers.protocol.model import Properties, Request

from .deleting import LONGEST

_POLL_SECONDS = 0.1
# Helm's own default.
_TIMEOUT_SECONDS = 300
# What Helm may take to give up in order when it is asked to: to roll an atomic release back, or to mark it failed.
_GRACE_SECONDS = 20
_ERROR = re.compile(r"^Error: ", re.MULTILINE)

# A Release's input and the flag of `helm install` or `helm upgrade` that it stands for.
_WAIT_FLAGS = {"atomic": "--atomic", "devel": "--devel", "renderSubchartNotes": "--render-subchart-notes"}
_INSTALL_FLAGS = {
    **_WAIT_FLAGS,
    "createNamespace": "--create-namespace",
    "dependencyUpdate": "--dependency-update",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "disableWebhooks": "--no-hooks",
    "replace": "--replace",
    "skipCrds": "--skip-crds",
    "takeOwnership": "--take-ownership",
}
_UPGRADE_FLAGS = {
    **_WAIT_FLAGS,
    "cleanupOnFail": "--cleanup-on-fail",
    "disableCRDHooks": "--no-hooks",
    "forceUpdate": "--force",
    "resetValues": "--reset-values",
    "reuseValues": "--reuse-values",
}


class HelmFailed(Exception):
    """Helm ended with an error. The message is that of Helm."""


def install_arguments(chart: Path, inputs: Properties) -> list[str]:
    """The command that installs `chart` as the release in `inputs`."""
    return ["install", inputs["name"], str(chart), *_flags(inputs, _INSTALL_FLAGS), *_waiting(inputs)]


def upgrade_arguments(chart: Path, inputs: Properties) -> list[str]:
    """The command that upgrades the release to `chart` and `inputs`."""
    longest = ["--history-max", str(inputs.get("maxHistory") or 0)]
    flags = _flags(inputs, _UPGRADE_FLAGS)
    return ["upgrade", inputs["name"], str(chart), *flags, *longest, *_waiting(inputs)]


def uninstall_arguments(name: str, namespace: str, olds: Properties) -> list[str]:
    """The command that uninstalls a release. It waits unless the installation did not wait."""
    arguments = ["uninstall", name, "--namespace", namespace]
    if olds.get("atomic") is True or olds.get("skipAwait") is not True:
        longest = float(os.environ.get(LONGEST, "inf"))
        arguments += ["--wait", *_timeout(min(olds.get("timeout") or _TIMEOUT_SECONDS, longest))]
    return arguments


def run(
    kubeconfig: Mapping[str, Any], arguments: list[str], request: Request, *, values: Mapping[str, Any] | None = None
) -> None:
    """Runs `helm ARGUMENTS` on the cluster of `kubeconfig`, without files of the user. Raises HelmFailed.

    Credentials and values are in files that only this user can read and that are deleted after the call. Raises
    InterruptedError if the engine cancels, after Helm has ended.
    """
    program = shutil.which("helm")
    if program is None:
        raise HelmFailed("`helm` is not on PATH, so the chart cannot be installed")
    with tempfile.TemporaryDirectory(prefix="gpulab-helm-") as made:
        folder = Path(made)
        command = [program, *arguments, "--kubeconfig", _write(folder / "kubeconfig", yaml.safe_dump(dict(kubeconfig)))]
        if values is not None:
            command += ["--values", _write(folder / "values.json", json.dumps(values))]
        with (folder / "log").open("w+", encoding="utf-8", errors="replace") as log:
            process = subprocess.Popen(
                command, env=_environment(folder), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )
            try:
                while process.poll() is None:
                    if request.provider.cancelled.wait(_POLL_SECONDS):
                        raise InterruptedError(f"cancelled while `helm {arguments[0]} {arguments[1]}` was running")
            finally:
                _end(process)
            if process.returncode:
                log.seek(0)
                raise HelmFailed(_error(log.read()))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _flags(inputs: Properties, known: Mapping[str, str]) -> list[str]:
    flags = ["--namespace", inputs["namespace"]]
    flags += [flag for key, flag in known.items() if inputs.get(key) is True]
    if description := inputs.get("description"):
        flags += ["--description", description]
    return flags


def _waiting(inputs: Properties) -> list[str]:
    if inputs.get("skipAwait") is True:
        return []
    jobs = ["--wait-for-jobs"] if inputs.get("waitForJobs") is True else []
    return ["--wait", *jobs, *_timeout(inputs.get("timeout") or _TIMEOUT_SECONDS)]


def _timeout(seconds: float) -> list[str]:
    return ["--timeout", f"{seconds:.0f}s"]


def _environment(folder: Path) -> dict[str, str]:
    """The environment of this process, with the files and the discovery cache of Helm in `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELM_")}
    places = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    return {**kept, **places, "KUBECACHEDIR": str(folder / "kinds"), "HELM_DRIVER": "secret"}


def _error(printed: str) -> str:
    """The error of Helm, without the warnings before it."""
    return _ERROR.split(printed, maxsplit=1)[-1].strip() or "helm failed without a word"


def _write(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return str(path)
