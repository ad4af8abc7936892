"""GPU pools and profiles that know one instance type: accepted, and warned of in preview."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import settings
from settings.stack_file import read_stack_file

DEV = Path(__file__).parents[2] / "Pulumi.dev.yaml"
PRODUCTION = DEV.with_name("Pulumi.prod.yaml")
P4D = {"families": ["p4d"], "gpus": {"min": 8, "max": 8}, "limits": {"gpus": 8}}


def warnings(
    pools: Mapping[str, Any] | None = None, profiles: Mapping[str, Any] | None = None, file: Path = DEV
) -> dict[str, str]:
    """The warnings about a stack file with additional pools and profiles, by key."""
    config = read_stack_file(file)
    for section, more in (("nodePools", pools), ("profiles", profiles)):
        config |= {f"gpulab:{section}": json.dumps({**json.loads(config[f"gpulab:{section}"]), **(more or {})})}
    stack = settings.on_eks(settings.load(config, stack=file.stem.rpartition(".")[2], today=datetime.date(2026, 6, 1)))
    return {one.key: one.message for one in stack.warnings}


def of_pool(**pool: Any) -> str | None:
    return warnings({"lone": pool}).get("gpulab:nodePools.lone")


def test_the_committed_stacks_have_fallbacks():
    assert warnings() == {}
    assert warnings(file=PRODUCTION) == {}, "what is reserved is of one type"


def test_a_pool_of_one_type_is_told_to_buy_others():
    said = of_pool(**P4D) or ""
    assert said.startswith("can buy only p4d.24xlarge, and no notebook starts there while EC2 is out of that type: ")
    assert "add families or sizes" in said
    assert of_pool(**{**P4D, "families": ["p4d", "p4de"]}) is None


def test_what_leaves_one_type_is_named():
    small = {"families": ["g6"], "gpus": {"min": 1, "max": 1}, "limits": {"gpus": 4, "cpu": 4}}
    assert "raise limits, which leave out g6.16xlarge" in (of_pool(**small) or "")
    cheap = {"categories": ["g"], "gpus": {"min": 8, "max": 8}, "limits": {"gpus": 8}, "maxPrice": 14}
    assert "raise maxPrice, which leaves out g" in (of_pool(**cheap) or "")


def test_a_profile_that_fits_on_one_type_of_its_pool_is_named():
    image = "quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03"
    large = {"displayName": "Large", "image": image, "cpu": 190, "memory": 64, "gpu": {"pool": "gpu", "count": 8}}
    found = warnings(profiles={"large": large})
    assert list(found) == ["gpulab:profiles.large"]
    assert "fits on only one instance type of pool gpu" in found["gpulab:profiles.large"]
