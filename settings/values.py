"""The kinds of values that more than one section has, each with its check and its place in the JSON Schema."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, StrictInt
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T", bound=Hashable)

# AWS: "Best practices and strategies: tag naming limits and requirements".
_TAG_TEXT = re.compile(r"[\w .:/=+\-@]*")
_DURATION_PART = re.compile(r"(\d+)([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}

# CloudWatch Logs, PutRetentionPolicy: retentionInDays.
_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

NEVER = "Never"
"""Karpenter's word for a duration without an end."""


@dataclass(frozen=True, eq=False)
class Check:
    """A check of one value, for `Annotated`, with what the JSON Schema can say of it.

    `check` returns the value, or raises ValueError with the end of the sentence that begins with the key.
    """

    check: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=dict)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), **self.schema}


def matching(pattern: str, expectation: str) -> Check:
    """Text that matches a whole regular expression; the expectation ends the sentence "must be …"."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(f"must be {expectation}")
        return text

    return Check(check, {"pattern": f"^({pattern})$"})


def whole(least: int, most: int, unit: str = "") -> Check:
    """A whole number between two bounds, both included."""

    def check(number: int) -> int:
        if not least <= number <= most:
            raise ValueError(f"must be {least} to {most}{unit and ' '}{unit}")
        return number

    return Check(check, {"minimum": least, "maximum": most})


def repeated(values: Iterable[T]) -> list[T]:
    """The values that come more than once, each once."""
    seen: set[T] = set()
    twice: dict[T, None] = {}
    for value in values:
        if value in seen:
            twice[value] = None
        seen.add(value)
    return list(twice)


DISTINCT = Check(lambda values: values, {"uniqueItems": True})
"""Marks a list without repetitions; Section checks it, so that a repetition hides no other mistake of the list."""


def at_least_one(what: str) -> Check:
    """A list that is not empty."""

    def check(values: tuple[Any, ...]) -> tuple[Any, ...]:
        if not values:
            raise ValueError(f"must list at least one {what}")
        return values

    return Check(check, {"minItems": 1})


def without_default(schema: dict[str, Any]) -> None:
    """For a field's `json_schema_extra`, where the default depends on other settings."""
    schema.pop("default")


def tag_value(text: str) -> str:
    """Text that AWS takes as a tag's value."""
    if len(text) > 256:
        raise ValueError(f"is too long for an AWS tag: {len(text)} characters, 256 at most")
    if not _TAG_TEXT.fullmatch(text):
        raise ValueError(
            "has characters that AWS tags refuse: letters, digits, spaces and . : / = + - @ _ are accepted"
        )
    return text


def seconds(duration: str) -> int:
    """Seconds of a Karpenter duration such as `1h30m`; ValueError for `Never` and for what is no duration."""
    parts = _DURATION_PART.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration} is no duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _retention(days: int) -> int:
    if days not in _RETENTION_DAYS:
        raise ValueError(f"must be a number of days that CloudWatch Logs knows: {', '.join(map(str, _RETENTION_DAYS))}")
    return days


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.date):
        return value
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})( 00:00:00.*)?", value) if isinstance(value, str) else None
    try:
        date = datetime.date.fromisoformat(match[1]) if match else None
    except ValueError:
        date = None
    if date is None or match is None:
        raise ValueError('must be a date in quotes, such as "2027-06-30"')
    if match[2]:  # what Pulumi makes of a date without quotes: 2027-06-30 00:00:00 +0000 UTC
        raise ValueError(f'must be in quotes: write "{date}"')
    return date


Date = Annotated[datetime.date, BeforeValidator(_date)]
"""A day. Pydantic's own reader also takes numbers and times of day."""

RetentionDays = Annotated[StrictInt, Check(_retention, {"enum": list(_RETENTION_DAYS)})]
"""Days that CloudWatch Logs keeps events."""

# The patterns are those of Karpenter's NodePool (contracts/crds/nodepools.karpenter.sh.json), with so many digits as
# Go's durations, of 292 years at most, have room for.
_HOURS, _MINUTES, _SECS = "[0-9]{1,6}h", "[0-9]{1,8}m", "[0-9]{1,9}s"
_PART = f"{_SECS}|{_MINUTES}|{_HOURS}"

Duration = Annotated[str, matching(f"({_PART})+", 'a duration such as "90s", "10m" or "1h30m"')]
"""A Karpenter duration."""

DurationOrNever = Annotated[str, matching(f"({_PART})+|Never", 'a duration such as "90s", "10m" or "720h", or "Never"')]
"""A Karpenter duration, or no end."""

WindowDuration = Annotated[
    str,
    matching(
        f"({_HOURS}|{_MINUTES}|{_HOURS}{_MINUTES})(0s)?",
        'a duration of hours and minutes such as "4h", "30m" or "1h30m"',
    ),
]
"""The duration of a disruption budget, which knows no seconds."""
