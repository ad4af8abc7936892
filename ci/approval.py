"""`python -m ci.approval`: refuses to go on with a stack whose environment lets everybody in.

GitHub makes an environment that does not exist when a job first names it, and then protects it by nothing. The role
that deploys a stack is lent to jobs of its environment, of whatever branch. Exit status 1 when the environment of the
stack $STACK admits every branch, or when the stack is production, and nobody has to approve.
"""

from __future__ import annotations

import sys
from typing import Any

from ci import actions, github
from ci.actions import StepFailed
from ci.lifecycle import lifecycle
from ci.stacks import known


def has_reviewers(environment: dict[str, Any]) -> bool:
    """Whether somebody has to approve, as GitHub describes the environment (REST API, "Get an environment")."""
    rules = environment.get("protection_rules") or []
    return any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules)


def check(repository: str, stack: str) -> str:
    """What was found. Raises StepFailed where the environment lacks a rule."""
    where = "in the repository's settings, under Environments,"
    try:
        environment = github.api(f"repos/{repository}/environments/{stack}")
    except StepFailed as failed:
        raise StepFailed(
            f"{stack}: how its environment is protected is unknown: {where} there has to be one of its name: {failed}"
        ) from None
    # Null is GitHub's word for every branch.
    if not environment.get("deployment_branch_policy"):
        raise StepFailed(
            f"{stack}: its environment admits every branch, and so whoever may push one gets the role that deploys it: "
            f"{where} open {stack} and admit the branch main alone (Deployment branches and tags)"
        )
    if lifecycle(stack).kind != "production":
        return f"{stack} is a lab: whether its environment asks for approval is up to you"
    if not has_reviewers(environment):
        raise StepFailed(
            f"{stack} is production, and nobody has to approve its environment: {where} give {stack} required reviewers"
        )
    return f"{stack} is production: its environment asks for approval"


def main() -> int:
    """Runs the step and returns its exit status."""
    return actions.told(lambda: check(actions.required("GITHUB_REPOSITORY"), known(actions.required("STACK"))))


if __name__ == "__main__":
    sys.exit(main())
