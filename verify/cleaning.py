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

from verify.cluster_api import ClusterApi

_GONE_SECONDS, _LOOK_SECONDS = 120, 0.5
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
        if self._process.stdin is None or self._process.poll() is not None:
            raise BrokenPipeError(f"nothing would delete {path} after the run, so it is not made")
        print(path, file=self._process.stdin, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits until all of them are gone."""
        self.left = self._process.communicate()[0].strip()


def clean(api: ClusterApi, paths: list[str], *, patience: float) -> list[str]:
    """Deletes objects, the newest first, and waits until they are gone. Returns what is left, and why."""
    problems = {}
    deadline = time.monotonic() + patience
    remaining = list(reversed(paths))
    while remaining and time.monotonic() < deadline:
        for path in list(remaining):
            try:
                api.delete(path)
                if api.get(path) is None:
                    remaining.remove(path)
            except (ApiException, HTTPError) as error:
                problems[path] = f"{type(error).__name__}: {error}".splitlines()[0]
        if remaining:
            time.sleep(_LOOK_SECONDS)
    return [f"{path} is left: {problems.get(path, 'it does not end')}" for path in remaining]


def main(kubeconfig: str, context: str, patience: str) -> None:
    """Reads paths until its input ends."""
    paths = [line.strip() for line in sys.stdin]
    if paths:
        api = ClusterApi(kubeconfig or None, context or None)
        print("\n".join(clean(api, paths, patience=float(patience))))


if __name__ == "__main__":
    main(*sys.argv[1:])
