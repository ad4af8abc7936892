"""The policy pack. The engine starts it: `pulumi preview --policy-pack policies`."""

from __future__ import annotations

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The pack is a folder of this project and uses the project's data about instance types and charts.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies import analyzer
from policies.pack import POLICIES

analyzer.install()
PolicyPack(
    "gpulab",
    POLICIES,
    # The level in production. In a lab a violation is a warning: see policies/lifecycle.py.
    EnforcementLevel.MANDATORY,
)
