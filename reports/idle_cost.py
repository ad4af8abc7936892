"""What a stack costs an hour while it is idle, by list price in us-east-1, and which prices are not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .aws_type.pricing import Facts, NoPrice
from .preview_output import Step
from .services import service_of, type_named


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A resource's price in USD an hour before and after; `what` says what is paid for."""

    step: Step
    before: float
    after: float
    what: str


@dataclass
class IdleCost:
    """The idle cost before and after, of the resources that the preview shows. These may be only those that change."""

    priced: list[Priced] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Resources that cost something by the hour, or may, each with the reason why its price is not known."""
    by_use: list[str] = field(default_factory=list)

    @property
    def before(self) -> float:
        """USD an hour."""
        return sum(item.before for item in self.priced)

    @property
    def after(self) -> float:
        """USD an hour."""
        return sum(item.after for item in self.priced)

    @property
    def change(self) -> float:
        """USD an hour."""
        return self.after - self.before


def idle_cost(steps: Sequence[Step]) -> IdleCost:
    """The idle cost of a preview's resources."""
    cost = IdleCost()
    for step in steps:
        type_ = type_named(step.type)
        bill, price = type_.bill or service_of(step.type).bill, type_.price
        if bill and bill.by == "by use":
            cost.by_use.append(step.name)
        if price is None:
            if bill is None and step.type.startswith("aws:"):
                cost.unknown.append(f"{step.name} ({step.type})")
            continue
        after_inputs = None if step.op == "delete" else step.new if step.new is not None else step.old
        try:
            before, what = price(Facts(step.old, step, steps, after=False)) if step.old is not None else (0.0, "")
            after, what = (
                price(Facts(after_inputs, step, steps, after=True)) if after_inputs is not None else (0.0, what)
            )
        except NoPrice as why:
            cost.unknown.append(f"{step.name} ({why})")
        else:
            cost.priced.append(Priced(step=step, before=before, after=after, what=what))
    return cost
