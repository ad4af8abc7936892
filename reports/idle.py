"""`python -m reports.idle STACK`: what a stack costs while it is idle, by list price in us-east-1."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import contracts

from .aws_type.pricing import HOURS_A_MONTH
from .idle_cost import IdleCost, idle_cost
from .preview_output import Step
from .report_source import PreviewError, parser_of, text_or_state
from .resources import Resource, resources_of

OK, UNREADABLE = 0, 2


def cost_of(resources: Sequence[Resource]) -> IdleCost:
    """The idle cost of existing resources."""
    return idle_cost(
        [Step(op="create", urn=item.urn, type=item.type, parent=item.parent, new=item.inputs) for item in resources]
    )


def described(cost: IdleCost, stack: str) -> str:
    """The cost in words, the most expensive resource first."""
    total = f"{cost.after:.3f} USD an hour, {cost.after * HOURS_A_MONTH:,.0f} a month"
    rows = [f"{stack} idle: {total} (list prices of {contracts.service_prices().region}, on demand)"]
    most_expensive_first = sorted(
        (item for item in cost.priced if item.after), key=lambda item: (-item.after, item.step.name)
    )
    rows += [f"  {item.after:8.4f}  {item.step.name}: {item.what}" for item in most_expensive_first]
    if cost.by_use:
        rows.append(f"billed by use, and not counted: {', '.join(sorted(set(cost.by_use)))}")
    if cost.unknown:
        rows.append(f"price not known: {', '.join(sorted(cost.unknown))}")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = parser_of(
        "idle",
        "Lists what a stack costs an hour while it is idle.",
        reads="a state (pulumi stack export), a plan (pulumi preview --save-plan) or a preview (--json); - is stdin",
    )
    options = parser.parse_args(arguments)
    try:
        text = text_or_state(options.source, options.stack)
        sys.stdout.write(described(cost_of(resources_of(text, options.stack)), options.stack))
    except PreviewError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    return OK


if __name__ == "__main__":
    sys.exit(main())
