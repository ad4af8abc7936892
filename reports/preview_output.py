"""Reads the output of `pulumi preview --json` (or `pulumi destroy --preview-only --json`).

The engine has two forms of it. With `PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true` it writes its events, one per line,
with the results of policies and the resources that do not change. Otherwise it writes one document without these. The
engine (3.250) cannot write the document for a program with an output that is secret and not yet known: it panics,
"attempt to encrypt value".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from .report_source import PreviewError, parsed

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a text that only an update knows (pulumi/sdk, resource/plugin/rpc.go)."""
SECRET = "[secret]"  # noqa: S105 - what the engine writes in a secret's place
_SIGNATURE = "4dabf18193072939515e22adb298388d"  # marks a special object, secrets among them
_COLOURS = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_STACK = "pulumi:pulumi:Stack"
# The engine's operations (pulumi/pkg, resource/deploy/step.go). Several steps are one replacement.
_REPLACING = {"create-replacement", "delete-replaced", "import-replacement", "replace"}
# These change nothing in the cloud: what is read belongs to somebody else, what is pending was replaced before.
_SAME = {"same", "read", "read-replacement", "discard", "discard-replaced", "remove-pending-replace"}
# A later step of the same resource replaces these: a preview with --refresh first reads each resource.
_PASSING = {"same", "refresh"}
CHANGES = ("create", "update", "replace", "delete")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What happens to one resource. `op` is create, update, replace, delete, same or another name of the engine.

    `old` and `new` are its inputs before and after, or None. `paths` are the properties that differ, `forcing` those
    that force a replacement.
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
    id: str = ""
    """The provider's name for what is there now."""
    custom: bool = False
    """The engine says that a provider manages it."""

    @property
    def is_component(self) -> bool:
        """Whether it is a component, which only groups other resources."""
        return not self.custom and is_component(self.type)

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
    """What a policy found in a resource (by logical name), or in the stack. Without `mandatory` it is a warning."""

    policy: str
    resource: str
    message: str
    mandatory: bool

    @property
    def undecided(self) -> bool:
        """Whether the policy needs a value that the preview cannot know."""
        return "not yet known: " in self.message


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a preview of one stack would do.

    `violations` is None if no policies ran, or the engine did not write their results. `complete` says whether the
    steps include the resources that do not change.
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

    @property
    def changes(self) -> tuple[str, ...]:
        """The kinds of changes: the usual ones, then others of the engine, such as import."""
        return *CHANGES, *sorted({step.op for step in self.steps} - {*CHANGES, "same"})


class _Written(BaseModel):
    """The part of the engine's output that is read here (pulumi/sdk, apitype/events.go; pulumi/pkg, display)."""

    model_config = ConfigDict(alias_generator=to_camel)


class _State(_Written):
    type: str = ""
    id: str | None = None
    custom: bool = False
    parent: str | None = None
    retain_on_delete: bool = False
    inputs: dict[str, Any] | None = None


class _RawStep(_Written):
    """A step of a document, or of an event, which has other names for the same fields."""

    op: str
    urn: str
    old: _State | None = Field(default=None, validation_alias=AliasChoices("old", "oldState"))
    new: _State | None = Field(default=None, validation_alias=AliasChoices("new", "newState"))
    forcing: list[str] | None = Field(default=None, validation_alias=AliasChoices("keys", "replaceReasons"))
    differing: list[str] | None = Field(default=None, validation_alias=AliasChoices("diffs", "diffReasons"))
    detailed_diff: dict[str, Any] | None = None


class _Begun(_Written):
    metadata: _RawStep


class _Diagnostic(_Written):
    severity: str = ""
    message: str = ""
    urn: str | None = None
    ephemeral: bool = False


class _Policy(_Written):
    policy_name: str
    message: str
    enforcement_level: str
    resource_urn: str | None = None


class _Prelude(_Written):
    config: dict[str, Any] | None = None


class _Event(_Written):
    resource_pre_event: _Begun | None = None
    policy_event: _Policy | None = None
    diagnostic_event: _Diagnostic | None = None
    prelude_event: _Prelude | None = None


class _Document(_Prelude):
    steps: list[_RawStep] | None = None
    diagnostics: list[_Diagnostic] | None = None
    change_summary: dict[str, int] | None = None


_Model = TypeVar("_Model", bound=_Written)


@dataclass
class _Reading:
    """What was read so far. A URN has at most two steps: one may delete an old copy of the resource."""

    steps: dict[tuple[str, bool], Step] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, raw: _RawStep) -> None:
        """Records a step. Of the steps of one replacement, the one with both sides counts."""
        op = "replace" if raw.op in _REPLACING else "same" if raw.op in _SAME else raw.op
        old, new = raw.old, raw.new
        key = raw.urn, op == "delete"
        before = self.steps.get(key)
        if before and before.op not in _PASSING and (op != "replace" or not old or not new):
            return
        state = new or old or _State()
        self.steps[key] = Step(
            op=op,
            urn=raw.urn,
            type=state.type or types_of(raw.urn)[-1],
            parent=state.parent or "",
            old=_inputs(old),
            new=_inputs(new),
            paths=tuple(sorted(raw.detailed_diff or raw.differing or ())),
            forcing=tuple(sorted(raw.forcing or ())),
            retained=old.retain_on_delete if old else False,
            id=(old.id if old else None) or "",
            custom=state.custom,
        )

    def noted(self) -> list[Step]:
        """The steps, without the refresh of a resource that is then deleted."""
        return [step for (urn, _), step in self.steps.items() if step.op != "refresh" or (urn, True) not in self.steps]

    def diagnostic(self, raw: _Diagnostic) -> None:
        """Records a message of the engine about a resource."""
        kept = {"error": self.errors, "warning": self.warnings}.get(raw.severity)
        text = _COLOURS.sub("", raw.message).strip()
        text = re.sub(r"^(error|warning): ", "", text)
        # Messages about the plugins that the engine found say nothing about the stack.
        if kept is None or raw.ephemeral or not text or re.match(r"using pulumi-\S+ from \$PATH", text):
            return
        name = name_of(raw.urn) if raw.urn else ""
        said = text if not name or text.startswith(name) else f"{name}: {text}"
        if said not in kept:
            kept.append(said)


def read(text: str, name: str) -> Preview:
    """The preview that the engine wrote as `text`; `name` is the user's name for it. Raises PreviewError."""
    return of_written(parsed(text, name), name)


def of_written(written: Any, name: str) -> Preview:
    """The same for JSON that is already parsed. Raises PreviewError."""
    return _of_events(written, name) if isinstance(written, list) else _of_document(written, name)


def types_of(urn: str) -> list[str]:
    """The types of a resource's parents, outermost first, and its own."""
    parts = urn.split("::", 3)
    return parts[2].split("$") if len(parts) == 4 else [""]


def component_types(urn: str) -> list[str]:
    """The types of the components that a resource is in, outermost first; a component is in itself."""
    return [item for item in types_of(urn) if is_component(item)]


def is_component(type_: str) -> bool:
    """Whether a type may be a component's: its module is `index`. A few providers have such types too."""
    return bool(re.fullmatch(r"[\w-]+:index:[A-Z]\w*", type_))


def name_of(urn: str) -> str:
    """The logical name in a URN."""
    return urn.split("::", 3)[-1]


def is_secret(value: Any) -> bool:
    """Whether the engine marks a value as secret, or as anything else that is not plain."""
    if isinstance(value, Mapping):
        return _SIGNATURE in value
    return isinstance(value, str) and SECRET in value


def _of_events(events: Iterable[Mapping[str, Any]], name: str) -> Preview:
    reading = _Reading()
    ended = examined = False
    for raw in events:
        event = _checked(_Event, raw, f"{name}: event {raw['sequence']}")
        if event.resource_pre_event:
            reading.step(event.resource_pre_event.metadata)
        elif event.policy_event:
            reading.violations.append(_violation(event.policy_event))
        elif event.diagnostic_event:
            reading.diagnostic(event.diagnostic_event)
        elif event.prelude_event:
            reading.config = event.prelude_event.config or {}
        elif "policyLoadEvent" in raw:
            examined = True
        elif "summaryEvent" in raw or "cancelEvent" in raw:
            ended = True
    if not ended:
        raise PreviewError(f"{name}: is cut off, the engine's last event is missing. Run the preview again")
    violations = tuple(dict.fromkeys(reading.violations)) if examined or reading.violations else None
    return _preview(reading, name, violations=violations, complete=True)


def _of_document(raw: Mapping[str, Any], name: str) -> Preview:
    if raw.get("steps") is None and not {"changeSummary", "diagnostics"} & raw.keys():
        if "deployment" in raw:
            raise PreviewError(f"{name}: is a state (pulumi stack export), not a preview. Run `pulumi preview --json`")
        raise PreviewError(f"{name}: is JSON, but not a preview: it has no steps. Run `pulumi preview --json`")
    document = _checked(_Document, raw, name)
    reading = _Reading(config=document.config or {})
    for step in document.steps or []:
        reading.step(step)
    for diagnostic in document.diagnostics or []:
        reading.diagnostic(diagnostic)
    same = (document.change_summary or {}).get("same", 0)
    shown = sum(step.op == "same" for step in reading.noted())
    return _preview(reading, name, violations=None, complete=shown >= same)


def _checked(model: type[_Model], raw: Any, what: str) -> _Model:
    """Checks the shape of the engine's output. Raises PreviewError without the values, which may be secret."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PreviewError(
            f"{what}: {where}: {first['msg']}: this is not the engine's. Give it the unchanged standard output "
            "of `pulumi preview --json`"
        ) from None


def _preview(reading: _Reading, name: str, *, violations: tuple[Violation, ...] | None, complete: bool) -> Preview:
    steps = [step for step in reading.noted() if step.type != _STACK]
    region = reading.config.get("aws:region")
    return Preview(
        stack=name,
        steps=tuple(sorted(steps, key=lambda step: (step.urn, step.op))),
        region=region if isinstance(region, str) else None,
        violations=violations,
        errors=tuple(reading.errors),
        warnings=tuple(reading.warnings),
        complete=complete,
    )


def _inputs(state: _State | None) -> Mapping[str, Any] | None:
    return (state.inputs or {}) if state else None


def _violation(event: _Policy) -> Violation:
    # The first line is the policy's description, the next is what it found.
    message = _COLOURS.sub("", event.message).strip().replace("\n", ": ")
    name = name_of(event.resource_urn) if event.resource_urn else "the stack"
    return Violation(
        policy=event.policy_name,
        resource=name,
        message=message,
        mandatory=event.enforcement_level == "mandatory",
    )
