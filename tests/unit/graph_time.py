"""`python tests/unit/graph_time.py STACK_FILE`: the seconds from a stack file to the whole graph, with the mocks.

For `python -m rehearsal.bench.teams`, as a separate process; prints JSON.
"""

from __future__ import annotations

import datetime
import json
import resource
import sys
import time

import platform_lab
import pytest
from engine_mocks import EngineMocks

import settings
from components.platform import Platform


def main() -> None:
    """Loads the settings, deploys the platform, and reports how long each took."""
    mocks = EngineMocks()
    with pytest.MonkeyPatch.context() as patch, platform_lab.answering_eks(mocks, patch):
        began = time.monotonic()
        loaded = settings.on_eks(settings.check_stack_file(sys.argv[1], "dev", datetime.date(2026, 9, 1)))
        read = time.monotonic()
        mocks.deploy(lambda: Platform(loaded.cluster.name, loaded))
        ended = time.monotonic()
    figures = {
        "settings_seconds": round(read - began, 2),
        "graph_seconds": round(ended - read, 2),
        "graph_resources": len(mocks.resources),
        "graph_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
