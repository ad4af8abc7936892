"""`PYTHONPATH=. python tests/unit/timeline_lab.py STACK_FILE`: the critical path of an `up`, from the mocks' graph.

It takes seconds and no engine, for work on the order of resources. `python -m reports.timeline` reports the same for a
plan or a state, which have the real children of pulumi-eks' components.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ingress_mocks
import platform_lab
import pytest
from engine_mocks import EngineMocks, Registered

import settings
from components.platform import Platform
from reports.resources import Resource
from reports.timeline import described, timeline

# The mocks make no children of these.
_REMOTE = {"eks:index:Cluster": "aws:eks/cluster:Cluster", "eks:index:ManagedNodeGroup": "aws:eks/nodeGroup:NodeGroup"}


def graph(stack_file: Path, today: datetime.date = datetime.date(2026, 9, 1)) -> EngineMocks:
    """The whole platform of a stack file, deployed to the mocks."""
    mocks = EngineMocks()
    stack = stack_file.stem.removeprefix("Pulumi.")
    with pytest.MonkeyPatch.context() as patch, platform_lab.answering_eks(mocks, patch):
        ingress_mocks.answer(mocks, patch)
        loaded = settings.on_eks(settings.check_stack_file(str(stack_file), stack, today))
        mocks.deploy(lambda: Platform(loaded.cluster.name, loaded))
    return mocks


def planned(mocks: Any) -> list[Resource]:
    """What the mocks recorded, as a plan has it."""
    return [one for registered in mocks.resources for one in _planned(registered)]


def _planned(registered: Registered) -> Iterator[Resource]:
    provider = registered.provider.rpartition("::")[0]
    found = Resource(
        urn=registered.urn,
        type=registered.type,
        custom=registered.custom,
        parent=registered.parent,
        after=(*registered.dependencies, provider),
        inputs=registered.inputs,
    )
    yield found
    if registered.type in _REMOTE:
        inside = _child(found, _REMOTE[found.type])
        yield inside
        if registered.type == "eks:index:Cluster":
            addon = _child(found, "aws:eks/addon:Addon")
            yield replace(addon, after=(inside.urn,), inputs={"addonName": "vpc-cni"})


def _child(component: Resource, type_: str) -> Resource:
    types, _, name = component.urn.rpartition("::")
    return replace(component, urn=f"{types}${type_}::{name}", type=type_, custom=True, parent=component.urn, after=())


if __name__ == "__main__":
    sys.stdout.write(described(timeline(planned(graph(Path(sys.argv[1])))), sys.argv[1]))
