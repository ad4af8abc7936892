"""The resources of a stack, as its state, a plan that a preview saved, or a preview has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .inputs import PreviewError, parsed
from .previews import is_component, of_written

_STACK = "pulumi:pulumi:Stack"


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that is there, or is to be. `after` are the URNs of what it depends on, its provider among them."""

    urn: str
    type: str
    parent: str
    custom: bool = True
    after: Sequence[str] | None = None
    """None where that is not told: a preview does not."""
    inputs: Mapping[str, Any] = field(default_factory=dict)


def resources_of(text: str, name: str) -> list[Resource]:
    """The resources in a state (`pulumi stack export`), a plan (`pulumi preview --save-plan`) or a preview.

    Without those that go. Raises PreviewError.
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
            f"{name}: has only what changes: give the state (pulumi stack export), or preview with --show-sames"
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
    for number, one in enumerate(deployment.get("resources") or []):
        if not {"type", "urn"} <= one.keys():
            raise PreviewError(f"{name}: resource {number} of the state lacks its type or urn: export the state anew")
        if one["type"] != _STACK and not one.get("delete"):
            yield _resource(one["urn"], one, one.get("inputs") or {})


def _of_plan(plans: Mapping[str, Any]) -> Iterator[Resource]:
    """What is planned, without what goes, which has no goal."""
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
