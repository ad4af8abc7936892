"""Draws nested boxes as SVG.

The layout is our own and small: the maintained libraries for nested boxes need a binary (Graphviz, a browser).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
_TITLE, _TEXT = 14, 12
# Widths of letters in units of their size. They are rather too large, because not every viewer has Helvetica.
_NARROW, _WIDE = "fijlrtI1.,:;|!'()[]/- ", "mwMW@%"
_PAD, _GAP, _LINE, _HEAD, _FOOT = 14, 14, 17, 34, 10
# The least width of a column of boxes.
_COLUMN = 290
_COLOURS = {
    "outer": ("#f7f9fc", "#3e4c59"),
    "component": ("#ffffff", "#9aa5b1"),
    "data": ("#fffbea", "#f0b429"),
    "machines": ("#e3f9e5", "#57ae5b"),
    "cluster": ("#e3f8ff", "#2bb0ed"),
}


@dataclass(kw_only=True)
class Box:
    """A box with a title, lines of text below it, and boxes inside. `colour` is a name of `_COLOURS`."""

    title: str
    lines: Sequence[str] = ()
    inside: Sequence[Box] = ()
    colour: str = "component"
    _wrapped: list[str] = field(default_factory=list, init=False)
    _x: float = field(default=0, init=False)
    _y: float = field(default=0, init=False)
    _width: float = field(default=0, init=False)
    _height: float = field(default=0, init=False)

    def measure(self, width: float) -> float:
        """Lays out the box and what is in it for a width. Returns its height."""
        room = width - 2 * _PAD
        self._width = width
        self._wrapped = [part for line in self.lines for part in _wrap(line, room)]
        top = _HEAD + _LINE * len(self._wrapped) + (_GAP / 2 if self._wrapped and self.inside else 0)
        count = max(1, min(len(self.inside), int((room + _GAP) // (_COLUMN + _GAP))))
        columns: list[list[Box]] = [[] for _ in range(count)]
        heights = [0.0] * count
        each = (room - _GAP * (count - 1)) / count
        tall_first = sorted(self.inside, key=lambda item: item.measure(each), reverse=True)
        for inner in tall_first:
            column = heights.index(min(heights))
            columns[column].append(inner)
            inner._x = _PAD + column * (each + _GAP)
            inner._y = top + heights[column]
            heights[column] += inner._height + _GAP
        # The last box of each column ends where the longest column does.
        for column, height in zip(columns, heights, strict=True):
            if column:
                column[-1]._height += max(heights) - height
        self._height = top + (max(heights) - _GAP + _PAD if self.inside else _FOOT)
        return self._height

    def drawn(self, x: float, y: float) -> list[str]:
        """The SVG of the box; `x` and `y` are the position of the box around it."""
        x, y = x + self._x, y + self._y
        fill, stroke = _COLOURS[self.colour]
        found = [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{self._width:.0f}" height="{self._height:.0f}" rx="8" fill="{fill}" '
            f'stroke="{stroke}" stroke-width="1.5"/>',
            f'<text x="{x + _PAD:.0f}" y="{y + 23:.0f}" font-size="{_TITLE}" font-weight="bold" fill="#1f2933">'
            f"{escape(self.title)}</text>",
        ]
        found += [
            f'<text x="{x + _PAD:.0f}" y="{y + 42 + _LINE * number:.0f}" font-size="{_TEXT}" fill="#52606d">'
            f"{escape(line)}</text>"
            for number, line in enumerate(self._wrapped)
        ]
        return [*found, *(line for inner in self.inside for line in inner.drawn(x, y))]


def svg(root: Box, label: str, width: int = 1040) -> str:
    """The drawing, `width` pixels wide. Screen readers read `label`."""
    height = root.measure(width - 4) + 4
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" font-family="{FONT}" role="img" '
        f'aria-label="{escape(label)}">',
        f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>',
        *root.drawn(2, 2),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _wrap(text: str, width: float) -> list[str]:
    """A text in lines of at most a width, broken between words. A longer word is not broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, _TEXT) <= width:
            lines[-1] = longer
        else:
            lines.append(word if not lines else f"   {word}")
    return lines


def text_width(text: str, size: float) -> float:
    """How wide a text is at most, in pixels."""
    return sum(0.36 if letter in _NARROW else 0.95 if letter in _WIDE else 0.6 for letter in text) * size
