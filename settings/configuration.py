"""What a stack's configuration gives each section, and the mistakes of its keys, before any section is checked.

Pulumi says nothing of a key that nobody reads, decodes what it can, and hands on the rest; so this is said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from settings.section import MUST_BE_TEXT, SHOWS_VALUE, Mistake, Path, Section, nearest, text_of

REGION_KEY = "aws:region"

_OTHERS = ("eks", "kubernetes", "pulumi", "random")
"""Whose keys are not ours to judge: the engine's, and those of the providers of the program's packages."""

_DATE = re.compile(r"\d{4}-\d\d?-\d")

_EMPTY = ("", "{}")
"""The defaults of sections in Pulumi.yaml."""

_PLAINLY = "nothing in it is a secret, write it plainly"
_IN_PLACE_OF_ENCRYPTION = {"identity": "secrets lie elsewhere, name the place (secretsManager or kubernetesSecret)"}


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A number, a date, true or false without quotes: its text in the file, and what the engine reads."""

    text: str
    read: str


@dataclass(frozen=True, kw_only=True)
class AsWritten:
    """What a stack file says beyond the values that the engine makes of it."""

    plain: Mapping[str, Plain] = field(default_factory=dict)
    """Numbers, dates, true and false without quotes, by full key with its path."""
    mistakes: tuple[Mistake, ...] = ()
    """Of keys that the engine does not even read."""
    misplaced: Mapping[str, str] = field(default_factory=dict)
    """What stands beside the configuration and belongs into it, by full key."""


@dataclass(kw_only=True)
class Given:
    """What the configuration gives."""

    region: str
    sections: dict[str, Any] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    covered: list[Path] = field(default_factory=list)
    """Where there is a mistake already, so that others there or below would only follow from it."""

    def is_covered(self, path: Path) -> bool:
        """Whether a mistake at a path follows from one that is known."""
        return any(path[: len(one)] == one for one in self.covered)


def sections_of(model: type[Section]) -> dict[str, bool]:
    """The names of the sections that a model of a whole configuration has, and whether the section is a text."""
    return {info.alias or name: _is_text(info.annotation) for name, info in model.model_fields.items()}


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(map(_is_text, get_args(annotation)))
    return annotation is str


def given_by(config: Mapping[str, str], project: str, sections: Mapping[str, bool], written: AsWritten) -> Given:
    """What is given to the sections of a project, which are names and whether the section is a text.

    A mistyped or misplaced key counts as what it stands for, where that is missing: one mistake is enough.
    """
    config = {**config, **{key: text for key, text in written.misplaced.items() if config.get(key, "") in _EMPTY}}
    config, mistakes = _with_nested(config, project)
    unread = {key: problem for key in sorted(config) if (problem := _unread(key, project, sections))}
    given = Given(region=config.get(REGION_KEY, ""), mistakes=mistakes)
    for key in sorted(key for key in config.keys() - unread.keys() if key.startswith(f"{project}:")):
        name = key.partition(":")[2]
        value = _decoded(config[key], is_text=sections.get(name, False) and key not in written.plain)
        # Pulumi.yaml gives empty defaults, so that a missing section is reported with everything else.
        if value not in ("", {}) or name not in sections:
            given.sections[name] = value
    for key, (message, meant) in unread.items():
        given.mistakes.append(Mistake(key, message))
        name = meant.removeprefix(f"{project}:")
        section = _section_of(name)
        if meant == REGION_KEY:
            given.region = given.region or config[key]
        elif section not in sections or section in given.sections:
            continue
        elif name == section:
            given.sections[section] = _decoded(config[key], is_text=sections[section])
        else:
            given.covered.append((section,))
    for name, value in given.sections.items():
        for path in _encrypted(value, (name,)):
            what = _IN_PLACE_OF_ENCRYPTION.get(name, _PLAINLY)
            given.mistakes.append(Mistake(f"{project}:{text_of(path)}", f"is encrypted: {what}"))
            given.covered.append(path)
    return given


def _with_nested(config: dict[str, str], project: str) -> tuple[dict[str, str], list[Mistake]]:
    """The configuration with what is written as `gpulab: {network: …}`, and the mistakes of that."""
    config, mistakes = dict(config), []
    for namespace in (project, "aws"):
        inner = _decoded(config.get(f"{project}:{namespace}", ""), is_text=False)
        if isinstance(inner, dict) and inner:
            del config[f"{project}:{namespace}"]
            example = f"{namespace}:{next(iter(inner))}"
            message = f'is read by nobody: write each key within it with its namespace, such as "{example}"'
            mistakes.append(Mistake(namespace, message))
            for name, value in inner.items():
                if config.get(f"{namespace}:{name}", "") in _EMPTY:
                    config[f"{namespace}:{name}"] = value if isinstance(value, str) else json.dumps(value)
    return config, mistakes


def _unread(key: str, project: str, sections: Mapping[str, bool]) -> tuple[str, str] | None:
    """What is wrong with a key that nobody reads, and the key that it stands for or ""; None for one that is read."""
    namespace, _, name = key.partition(":")
    # Of plain names in its own namespace the settings themselves say which they do not know.
    own = namespace == project and _section_of(name) == name and not _prefixed(name, project)
    if namespace in _OTHERS or key == REGION_KEY or (own and name.lower() != "region"):
        return None
    meant = _meant(key, project, sections)
    if _section_of(meant) != meant:
        command = f"`pulumi config set --path '{meant}' VALUE`"
        return f"has no effect, as it is one name and no path: remove it and set the value by {command}", meant
    if meant:
        return f'is read by nobody: did you mean "{meant}"?', meant
    if namespace == "aws":
        # An explicit provider is given none of these: whoever relied on one would deploy to another account.
        return "has no effect: sign in by the environment (AWS_PROFILE, AWS_REGION and so on) and remove it", ""
    return f"is read by nobody: remove it. Read are {project}: with {', '.join(sections)}, and {REGION_KEY}", ""


def _meant(key: str, project: str, sections: Mapping[str, bool]) -> str:
    """The key that a mistyped one stands for, with its path if it has one; empty where that cannot be told."""
    namespace, _, name = key.partition(":")
    if namespace == project and (prefixed := _prefixed(name, project)):
        namespace, name = prefixed[1].lower(), prefixed[2]
    near = nearest(namespace, [project, "aws", *_OTHERS]) or (project if name in sections else "")
    if near in (project, "aws") and nearest(name, ["region"]):
        return REGION_KEY
    if near == project:
        head = _section_of(name)
        section = nearest(head, sections)
        return f"{project}:{section}{name[len(head) :]}" if section else ""
    return f"{near}:{name}" if near in _OTHERS else ""


def _prefixed(name: str, project: str) -> re.Match[str] | None:
    """The two parts of a key that was given another sign than the colon, such as gpulab.network."""
    return re.fullmatch(rf"({project}|aws)[^A-Za-z0-9]+(.+)", name, re.IGNORECASE)


def _section_of(name: str) -> str:
    return re.split(r"[.\[]", name, maxsplit=1)[0]


def _decoded(text: str, *, is_text: bool) -> Any:
    """A section's value: text for those that are text, else what the JSON says, or the text if it is none."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        # loads: it is no JSON. dumps: it is JSON that no engine writes, NaN or half a letter.
        return text
    return text if is_text and not isinstance(value, dict | list) else value


def _encrypted(value: Any, path: Path) -> Iterator[Path]:
    """Where there are encrypted values, as Pulumi writes them to a stack file: `secure: v1:…`."""
    if isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str):
        yield path
    elif isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _encrypted(inner, (*path, key))


def in_quotes(mistakes: Sequence[Mistake], plain: Mapping[str, Plain]) -> list[Mistake]:
    """The mistakes with what the file has without quotes, and those more that only the file shows.

    Without quotes 0042 is 34 for the engine, and a date gets a time of day.
    """
    found: dict[str, list[Mistake]] = {}
    for mistake in mistakes:
        found.setdefault(mistake.key, []).append(mistake)
    silent = tuple(key for key, several in found.items() if any(SHOWS_VALUE not in one.message for one in several))
    for key, value in plain.items():
        if key in silent or key.startswith(tuple(f"{one}{sign}" for one in silent for sign in ".[")):
            continue  # it may be a secret
        known = found.get(key, [])
        octal = re.fullmatch(r"([-+]?)0+([1-7][0-7]+)", value.text.replace("_", ""))
        reads = f"the engine reads {value.text} as {value.read}, in base 8"
        if any(one.message.startswith(MUST_BE_TEXT) for one in known):
            why = "" if value.text == value.read else f", as the engine reads {value.read} without them"
            found[key] = [Mistake(key, f'{MUST_BE_TEXT}: write "{value.text}" in quotes{why}')]
        elif octal and known:
            # What to write is what was meant.
            meant = [re.sub(rf"\b{value.read}(?=[smh]\b)", octal[2], one.message) for one in known]
            found[key] = [Mistake(key, f"{message}; {reads}") for message in meant]
        elif octal:
            found[key] = [Mistake(key, f"must have no zero before it, as {reads}: write {octal[1]}{octal[2]}")]
        elif _DATE.match(value.text) and not known:
            found[key] = [Mistake(key, f'{MUST_BE_TEXT}: write "{value.text}" in quotes')]
    return [one for several in found.values() for one in several]
