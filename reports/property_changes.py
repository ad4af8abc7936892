"""Describes what a step changes: the paths of properties, with their values unless they are secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .preview_output import UNKNOWN, Step, is_secret

_LONGEST = 60
_PARTS = re.compile(r"\[\"((?:[^\"\\]|\\.)*)\"\]|\[(\d+)\]|\.?([^.\[\]]+)")
# Words in keys whose values must not appear in a pull request, even if they are not marked as secret.
_PRIVATE = re.compile(
    r"password|passwd|secret|token|credential|private|api_?key|access_?key|user_?data|kubeconfig", re.IGNORECASE
)


def property_changes(step: Step) -> list[str]:
    """A line in Markdown for each property that differs."""
    return [_change(step, path) for path in step.paths]


def _change(step: Step, path: str) -> str:
    said = f"{code(path)}: {_shown(step.old, path)} → {_shown(step.new, path)}"
    forces = any(path == item or path.startswith((f"{item}.", f"{item}[")) for item in step.forcing)
    return f"{said} (replaces it)" if forces else said


def code(text: str) -> str:
    """A text as Markdown code in one line, also if it has backticks."""
    flat = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if fence != "`" else ""
    return f"{fence}{pad}{flat}{pad}{fence}" if flat else "nothing"


def _shown(inputs: Mapping[str, Any] | None, path: str) -> str:
    parts = parts_of(path)
    if any(_PRIVATE.search(part) for part in parts if isinstance(part, str)):
        return "*not shown*"
    value = value_at(inputs, parts)
    if is_secret(value):
        return "*secret*"
    if value is None or value == UNKNOWN:
        return "*none*" if value is None else "*not yet known*"
    if isinstance(value, Mapping | list):
        return "*a value of several parts*"
    text = value if isinstance(value, str) else json.dumps(value)
    # A long text is a document. It is not known which part differs, or whether that part is secret.
    return code(text) if len(text) <= _LONGEST and "\n" not in text else f"*a text of {len(text)} characters*"


def value_at(value: Any, parts: Sequence[str | int]) -> Any:
    """The value at a path; if the path leads into a secret, that secret."""
    for part in parts:
        if is_secret(value):
            return value
        if isinstance(part, int):
            value = (
                value[part]
                if isinstance(value, Sequence) and not isinstance(value, str) and part < len(value)
                else None
            )
        else:
            value = value.get(part) if isinstance(value, Mapping) else None
    return value


def parts_of(path: str) -> list[str | int]:
    """The keys and indices of a property path as the engine writes it: `spec.limits["nvidia.com/gpu"]`, `tags[0]`."""
    return [
        int(index) if index else (key or re.sub(r"\\(.)", r"\1", quoted)) for quoted, index, key in _PARTS.findall(path)
    ]
