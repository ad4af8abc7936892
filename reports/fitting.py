"""Fits a comment into GitHub's limit: leaves out the least important rows, and says how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LIMIT = 65_536
"""Characters of a comment (GitHub: "body is too long (maximum is 65536 characters)"). Bytes are counted, to be safe."""
_RESERVE = 2_000


@dataclass(kw_only=True)
class Block:
    """A part of a comment. Its last `rows` may be left out, first those of the blocks with the highest `rank`.

    If none of its rows fits, the whole block is left out, unless it `stays`. `what` names the kind of the rows.
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
        """The part, with the rows that fit."""
        if not self.framed:
            return ""
        more = [f"- … and {self.left_out:,} more, left out"] if self.left_out else []
        return "\n".join([*([self.head] if self.head else []), *self.rows[: self.taken], *more, *_line(self.tail)])


def fitted(blocks: Sequence[Block], limit: int = LIMIT) -> str:
    """The blocks as one text of at most `limit` bytes, with a note about what was left out."""
    room = limit - _RESERVE
    by_rank = sorted(blocks, key=lambda item: item.rank)
    # First the blocks that stay, then rows. The first row of a block brings the head and tail of the block.
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
        f"\n\n**Left out**, because GitHub's limit is {LIMIT:,} characters: {said}. The preview itself has everything."
        if said
        else ""
    )
    return f"{text}{note}\n"


def _frame(block: Block) -> int:
    """The bytes of a block without its rows."""
    return _size([block.head, block.tail, "- … and 1,000,000 more, left out"]) + 2


def _line(text: str) -> list[str]:
    return [text] if text else []


def _size(lines: Iterable[str]) -> int:
    """The bytes of lines, with line ends."""
    return sum(len(line.encode()) + 1 for line in lines)
