"""Writes the comment on a pull request: what would happen to each stack, with the dangers first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import contracts

from .aws_type.pricing import HOURS_A_MONTH
from .danger import Danger, dangers, is_allowed, why
from .fitting import Block, fitted
from .idle_cost import IdleCost, idle_cost
from .pool_cost import AtLimits, PoolCost, pool_costs
from .preview_output import CHANGES, Preview, Step, Violation
from .property_changes import code, property_changes
from .support import support_notices

MARKER = "<!-- gpulab:preview -->"
"""A workflow finds its earlier comment by this marker, and replaces it."""

_VERBS = {
    "create": "Creates",
    "update": "Updates",
    "replace": "Replaces",
    "delete": "Deletes",
    "import": "Imports",
    "refresh": "Refreshes",
}
_SMALLEST_USD = 0.0005
_NAMES_SHOWN = 30
# If the comment is too long, blocks with a higher number are left out first.
_ALWAYS, _DANGER, _REFUSED, _FAILED, _SUPPORT, _POOLS, _IDLE, _WARNED = range(8)
_RANKS = {"replace": 8, "delete": 9, "update": 10, "create": 12}
_OTHER = 11
_ADVISED, _UNDECIDED = 13, 14


def comment(previews: Sequence[Preview], allowed: Sequence[str] = ()) -> str:
    """The comment in Markdown, within GitHub's limit."""
    costs = [(idle_cost(preview.steps), pool_costs(preview.steps)) for preview in previews]
    blocks = [Block(head=f"{MARKER}\n## Preview")]
    ops = tuple(dict.fromkeys(op for item in previews for op in (*CHANGES, *item.changes)))
    rows = [_row(preview, ops, idle, pools, allowed) for preview, (idle, pools) in zip(previews, costs, strict=True)]
    head = (
        f"| stack | {' | '.join(map(_heading, ops))} | data in danger | idle, USD an hour | pools at limits |\n"
        f"| --- |{' --: |' * len(ops)} --- | --- | --- |"
    )
    blocks.append(Block(head=head, rows=rows, what="stacks of the table"))
    for preview, (idle, pools) in zip(previews, costs, strict=True):
        blocks += _stack_blocks(preview, idle, pools, allowed)
    return fitted(blocks)


def _stack_blocks(preview: Preview, idle: IdleCost, pools: Sequence[PoolCost], allowed: Sequence[str]) -> list[Block]:
    blocks = [
        Block(head="", rows=[f"### Stack {code(preview.stack)}"], what="headings of stacks"),
        _failures(preview),
        _danger_block(dangers(preview), allowed),
        *_policy_blocks(preview),
        _alert(
            "WARNING",
            "Kubernetes leaves standard support.",
            support_notices(preview.steps),
            rank=_SUPPORT,
            what="versions of Kubernetes",
        ),
        _pool_block(pools),
        _idle_block(idle, preview),
    ]
    for op in preview.changes:
        steps = preview.of(op)
        if steps:
            blocks.append(_changes_block(op, steps))
    if not any(preview.of(op) for op in preview.changes) and not preview.errors:
        blocks.append(Block(head="", rows=["Nothing changes."], what="notes"))
    if preview.warnings:
        rows = [f"- {_plain(warning)}" for warning in preview.warnings]
        blocks.append(_folded(f"Warnings: {len(rows)}", rows, rank=_WARNED, what="warnings"))
    return [block for block in blocks if block.head or block.rows]


def _heading(op: str) -> str:
    return op if op in _VERBS else _cell(op)


def _row(
    preview: Preview, ops: Sequence[str], idle: IdleCost, pools: Sequence[PoolCost], allowed: Sequence[str]
) -> str:
    counts = " | ".join(f"{len(preview.of(op)):,}" for op in ops)
    danger = dangers(preview)
    forbidden = sum(len(item.steps) for item in danger if not is_allowed(item, allowed))
    total = sum(len(item.steps) for item in danger)
    said = f"**{forbidden} not allowed**" if forbidden else f"{total}, allowed" if total else "none"
    if preview.errors:
        return f"| {_cell(preview.stack)} (**failed**) | {counts} | {said} | not known | not known |"
    unknown = f", {len(idle.unknown)} not known" if idle.unknown else ""
    change = _signed(idle.change)
    cost = f"{idle.after:.2f} ({change}){unknown}" if preview.complete else f"{change}{unknown}"
    return f"| {_cell(preview.stack)} | {counts} | {said} | {cost} | {_pools_in_short(pools)} |"


def _signed(usd: float) -> str:
    return f"{usd:+.2f}" if abs(usd) >= _SMALLEST_USD else "no change"


def _pools_in_short(pools: Sequence[PoolCost]) -> str:
    if any(isinstance(side, str) for pool in pools for side in (pool.before, pool.after)):
        return "not known for all pools"
    return _signed(sum(_most(pool.after) - _most(pool.before) for pool in pools))


def _most(side: AtLimits | str | None) -> float:
    return side.dearest if isinstance(side, AtLimits) else 0.0


def _alert(kind: str, title: str, rows: Iterable[str], *, rank: int, what: str) -> Block:
    """A coloured box of GitHub; an empty block if it has no rows."""
    quoted = ["\n".join(f"> {line}" for line in row.splitlines()) for row in rows]
    head = f"> [!{kind}]\n> **{title}**" if quoted else ""
    return Block(head=head, rows=quoted, rank=rank, what=what)


def _failures(preview: Preview) -> Block:
    rows = []
    for error in preview.errors:
        first, *rest = error.splitlines()
        rows.append("\n".join([f"- {_plain(first)}", *(f"  - {_plain(line)}" for line in rest if line.strip())]))
    return _alert("CAUTION", "The preview failed, so what follows is incomplete.", rows, rank=_FAILED, what="errors")


def _danger_block(found: Sequence[Danger], allowed: Sequence[str]) -> Block:
    """A row for each cause. What goes with it is below it, and one name allows all of it."""
    rows = []
    for item in sorted(
        found, key=lambda item: (is_allowed(item, allowed), item.first.op != "replace", item.first.name)
    ):
        allow = code(f"--allow {item.allow}")
        may = "allowed" if is_allowed(item, allowed) else f"**not allowed**: use {allow} if you intend this"
        if item.cause is None:
            rows.append(f"- {_alike(item.steps)}; {may}.{_kept(item.first)}")
            continue
        others = [step for step in item.steps if step.urn != item.cause.urn]
        lost = why(item.cause) if len(others) < len(item.steps) else ""
        rows.append("\n".join([f"- {_gone(item.cause, lost)}; {may}.{_kept(item.cause)}", *_with_it(others, lost)]))
    title = "This replaces or deletes resources that hold data, or may hold data."
    return _alert("WARNING", title, rows, rank=_DANGER, what="resources in danger")


def _gone(step: Step, lost: str) -> str:
    changed = f": {'; '.join(property_changes(step))}" if step.op == "replace" and step.paths else ""
    return f"**{step.op}** {code(step.name)} ({code(step.type)}){f', which {lost}' if lost else ''}{changed}"


def _kept(step: Step) -> str:
    return " The present resource stays in the account (`retainOnDelete`)." if step.retained else ""


def _with_it(steps: Iterable[Step], lost: str) -> list[str]:
    """What goes for the same reason, by type; `lost` is the loss that the row of the cause names already."""
    alike: dict[tuple[str, str, tuple[str, ...], bool], list[Step]] = defaultdict(list)
    for step in steps:
        alike[step.op, step.type, step.forcing, step.retained].append(step)
    return [f"  - together with it: {_alike(found, lost)}.{_kept(found[0])}" for found in alike.values()]


def _alike(found: Sequence[Step], said: str = "") -> str:
    """Several steps of one type, for one reason, by name."""
    names = ", ".join(code(item.name) for item in found[:_NAMES_SHOWN])
    more = f" and {len(found) - _NAMES_SHOWN} more" if len(found) > _NAMES_SHOWN else ""
    first = found[0]
    by = f", by {', '.join(map(code, first.forcing))}" if first.forcing else ""
    each = f", each {why(first)}" if why(first) != said else ""
    return f"**{first.op}** of {len(found)} {code(first.type)}{by}{each}: {names}{more}"


def _policy_blocks(preview: Preview) -> list[Block]:
    found = preview.violations
    if found is None:
        deletes_all = all(step.op == "delete" for step in preview.steps)
        why = (
            "the engine runs no policies in a destroy."
            if deletes_all
            else "run the preview with `--policy-pack policies` and `PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true`."
        )
        return [Block(head="", rows=[f"**Guardrails**: not checked; {why}"], what="notes")]
    refused = [item for item in found if item.mandatory and not item.undecided]
    advised = [item for item in found if not item.mandatory and not item.undecided]
    undecided = [item for item in found if item.undecided]
    summary = (
        f"**Guardrails**: {_count(len(refused), 'error')}, {_count(len(advised), 'warning')}, {len(undecided)} not yet "
        "known (checked again in `pulumi up`)" + (", until the preview failed." if preview.errors else ".")
    )
    return [
        Block(head="", rows=[summary], what="notes"),
        _alert("CAUTION", "Guardrails refuse this.", _policy_rows(refused), rank=_REFUSED, what="errors of guardrails"),
        _folded(
            f"Warnings of guardrails: {len(advised)}",
            _policy_rows(advised),
            rank=_ADVISED,
            what="warnings of guardrails",
        ),
        _folded(
            f"Not yet known: {len(undecided)}", _policy_rows(undecided), rank=_UNDECIDED, what="undecided policies"
        ),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _policy_rows(violations: Iterable[Violation]) -> list[str]:
    return sorted(f"- {code(item.policy)}, {code(item.resource)}: {_plain(item.message)}" for item in violations)


def _pool_block(pools: Sequence[PoolCost]) -> Block:
    changed = [pool for pool in pools if pool.before != pool.after]
    rows = [
        f"| {_cell(pool.name)} | {_side(pool.before)} | {_side(pool.after)} |"
        for pool in sorted(changed, key=lambda item: item.name)
    ]
    head = (
        f"**Pools at their limits**, USD an hour on demand, by list price in {contracts.service_prices().region}: from "
        "the cheapest to the most expensive machines that they may buy\n\n"
        "| pool | before | after |\n| --- | --- | --- |"
    )
    return Block(head=head, rows=rows, rank=_POOLS, what="pools") if rows else Block(head="")


def _side(side: AtLimits | str | None) -> str:
    if side is None:
        return "no pool"
    if isinstance(side, str):
        return f"not known: {side}"
    return f"{side.cheapest:.2f} to {side.dearest:.2f} ({side.machine})"


def _idle_block(idle: IdleCost, preview: Preview) -> Block:
    changed = [item for item in idle.priced if abs(item.after - item.before) >= _SMALLEST_USD / 10]
    if not changed and not idle.unknown:
        return Block(head="")
    region = contracts.service_prices().region
    if preview.complete:
        summary = (
            f"Idle cost: {idle.before:.2f} → {idle.after:.2f} USD an hour ({idle.after * HOURS_A_MONTH:,.0f} a month)"
        )
    else:
        summary = f"Idle cost: {_signed(idle.change)} USD an hour ({idle.change * HOURS_A_MONTH:+,.0f} a month)"
    elsewhere = f" It is in {preview.region}, where prices differ." if preview.region not in (None, region) else ""
    notes = [f"List prices of {region}, on demand.{elsewhere}"]
    if idle.unknown:
        notes.append(f"Prices not known: {', '.join(map(code, sorted(idle.unknown)))}.")
    if idle.by_use:
        notes.append(f"Billed only by use, and not counted: {', '.join(map(code, sorted(set(idle.by_use))))}.")
    rows = [
        f"| {_cell(item.step.name)} | {item.what} | {item.before:.4f} | {item.after:.4f} |"
        for item in sorted(changed, key=lambda item: -abs(item.after - item.before))
    ]
    table = ["| resource | what | before | after |", "| --- | --- | --: | --: |"] if rows else []
    rows = ["\n".join([" ".join(notes), "", *table]), *rows]
    return _folded(summary, rows, rank=_IDLE, what="prices")


def _changes_block(op: str, steps: Sequence[Step]) -> Block:
    """The steps of one kind by component: the counts, which are always shown, and a row for each step."""
    by_component: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_component[step.component].append(step)
    counts = ", ".join(f"{component} {len(inside)}" for component, inside in sorted(by_component.items()))
    rows: list[str] = []
    for component, inside in sorted(by_component.items()):
        rows += [_change_row(step, component) for step in sorted(inside, key=_order)]
    summary = f"{_VERBS.get(op, op)} {len(steps):,}: {counts}"
    block = _folded(summary, rows, rank=_RANKS.get(op, _OTHER), what=f"{op}s")
    block.stays = True
    return block


def _order(step: Step) -> tuple[bool, str, str]:
    return not step.is_component, step.type, step.name


def _change_row(step: Step, component: str) -> str:
    stays = " (stays in the account)" if step.op == "delete" and step.retained else ""
    row = f"- {component}: {code(step.name)} ({code(step.type)}){stays}"
    changes = property_changes(step) if step.op in ("update", "replace") else []
    return "\n".join([row, *(f"  - {change}" for change in changes)])


def _folded(summary: str, rows: Sequence[str], *, rank: int, what: str) -> Block:
    if not rows:
        return Block(head="")
    head = f"<details><summary>{_escaped(summary)}</summary>\n"
    return Block(head=head, rows=rows, tail="\n</details>", rank=rank, what=what)


def _cell(text: str) -> str:
    """Code in a table cell. A bar would end the cell, even in code."""
    return code(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """A text from the engine as one line that cannot break the Markdown around it."""
    return _escaped(" ".join(text.split())).replace("@", "@\u200b")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
