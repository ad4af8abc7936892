"""Fits a comment into what GitHub takes: leaves out rows that matter least, and says how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LIMIT = 65_536
"""Characters of a comment (GitHub: "body is too long (maximum is 65536 characters)"). Bytes are counted, to be safe."""
_RESERVE = 2_000


@dataclass(kw_only=True)
class Block:
    """A piece of a comment: `rows` may be left out from the end, each block's after those of lower `rank`.

    A block of whose rows none fits is left out as a whole, unless it `stays`. `what` says of what kind the rows are.
    """

    head: str
    rows: Sequence[str] = ()
    tail: str = ""
    rank: int = 0
    what: str = ""
    stays: bool = False
    taken: int = field(default=0, init=False)
    framed: bool = field(default=False, init=False)

    @property
    def left_out(self) -> int:
        """How many rows are left out."""
        return len(self.rows) - self.taken

    def text(self) -> str:
        """The piece, with the rows that were taken."""
        if not self.framed:
            return ""
        more = [f"- … and {self.left_out:,} more, left out"] if self.left_out else []
        return "\n".join([*([self.head] if self.head else []), *self.rows[: self.taken], *more, *_line(self.tail)])


def fitted(blocks: Sequence[Block], limit: int = LIMIT) -> str:
    """The blocks as one text of at most `limit` bytes, with a note of what was left out."""
    room = limit - _RESERVE
    by_rank = sorted(blocks, key=lambda one: one.rank)
    # First what stays, then rows, and with the first of them the rest of their blocks.
    for block in by_rank:
        frame = _frame(block)
        if (block.stays or not block.rows) and frame <= room:
            room -= frame
            block.framed = True
    for block in by_rank:
        for row in block.rows:
            needed = _size([row]) + (0 if block.framed else _frame(block))
            if needed > room:
                break
            room -= needed
            block.framed = True
            block.taken += 1
    text = "\n\n".join(part for block in blocks if (part := block.text()))
    left = Counter[str]()
    for block in blocks:
        left[block.what] += block.left_out
    said = ", ".join(f"{count:,} {what}" for what, count in left.items() if count)
    note = (
        f"\n\n**Left out**, as GitHub takes {LIMIT:,} characters: {said}. The preview itself has everything."
        if said
        else ""
    )
    return f"{text}{note}\n"


def _frame(block: Block) -> int:
    """Bytes of a block without its rows."""
    return _size([block.head, block.tail, "- … and 1,000,000 more, left out"]) + 2


def _line(text: str) -> list[str]:
    return [text] if text else []


def _size(lines: Iterable[str]) -> int:
    """Bytes, with line ends."""
    return sum(len(line.encode()) + 1 for line in lines)
