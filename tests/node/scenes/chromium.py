"""Debian's Chromium of the machine root, in the network of the rig, driven by Playwright."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from rehearsal.node import root
from rehearsal.node.namespaces import Machine

_PROGRAM = "/usr/bin/chromium-headless-shell"
# Playwright makes the browser's profile there, and hands over its path.
_PROFILES = Path("/tmp")


@contextlib.contextmanager
def started(
    playwright: Playwright, folder: Path, debian: Path, machine: Machine, domain: str = ""
) -> Iterator[Browser]:
    """A browser for which the names below `domain`, if there is one, are at the machine's address.

    It ends with the block.

    `debian` is the machine root that has its program; `folder` is where the script that starts it is written.
    """
    script = folder / "chromium.sh"
    inside = root.command_line(debian, [_PROGRAM], binds=[root.Bind(_PROFILES, str(_PROFILES), writable=True)])
    command = ["nsenter", f"--net=/proc/{machine.pid}/ns/net", "--", *inside]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    names = [f"--host-resolver-rules=MAP *.{domain} {machine.address}"] if domain else []
    browser = playwright.chromium.launch(executable_path=str(script), args=names)
    try:
        yield browser
    finally:
        browser.close()
