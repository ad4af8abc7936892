"""Reads what `pulumi preview --json` (or `pulumi destroy --preview-only --json`) wrote.

The engine has two forms of it. With `PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true` it writes its events, a line each, with
what policies said and with the resources that stay as they are. Else it writes one document, which has neither, and
which the engine (3.250) does not get done for a program with an output that is secret and not yet known: it panics,
"attempt to encrypt value".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What stands for a text that only an update can tell (pulumi/sdk, resource/plugin/rpc.go)."""
SECRET = "[secret]"  # noqa: S105 - what the engine writes in a secret's place
_SIGNATURE = "4dabf18193072939515e22adb298388d"  # marks a special object, secrets among them
_COLOURS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_STACK = "pulumi:pulumi:Stack"
# Several steps of the engine's are one replacement.
_REPLACING = {"create-replacement", "delete-replaced", "import-replacement", "replace"}
_SAME = {"same", "read", "read-replacement", "read-discard", "discard-replaced", "remove-pending-replace"}
CHANGES = ("create", "update", "replace", "delete")


class PreviewError(ValueError):
    """Not what a preview writes; the message says what is wrong and what to do."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one resource. `op` is create, update, replace, delete or same.

    `old` and `new` are its inputs before and after, None where there are none. `paths` are the properties that differ,
    those of `forcing` are why it is replaced.
    """

    op: str
    urn: str
    type: str
    parent: str
    old: Mapping[str, Any] | None = None
    new: Mapping[str, Any] | None = None
    paths: tuple[str, ...] = ()
    forcing: tuple[str, ...] = ()
    retained: bool = False
    """A destroy leaves it in the cloud."""

    @property
    def name(self) -> str:
        """The logical name."""
        return name_of(self.urn)

    @property
    def component(self) -> str:
        """The component below the program's outermost one that it is in; the outermost itself for its own children."""
        within = component_types(self.urn)
        return within[min(1, len(within) - 1)].rpartition(":")[2] if within else "the stack itself"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What a policy said of a resource (by logical name), or of the stack. Without `mandatory` it is an advice."""

    policy: str
    resource: str
    message: str
    mandatory: bool

    @property
    def undecided(self) -> bool:
        """Whether the policy waits for a value that the preview could not know."""
        return "not yet known: " in self.message


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a preview of one stack would do.

    `violations` is None where no policies were asked, or the engine did not write what they said. `complete` says
    whether resources that stay as they are are among the steps.
    """

    stack: str
    steps: tuple[Step, ...]
    region: str | None = None
    violations: tuple[Violation, ...] | None = None
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    complete: bool = False

    def of(self, op: str) -> list[Step]:
        """The steps of one kind."""
        return [step for step in self.steps if step.op == op]


@dataclass
class _Reading:
    """What was read so far."""

    steps: dict[str, Step] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, raw: Mapping[str, Any], old: Any, new: Any, forcing: Any) -> None:
        """Notes a step. Of the steps of one replacement the one that knows both sides stands for all."""
        op = "replace" if raw["op"] in _REPLACING else "same" if raw["op"] in _SAME else raw["op"]
        urn = raw["urn"]
        before = self.steps.get(urn)
        if before and before.op != "same" and (op != "replace" or not old or not new):
            return
        state = new or old or {}
        self.steps[urn] = Step(
            op=op,
            urn=urn,
            type=state.get("type") or types_of(urn)[-1],
            parent=state.get("parent") or "",
            old=_inputs(old),
            new=_inputs(new),
            paths=tuple(sorted(raw.get("detailedDiff") or raw.get("diffReasons") or raw.get("diffs") or ())),
            forcing=tuple(sorted(forcing or ())),
            retained=bool((old or {}).get("retainOnDelete")),
        )

    def diagnostic(self, raw: Mapping[str, Any]) -> None:
        """Notes what the engine said of a resource."""
        kept = {"error": self.errors, "warning": self.warnings}.get(raw.get("severity", ""))
        text = _COLOURS.sub("", raw.get("message", "")).strip()
        text = re.sub(r"^(error|warning): ", "", text)
        # The engine's own, about the plugins that it found, are about nothing in the stack.
        if kept is None or raw.get("ephemeral") or not text or re.match(r"using pulumi-\S+ from \$PATH", text):
            return
        name = name_of(raw["urn"]) if raw.get("urn") else ""
        said = text if not name or text.startswith(name) else f"{name}: {text}"
        if said not in kept:
            kept.append(said)


def read(text: str, name: str) -> Preview:
    """The preview that the engine wrote as `text`; `name` is what the user calls it. Raises PreviewError."""
    stripped = text.strip()
    if not stripped:
        raise PreviewError(
            f"{name}: is empty: the preview ended before it wrote anything; what it said on standard error says why"
        )
    if not stripped.startswith("{"):
        raise PreviewError(
            f"{name}: is no JSON, it begins with {stripped.splitlines()[0][:80]!r}: give it the standard output of "
            "`pulumi preview --json` alone"
        )
    try:
        document = json.loads(stripped)
    except ValueError:
        return _of_events(_lines(stripped, name), name)
    if _is_event(document):
        return _of_events([document], name)
    return _of_document(document, name)


def types_of(urn: str) -> list[str]:
    """The types of a resource's parents, outermost first, and its own."""
    parts = urn.split("::", 3)
    return parts[2].split("$") if len(parts) == 4 else [""]


def component_types(urn: str) -> list[str]:
    """The types of the components that a resource is in, outermost first; a component is in itself."""
    return [one for one in types_of(urn) if is_component(one)]


def is_component(type_: str) -> bool:
    """Whether resources of a type are components: their modules are `index`, those of providers' own hardly ever."""
    return bool(re.fullmatch(r"[\w-]+:index:[A-Z]\w*", type_))


def name_of(urn: str) -> str:
    """The logical name in a URN."""
    return urn.split("::", 3)[-1]


def is_secret(value: Any) -> bool:
    """Whether the engine marks a value as secret, or as anything else that is not plain."""
    if isinstance(value, Mapping):
        return _SIGNATURE in value
    return isinstance(value, str) and SECRET in value


def _lines(text: str, name: str) -> Iterator[Mapping[str, Any]]:
    """The events of a text, each in its line."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            raise PreviewError(
                f"{name}: line {number} is no JSON ({line.strip()[:60]!r}): it is cut off, or something else was "
                "written into it; run the preview again, and keep its standard error apart"
            ) from None
        if not _is_event(event):
            raise PreviewError(f"{name}: line {number} is no event of the engine's: give it what the preview wrote")
        yield event


def _is_event(document: Any) -> bool:
    return isinstance(document, dict) and "sequence" in document and "timestamp" in document


def _of_events(events: Iterable[Mapping[str, Any]], name: str) -> Preview:
    reading = _Reading()
    ended = examined = False
    for event in events:
        if begun := event.get("resourcePreEvent"):
            raw = begun["metadata"]
            reading.step(raw, raw.get("old"), raw.get("new"), raw.get("keys"))
        elif policy := event.get("policyEvent"):
            reading.violations.append(_violation(policy))
        elif diagnostic := event.get("diagnosticEvent"):
            reading.diagnostic(diagnostic)
        elif prelude := event.get("preludeEvent"):
            reading.config = prelude.get("config") or {}
        elif "policyLoadEvent" in event:
            examined = True
        elif "summaryEvent" in event or "cancelEvent" in event:
            ended = True
    if not ended:
        raise PreviewError(f"{name}: is cut off: the engine's last event is missing; run the preview again")
    violations = tuple(dict.fromkeys(reading.violations)) if examined or reading.violations else None
    return _preview(reading, name, violations=violations, complete=True)


def _of_document(document: Any, name: str) -> Preview:
    steps = document.get("steps") if isinstance(document, dict) else None
    if steps is None and not (isinstance(document, dict) and {"changeSummary", "diagnostics"} & document.keys()):
        if isinstance(document, dict) and "deployment" in document:
            raise PreviewError(f"{name}: is a state (pulumi stack export), not a preview: run `pulumi preview --json`")
        raise PreviewError(f"{name}: is JSON, but no preview: it has no steps; run `pulumi preview --json`")
    reading = _Reading(config=document.get("config") or {})
    for raw in steps or []:
        reading.step(raw, raw.get("oldState"), raw.get("newState"), raw.get("replaceReasons"))
    for diagnostic in document.get("diagnostics") or []:
        reading.diagnostic(diagnostic)
    same = (document.get("changeSummary") or {}).get("same", 0)
    shown = sum(step.op == "same" for step in reading.steps.values())
    return _preview(reading, name, violations=None, complete=shown >= same)


def _preview(reading: _Reading, name: str, *, violations: tuple[Violation, ...] | None, complete: bool) -> Preview:
    steps = [step for step in reading.steps.values() if step.type != _STACK]
    return Preview(
        stack=name,
        steps=tuple(sorted(steps, key=lambda step: step.urn)),
        region=reading.config.get("aws:region"),
        violations=violations,
        errors=tuple(reading.errors),
        warnings=tuple(reading.warnings),
        complete=complete,
    )


def _inputs(state: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    return (state.get("inputs") or {}) if state else None


def _violation(event: Mapping[str, Any]) -> Violation:
    # A policy's description stands in the first line, what it found in the next.
    message = _COLOURS.sub("", event["message"]).strip().replace("\n", ": ")
    name = name_of(event["resourceUrn"]) if event.get("resourceUrn") else "the stack"
    return Violation(
        policy=event["policyName"],
        resource=name,
        message=message,
        mandatory=event["enforcementLevel"] == "mandatory",
    )
