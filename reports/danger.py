"""What a preview would take away: data, and what nobody has judged, by what causes it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from contracts.stateful import Verdict, verdict
from policies.reading.resources import at

from .previews import UNKNOWN, Preview, Step
from .property_changes import parts_of, value_at

_TAKING = ("replace", "delete")
_WHY: Mapping[Verdict, str] = {
    "data": "holds data, or the key to it",
    "records": "holds what was recorded: logs, metrics, messages or snapshots",
    "takes": "takes along what others put there",
    "unknown": "is of a type that nobody has judged: it may hold data",
}
_PROVIDER = "pulumi:providers:"
_NAMESPACE = "kubernetes:core/v1:Namespace"


@dataclass(frozen=True, kw_only=True)
class Danger:
    """What goes for one reason: `cause` is the step that brings it about, which need not be in danger itself."""

    cause: Step | None
    """None where no ID tells it: then the steps are alike."""
    steps: tuple[Step, ...]
    """In danger, the cause first where it is one of them."""
    allow: str
    """The name that lets all of them go."""

    @property
    def first(self) -> Step:
        """The cause, or where it is not known one of the steps."""
        return self.cause or self.steps[0]


def why(step: Step) -> str:
    """What would be lost with a step's resource."""
    return _WHY[_verdict(step)]


def endangered(preview: Preview) -> list[Step]:
    """The steps that take data away, or may: replaces and deletes of what is not known to hold none."""
    return [step for step in preview.steps if step.op in _TAKING and _verdict(step) != "none"]


def dangers(preview: Preview) -> list[Danger]:
    """What is in danger, by cause."""
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
            steps=tuple(sorted(steps, key=lambda one: (one.urn != urn, one.type, one.name))),
            allow=shortest_name(causes[urn], named),
        )
        for urn, steps in by_urn.items()
    ]
    return _joined(found, danger)


def _joined(found: Sequence[Danger], danger: Sequence[Step]) -> list[Danger]:
    """The same, with those in one that no ID tells the cause of, and that are alike: of one type, by one property."""
    alike: dict[tuple[str, ...], list[Danger]] = {}
    for one in found:
        single = len(one.steps) == 1 and one.first.op == "replace" and _waits(one.first)
        key = (one.first.type, *one.first.forcing) if single else (one.first.urn, one.first.op)
        alike.setdefault(key, []).append(one)
    joined: list[Danger] = []
    for same in alike.values():
        steps = tuple(step for one in same for step in one.steps)
        pattern = f"{steps[0].type}::{_beginning([step.name for step in steps])}*"
        covered = {step.urn for step in danger if is_named(step, pattern)}
        if len(same) > 1 and covered == {step.urn for step in steps}:
            joined.append(Danger(cause=None, steps=steps, allow=pattern))
        else:
            joined += same
    return joined


def _beginning(names: Sequence[str]) -> str:
    """What all names begin with."""
    letters = itertools.takewhile(lambda alike: len(set(alike)) == 1, zip(*names, strict=False))
    return "".join(alike[0] for alike in letters)


def is_allowed(danger: Danger, allowed: Iterable[str]) -> bool:
    """Whether all that is in danger for one reason was allowed: by its cause, or each by itself."""
    patterns = list(allowed)
    by_cause = danger.cause is not None and any(is_named(danger.cause, one) for one in patterns)
    return by_cause or all(any(is_named(step, one) for one in patterns) for step in danger.steps)


def is_named(step: Step, pattern: str) -> bool:
    """Whether a pattern such as `lab-*` is a resource's name, type and name, or URN."""
    return any(fnmatchcase(name, pattern) for name in (step.name, f"{step.type}::{step.name}", step.urn))


def shortest_name(step: Step, among: Iterable[Step]) -> str:
    """What to allow a step by: its name, with its type before it where another step has the same one."""
    alone = len({other.urn for other in among if other.name == step.name}) == 1
    return step.name if alone else f"{step.type}::{step.name}"


def _verdict(step: Step) -> Verdict:
    return "none" if step.is_component else verdict(step.type, step.old or step.new)


class _Causes:
    """Finds why a resource goes: because another does, whose ID it has, or whose namespace it is in."""

    def __init__(self, preview: Preview) -> None:
        gone = [step for step in preview.steps if step.op in _TAKING and not step.is_component]
        self._providers = {step.type: step for step in gone if step.type.startswith(_PROVIDER)}
        # More than one may have an ID: that of a file system is its policy's too.
        self._by_id: dict[str, list[Step]] = {}
        for step in gone:
            if step.id:
                self._by_id.setdefault(step.id, []).append(step)
        self._namespaces = {at(step.old, "metadata.name", step.name): step for step in gone if step.type == _NAMESPACE}

    def root(self, step: Step) -> Step:
        """The first cause; the step itself where nothing else is one."""
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
        # A value that the preview can't know comes from what is not made yet: from what is replaced, if it was its ID.
        if not _waits(step):
            return None
        values = [value_at(step.old, parts_of(path)) for path in step.forcing]
        ids = [part for old in values if isinstance(old, str) for part in _ids(old, self._by_id)]
        found = [one for part in ids for one in self._by_id[part] if one.urn != step.urn]
        return min(found, key=lambda one: (_verdict(one) == "none", one.urn), default=None)


def _waits(step: Step) -> bool:
    """Whether a step replaces its resource for values alone that the preview can't know."""
    return bool(step.forcing) and all(value_at(step.new, parts_of(path)) == UNKNOWN for path in step.forcing)


def _ids(text: str, known: Mapping[str, Sequence[Step]]) -> Sequence[str]:
    """The IDs in a text, such as both in `fs-1::fsap-2`."""
    return [part for part in [text, *re.split(r"::|[/:,]", text)] if part in known]
