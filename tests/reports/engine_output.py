"""What the engine writes in a preview: stored previews, and events made for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports.preview_output import Step

HERE = Path(__file__).parent
STORED = HERE / "previews"


def stored(name: str) -> str:
    return (STORED / name).read_text(encoding="utf-8")


def step(op: str = "update", old: Any = None, new: Any = None, **given: Any) -> Step:
    urn = "urn:pulumi:dev::gpulab::gpulab:index:Platform$gpulab:index:Hub$aws:s3/thing:Thing::one"
    return Step(**{"op": op, "urn": urn, "type": "aws:s3/thing:Thing", "parent": "", "old": old, "new": new, **given})


def events(*payloads: dict[str, Any]) -> str:
    lines = [{"sequence": number, "timestamp": 0, **payload} for number, payload in enumerate(payloads)]
    return "".join(json.dumps(line) + "\n" for line in lines)


def resource(op: str, type_: str, name: str, **given: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::gpulab::gpulab:index:Platform${type_}::{name}"
    return {"resourcePreEvent": {"metadata": {"op": op, "urn": urn, "type": type_, **given}}}


END = {"summaryEvent": {}}
