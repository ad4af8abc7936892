"""A preview that no engine wrote: any number of resources, in many components, with all kinds of changes."""

from __future__ import annotations

import json

PLATFORM = "gpulab:index:Platform"
COMPONENTS = ("Network", "Cluster", "Storage", "Identity", "Teams", "Hub", "Karpenter", "NodePools")
OPS = ("create", "update", "replace", "delete")


def large_preview(count: int) -> str:
    """The events of a preview of `count` resources, a quarter of each kind of change; each 100th is a file system."""
    lines = []
    for number in range(count):
        op = OPS[number % len(OPS)]
        type_ = "aws:efs/fileSystem:FileSystem" if number % 100 == 2 else "aws:iam/role:Role"
        component = COMPONENTS[number // len(OPS) % len(COMPONENTS)]
        urn = f"urn:pulumi:large::gpulab::{PLATFORM}$gpulab:index:{component}${type_}::gpulab-large-{number:04}"
        old = {"type": type_, "urn": urn, "inputs": {"description": f"number {number}", "path": "/before/"}}
        new = {**old, "inputs": {"description": f"number {number}", "path": "/after/"}}
        metadata = {"op": op, "urn": urn, "type": type_, "detailedDiff": {"path": {"diffKind": "update"}}}
        sides = {"create": {"new": new}, "delete": {"old": old}}.get(op, {"old": old, "new": new})
        lines.append({"resourcePreEvent": {"metadata": {**metadata, **sides}}})
    lines += [{"policyLoadEvent": {}}, {"summaryEvent": {"maybeCorrupt": False}}, {"cancelEvent": {}}]
    numbered = [{"sequence": number, "timestamp": 0, **line} for number, line in enumerate(lines)]
    return "\n".join(map(json.dumps, numbered)) + "\n"
