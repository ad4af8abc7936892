"""Screenshots of the scenes: docs/tour.md shows some of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

FOLDER = "GPULAB_SCREENSHOTS"
"""The variable that names the folder where they are kept; without it they end with the run."""


@dataclass(frozen=True)
class Pictures:
    """The folder of one scene's pictures."""

    folder: Path

    @classmethod
    def of(cls, scene: str, temporary: Path) -> Pictures:
        """Those of a scene, in the folder that the environment names, else in `temporary`."""
        kept = os.environ.get(FOLDER)
        return cls((Path(kept) if kept else temporary) / scene)

    def take(self, tab: Page, name: str) -> Path:
        """Takes a picture of what the tab shows, and returns its file."""
        path = self.folder / f"{name}.png"
        tab.screenshot(path=path)
        return path
