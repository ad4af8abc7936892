"""`python -m ci.approval`: refuses a stack whose GitHub environment does not limit who may deploy it.

If a job names an environment that does not exist, GitHub creates it without any protection. Every job in the
environment, from any branch, gets the role that deploys the stack. Exit status 1 if the environment of $STACK admits
every branch, or if the stack is production and nobody has to approve.
"""

from __future__ import annotations

import sys
from typing import Any

from ci import actions, github
from ci.actions import StepFailed
from ci.lifecycle import lifecycle
from ci.stacks import known


def has_reviewers(environment: dict[str, Any]) -> bool:
    """Whether a reviewer must approve, as GitHub describes the environment (REST API, "Get an environment")."""
    rules = environment.get("protection_rules") or []
    return any(rule.get("type") == "required_reviewers" and rule.get("reviewers") for rule in rules)


def check(repository: str, stack: str) -> str:
    """The result in words. Raises StepFailed if the environment lacks a rule."""
    where = "In the repository's settings, under Environments,"
    try:
        environment = github.api(f"repos/{repository}/environments/{stack}")
    except StepFailed as failed:
        raise StepFailed(
            f"{stack}: cannot read the protection of its environment. {where} there must be one named {stack}. {failed}"
        ) from None
    # GitHub writes null for "every branch".
    if not environment.get("deployment_branch_policy"):
        raise StepFailed(
            f"{stack}: its environment admits every branch, so everybody who may push a branch gets the role that "
            f"deploys it. {where} open {stack} and admit only the branch main (Deployment branches and tags)"
        )
    if lifecycle(stack).kind != "production":
        return f"{stack} is a lab: its environment may ask for approval, but need not"
    if not has_reviewers(environment):
        raise StepFailed(
            f"{stack} is production, and nobody has to approve its deployments. {where} give {stack} required reviewers"
        )
    return f"{stack} is production: its environment asks for approval"


def main() -> int:
    """Runs the step and returns its exit status."""
    return actions.print_result(lambda: check(actions.required("GITHUB_REPOSITORY"), known(actions.required("STACK"))))


if __name__ == "__main__":
    sys.exit(main())
