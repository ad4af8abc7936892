"""What every check needs: the running stack that it looks at, and how it reports what it found."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from rehearsal import account_secrets
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.workspace import Workspace
from rehearsal.report import Check
from settings import EksSettings, Settings

from .leftovers import Account

Value = TypeVar("Value")
S = TypeVar("S", bound="StackSubject")


@dataclass(frozen=True, kw_only=True)
class StackSubject:
    """A stack that is up, on any ground: its settings, its resources in the state, and where to look."""

    settings: Settings
    workspace: Workspace
    folder: Path
    session_id: str
    resources: list[dict[str, Any]]
    outputs: Mapping[str, Any]
    plane: ControlPlane

    def given_secrets(self) -> dict[str, str]:
        """The values of the secrets that the stack file names, by their names."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Subject(StackSubject):
    """A stack on EKS that is up, and its AWS account."""

    settings: EksSettings
    account: Account
    aws_url: str

    def given_secrets(self) -> dict[str, str]:
        """Those in Secrets Manager."""
        return account_secrets.values(self.account, self.settings.identity, self.settings.running_hub)


class DoesNotHold(Exception):
    """A check failed. The message says what is wrong."""


class NotTried(Exception):
    """A check does not apply to this stack, so it has neither passed nor failed. The message says why."""


def require(holds: bool, finding: str) -> None:
    """Raises DoesNotHold with the finding if the condition is false."""
    if not holds:
        raise DoesNotHold(finding)


def required(value: Value | None, finding: str) -> Value:
    """Returns the value. Raises DoesNotHold with the finding if it is None."""
    require(value is not None, finding)
    return cast("Value", value)


def outcome(name: str, check: Callable[[], str]) -> Check:
    """Runs a check and returns its result. A check that raises any other error has failed."""
    try:
        return Check(name, True, check())
    except NotTried as reason:
        return Check(name, None, str(reason))
    except DoesNotHold as finding:
        return Check(name, False, str(finding))
    except Exception as error:  # no error of a check may end the rehearsal without a destroy
        return Check(name, False, f"{type(error).__name__}: {error}")


def run_all(subject: S, checks: Mapping[str, Callable[[S], str]]) -> list[Check]:
    """The results of all checks, in order."""
    return [outcome(name, lambda check=check: check(subject)) for name, check in checks.items()]


def aws_calls(url: str) -> dict[str, Any]:
    """The calls that the simulated AWS has received so far, see `rehearsal.cloud.calls`."""
    with urllib.request.urlopen(f"{url}/gpulab/calls", timeout=30) as answer:
        return json.load(answer)
