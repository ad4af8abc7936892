"""`python -m reports.leftovers STACK`: what the account still holds of a stack, and how to remove it.

Exit status 0 when nothing is forgotten; 1 when something is; 2 when the account, or a part of it, could not be looked
at, and nothing was seen that is forgotten.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

import settings
from settings import Settings, SettingsError, StackFileError

from .account import LISTINGS, Account, Held, Listing
from .belonging import Ours, ours
from .node_claims import StuckNode, stuck_nodes
from .removal import ACTIONS, commands, preparations, rank
from .wishes import last_snapshot, wished

OK, FORGOTTEN, NOT_LOOKED_AT = 0, 1, 2
# What vanished between its listing and the question for its tags.
_GONE = ("NoSuchEntity", "NotFound", "ResourceNotFoundException", "NoSuchBucket", "404")


class LeftoversError(Exception):
    """Why the account can't be looked at, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A thing that is left. `fate` is kept, scheduled or forgotten, `why` by what it is the stack's or stays."""

    held: Held
    fate: str
    why: str
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f" ({self.held.name})" if self.held.name != self.held.id else ""
        return f"{self.held}{name}: {self.why}"


@dataclass(kw_only=True)
class Leftovers:
    """What was found. `preparations` are lines that go before the first of `commands` of their kind."""

    stack: str
    cluster: str
    account: str
    region: str
    found: list[Leftover] = field(default_factory=list)
    script: list[str] = field(default_factory=list)
    not_looked_at: list[str] = field(default_factory=list)
    stuck: list[StuckNode] = field(default_factory=list)
    is_up: bool = False

    def of(self, fate: str) -> list[Leftover]:
        """What has one fate."""
        return [one for one in self.found if one.fate == fate]

    @property
    def exit_status(self) -> int:
        """What the command returns."""
        if self.of("forgotten"):
            return FORGOTTEN
        return NOT_LOOKED_AT if self.not_looked_at else OK

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "stack": self.stack,
            "cluster": self.cluster,
            "account": self.account,
            "region": self.region,
            "clusterExists": self.is_up,
            "notLookedAt": self.not_looked_at,
            **{
                fate: [
                    {
                        "service": one.held.service,
                        "kind": one.held.kind,
                        "id": one.held.id,
                        "why": one.why,
                        "commands": list(one.commands),
                    }
                    for one in self.of(fate)
                ]
                for fate in ("kept", "scheduled", "forgotten")
            },
            "nodesThatAreNotReady": [
                {
                    "nodeClaim": one.name,
                    "pool": one.pool,
                    "instanceType": one.instance_type,
                    "since": one.since.isoformat(),
                    "why": one.why,
                    "command": one.command,
                }
                for one in self.stuck
            ],
            "script": self.script,
        }

    def as_text(self) -> str:
        """The report for people."""
        lines = [f"Stack {self.stack}, cluster {self.cluster}: account {self.account}, {self.region}"]
        if self.is_up:
            lines += [f"The cluster {self.cluster} is there: before a destroy, all that the stack has is listed here."]
        if self.stuck:
            lines += ["", f"Nodes that do not become ready, and are paid for until they expire: {len(self.stuck)}"]
            lines += [f"  {one}. {one.command}" for one in self.stuck]
        titles = {
            "forgotten": "Forgotten",
            "kept": "Kept by wish",
            "scheduled": "On its way out",
        }
        for fate, title in titles.items():
            if found := self.of(fate):
                lines += ["", f"{title}: {len(found)}", *(f"  {one}" for one in found)]
        if self.script:
            lines += ["", "To remove what is forgotten, in this order:", *(f"  {line}" for line in self.script)]
        if self.not_looked_at:
            lines += ["", "Not looked at, so nothing is known of:", *(f"  {one}" for one in self.not_looked_at)]
        elif not self.found:
            lines += ["", "Nothing is left."]
        elif not self.of("forgotten"):
            lines += ["", "Nothing is forgotten."]
        return "\n".join(lines) + "\n"


def look(account: Account, stack: Settings, keep: Sequence[str] = ()) -> Leftovers:
    """Looks through the account for what is the stack's. Raises LeftoversError when it can't be looked at at all."""
    report = Leftovers(stack=stack.stack, cluster=stack.cluster.name, account=_account_id(account), region=stack.region)
    everything: list[tuple[Held, Mapping[str, str]]] = []
    for listing in LISTINGS:
        everything += _listed(account, listing, report)
    found = ours(everything, stack)
    for one in found:
        if one.held.type == ("eks", "clusters"):
            report.is_up = True
            _look_at_nodes(account, one.held, report)
    kept = wished(found, stack, keep)
    for one in sorted(found, key=lambda one: (rank(one.held), one.held.id)):
        report.found.append(_leftover(account, one, kept, last_snapshot(one.held, stack), report))
    report.script = _script(account, report)
    return report


def actions() -> list[str]:
    """The IAM actions that this takes."""
    return sorted({"sts:GetCallerIdentity", *ACTIONS, *(action for listing in LISTINGS for action in listing.actions)})


def _account_id(account: Account) -> str:
    try:
        return account.client("sts").get_caller_identity()["Account"]
    except (ClientError, BotoCoreError) as error:
        raise LeftoversError(
            f"the account can't be asked: {error}\nSign in first (AWS_PROFILE, aws sso login, or a role in CI), and "
            "see that `aws sts get-caller-identity` answers."
        ) from None


def _listed(account: Account, listing: Listing, report: Leftovers) -> list[tuple[Held, Mapping[str, str]]]:
    """What there is of a kind, with tags; what can't be asked for is noted."""
    try:
        held = list(account.listed(listing))
    except (ClientError, BotoCoreError) as error:
        report.not_looked_at.append(f"{listing.service} {listing.kind} (needs {', '.join(listing.actions)}): {error}")
        return []
    found: list[tuple[Held, Mapping[str, str]]] = []
    refused: list[str] = []
    for one in held:
        tags: Mapping[str, str] = {}
        try:
            tags = listing.tags(account, one)
        except ClientError as error:
            if any(code in error.response["Error"]["Code"] for code in _GONE):
                continue
            refused.append(str(error))
        except BotoCoreError as error:
            refused.append(str(error))
        found.append((one, tags))
    if refused:
        needed = ", ".join(listing.actions)
        report.not_looked_at.append(
            f"tags of {len(refused)} {listing.service} {listing.kind} (needs {needed}): {refused[0]}"
        )
    return found


def _look_at_nodes(account: Account, cluster: Held, report: Leftovers) -> None:
    """Whether there are nodes that do not become ready; what can't be asked is noted."""
    if cluster.raw.get("endpoint") is None:
        return  # it is being made, or on its way out
    try:
        report.stuck = stuck_nodes(account, cluster.raw)
    except (OSError, ValueError) as error:
        report.not_looked_at.append(
            f"NodeClaims of {cluster.id} (needs its API, and an access entry that may list them): {error}"
        )


def _leftover(
    account: Account, one: Ours, kept: Mapping[Held, str], snapshot: str | None, report: Leftovers
) -> Leftover:
    held = one.held
    if held.is_scheduled or held.is_going:
        date = held.raw.get("DeletionDate")
        when = f"; it goes on {date:%Y-%m-%d}" if isinstance(date, datetime.datetime) else f"; it is {held.state}"
        return Leftover(held=held, fate="scheduled", why=f"{one.because}{when}")
    try:
        lines = tuple(commands(account, held, snapshot))
    except (ClientError, BotoCoreError) as error:
        report.not_looked_at.append(f"what is in {held}: {error}")
        lines = ()
    if held in kept:
        return Leftover(held=held, fate="kept", why=f"{one.because}; {kept[held]}", commands=lines)
    why = one.because if lines else f"{one.because}; it goes with what AWS made it for"
    return Leftover(held=held, fate="forgotten", why=why, commands=lines)


def _script(account: Account, report: Leftovers) -> list[str]:
    """The lines that remove what is forgotten, in an order in which they work."""
    lines: list[str] = []
    prepared: set[tuple[str, str]] = set()
    forgotten = report.of("forgotten")
    for one in forgotten:
        if one.held.type not in prepared:
            prepared.add(one.held.type)
            for other in forgotten:
                if other.held.type == one.held.type:
                    lines += preparations(account, other.held)
        lines += one.commands
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.actions:
        print("\n".join(actions()))
        return OK
    try:
        stack = stack_settings(options.stack)
        session = boto3.Session(region_name=stack.region)
        report = look(Account(session, options.endpoint_url), stack, options.keep)
    except (LeftoversError, SettingsError, StackFileError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return NOT_LOOKED_AT
    if options.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        sys.stdout.write(report.as_text())
    return report.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.leftovers", description="Lists what the account still holds of a stack."
    )
    parser.add_argument("stack", metavar="STACK", help="a stack (dev), or its file; - with --actions")
    parser.add_argument(
        "--keep", action="append", default=[], metavar="ID", help="an id (* stands for anything) that is kept by wish"
    )
    parser.add_argument("--json", action="store_true", help="print the report for machines")
    parser.add_argument("--actions", action="store_true", help="print the IAM actions that this takes, and end")
    add_endpoint(parser)
    return parser


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    """The option that has another place than AWS asked."""
    parser.add_argument(
        "--endpoint-url",
        default=os.environ.get("AWS_ENDPOINT_URL"),
        metavar="URL",
        help="another place that speaks AWS's APIs, such as a rehearsal's (default: AWS_ENDPOINT_URL)",
    )


def stack_settings(given: str) -> Settings:
    """What a stack's file says, by its name or its file, whatever else is wrong in it."""
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(f"Pulumi.{given}.yaml")
    return settings.read_what_goes(path, path.stem.removeprefix("Pulumi."))


if __name__ == "__main__":
    sys.exit(main())
