"""Reads the JSON files of this folder, for the loaders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def read(file: str) -> dict[str, Any]:
    """The content of a file. `file` is its path in this folder."""
    return json.loads((FOLDER / file).read_text(encoding="utf-8"))
