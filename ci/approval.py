"""`python -m ci.approval`: refuses to go on with production that nobody would have to approve.

GitHub makes an environment that does not exist when a job first names it, and then protects it by nothing. Exit status
1 when the stack $STACK is production, and its environment has no required reviewers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import lifecycle
from ci.stacks import known


def has_reviewers(environment: dict[str, Any]) -> bool:
    """Whether somebody has to approve, as GitHub describes the environment (REST API, "Get an environment")."""
    rules = environment.get("protection_rules") or []
    return any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules)


def check(repository: str, stack: str) -> str:
    """What was found. Raises StepFailed where approval is missing."""
    if lifecycle(stack).kind != "production":
        return f"{stack} is a lab: whether its environment asks for approval is up to you"
    command = ["gh", "api", f"repos/{repository}/environments/{stack}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not has_reviewers(json.loads(done.stdout)):
        why = done.stderr.strip() if done.returncode else "it has no required reviewers"
        raise StepFailed(
            f"{stack} is production, and nobody has to approve its environment ({why}): in the repository's settings, "
            f"under Environments, give {stack} required reviewers, and admit the branch main alone"
        )
    return f"{stack} is production: its environment asks for approval"


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        print(check(actions.required("GITHUB_REPOSITORY"), known(actions.required("STACK"))), flush=True)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
