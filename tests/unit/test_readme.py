"""What the README says to write is a stack file: its examples together make one."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import yaml

import settings
from policies.catalogue import POLICIES
from rehearsal.workspace import PROJECT

_EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def examples() -> list[dict[str, Any]]:
    """The sections of each example in turn, by their keys."""
    found = _EXAMPLE.findall((PROJECT / "README.md").read_text(encoding="utf-8"))
    return [(document := yaml.safe_load(one)).get("config", document) for one in found]


def test_the_examples_are_one_valid_stack_file(tmp_path: Path) -> None:
    found = examples()
    sections = [key for one in found for key in one]
    assert len(sections) == len(set(sections)), "each section has one example"
    assert {"gpulab:nodePools", "gpulab:storage", "gpulab:ingress", "gpulab:identity", "gpulab:teams"} <= set(sections)
    stack_file = tmp_path / "Pulumi.lab.yaml"
    config = {key: value for one in found for key, value in one.items()}
    stack_file.write_text(yaml.safe_dump({"config": config}), encoding="utf-8")
    settings.check_stack_file(stack_file, stack="lab", today=datetime.date(2026, 9, 1))


def test_the_policies_are_as_many_as_it_says() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"(\d+) policies on taints", text) == [str(len(POLICIES))]
