"""The base of all random values: drawn once, kept in the state, and drawn again if an input changes."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar

from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused, Request, ResourceType, contains_unknown


@dataclass(frozen=True)
class Input:
    """An input: its type, its default, and its smallest value."""

    type: type
    default: Any = None
    required: bool = False
    at_least: int | None = None


_KEEPERS = Input(dict)
_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "text", list: "a list", dict: "a mapping"}


class RandomValue(ResourceType):
    """A random value. `takes` has its inputs, except for `keepers`: a map whose change draws a new value.

    An id is never encrypted in a state, even if the outputs of the value are secret.
    """

    takes: ClassVar[dict[str, Input]]
    # In Terraform all types except random_bytes have this attribute.
    outputs_have_id: ClassVar[bool] = True

    def draw(self, inputs: Properties) -> tuple[str, Properties]:
        """Draws the value. Returns its id and the outputs that are not inputs."""
        raise NotImplementedError

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """Fills in the defaults. Raises Refused for unknown or missing inputs and for wrong types."""
        known = {**self.takes, "keepers": _KEEPERS}
        given = {key: value for key, value in inputs.items() if value is not None}
        failures = []
        for key, value in given.items():
            if key not in known:
                nearest = get_close_matches(key, known, n=1)
                failures.append(Refused("unknown property" + (f"; did you mean {nearest[0]}?" if nearest else ""), key))
            else:
                failures += _check_value(key, value, known[key])
        failures += [
            Refused("missing required property", key)
            for key, input in self.takes.items()
            if input.required and key not in given
        ]
        Refused.all(failures)
        defaults = {key: input.default for key, input in self.takes.items() if input.default is not None}
        checked = {**defaults, **given}
        if not contains_unknown(checked):
            self.check_together(checked)
        return checked

    def check_together(self, inputs: Properties) -> None:
        """Refuses inputs that contradict each other. All of them are known. Raises Refused."""

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        """Every change draws a new value."""
        return changed

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Draws the value."""
        id, drawn = self.draw(inputs)
        return id, {**inputs, **drawn, **({"id": id} if self.outputs_have_id else {})}

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The state, because a random value exists only there. On an import `id` is the value."""
        return (inputs, olds) if olds else self.imported(id)

    def imported(self, id: str) -> tuple[Properties, Properties]:
        """The inputs and outputs of a value that is imported by `id`. Raises Refused."""
        raise Refused(f"the rehearsal does not support the import of {self.token}")

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Nothing changes in place."""
        raise AssertionError(f"{self.token} is only ever replaced")

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Deletes nothing: the value is only in the state."""


def _check_value(key: str, value: Any, input: Input) -> list[Refused]:
    if value is UNKNOWN:
        return []
    if not isinstance(value, input.type) or isinstance(value, bool) != (input.type is bool):
        return [Refused(f"{_TYPE_NAMES[input.type]} is expected, not {value!r}", key)]
    if input.at_least is not None and value < input.at_least:
        return [Refused(f"at least {input.at_least} is expected, not {value}", key)]
    return []
