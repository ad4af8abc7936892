"""Finds values for documentation in a stack file, and refuses them on a real account.

The address ranges for documentation (RFC 5737) belong to nobody, so nobody could reach a cluster or a load balancer
that admits only these. The account number is that of AWS's examples and of the simulated AWS: by it a program knows
that it is rehearsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pulumi

from settings.admitted_ranges import documentation_range
from settings.language.section import Path, text_of

if TYPE_CHECKING:
    from settings import EksSettings

DOCUMENTATION_ACCOUNT = "123456789012"


class PlaceholderError(pulumi.RunError):
    """The stack file still has values for documentation. The message lists them with their keys."""


def is_rehearsed(account_id: str) -> bool:
    """Whether the program runs against the simulated AWS."""
    return account_id == DOCUMENTATION_ACCOUNT


def require_own_values(settings: EksSettings, account_id: str) -> None:
    """Raises PlaceholderError if the account is real and the stack file has values for documentation."""
    found = [] if is_rehearsed(account_id) else list(placeholders(settings, account_id))
    if found:
        raise PlaceholderError(
            "\n".join([f"stack {settings.stack}: values for documentation, on the real account {account_id}", *found])
        )


def placeholders(settings: EksSettings, account_id: str) -> Iterator[str]:
    """A line for each value that the user must replace: its key, and what to put there."""
    sections = {"cluster": settings.cluster, "ingress": settings.ingress, "identity": settings.identity}
    given = {name: section.model_dump(by_alias=True) for name, section in sections.items() if section}
    for path, text in _texts({**given, "permissionsBoundary": settings.permissions_boundary}):
        if documentation_range(text):
            yield (
                f"  gpulab:{text_of(path)}: {text} is for documentation: put your own address here, e.g. "
                "`curl https://checkip.amazonaws.com`, as ADDRESS/32"
            )
        elif f":{DOCUMENTATION_ACCOUNT}:" in text:
            yield f"  gpulab:{text_of(path)}: {text} is for documentation: name what account {account_id} has"


def _texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Each text in a section, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
