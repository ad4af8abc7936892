"""The kinds of values that several sections have, each with its check and its JSON Schema."""

from __future__ import annotations

import calendar
import datetime
import math
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

_TIMES = {
    word: length
    for length, words in ((1, "s sec second"), (60, "m min minute"), (3600, "h hr hour"), (86400, "d day"))
    for short in words.split()
    for word in (short, f"{short}s")
}
_BYTES = {
    f"{prefix}{end}": base**power
    for power, prefix in enumerate("kmgtp", start=1)
    for end, base in (("", 1000), ("b", 1000), ("i", 1024), ("ib", 1024))
}
_SCALES: dict[str, dict[str, float]] = {
    "GiB": {word: size / 1024**3 for word, size in _BYTES.items()},
    "vCPU": {"m": 0.001, "cpu": 1, "cpus": 1, "vcpus": 1, "core": 1, "cores": 1},
    **{
        unit: {word: length / _TIMES[unit] for word, length in _TIMES.items()}
        for unit in ("seconds", "minutes", "hours", "days")
    },
}
"""By unit: the words that people write after a number, in lower case, and how many units each is worth."""

# CloudWatch Logs, PutRetentionPolicy: retentionInDays.
_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)

NEVER = "Never"
"""Karpenter's word for a duration that does not end."""


@dataclass(frozen=True, eq=False)
class Check:
    """A check of one value, for `Annotated`, with what the JSON Schema can say about it.

    `check` returns the value, or raises ValueError with the end of the sentence that begins with the key. With `first`
    it runs before the check of the type, so that it can say what to write instead of a value of another type.
    """

    check: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=dict)
    first: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = (
            core_schema.no_info_before_validator_function
            if self.first
            else (core_schema.no_info_after_validator_function)
        )
        return checked(self.check, handler(source))

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

    def check(number: Any) -> Any:
        if isinstance(number, bool) or not isinstance(number, int):
            meant = in_unit(number, unit)
            expected = f"must be a whole number{unit and ' of '}{unit}"
            if meant is not None and least <= math.ceil(meant) <= most:
                expected += f", without quotes{unit and ' or a unit'}: write {math.ceil(meant)}"
            raise ValueError(expected)  # noqa: TRY004 (pydantic takes no TypeError)
        if not least <= number <= most:
            raise ValueError(f"must be {least} to {most}{unit and ' '}{unit}")
        return number

    return Check(check, {"minimum": least, "maximum": most}, first=True)


def in_unit(text: Any, unit: str) -> float | None:
    """How many units a text means, such as `4Ti`, `500m` or `7d`. None for any other text."""
    match = (
        re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([A-Za-z/]*)", text.strip()) if isinstance(text, str) else None
    )
    if not match:
        return None
    word = match[2].lower()
    scale = 1.0 if word in ("", unit.lower()) else _SCALES.get(unit, {}).get(word)
    return None if scale is None else float(match[1]) * scale


def repeated(values: Iterable[T]) -> list[T]:
    """The values that occur more than once, each once."""
    seen: set[T] = set()
    twice: dict[T, None] = {}
    for value in values:
        if value in seen:
            twice[value] = None
        seen.add(value)
    return list(twice)


DISTINCT = Check(lambda values: values, {"uniqueItems": True})
"""Marks a list without repetitions. Section checks it, so that a repetition hides no other mistake in the list."""


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
    """Seconds of a Karpenter duration such as `1h30m`; ValueError for `Never` and for what is not a duration."""
    parts = _DURATION_PART.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration} is not a duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)


def _retention(days: Any) -> Any:
    if isinstance(days, bool) or not isinstance(days, int):
        meant = in_unit(days, "days")
        hint = f", without quotes or a unit: write {meant:g}" if meant in _RETENTION_DAYS else ""
        raise ValueError(f"must be a whole number of days{hint}")  # noqa: TRY004 (pydantic takes no TypeError)
    if days not in _RETENTION_DAYS:
        raise ValueError(
            f"must be a number of days that CloudWatch Logs accepts: {', '.join(map(str, _RETENTION_DAYS))}"
        )
    return days


def _date(value: Any) -> datetime.date:
    if isinstance(value, datetime.date):
        return value
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})( 00:00:00.*)?", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a date in quotes, year, month and day, such as "2027-06-30"')
    try:
        date = datetime.date.fromisoformat(match[1])
    except ValueError:
        raise ValueError(f"is a day that does not exist: {_why_no_day(match[1])}") from None
    if match[2]:  # what Pulumi makes of a date without quotes: 2027-06-30 00:00:00 +0000 UTC
        raise ValueError(f'must be in quotes: write "{date}"')
    return date


def _why_no_day(text: str) -> str:
    year, month, _ = map(int, text.split("-"))
    if year == 0 or not 1 <= month <= 12:
        return "months are 01 to 12, years 0001 to 9999"
    return f"{text[:7]} has the days 01 to {calendar.monthrange(year, month)[1]}"


Date = Annotated[datetime.date, BeforeValidator(_date)]
"""A date. Pydantic's own parser also accepts numbers and times of day."""

RetentionDays = Annotated[StrictInt, Check(_retention, {"enum": list(_RETENTION_DAYS)}, first=True)]
"""Days that CloudWatch Logs keeps events; it accepts only some numbers."""

# The patterns of Karpenter's NodePool (contracts/crds/nodepools.karpenter.sh.json), with as many digits as fit into a
# duration of Go, which is at most 292 years.
_HOURS, _MINUTES, _SECS = "[0-9]{1,6}h", "[0-9]{1,8}m", "[0-9]{1,9}s"
_PART = f"{_SECS}|{_MINUTES}|{_HOURS}"


def _duration(pattern: str, expectation: str) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        hints = [hint for hint in _durations_meant(value) if re.fullmatch(pattern, hint)]
        raise ValueError(f"must be {expectation}" + (f": write {' or '.join(hints)}" if hints else ""))

    return Check(check, {"pattern": f"^({pattern})$"}, first=True)


def _durations_meant(value: Any) -> list[str]:
    """What a number without a unit may stand for, or a text with a unit that Karpenter does not know."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.isdecimal():
        return [f"{int(value)}{unit}" for unit in _SECONDS] if int(value) else []
    meant = in_unit(value, "seconds")
    if meant is None or not meant.is_integer() or not meant:
        return []
    unit = next(unit for unit, length in reversed(_SECONDS.items()) if meant % length == 0)
    return [f"{int(meant) // _SECONDS[unit]}{unit}"]


Duration = Annotated[str, _duration(f"({_PART})+", 'a duration such as "90s", "10m" or "1h30m"')]
"""A Karpenter duration."""

DurationOrNever = Annotated[
    str, _duration(f"({_PART})+|Never", 'a duration such as "90s", "10m" or "720h", or "Never"')
]
"""A Karpenter duration, or Never."""

WindowDuration = Annotated[
    str,
    _duration(
        f"({_HOURS}|{_MINUTES}|{_HOURS}{_MINUTES})(0s)?",
        'a duration of hours and minutes such as "4h", "30m" or "1h30m"',
    ),
]
"""The duration of a disruption budget, which cannot have seconds."""
