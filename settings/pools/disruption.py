"""When Karpenter may remove nodes: consolidation, disruption budgets, maintenance windows."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from settings.language.schedules import MINUTES_A_WEEK, Schedule, cron_at, weekly_starts
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import (
    DISTINCT,
    Check,
    DurationOrNever,
    WindowDuration,
    matching,
    seconds,
    without_default,
)

Reason: TypeAlias = Literal["Underutilized", "Empty", "Drifted"]


class Consolidation(Section):
    """When Karpenter removes nodes that are not needed."""

    policy: Literal["WhenEmpty", "WhenEmptyOrUnderutilized"] = Field(
        default="WhenEmpty",
        description="WhenEmpty is for GPU pools, and their default; the default of others is WhenEmptyOrUnderutilized.",
        json_schema_extra=without_default,
    )
    after: DurationOrNever = Field(default="5m", description="How long a node has to be empty or underused, or Never.")


class Budget(Section):
    """How many nodes of the pool may be disrupted at the same time."""

    nodes: Annotated[
        str, matching(r"(100|[0-9]{1,2})%|[0-9]+", 'a number of nodes or a percentage in quotes, such as "10%" or "0"')
    ] = Field(description="Number of nodes, or percentage of the pool's nodes, in quotes.")
    reasons: Annotated[tuple[Reason, ...], DISTINCT] = Field(
        default=(), description="Reasons to which the budget applies; none: all reasons."
    )
    schedule: Schedule | None = Field(
        default=None, description="When the budget begins to apply, in UTC; with duration."
    )
    duration: WindowDuration | None = Field(default=None, description="How long it applies from then; with schedule.")

    @rule
    def _schedule_with_duration(self, facts: Facts) -> Findings:
        if self.schedule is not None and self.duration is None:
            yield ("duration",), "is missing: a schedule says when the budget begins, the duration how long it applies"
        if self.duration is not None and self.schedule is None:
            yield ("schedule",), 'is missing: a duration needs a schedule to begin at, such as "0 3 * * 6"'


def _weekly(schedule: str) -> str:
    weekly_starts(schedule)
    return schedule


class MaintenanceWindow(Section):
    """The time of every week in which drifted nodes may be replaced."""

    schedule: Annotated[Schedule, Check(_weekly)] = Field(
        description="When it begins, in UTC: one time of day, on every day or on days of the week, such as 0 3 * * 6."
    )
    duration: WindowDuration = Field(description="How long it lasts.")

    @property
    def closed_times(self) -> tuple[tuple[str, str], ...]:
        """The times outside it, as schedule and duration of disruption budgets."""
        starts = weekly_starts(self.schedule)
        length = seconds(self.duration) // 60
        gaps = [
            (start + length, (following - start - 1) % MINUTES_A_WEEK + 1 - length)
            for start, following in zip(starts, [*starts[1:], starts[0]], strict=True)
        ]
        return tuple((cron_at(end), f"{gap // 60}h{gap % 60}m") for end, gap in gaps)

    @rule
    def _closes_before_it_opens_again(self, facts: Facts) -> Findings:
        starts = weekly_starts(self.schedule)
        shortest = min((b - a - 1) % MINUTES_A_WEEK + 1 for a, b in zip(starts, [*starts[1:], starts[0]], strict=True))
        length = seconds(self.duration) // 60
        if not 0 < length < shortest:
            yield ("duration",), f"must be more than 0m and less than the {shortest // 60}h between two windows"
