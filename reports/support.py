"""Warns of clusters in a preview whose Kubernetes version leaves standard support."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from contracts import eks
from policies.reading.resources import at

from .preview_output import UNKNOWN, Step
from .property_changes import code

_CLUSTER = "aws:eks/cluster:Cluster"


def support_notices(steps: Iterable[Step]) -> Iterator[str]:
    """A line for each cluster, existing or new, whose version leaves standard support soon or has left it."""
    for step in steps:
        inputs = None if step.op == "delete" else step.new or step.old
        if step.type != _CLUSTER or inputs is None:
            continue
        name, support_type = at(inputs, "version", None), at(inputs, "upgradePolicy.supportType", eks.EXTENDED)
        version = eks.versions().get(name) if name != UNKNOWN else None
        if version and (notice := version.notice(eks.today(), support_type)):
            yield f"- {code(step.name)}: {notice}."
