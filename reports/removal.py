"""The lines for the AWS CLI that remove something from an account."""

from __future__ import annotations

import shlex

from .account import Account, Held
from .aws_type.steps import Emptied, Gone, Step
from .services import type_of

# As often, and as many seconds apart, as most waiters of the CLI try (botocore, data/ec2/…/waiters-2.json).
_TRIES, _SECONDS = 40, 15
_EMPTYING = (
    "(while objects=$(aws s3api list-object-versions --bucket {bucket} --max-items 500 --query "
    "'[Versions,DeleteMarkers][].{{Key:Key,VersionId:VersionId}}' --output json --region {region}) "
    '&& [ "$objects" != "[]" ]; do aws s3api delete-objects --bucket {bucket} --delete '
    '"{{\\"Objects\\":$objects,\\"Quiet\\":true}}" --region {region} || exit 1; done)'
)


def preparations(account: Account, held: Held) -> list[str]:
    """The lines that come before the lines of everything of the same kind."""
    prepare = type_of(held).prepare
    return [_line(account, step) for step in prepare(account, held)] if prepare else []


def commands(account: Account, held: Held, snapshot: str | None = None) -> list[str]:
    """The lines that remove it and what is in it. Raises botocore's ClientError.

    There are none for what AWS deletes with its owner. A database leaves a last `snapshot` with this name.
    """
    type_ = type_of(held)
    if snapshot and type_.remove_with_snapshot:
        steps = type_.remove_with_snapshot(account, held, snapshot)
    else:
        steps = type_.remove(account, held) if type_.remove else iter(())
    return [_line(account, step) for step in steps]


def _line(account: Account, step: Step) -> str:
    """A line for any shell. A line that waits fails like the CLI's waiters, and leaves no variable behind."""
    if isinstance(step, Emptied):
        return _EMPTYING.format(bucket=shlex.quote(step.bucket), region=account.region)
    if not isinstance(step, Gone):
        return shlex.join([*step, "--region", account.region])
    query = ["--query", f"length({step.path})", "--output", "text"]
    asked = _line(account, [*step.listing, *query])
    again = f"[ $tries -lt {_TRIES} ] || exit 1; tries=$((tries + 1)); sleep {_SECONDS}"
    return f'(tries=1; until [ "$({asked})" = 0 ]; do {again}; done)'
