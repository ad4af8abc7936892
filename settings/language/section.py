"""What every section of the stack file has in common: pydantic models that report all their mistakes, in plain words.

Pydantic stops before a model's own checks when one of its fields is wrong, and reports in its own terms. A `Section`
still runs its rules on the fields that are right, and words each mistake for the user of the stack file: what is wrong,
what is accepted, and what was given.
"""

from __future__ import annotations

import contextlib
import datetime
import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from settings.language.values import DISTINCT, repeated

Path: TypeAlias = tuple[str | int, ...]
"""A place in a section: keys as the stack file spells them, and positions in lists."""

Findings: TypeAlias = Iterator[tuple[Path, str]]
"""What a rule yields: where the mistake is, and what it is, as the end of the sentence that begins with the key."""

MUST_BE_TEXT = "must be text"
SHOWS_VALUE = " (given "

_GIVEN_LIMIT = 80
_PASSWORD = re.compile(r"//[^/@]*@")  # with its user, in an address
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Facts:
    """What a section may know about the rest of the file. None: not known, because it is missing or wrong."""

    stack: str | None = None
    today: datetime.date | None = None
    region: str | None = None
    production: bool | None = None
    thrift: bool | None = None
    zones: tuple[str, ...] | None = None
    ground: str | None = None


@dataclass
class Reading:
    """The state of one pass over a stack file: pydantic's validation context."""

    facts: Facts = field(default_factory=Facts)
    lenient: bool = False
    """Whether a section with mistakes is accepted, without the attributes whose values are wrong."""
    valid: list[dict[str, Any]] = field(default_factory=list)
    """The fields of each section being read that were valid so far, outermost section first."""


@dataclass(frozen=True)
class Mistake:
    """One mistake: the full key as it stands in the stack file, and what is wrong with it and what to do."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class SettingsError(ValueError):
    """Every mistake in a stack file; `str` lists them, one a line."""

    def __init__(self, stack: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        super().__init__("\n".join([f"stack {stack}: {count} in its settings", *(f"  {m}" for m in mistakes)]))


class MissingField(Exception):
    """A field was read that the section lacks, because its value is wrong or absent in the stack file.

    It is not an AttributeError: a mistyped name in a rule must fail, whatever else is wrong in the file.
    """


SectionRule = TypeVar("SectionRule", bound=Callable[[Any, Facts], Findings])


def rule(check: SectionRule) -> SectionRule:
    """Mark a method of a Section as a check across its fields.

    It gets the facts and yields its findings. When some fields are wrong it still runs, and stops as soon as it reads
    one of these; so each rule checks one thing.
    """
    check.is_rule = True  # type: ignore[attr-defined]
    return check


class Section(BaseModel):
    """A part of the stack file: unknown keys refused, camelCase in the file, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, validate_default=True)

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that only a stack on another ground has, each with what to do here."""

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """What was given, with the defaults that depend on other fields or sections; sections override it."""
        return given

    def add_facts(self, facts: Facts) -> Facts:
        """The facts, with what this section adds for those after it; sections override it."""
        return facts

    if not TYPE_CHECKING:  # it would accept any attribute

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise MissingField(f"{type(self).__name__} has no valid {name}")
            return super().__getattr__(name)

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
        if reading is None:  # made in Python, without a stack file: nothing is known about other sections
            return handler(given)
        mistyped = cls._mistyped(given) if isinstance(given, dict) else {}
        mistakes = [_mistake((key,), cls.unknown(key)) for key in mistyped]
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
            except MissingField:
                continue  # the field's own mistake is reported
            mistakes += [_mistake(path, message + _given_at(path, given)) for path, message in findings]
        with contextlib.suppress(MissingField):
            reading.facts = section.add_facts(reading.facts)
        if mistakes and not (reading.lenient and isinstance(given, dict)):
            raise ValidationError.from_exception_data(cls.__name__, mistakes)
        return section

    @classmethod
    def _rules(cls) -> list[Callable[[Any, Facts], Findings]]:
        """The section's rules, after those of the sections that it extends."""
        parts = [part for part in reversed(cls.__mro__) if issubclass(part, Section)]
        return [value for part in parts for value in vars(part).values() if getattr(value, "is_rule", False)]

    @rule
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
        """The unknown keys, each with the key that was meant, where that one is missing."""
        known, meant = cls.known_keys(), dict[str, str]()
        for key in given:
            near = nearest(key, known) if key not in known and key not in cls.elsewhere else None
            if near and near not in given and near not in meant.values():
                meant[key] = near
        return meant

    @classmethod
    def by_key(cls) -> dict[str, FieldInfo]:
        """The section's fields by their keys, as the stack file spells them."""
        return {info.alias or name: info for name, info in cls.model_fields.items()}

    @classmethod
    def unknown(cls, key: str) -> str:
        """What to say of a key that the section does not have."""
        return cls.elsewhere.get(key) or unknown_key(key, cls.known_keys())

    @classmethod
    def known_keys(cls) -> list[str]:
        """The section's keys as the stack file spells them."""
        return list(cls.by_key())

    @classmethod
    def _in_plain_words(cls, details: ErrorDetails, given: Any, facts: Facts) -> InitErrorDetails:
        # Pydantic marks a mistake in a mapping's key in this way, to distinguish it from one in the value.
        path = details["loc"] if details["type"] == "extra_forbidden" else _without_marks(details["loc"])
        value = details["input"]
        context = details.get("ctx", {})
        match details["type"]:
            case "mistake":  # from a section within this one, already in plain words
                message = details["msg"]
            case "missing":
                message = f"is missing. {cls._description(path)}"
            case "extra_forbidden":
                message = cls.unknown(str(path[-1]))
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
    """What to report for an unknown key: the nearest known key, else all of them."""
    known = list(known)
    near = nearest(key, known)
    return f'is unknown: did you mean "{near}"?' if near else f"is unknown: known are {', '.join(known)}"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a mistyped one most likely stands for. Letter case, hyphens and underscores don't matter."""
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
    """What the stack file has at a path of a section; empty when it is the section itself or missing."""
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
"""The kinds of pydantic's errors that these models can meet, in plain words."""
