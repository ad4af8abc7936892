"""Removes what a run makes in the cluster, also if the run is killed.

`Cleaner` runs `python -m verify.cleaning` beside the run. It learns of each object before it is made, by a pipe that
the kernel closes with the run; then it deletes all of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from components.hub.inside.verify_account import NAME
from components.hub.inside.verify_client import HubRefused
from verify import hub_access
from verify.cluster_api import ClusterApi

_GONE_SECONDS, _LOOK_SECONDS = 120, 0.5
_HUB, _KEEP = "hub:", "keep "
_PROJECT = Path(__file__).resolve().parent.parent


class Cleaner:
    """Deletes objects of the cluster of a kubeconfig and a context when its block ends, however it ends.

    It is given their paths in the API before they are made. `left` says after the block what was not gone after
    `patience` seconds.
    """

    def __init__(self, kubeconfig: str | None, context: str | None, *, patience: float = _GONE_SECONDS) -> None:
        self.left = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "verify.cleaning", kubeconfig or "", context or "", str(patience)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_PROJECT)},
            # Ctrl-C is for the run only.
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def will_delete(self, path: str) -> None:
        """Notes an object that is about to be made. Raises BrokenPipeError if nobody would delete it."""
        self._say(path)

    def will_end_hub_user(self, domain: str | None) -> None:
        """Notes the same of the hub's user of a run, of a stack with that domain."""
        self._say(f"{_HUB}{domain or ''}")

    def keep(self, path: str) -> None:
        """Leaves an object where it is."""
        self._say(f"{_KEEP}{path}")

    def keep_hub_user(self, domain: str | None) -> None:
        """Leaves the hub's user, with their notebook."""
        self._say(f"{_KEEP}{_HUB}{domain or ''}")

    def _say(self, line: str) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise BrokenPipeError(f"nothing would delete {line} after the run, so it is not made")
        print(line, file=self._process.stdin, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits until all of them are gone."""
        self.left = self._process.communicate()[0].strip()


def clean(api: ClusterApi, noted: list[str], *, patience: float) -> list[str]:
    """Deletes what was noted, the newest first, and waits until it is gone. Returns what is left, and why."""
    problems = {}
    deadline = time.monotonic() + patience
    remaining = list(reversed(noted))
    while remaining and time.monotonic() < deadline:
        for one in list(remaining):
            try:
                if _is_gone(api, one, deadline - time.monotonic()):
                    remaining.remove(one)
            except (ApiException, HTTPError, HubRefused, hub_access.NoToken, OSError) as error:
                problems[one] = f"{type(error).__name__}: {error}".splitlines()[0]
        if remaining:
            time.sleep(_LOOK_SECONDS)
    return [f"{_in_words(one)} is left: {problems.get(one, 'it does not end')}" for one in remaining]


def _is_gone(api: ClusterApi, noted: str, seconds: float) -> bool:
    """Deletes an object of the cluster, or the hub's user, and says whether it is gone."""
    if noted.startswith(_HUB):
        hub_access.end(api, noted.removeprefix(_HUB) or None, seconds)
        return True
    api.delete(noted)
    return api.get(noted) is None


def _in_words(noted: str) -> str:
    return f"the hub's user {NAME}" if noted.startswith(_HUB) else noted


def main(kubeconfig: str, context: str, patience: str) -> None:
    """Reads what is noted until its input ends, and removes all but what should be kept."""
    lines = [line.strip() for line in sys.stdin]
    kept = {line.removeprefix(_KEEP) for line in lines if line.startswith(_KEEP)}
    if noted := [line for line in lines if not line.startswith(_KEEP) and line not in kept]:
        api = ClusterApi(kubeconfig or None, context or None)
        print("\n".join(clean(api, noted, patience=float(patience))))


if __name__ == "__main__":
    main(*sys.argv[1:])
