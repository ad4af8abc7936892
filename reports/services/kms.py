"""AWS KMS."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

from reports.account import Account, Held, Raw
from reports.aws_type import AwsType, ByTags, Inputs
from reports.aws_type.listing import Listing, no_tags, tags_by_call
from reports.aws_type.pricing import flat, free, monthly
from reports.aws_type.steps import Steps, by_command

_AWS_ALIAS = "alias/aws/"
_DELETION_WINDOW_DAYS = 7  # the shortest that KMS accepts


def _keys(account: Account) -> Iterator[tuple[str, Raw]]:
    """The customer's keys. AWS's own are found by their aliases too, because moto reports some as the customer's."""
    aliases = account.pages("kms", "list_aliases", "Aliases")
    amazons = {alias.get("TargetKeyId") for alias in aliases if alias["AliasName"].startswith(_AWS_ALIAS)}
    for key in account.pages("kms", "list_keys", "Keys"):
        if key["KeyId"] not in amazons:
            try:
                found = account.client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            except ClientError:
                # Its own policy refuses. Its tags decide; if those are refused too, the report says so.
                found = {}
            if found.get("KeyManager") != "AWS":
                yield key["KeyId"], found


def _aliases(account: Account) -> Iterator[tuple[str, Raw]]:
    for alias in account.pages("kms", "list_aliases", "Aliases"):
        if not alias["AliasName"].startswith(_AWS_ALIAS):
            yield alias["AliasName"], alias


def _aliases_of_key(account: Account, inputs: Inputs) -> Iterator[str]:
    """Those of the key with the name; if the provider chose the name, those that begin with the prefix."""
    name, prefix = inputs.get("name"), inputs.get("namePrefix")
    for alias in account.pages("kms", "list_aliases", "Aliases", KeyId=inputs["targetKeyId"]):
        if alias["AliasName"] == name or (not name and prefix and alias["AliasName"].startswith(prefix)):
            yield alias["AliasName"]


def _remove_key(_account: Account, held: Held) -> Steps:
    days = str(_DELETION_WINDOW_DAYS)
    yield ["aws", "kms", "schedule-key-deletion", "--key-id", held.id, "--pending-window-in-days", days]


TYPES = (
    AwsType(
        type="aws:kms/alias:Alias",
        listing=Listing(service="kms", kind="Aliases", actions=("kms:ListAliases",), items=_aliases, tags=no_tags),
        owner_key="TargetKeyId",
        remove=by_command("kms", "delete-alias", "--alias-name"),
        last=True,
        lookup=_aliases_of_key,
        bill=free("https://aws.amazon.com/kms/pricing/: keys and requests are paid for"),
    ),
    AwsType(
        type="aws:kms/key:Key",
        listing=Listing(
            service="kms",
            kind="Keys",
            actions=("kms:ListKeys", "kms:ListAliases", "kms:DescribeKey", "kms:ListResourceTags"),
            items=_keys,
            tags=tags_by_call("list_resource_tags", "Tags", KeyId="id"),
        ),
        remove=_remove_key,
        after=("kms Aliases",),
        last=True,
        lookup=ByTags(input="description", key="Description"),
        price=flat(monthly, "kmsKey", "a key"),
    ),
    AwsType(type="aws:kms/keyPolicy:KeyPolicy", id="{keyId}"),
)
