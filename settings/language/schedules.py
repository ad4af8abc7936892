"""Schedules of disruption budgets: cron expressions as Karpenter reads them (robfig/cron's standard parser, in UTC)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from settings.language.values import Check

MINUTES_A_DAY = 24 * 60
MINUTES_A_WEEK = 7 * MINUTES_A_DAY

_MACROS = {
    "@annually": "0 0 1 1 *",
    "@yearly": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        if text.lower() in self.names:
            return self.names.index(text.lower()) + self.least
        if text.isascii() and text.isdigit() and self.least <= int(text) <= self.most:
            return int(text)
        raise ValueError(f'has "{text}" as its {self.name}, which must be {self.least} to {self.most}')

    def values(self, text: str) -> set[int]:
        """Every value that the field's text stands for."""
        found: set[int] = set()
        for part in text.split(","):
            span, slash, step = part.partition("/")
            if slash and not (step.isascii() and step.isdigit() and int(step) > 0):
                raise ValueError(f'has "{part}" as its {self.name}: the step after the slash must be 1 or more')
            if span in ("*", "?"):
                first, last = self.least, self.most
            elif "-" in span:
                first, last = (self.number(end) for end in span.split("-", 1))
                if first > last:
                    raise ValueError(f'has "{part}" as its {self.name}: the range must not run backwards')
            else:
                first = self.number(span)
                last = self.most if slash else first
            found |= set(range(first, last + 1, int(step) if slash else 1))
        return found


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _WEEKDAYS),
)


def _schedule(text: str) -> str:
    if text not in _MACROS:
        _values(text)
    return text


def _values(text: str) -> list[set[int]]:
    """The values of the five fields. Raises ValueError, as the end of a sentence, for what is not a cron expression."""
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            "must be a cron expression of five fields (minute, hour, day of the month, month, day of the week), "
            f'such as "0 3 * * 6", or one of {", ".join(_MACROS)}'
        )
    return [field.values(part) for field, part in zip(_FIELDS, parts, strict=True)]


def weekly_starts(schedule: str) -> list[int]:
    """When a weekly schedule begins, in minutes since Sunday 00:00 UTC, in order.

    Raises ValueError, as the end of a sentence, for a schedule that is not the same every week. Karpenter cannot say
    "outside this window": it needs a budget for each gap between two starts, so these gaps must be known.
    """
    if not re.fullmatch(r"\d+ +\d+ +\* +\* +\S+", schedule):
        raise ValueError(
            'must name one time of day, on every day or on days of the week, such as "0 3 * * *" or "0 3 * * 6,0"'
        )
    minute, hour, _, _, weekdays = _values(schedule)
    at = min(hour) * 60 + min(minute)
    return sorted(day * MINUTES_A_DAY + at for day in weekdays)


def cron_at(minute_of_week: int) -> str:
    """The cron expression of one moment of every week."""
    day, minutes = divmod(minute_of_week % MINUTES_A_WEEK, MINUTES_A_DAY)
    return f"{minutes % 60} {minutes // 60} * * {day}"


def aws_backup_cron(schedule: str) -> str:
    """A schedule as AWS Backup writes it: `cron(0 3 * * ? *)` for `0 3 * * *`, in UTC.

    Raises ValueError, as the end of a sentence, for what AWS cannot write or refuses: a macro, days of the month and of
    the week at once, more than one run an hour ("Backup plan options", AWS Backup developer guide).
    """
    if schedule in _MACROS:
        raise ValueError('must be written out in five fields for AWS Backup, such as "0 3 * * *"')
    minutes, _, _, _, weekdays = _values(schedule)
    minute, hour, day, month, weekday = schedule.split()
    if len(minutes) != 1:
        raise ValueError("must name one minute, as AWS Backup runs once an hour at most")
    every_day, every_weekday = day in ("*", "?"), weekday in ("*", "?")
    if not every_day and not every_weekday:
        raise ValueError("must name days of the month or of the week, not both: AWS Backup takes only one of them")
    if every_weekday:
        day, weekday = ("*" if every_day else day), "?"
    else:
        # AWS counts from Sunday, 1; the names mean the same everywhere.
        day, weekday = "?", ",".join(_WEEKDAYS[number].upper() for number in sorted(weekdays))
    return f"cron({minute} {hour} {day} {month.upper()} {weekday} *)"


def longest_gap(schedule: str) -> int:
    """The most days between two starts of a schedule."""
    _, _, days, months, weekdays = _values(_MACROS.get(schedule, schedule))
    if len(months) < 12:
        return 366
    if len(days) < 31:
        return 31 if min(days) <= 28 else 62  # the 31st of a month, and the next one after a shorter month
    return 7 if len(weekdays) < 7 else 1


Schedule = Annotated[str, Check(_schedule)]
"""A cron expression of five fields, or one of Karpenter's macros."""
