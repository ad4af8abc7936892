"""`python -m reports.leftovers STACK`: what is left of a stack in the account, and how to remove it.

Exit status 0 if nothing is forgotten; 1 if something is; 2 if the account, or a part of it, could not be read and
nothing forgotten was found.
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
from settings import EksSettings, SettingsError, StackFileError

from .account import Account, Held
from .aws_type.listing import Listing
from .node_claims import StuckNode, stuck_nodes
from .ownership import Ours, ours
from .removal import commands, preparations
from .services import LISTINGS, TYPES, removal_rank
from .wishes import last_snapshot, wished

OK, FORGOTTEN, NOT_LOOKED_AT = 0, 1, 2
# Errors for what was deleted between its listing and the request for its tags.
_GONE = ("NoSuchEntity", "NotFound", "ResourceNotFoundException", "NoSuchBucket", "404")


class LeftoversError(Exception):
    """The account cannot be read; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something that is left. `fate` is kept, scheduled or forgotten; `why` is the reason."""

    held: Held
    fate: str
    why: str
    commands: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = f" ({self.held.name})" if self.held.name != self.held.id else ""
        return f"{self.held}{name}: {self.why}"


@dataclass(kw_only=True)
class Leftovers:
    """What was found. `script` has the commands that remove what is forgotten, in their order."""

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
        """Everything with this fate."""
        return [item for item in self.found if item.fate == fate]

    @property
    def exit_status(self) -> int:
        """The exit status of the command."""
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
                        "service": item.held.service,
                        "kind": item.held.kind,
                        "id": item.held.id,
                        "why": item.why,
                        "commands": list(item.commands),
                    }
                    for item in self.of(fate)
                ]
                for fate in ("kept", "scheduled", "forgotten")
            },
            "nodesThatAreNotReady": [
                {
                    "nodeClaim": item.name,
                    "pool": item.pool,
                    "instanceType": item.instance_type,
                    "since": item.since.isoformat(),
                    "why": item.why,
                    "command": item.command,
                }
                for item in self.stuck
            ],
            "script": self.script,
        }

    def as_text(self) -> str:
        """The report for people."""
        lines = [f"Stack {self.stack}, cluster {self.cluster}: account {self.account}, {self.region}"]
        if self.is_up:
            lines += [f"The cluster {self.cluster} exists. Before a destroy, this lists everything that the stack has."]
        if self.stuck:
            lines += ["", f"Nodes that do not become ready, and cost money until they expire: {len(self.stuck)}"]
            lines += [f"  {item}. {item.command}" for item in self.stuck]
        titles = {
            "forgotten": "Forgotten",
            "kept": "Kept on purpose",
            "scheduled": "Being deleted",
        }
        for fate, title in titles.items():
            if found := self.of(fate):
                lines += ["", f"{title}: {len(found)}", *(f"  {item}" for item in found)]
        if self.script:
            lines += [
                "",
                "Commands that remove what is forgotten, in this order:",
                *(f"  {line}" for line in self.script),
            ]
        if self.not_looked_at:
            lines += ["", "Could not be checked:", *(f"  {item}" for item in self.not_looked_at)]
        elif not self.found:
            lines += ["", "Nothing is left."]
        elif not self.of("forgotten"):
            lines += ["", "Nothing is forgotten."]
        return "\n".join(lines) + "\n"


def look(account: Account, stack: EksSettings, keep: Sequence[str] = ()) -> Leftovers:
    """Searches the account for what belongs to the stack. Raises LeftoversError if it cannot be read at all."""
    report = Leftovers(stack=stack.stack, cluster=stack.cluster.name, account=_account_id(account), region=stack.region)
    everything: list[tuple[Held, Mapping[str, str]]] = []
    for listing in LISTINGS:
        everything += _listed(account, listing, report)
    found = ours(everything, stack)
    for item in found:
        if item.held.type == ("eks", "clusters"):
            report.is_up = True
            _look_at_nodes(account, item.held, report)
    kept = wished(found, stack, keep)
    for item in sorted(found, key=lambda item: (removal_rank(item.held), item.held.id)):
        report.found.append(_leftover(account, item, kept, last_snapshot(item.held, stack), report))
    report.script = _script(account, report)
    return report


def actions() -> list[str]:
    """The IAM actions that this needs."""
    listed = (action for listing in LISTINGS for action in listing.actions)
    return sorted({"sts:GetCallerIdentity", *listed, *(action for type_ in TYPES for action in type_.actions)})


def _account_id(account: Account) -> str:
    try:
        return account.client("sts").get_caller_identity()["Account"]
    except (ClientError, BotoCoreError) as error:
        raise LeftoversError(
            f"cannot read the account: {error}\nSign in first (AWS_PROFILE, aws sso login, or a role in CI), and "
            "check that `aws sts get-caller-identity` works."
        ) from None


def _listed(account: Account, listing: Listing, report: Leftovers) -> list[tuple[Held, Mapping[str, str]]]:
    """Everything of one kind, with tags. The report notes what could not be read."""
    try:
        held = list(listing.held(account))
    except (ClientError, BotoCoreError) as error:
        report.not_looked_at.append(f"{listing.service} {listing.kind} (needs {', '.join(listing.actions)}): {error}")
        return []
    found: list[tuple[Held, Mapping[str, str]]] = []
    refused: list[str] = []
    for item in held:
        tags: Mapping[str, str] = {}
        try:
            tags = listing.tags(account, item)
        except ClientError as error:
            if any(code in error.response["Error"]["Code"] for code in _GONE):
                continue
            refused.append(str(error))
        except BotoCoreError as error:
            refused.append(str(error))
        found.append((item, tags))
    if refused:
        needed = ", ".join(listing.actions)
        report.not_looked_at.append(
            f"tags of {len(refused)} {listing.service} {listing.kind} (needs {needed}): {refused[0]}"
        )
    return found


def _look_at_nodes(account: Account, cluster: Held, report: Leftovers) -> None:
    """Finds nodes that do not become ready. The report notes what could not be read."""
    if cluster.raw.get("endpoint") is None:
        return  # it is being created or deleted
    try:
        report.stuck = stuck_nodes(account, cluster.raw)
    except (OSError, ValueError) as error:
        report.not_looked_at.append(
            f"NodeClaims of {cluster.id} (needs its API, and an access entry that may list them): {error}"
        )


def _leftover(
    account: Account, item: Ours, kept: Mapping[Held, str], snapshot: str | None, report: Leftovers
) -> Leftover:
    held = item.held
    if held.is_scheduled or held.is_going:
        date = held.raw.get("DeletionDate")
        when = (
            f"; AWS deletes it on {date:%Y-%m-%d}" if isinstance(date, datetime.datetime) else f"; it is {held.state}"
        )
        return Leftover(held=held, fate="scheduled", why=f"{item.because}{when}")
    try:
        lines = tuple(commands(account, held, snapshot))
    except (ClientError, BotoCoreError) as error:
        report.not_looked_at.append(f"the contents of {held}: {error}")
        lines = ()
    if held in kept:
        return Leftover(held=held, fate="kept", why=f"{item.because}; {kept[held]}", commands=lines)
    why = item.because if lines else f"{item.because}; AWS deletes it with the resource that it belongs to"
    return Leftover(held=held, fate="forgotten", why=why, commands=lines)


def _script(account: Account, report: Leftovers) -> list[str]:
    """The commands that remove what is forgotten, in an order that works."""
    lines: list[str] = []
    prepared: set[tuple[str, str]] = set()
    forgotten = report.of("forgotten")
    for item in forgotten:
        if item.held.type not in prepared:
            prepared.add(item.held.type)
            for other in forgotten:
                if other.held.type == item.held.type:
                    lines += preparations(account, other.held)
        lines += item.commands
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
        prog="python -m reports.leftovers", description="Lists what is left of a stack in the account."
    )
    parser.add_argument("stack", metavar="STACK", help="a stack (dev), or its file; - with --actions")
    parser.add_argument("--keep", action="append", default=[], metavar="ID", help="an id to keep (* matches anything)")
    parser.add_argument("--json", action="store_true", help="print the report for machines")
    parser.add_argument("--actions", action="store_true", help="print the IAM actions that this needs, and exit")
    add_endpoint(parser)
    return parser


def add_endpoint(parser: argparse.ArgumentParser) -> None:
    """Adds the option for another endpoint than AWS."""
    parser.add_argument(
        "--endpoint-url",
        default=os.environ.get("AWS_ENDPOINT_URL"),
        metavar="URL",
        help="an endpoint that replaces AWS, such as a rehearsal's (default: AWS_ENDPOINT_URL)",
    )


def stack_settings(given: str) -> EksSettings:
    """The settings of a stack, by its name or its file, as far as the file is right."""
    path = Path(given)
    if path.suffix not in (".yaml", ".yml"):
        path = Path(f"Pulumi.{given}.yaml")
    return settings.on_eks(settings.read_leniently(path, path.stem.removeprefix("Pulumi.")))


if __name__ == "__main__":
    sys.exit(main())
