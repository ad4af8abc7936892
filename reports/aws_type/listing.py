"""How to list the things of one type in an account, with their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reports.account import Account, Held, Raw, tag_map

Tags = Callable[[Account, Held], Mapping[str, str]]
Items = Callable[[Account], Iterable[tuple[str, Raw]]]
_IAM_PREFIXES = {"efs": "elasticfilesystem", "elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}


@dataclass(frozen=True, kw_only=True)
class Listing:
    """How to list one kind of thing. `actions` are the IAM actions that this needs, for the tags too."""

    service: str
    kind: str
    actions: tuple[str, ...]
    items: Items
    tags: Tags
    name_key: str = ""
    """The key of the name that people gave, if the id is not that name."""

    def __str__(self) -> str:
        return f"{self.service} {self.kind}"

    def held(self, account: Account) -> Iterator[Held]:
        """The things of this kind in an account. Raises botocore's ClientError."""
        for id, raw in self.items(account):
            yield Held(service=self.service, kind=self.kind, id=id, raw=raw, name_key=self.name_key)


def listing(
    service: str,
    call: str,
    kind: str,
    id: str,
    tags: Tags,
    *actions: str,
    name_key: str = "",
    **arguments: Any,
) -> Listing:
    """A listing by one call: `kind` is the key of the items in its answer, `id` that of an item's id.

    `actions` are the operations that `tags` calls, `arguments` those of the call. Items that are texts are ids.
    """
    prefix = _IAM_PREFIXES.get(service, service)

    def items(account: Account) -> Iterator[tuple[str, Raw]]:
        for item in account.pages(service, call, kind, **arguments):
            yield (item, {}) if isinstance(item, str) else (item[id], item)

    return Listing(
        service=service,
        kind=kind,
        actions=(_action(prefix, call), *(f"{prefix}:{action}" for action in actions)),
        items=items,
        tags=tags,
        name_key=name_key,
    )


def _action(prefix: str, call: str) -> str:
    if call == "list_buckets":
        return f"{prefix}:ListAllMyBuckets"
    words = "".join(word.capitalize() for word in call.split("_"))
    return f"{prefix}:{words.replace('Db', 'DB').replace('OpenId', 'OpenID')}"


def inline_tags(*keys: str) -> Tags:
    """Tags that the listing has already, under one of `keys`."""

    def tags(_account: Account, held: Held) -> Mapping[str, str]:
        found = next((held.raw[key] for key in keys if held.raw.get(key)), None)
        return found if isinstance(found, Mapping) else tag_map(found)

    return tags


def tags_by_call(call: str, answer: str, **arguments: str) -> Tags:
    """Tags that need one more call; each argument is the key of a value in the listing, or `id`."""

    def tags(account: Account, held: Held) -> Mapping[str, str]:
        given = {name: held.id if key == "id" else held.raw[key] for name, key in arguments.items()}
        found = getattr(account.client(held.service), call)(**given).get(answer)
        return found if isinstance(found, Mapping) else tag_map(found)

    return tags


def no_tags(_account: Account, _held: Held) -> Mapping[str, str]:
    """For what has no tags."""
    return {}
