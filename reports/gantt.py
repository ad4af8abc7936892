"""Draws bars over time as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .drawing import FONT, text_width

_WIDTH, _PAD, _LABELS = 1040, 14, 400
_ROW, _BAR, _HEAD, _TEXT = 20, 13, 74, 11
_STEPS = (1, 2, 5, 10, 15, 30, 60)
_MOST_LINES = 16
_PLAIN, _MARKED = "#8fb8de", "#d64545"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """Something that takes time, from `start` to `end` in minutes. `faint` marks an estimate."""

    label: str
    group: str
    start: float
    end: float
    marked: bool = False
    faint: bool = False


def gantt(bars: Sequence[Bar], title: str) -> str:
    """The chart, with rows in the order of their start. Screen readers read `title`."""
    last = max((bar.end for bar in bars), default=0.0) or 1.0
    step = next((item for item in _STEPS if last / item <= _MOST_LINES), _STEPS[-1])
    scale = (_WIDTH - _LABELS - 2 * _PAD) / (math.ceil(last / step) * step)
    height = _HEAD + _ROW * len(bars) + _PAD
    left = _PAD + _LABELS
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="{FONT}" role="img" '
        f'aria-label="{escape(title)}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(_PAD, 22, title, size=14, weight="bold"),
        *_legend(),
    ]
    for number in range(math.ceil(last / step) + 1):
        x = left + number * step * scale
        lines.append(f'<path d="M{x:.1f},{_HEAD - 6} V{height - _PAD}" stroke="#e4e7eb"/>')
        lines.append(_text(x, _HEAD - 10, f"{number * step}", anchor="middle"))
    for row, bar in enumerate(sorted(bars, key=lambda item: (item.start, -item.end, item.group, item.label))):
        y = _HEAD + _ROW * row
        x, width = left + bar.start * scale, max((bar.end - bar.start) * scale, 1.5)
        fill = _MARKED if bar.marked else _PLAIN
        style = f'fill="{fill}" fill-opacity="0.35" stroke="{fill}"' if bar.faint else f'fill="{fill}"'
        lines.append(_text(_PAD, y + 12, _cut(f"{bar.group}: {bar.label}"), weight="bold" if bar.marked else "normal"))
        lines.append(f'<rect x="{x:.1f}" y="{y + 2}" width="{width:.1f}" height="{_BAR}" rx="2" {style}/>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _legend() -> list[str]:
    shown = [
        (f'fill="{_MARKED}"', "critical path"),
        (f'fill="{_PLAIN}"', "has time to spare"),
        (f'fill="{_PLAIN}" fill-opacity="0.35" stroke="{_PLAIN}"', "estimated: no published figure"),
    ]
    lines, x = [], float(_PAD)
    for style, label in shown:
        lines.append(f'<rect x="{x:.1f}" y="34" width="22" height="{_BAR}" rx="2" {style}/>')
        lines.append(_text(x + 28, 45, label))
        x += 28 + text_width(label, _TEXT) + 24
    return [*lines, _text(_WIDTH - _PAD, 45, "minutes", anchor="end")]


def _text(x: float, y: float, text: str, *, size: int = _TEXT, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="#1f2933">{escape(text)}</text>'
    )


def _cut(label: str) -> str:
    """A label that is short enough to end before the bars begin."""
    while text_width(label, _TEXT) > _LABELS - 8:
        label = f"{label[:-2]}…"
    return label
