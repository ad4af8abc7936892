"""`python -m rehearsal.providers NAME ENGINE_ADDRESS` serves a stand-in to the Pulumi engine, for one command."""

from __future__ import annotations

import gc
import runpy
import sys
import types
from importlib.util import find_spec
from pathlib import Path

# A component provider by the SDK's own server. The others need only the messages of the protocol.
_WITH_THE_SDK = ("eks",)


def _leave_out_the_sdk() -> None:
    """Has `pulumi.runtime.proto` load without the packages that it is in: that takes a third of a stand-in's start."""
    found = find_spec("pulumi")
    assert found
    assert found.origin
    folder = Path(found.origin).parent
    for name, path in (("pulumi", folder), ("pulumi.runtime", folder / "runtime")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


def main() -> None:
    """Serves until the engine ends."""
    # Most of what it makes stays until the end: it seldom pays to search for garbage.
    gc.set_threshold(100_000)
    name = sys.argv.pop(1)
    if name not in _WITH_THE_SDK:
        _leave_out_the_sdk()
    runpy.run_module(f"rehearsal.providers.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
