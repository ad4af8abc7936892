"""What every section of the stack file has in common: pydantic models that report all their mistakes, in plain words.

Pydantic stops before a model's own checks when one of its fields is wrong, and says what it found in its own terms. A
`Section` runs its rules on the fields that are right even so, and gives each mistake the words that a user of the stack
file needs: what is wrong, what is accepted, and what was given.
"""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from settings.values import DISTINCT, repeated

Path: TypeAlias = tuple[str | int, ...]
"""Where in a section: keys as the stack file spells them, and positions in lists."""

Findings: TypeAlias = Iterator[tuple[Path, str]]
"""What a rule yields: where the mistake is and what it is, as the end of the sentence that begins with the key."""

MUST_BE_TEXT = "must be text"
SHOWS_VALUE = " (given "

_GIVEN_LIMIT = 80
_PASSWORD = re.compile(r"//[^/@]*@")  # with its user, in an address
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Facts:
    """What a section may know of the rest. None: not known, because it is missing or wrong."""

    stack: str | None = None
    today: datetime.date | None = None
    region: str | None = None
    production: bool | None = None
    thrift: bool | None = None
    zones: tuple[str, ...] | None = None


@dataclass
class Reading:
    """The state of one pass over a stack file: pydantic's validation context."""

    facts: Facts = field(default_factory=Facts)
    lenient: bool = False
    """Whether a section with mistakes is taken all the same, without the attributes whose values are wrong."""
    valid: list[dict[str, Any]] = field(default_factory=list)
    """The valid fields so far of each section that is being read, outermost first."""


@dataclass(frozen=True)
class Mistake:
    """One mistake: the full key as it stands in the stack file, and what is wrong with it and what to do."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class SettingsError(ValueError):
    """Every mistake of a stack file; `str` of it lists them, a line each."""

    def __init__(self, stack: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n".join([f"stack {stack}: {count} in its settings", *(f"  {m}" for m in mistakes)]))


SectionRule = TypeVar("SectionRule", bound=Callable[[Any, Facts], Findings])


def rule(check: SectionRule) -> SectionRule:
    """Mark a method of a Section as a check across its fields.

    It is called with the facts and yields its findings. When some fields are wrong it runs on the others, and is given
    up as soon as it asks for one that is wrong; so each rule checks one thing.
    """
    check.is_rule = True  # type: ignore[attr-defined]
    return check


class Section(BaseModel):
    """A part of the stack file: unknown keys refused, camelCase in the file, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_default=True)

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """What was given with the defaults that depend on other fields or sections; a section overrides it."""
        return given

    def told(self, facts: Facts) -> Facts:
        """The facts with what this section adds for those after it; a section overrides it."""
        return facts

    @field_validator("*")
    @classmethod
    def _note_valid(cls, value: Any, info: ValidationInfo) -> Any:
        if info.context and info.field_name:
            info.context.valid[-1][info.field_name] = value
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _report_every_mistake(cls, given: Any, handler: Callable[[Any], Any], info: ValidationInfo) -> Any:
        reading = info.context
        if reading is None:  # made in Python, out of any stack file: nothing is known of the other sections
            return handler(given)
        mistyped = cls._mistyped(given) if isinstance(given, dict) else {}
        mistakes = [_mistake((key,), unknown_key(key, cls.known_keys())) for key in mistyped]
        if mistyped:
            given = {mistyped.get(key, key): value for key, value in given.items()}
        complete = cls.completed(given, reading.facts) if isinstance(given, dict) else given
        valid: dict[str, Any] = {}
        reading.valid.append(valid)
        try:
            section = handler(complete)
        except ValidationError as error:
            mistakes += [
                cls._in_plain_words(details, given, reading.facts)
                for details in error.errors(include_url=False)
                if details["loc"] not in [(meant,) for meant in mistyped.values()]  # another key may have been meant
            ]
            section = cls._of_valid_fields(valid, complete)
        finally:
            reading.valid.pop()
        for check in cls._rules():
            try:
                findings = list(check(section, reading.facts))
            except AttributeError:
                if not mistakes and not reading.lenient:
                    raise
                continue  # the rule needs a field that is wrong
            mistakes += [_mistake(path, message + _given_at(path, given)) for path, message in findings]
        try:
            reading.facts = section.told(reading.facts)
        except AttributeError:
            if not mistakes and not reading.lenient:
                raise
        if mistakes and not (reading.lenient and isinstance(given, dict)):
            raise ValidationError.from_exception_data(cls.__name__, mistakes)
        return section

    @classmethod
    def _rules(cls) -> list[Callable[[Any, Facts], Findings]]:
        own = [value for value in vars(cls).values() if getattr(value, "is_rule", False)]
        return [Section._repeats_nothing, *own]

    def _repeats_nothing(self, facts: Facts) -> Findings:
        for name, info in type(self).model_fields.items():
            twice = repeated(vars(self).get(name, ())) if DISTINCT in info.metadata else []
            if twice:
                yield (info.alias or name,), f"must not repeat an entry: {', '.join(twice)} is there more than once"

    @classmethod
    def _of_valid_fields(cls, valid: dict[str, Any], given: Any) -> Section:
        """A section that lacks the attributes whose values are wrong."""
        names = {name for name, info in cls.model_fields.items() if isinstance(given, dict) and info.alias in given}
        section = cls.model_construct(names, **valid)
        for name in cls.model_fields.keys() - valid.keys():
            vars(section).pop(name, None)
        return section

    @classmethod
    def _mistyped(cls, given: Mapping[str, Any]) -> dict[str, str]:
        """The keys that nobody knows, and those that they stand for and that are not there themselves."""
        known, meant = cls.known_keys(), dict[str, str]()
        for key in given:
            near = nearest(key, known) if key not in known else None
            if near and near not in given and near not in meant.values():
                meant[key] = near
        return meant

    @classmethod
    def by_key(cls) -> dict[str, FieldInfo]:
        """The section's fields by their keys, as the stack file spells them."""
        return {info.alias or name: info for name, info in cls.model_fields.items()}

    @classmethod
    def known_keys(cls) -> list[str]:
        """The section's keys as the stack file spells them."""
        return list(cls.by_key())

    @classmethod
    def _in_plain_words(cls, details: ErrorDetails, given: Any, facts: Facts) -> InitErrorDetails:
        # A mistake in a mapping's key, not in its value, is marked so by pydantic.
        path = details["loc"] if details["type"] == "extra_forbidden" else _without_marks(details["loc"])
        value = details["input"]
        context = details.get("ctx", {})
        match details["type"]:
            case "mistake":  # of a section within this one: already in plain words
                message = details["msg"]
            case "missing":
                message = f"is missing. {cls._description(path)}"
            case "extra_forbidden":
                message = unknown_key(str(path[-1]), cls.known_keys())
            case "model_type" | "model_attributes_type":
                message = f"must be a mapping with keys of {', '.join(cls.known_keys())}" + given_as(value)
            case kind:
                message = _EXPECTED.get(kind, _other)(value, {**context, "msg": details["msg"]})
                if isinstance(given, dict) and path[0] in given:
                    message += given_as(value)
                elif facts.stack and facts.stack in str(value):
                    message += f" (by default {_shown(value)}, from the stack's name: set this key)"
                else:
                    message += f" (by default {_shown(value)})"
        return _mistake(path, message)

    @classmethod
    def _description(cls, path: Path) -> str:
        return cls.by_key()[str(path[-1])].description or ""


def _without_marks(path: Path) -> Path:
    return tuple(part for part in path if part != "[key]")


def text_of(path: Path) -> str:
    """The path as Pulumi writes property paths: `gpu.limits.gpus`, `zones[1]`, `labels["example.com/team"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{json.dumps(part, ensure_ascii=False)}]"
    return text


def unknown_key(key: str, known: Iterable[str]) -> str:
    """What to say of a key that nobody knows: the nearest that is known, else all of them."""
    known = list(known)
    near = nearest(key, known)
    return f'is unknown: did you mean "{near}"?' if near else f"is unknown: known are {', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely stands for; letter case, hyphens and underscores aside."""
    by_plain = {re.sub(r"[-_]", "", name).lower(): name for name in known}
    match = difflib.get_close_matches(re.sub(r"[-_]", "", word).lower(), by_plain, n=1, cutoff=0.6)
    return by_plain[match[0]] if match else None


def given_as(value: Any) -> str:
    """The end of a message: what the stack file has there."""
    return f"{SHOWS_VALUE}{_shown(value)})"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True)
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = _PASSWORD.sub("//…@", text)
    return text if len(text) <= _GIVEN_LIMIT else text[: _GIVEN_LIMIT - 1] + "…"


def _given_at(path: Path, given: Any) -> str:
    """What the stack file has at a path of a section; nothing when it is the section itself or not there."""
    value = given
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return ""
    return given_as(value) if path else ""


def _mistake(path: Path, message: str) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("mistake", "{text}", {"text": message}), loc=path, input=None)


def _quoted_text(value: Any, _: dict[str, Any]) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{MUST_BE_TEXT}: write the number in quotes" if number else MUST_BE_TEXT


def _one_of(value: Any, context: dict[str, Any]) -> str:
    choices = re.findall(r"'([^']*)'", context["expected"])
    near = nearest(value, choices) if isinstance(value, str) else None
    return f"must be {' or '.join(choices)}" + (f': did you mean "{near}"?' if near else "")


def _other(_: Any, context: dict[str, Any]) -> str:
    return context["msg"]


_EXPECTED: dict[str, Callable[[Any, dict[str, Any]], str]] = {
    "value_error": lambda _, context: str(context["error"]),
    "string_type": _quoted_text,
    "int_type": lambda *_: "must be a whole number",
    "bool_type": lambda *_: "must be true or false, without quotes",
    "tuple_type": lambda *_: "must be a list",
    "dict_type": lambda *_: "must be a mapping of names to values",
    "literal_error": _one_of,
}
"""Pydantic's kinds of errors that these models can meet, in a user's words."""
