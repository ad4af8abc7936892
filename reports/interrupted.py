"""`python -m reports.interrupted STACK`: adds to the state what an interrupted `pulumi up` made and did not record.

If the engine ends after it asked the cloud for a resource and before it recorded the answer, the state has a pending
operation without an id. The next `pulumi up` then makes the resource again: a second VPC, a second NAT gateway. This
command reads a state on standard input and writes it to standard output with each such resource under its id:

    pulumi stack export | python -m reports.interrupted STACK | pulumi stack import
    pulumi up --refresh

If the type's id follows from its inputs, that is the id. Otherwise the command looks in the account for something
with the resource's tags that the state does not have. The refresh reads each resource by its id, and drops those that
were not made.

Exit status 0; 1, and no state is written, if several things in the account could be the resource; 2 if the account
cannot be read or standard input is not a state. Standard error lists what was found.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from settings import SettingsError, StackFileError

from .account import Account
from .aws_type import AwsType, ByTags, Inputs
from .leftovers import add_endpoint, stack_settings
from .report_source import parsed, text_of
from .services import type_named

OK, UNCLEAR, NOT_LOOKED_AT = 0, 1, 2
_CREATING = "creating"


class UnclearError(Exception):
    """Several things in the account could be the resource. The message names them."""


@dataclass(frozen=True)
class Finding:
    """What to do with a pending create: with an `id` it goes into the state, with None it is made again."""

    urn: str
    id: str | None
    why: str

    def __str__(self) -> str:
        kind, name = self.urn.split("::")[2:4]
        return f"{kind.rpartition('$')[2]} {name}: {self.why}"


def repaired(deployment: dict[str, Any], account: Account) -> tuple[dict[str, Any], list[Finding]]:
    """The `deployment` of a state with its pending creates as resources, and a finding for each.

    Raises UnclearError, and botocore's ClientError if the account refuses a request.
    """
    resources = list(deployment.get("resources") or [])
    known = {str(resource["id"]) for resource in resources if resource.get("id")}
    urns = {resource["urn"] for resource in resources}
    findings = []
    for operation in deployment.get("pending_operations") or []:
        if operation["type"] != _CREATING:
            continue  # the resource is in the state already, and a refresh reads it
        resource = operation["resource"]
        gone = _gone_before_its_replacement(resources, resource["urn"])
        if resource["urn"] in urns and gone is None:
            # The engine made it later, or it was to replace the one in the state.
            if first := _looked_up(resource, account, known):
                raise _unclear(resource, [*first, "the one in the state"])
            findings.append(Finding(resource["urn"], None, "is in the state now"))
            continue
        id, why = _found(resource, account, known - {gone["id"]} if gone else known)
        findings.append(Finding(resource["urn"], id, why))
        if id is not None:
            urns.add(resource["urn"])
            known.add(id)
            # With outputs, a refresh keeps the inputs that the program gave. Without outputs it is an import, which
            # adds the provider's own choices (a gateway's address) as inputs that the program does not give.
            outputs = resource.get("inputs") or {} if resource["type"].startswith("aws:") else {}
            taken = {**resource, "id": id, "outputs": outputs}
            if gone is None:
                resources.append(taken)
            else:
                # In the same place, because the resources that depend on it come after it.
                resources[resources.index(gone)] = taken
    return {**deployment, "resources": resources, "pending_operations": []}, findings


def _gone_before_its_replacement(resources: Sequence[Any], urn: str) -> Any:
    """The record of a resource that was deleted so that another one can take its name, or None."""
    return next((found for found in resources if found["urn"] == urn and found.get("pendingReplacement")), None)


def _found(resource: Mapping[str, Any], account: Account, known: set[str]) -> tuple[str | None, str]:
    """The id of a resource, and how it was found."""
    kind, inputs = resource["type"], resource.get("inputs") or {}
    type_ = type_named(kind)
    if kind.startswith("kubernetes:") and not kind.endswith("Patch"):
        ids = _kubernetes_ids(inputs)
    elif type_.id and _fields(type_.id) <= set(inputs):
        ids = [type_.id.format_map(inputs)]
    elif type_.lookup:
        ids = _looked_up(resource, account, known)
    elif kind.startswith("aws:") and type_.if_made_again != "accepted":
        return None, "its id cannot be found; if the next update reports that it exists already, delete it"
    else:
        return None, "can be made twice, or exists only in the state; the next update makes it again"
    if len(ids) > 1:
        raise _unclear(resource, ids)
    return (ids[0], f"taken as {ids[0]}") if ids else (None, "was not made; the next update makes it")


def _looked_up(resource: Mapping[str, Any], account: Account, known: set[str]) -> list[str]:
    """The ids of what is in the account, is not in the state, and could be the resource."""
    type_, inputs = type_named(resource["type"]), resource.get("inputs") or {}
    found: Iterator[str] = iter(())
    if isinstance(type_.lookup, ByTags):
        found = _candidates(account, type_, type_.lookup, inputs)
    elif type_.lookup:
        found = type_.lookup(account, inputs)
    return [id for id in found if id not in known]


def _unclear(resource: Mapping[str, Any], ids: Sequence[str]) -> UnclearError:
    finding = Finding(resource["urn"], None, f"could be any of {', '.join(ids)}")
    return UnclearError(f"{finding}. Delete all but one (`python -m reports.leftovers` lists the commands).")


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def is_decided(kind: str) -> bool:
    """Whether the reports know what to do with a resource of this AWS type that was being made."""
    type_ = type_named(kind)
    return bool(type_.id or type_.lookup or type_.if_made_again)


def _kubernetes_ids(inputs: Inputs) -> list[str]:
    """The id of an object, or of a Helm release."""
    metadata = inputs.get("metadata") or inputs
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return [f"{namespace}/{name}" if namespace else name] if name else []


def _candidates(account: Account, type_: AwsType, by: ByTags, inputs: Inputs) -> Iterator[str]:
    """The ids of what has all the tags that the resource was to get, and its name or the prefix of its name."""
    if type_.listing is None:
        return
    wanted = inputs.get("tagsAll") or inputs.get("tags") or {}
    name, prefix = (inputs.get(by.input), inputs.get(f"{by.input}Prefix", "")) if by.input else (None, "")
    for held in type_.listing.held(account):
        if held.is_gone or held.is_scheduled or held.is_going:
            continue
        names = (held.id.rpartition("/")[2], held.raw.get(by.key))
        if not any(found == name if name else found.startswith(prefix) for found in names if found is not None):
            continue
        if wanted.items() <= dict(type_.listing.tags(account, held)).items():
            yield held.id


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        state = parsed(text_of("-", "standard input"), "standard input")
        region = stack_settings(options.stack).region
        account = Account(boto3.Session(region_name=region), options.endpoint_url)
        deployment, findings = repaired(state["deployment"], account)
    except UnclearError as error:
        print(error, file=sys.stderr)
        return UNCLEAR
    except (SettingsError, StackFileError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return NOT_LOOKED_AT
    except (ValueError, KeyError, TypeError) as error:
        print(
            f"standard input is not a state: {error!r}. Pipe `pulumi stack export` into this command.", file=sys.stderr
        )
        return NOT_LOOKED_AT
    for finding in findings:
        print(finding, file=sys.stderr)
    if not findings:
        print("No resource was being made when the update was interrupted.", file=sys.stderr)
    json.dump({**state, "deployment": deployment}, sys.stdout, indent=4)
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.interrupted",
        description="Adds to the state on standard input what an interrupted `pulumi up` made and did not record.",
    )
    parser.add_argument("stack", metavar="STACK", help="a stack (dev), or its file")
    add_endpoint(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
