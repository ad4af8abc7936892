"""The policy pack. The engine starts it: `pulumi preview --policy-pack policies`."""

from __future__ import annotations

import sys
from pathlib import Path

from pulumi_policy import EnforcementLevel, PolicyPack

# The pack is a folder of this project, and shares its facts about instance types and charts.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from policies import serving
from policies.catalogue import POLICIES

serving.install()
PolicyPack(
    "gpulab",
    POLICIES,
    # In production; in a lab a violation is an advice. See policies/lifecycle.py.
    EnforcementLevel.MANDATORY,
)
