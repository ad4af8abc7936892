"""Finds what a preview would destroy that holds data, or may hold data, and why it would be destroyed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from contracts.stateful import Verdict, verdict
from policies.reading.resources import at

from .preview_output import UNKNOWN, Preview, Step
from .property_changes import parts_of, value_at

_TAKING = ("replace", "delete")
_WHY: Mapping[Verdict, str] = {
    "data": "holds data, or the key to it",
    "records": "holds records: logs, metrics, messages or snapshots",
    "takes": "takes with it what others put there",
    "unknown": "has a type without a verdict: it may hold data",
}
_PROVIDER = "pulumi:providers:"
_NAMESPACE = "kubernetes:core/v1:Namespace"


@dataclass(frozen=True, kw_only=True)
class Danger:
    """What would be destroyed for one reason. `cause` is the step that leads to it, and may itself hold no data."""

    cause: Step | None
    """None if no ID leads to it: then the steps are alike."""
    steps: tuple[Step, ...]
    """The steps in danger; the cause comes first if it is one of them."""
    allow: str
    """The name that allows all of them."""

    @property
    def first(self) -> Step:
        """The cause, or one of the steps if the cause is not known."""
        return self.cause or self.steps[0]


def why(step: Step) -> str:
    """What would be lost with the resource of a step."""
    return _WHY[_verdict(step)]


def endangered(preview: Preview) -> list[Step]:
    """Replaces and deletes of everything that is not known to hold no data."""
    return [step for step in preview.steps if step.op in _TAKING and _verdict(step) != "none"]


def dangers(preview: Preview) -> list[Danger]:
    """What is in danger, grouped by cause."""
    danger = endangered(preview)
    by_urn: dict[str, list[Step]] = {}
    causes: dict[str, Step] = {}
    sought = _Causes(preview)
    for step in danger:
        cause = sought.root(step)
        causes[cause.urn] = cause
        by_urn.setdefault(cause.urn, []).append(step)
    named = [*danger, *causes.values()]
    found = [
        Danger(
            cause=causes[urn],
            steps=tuple(sorted(steps, key=lambda item: (item.urn != urn, item.type, item.name))),
            allow=shortest_name(causes[urn], named),
        )
        for urn, steps in by_urn.items()
    ]
    return _joined(found, danger)


def _joined(found: Sequence[Danger], danger: Sequence[Step]) -> list[Danger]:
    """The same, but dangers whose cause no ID shows are joined if they are alike: one type, one property."""
    alike: dict[tuple[str, ...], list[Danger]] = {}
    for item in found:
        single = len(item.steps) == 1 and item.first.op == "replace" and _waits(item.first)
        key = (item.first.type, *item.first.forcing) if single else (item.first.urn, item.first.op)
        alike.setdefault(key, []).append(item)
    joined: list[Danger] = []
    for same in alike.values():
        steps = tuple(step for item in same for step in item.steps)
        pattern = f"{steps[0].type}::{_beginning([step.name for step in steps])}*"
        covered = {step.urn for step in danger if is_named(step, pattern)}
        if len(same) > 1 and covered == {step.urn for step in steps}:
            joined.append(Danger(cause=None, steps=steps, allow=pattern))
        else:
            joined += same
    return joined


def _beginning(names: Sequence[str]) -> str:
    """The common beginning of all names."""
    letters = itertools.takewhile(lambda alike: len(set(alike)) == 1, zip(*names, strict=False))
    return "".join(alike[0] for alike in letters)


def is_allowed(danger: Danger, allowed: Iterable[str]) -> bool:
    """Whether everything in danger for one reason is allowed, by its cause or each by itself."""
    patterns = list(allowed)
    by_cause = danger.cause is not None and any(is_named(danger.cause, item) for item in patterns)
    return by_cause or all(any(is_named(step, item) for item in patterns) for step in danger.steps)


def is_named(step: Step, pattern: str) -> bool:
    """Whether a pattern such as `lab-*` is a resource's name, type and name, or URN."""
    return any(fnmatchcase(name, pattern) for name in (step.name, f"{step.type}::{step.name}", step.urn))


def shortest_name(step: Step, among: Iterable[Step]) -> str:
    """The name that allows a step: its own name, with its type before it if another step has the same name."""
    is_unique = len({other.urn for other in among if other.name == step.name}) == 1
    return step.name if is_unique else f"{step.type}::{step.name}"


def _verdict(step: Step) -> Verdict:
    return "none" if step.is_component else verdict(step.type, step.old or step.new)


class _Causes:
    """Finds why a resource is destroyed: because of a resource whose ID it has, or whose namespace it is in."""

    def __init__(self, preview: Preview) -> None:
        gone = [step for step in preview.steps if step.op in _TAKING and not step.is_component]
        self._providers = {step.type: step for step in gone if step.type.startswith(_PROVIDER)}
        # Several may have one ID: a file system and its policy do.
        self._by_id: dict[str, list[Step]] = {}
        for step in gone:
            if step.id:
                self._by_id.setdefault(step.id, []).append(step)
        self._namespaces = {at(step.old, "metadata.name", step.name): step for step in gone if step.type == _NAMESPACE}

    def root(self, step: Step) -> Step:
        """The first cause; the step itself if there is no other."""
        seen = {step.urn}
        while (cause := self._cause(step)) and cause.urn not in seen:
            seen.add(cause.urn)
            step = cause
        return step

    def _cause(self, step: Step) -> Step | None:
        if step.op == "delete":
            claimed = at(step.old, "spec.claimRef.namespace", "")
            return self._namespaces.get(at(step.old, "metadata.namespace", claimed))
        if "provider" in step.forcing:
            return self._providers.get(_PROVIDER + step.type.partition(":")[0])
        # The preview cannot know values of a resource that is not made yet. If the old value was the ID of a resource
        # that is replaced, that one is the cause.
        if not _waits(step):
            return None
        values = [value_at(step.old, parts_of(path)) for path in step.forcing]
        ids = [part for old in values if isinstance(old, str) for part in _ids(old, self._by_id)]
        found = [item for part in ids for item in self._by_id[part] if item.urn != step.urn]
        return min(found, key=lambda item: (_verdict(item) == "none", item.urn), default=None)


def _waits(step: Step) -> bool:
    """Whether a step replaces its resource only because of values that the preview cannot know."""
    return bool(step.forcing) and all(value_at(step.new, parts_of(path)) == UNKNOWN for path in step.forcing)


def _ids(text: str, known: Mapping[str, Sequence[Step]]) -> Sequence[str]:
    """The IDs in a text, such as both in `fs-1::fsap-2`."""
    return [part for part in [text, *re.split(r"::|[/:,]", text)] if part in known]
