"""`python -m reports.idle STACK`: what a stack costs while nobody uses it, by list price in us-east-1."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import contracts

from .idle_cost import HOURS_A_MONTH, IdleCost, idle_cost
from .inputs import PreviewError, parser_of, text_or_state
from .previews import Step
from .resources import Resource, resources_of

OK, UNREADABLE = 0, 2


def cost_of(resources: Sequence[Resource]) -> IdleCost:
    """The idle cost of resources that are there."""
    return idle_cost(
        [Step(op="create", urn=one.urn, type=one.type, parent=one.parent, new=one.inputs) for one in resources]
    )


def described(cost: IdleCost, stack: str) -> str:
    """The cost in words, the dearest first."""
    total = f"{cost.after:.3f} USD an hour, {cost.after * HOURS_A_MONTH:,.0f} a month"
    rows = [f"{stack} idle: {total} (list prices of {contracts.service_prices().region}, on demand)"]
    dearest_first = sorted((one for one in cost.priced if one.after), key=lambda one: (-one.after, one.step.name))
    rows += [f"  {one.after:8.4f}  {one.step.name}: {one.what}" for one in dearest_first]
    if cost.by_use:
        rows.append(f"billed by use, and not counted: {', '.join(sorted(set(cost.by_use)))}")
    if cost.unknown:
        rows.append(f"price not known: {', '.join(sorted(cost.unknown))}")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = parser_of(
        "idle",
        "Says what a stack costs an hour while nobody uses it.",
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
