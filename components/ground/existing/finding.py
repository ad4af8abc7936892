"""The type of what a preview finds about a cluster."""

from __future__ import annotations

from typing import Literal, TypeAlias

Finding: TypeAlias = tuple[Literal["error", "warning"], str, str]
"""What it is, the key below `gpulab:`, and the end of the sentence that begins with the key."""
