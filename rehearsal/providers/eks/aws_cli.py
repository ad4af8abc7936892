"""Checks, before anything is made, that there is an aws CLI for the kubeconfig of a cluster.

It follows nodejs/eks/dependencies.ts of the real provider.
"""

from __future__ import annotations

import re
import shutil
import subprocess

_GUIDE = "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
_LEAST = {1: (1, 24, 0), 2: (2, 7, 0)}
_PRINTED = re.compile(r"aws-cli/(\d+)\.(\d+)\.(\d+)")


def refusal() -> str | None:
    """The error of the real provider, or None."""
    if not shutil.which("aws"):
        return f"Could not find aws CLI for EKS. See {_GUIDE} for installation instructions."
    done = subprocess.run(["aws", "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"Command failed: aws --version: {done.stderr.strip()}"
    found = _PRINTED.match(done.stdout)
    if found is None:
        return f"Invalid Version: {done.stdout.strip()}"
    version = tuple(map(int, found.groups()))
    least = _LEAST[1 if version[0] == 1 else 2]
    if version < least:
        return (
            f"At least v{'.'.join(map(str, least))} of aws-cli is required. Current version is:"
            f" {'.'.join(map(str, version))}. See {_GUIDE} for installation instructions."
        )
    return None
