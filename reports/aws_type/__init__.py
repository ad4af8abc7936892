"""What the reports know about one type of AWS resource. `reports/services/` has one module for each service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from reports.account import Account, Held, Raw

from .listing import Listing
from .pricing import Bill, Pricer
from .stack_names import StackNames, by_name
from .steps import Remove, Steps

Inputs = Mapping[str, Any]
NO_INPUT = ""


@dataclass(frozen=True, kw_only=True)
class ByTags:
    """Finds a resource by its tags, and by its name if it has one.

    `input` is the program's input for the name, `key` is AWS's key for it; without `key` the name is in the id.
    """

    input: str = NO_INPUT
    key: str = ""


Lookup = Callable[[Account, Inputs], Iterator[str]]


@dataclass(frozen=True, kw_only=True)
class AwsType:
    """One type of resource: how to list, recognise and remove it, what it costs idle, how to find an interrupted one.

    `type` is Pulumi's (`aws:sqs/queue:Queue`); one that ends in `/` stands for all types of a service. What only AWS or
    a controller makes has none. A type without `listing` is a part of another one.
    """

    type: str = ""
    listing: Listing | None = None

    recognise: Callable[[Held, Mapping[str, str], StackNames], str | None] = by_name
    """Why it belongs to the stack if no tag says so; None if it does not."""
    owner_key: str = ""
    """The key in AWS's answer with the id of the thing that it is a part of."""
    goes_with_owner: Callable[[Raw], bool] | None = None
    """Whether AWS deletes it with something else, so that nobody has to."""
    has_user_data: bool = False
    """Whether `gpulab:storage.retain` keeps it."""

    remove: Remove | None = None
    remove_with_snapshot: Callable[[Account, Held, str], Steps] | None = None
    """Removes it after a last snapshot with the given name."""
    prepare: Remove | None = None
    """Steps that come before the first removal of this type."""
    after: tuple[str, ...] = ()
    """The kinds that must be removed before this one (`ec2 Instances`)."""
    last: bool = False
    """Whether it is removed after everything else, because everything else may use it."""
    actions: tuple[str, ...] = ()
    """The IAM actions that `remove` and `prepare` need to see what is in it. None of them changes anything."""

    id: str = ""
    """The id that Pulumi has for it, as a template of its inputs ("Import" in the Pulumi Registry)."""
    lookup: ByTags | Lookup | None = None
    """How to find the id in the account if it does not follow from the inputs."""
    if_made_again: Literal["accepted", "refused"] | None = None
    """What AWS does if it is made twice and its id cannot be found."""

    price: Pricer | None = None
    """What it costs while idle."""
    bill: Bill | None = None
    """How AWS bills it beside or instead of a price by the hour."""
