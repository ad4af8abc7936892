"""Reads the resources of a stack from its state, from a saved plan, or from a preview."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .preview_output import is_component, of_written
from .report_source import PreviewError, parsed

_STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that exists or is planned. `after` are the URNs of what it depends on, with its provider."""

    urn: str
    type: str
    parent: str
    custom: bool = True
    after: Sequence[str] | None = None
    """None if the source does not say it, as a preview does not."""
    inputs: Mapping[str, Any] = field(default_factory=dict)


def resources_of(text: str, name: str) -> list[Resource]:
    """The resources in a state (`pulumi stack export`), a plan (`pulumi preview --save-plan`) or a preview.

    Resources that are to be deleted are left out. Raises PreviewError.
    """
    document = parsed(text, name)
    if isinstance(document, dict):
        if "deployment" in document:
            return list(_of_state(document["deployment"] or {}, name))
        plan = document.get("plan", document)
        if isinstance(plan, dict) and "resourcePlans" in plan:
            return list(_of_plan(plan["resourcePlans"] or {}))
    preview = of_written(document, name)
    if not preview.complete:
        raise PreviewError(
            f"{name}: has only what changes. Give the state (pulumi stack export), or preview with --show-sames"
        )
    kept = [step for step in preview.steps if step.op != "delete"]
    return [
        Resource(
            urn=step.urn,
            type=step.type,
            parent=step.parent,
            custom=not step.is_component,
            inputs=step.new or step.old or {},
        )
        for step in kept
    ]


def _of_state(deployment: Mapping[str, Any], name: str) -> Iterator[Resource]:
    for number, item in enumerate(deployment.get("resources") or []):
        if not {"type", "urn"} <= item.keys():
            raise PreviewError(f"{name}: resource {number} of the state lacks its type or urn. Export the state again")
        if item["type"] != _STACK and not item.get("delete"):
            yield _resource(item["urn"], item, item.get("inputs") or {})


def _of_plan(plans: Mapping[str, Any]) -> Iterator[Resource]:
    """The planned resources. A resource that is to be deleted has no goal."""
    for urn, plan in plans.items():
        goal = plan.get("goal")
        if goal and goal["type"] != _STACK:
            yield _resource(urn, goal, (goal.get("inputDiff") or {}).get("adds") or {})


def _resource(urn: str, raw: Mapping[str, Any], inputs: Mapping[str, Any]) -> Resource:
    provider = (raw.get("provider") or "").rpartition("::")[0]
    return Resource(
        urn=urn,
        type=raw["type"],
        parent=raw.get("parent") or "",
        custom=bool(raw.get("custom", not is_component(raw["type"]))),
        after=tuple(dict.fromkeys([*(raw.get("dependencies") or []), *([provider] if provider else [])])),
        inputs=inputs,
    )
