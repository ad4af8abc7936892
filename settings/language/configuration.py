"""What a stack's configuration gives each section, and the mistakes in its keys, before any section is checked.

Pulumi does not report a key that nobody reads, so this module does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from settings.language.secret_reference import CONFIG_NAMESPACE
from settings.language.section import MUST_BE_TEXT, SHOWS_VALUE, Mistake, Path, Section, nearest, text_of

REGION_KEY = "aws:region"

_OTHERS = ("eks", "kubernetes", "pulumi", "random")
"""The namespaces whose keys are not checked here: the engine's, and those of the providers that the program uses."""

_DATE = re.compile(r"\d{4}-\d\d?-\d")

_EMPTY = ("", "{}")
"""The defaults of sections in Pulumi.yaml."""

_PLAINLY = "nothing in it is a secret, write it as plain text"
_IN_PLACE_OF_ENCRYPTION = {
    "identity": "secrets are kept elsewhere, name the place (secretsManager or kubernetesSecret)"
}


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A number, a date, true or false without quotes: its text in the file, and what the engine makes of it."""

    text: str
    read: str


@dataclass(frozen=True, kw_only=True)
class AsWritten:
    """What a stack file says beyond the values that the engine makes of it."""

    plain: Mapping[str, Plain] = field(default_factory=dict)
    """Numbers, dates, true and false without quotes, by full key with its path."""
    mistakes: tuple[Mistake, ...] = ()
    """Mistakes in keys that the engine does not read."""
    misplaced: Mapping[str, str] = field(default_factory=dict)
    """What is beside the configuration and belongs in it, by full key."""


@dataclass(kw_only=True)
class Given:
    """What the configuration gives."""

    region: str
    sections: dict[str, Any] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    covered: list[Path] = field(default_factory=list)
    """Paths that have a mistake already: further mistakes there or below would only follow from it."""

    def is_covered(self, path: Path) -> bool:
        """Whether a mistake at a path follows from one that is known."""
        return any(path[: len(one)] == one for one in self.covered)


def sections_of(model: type[Section]) -> dict[str, bool]:
    """The sections of a configuration's model by name, each with whether it is a text."""
    return {info.alias or name: _is_text(info.annotation) for name, info in model.model_fields.items()}


def _is_text(annotation: Any) -> bool:
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return any(map(_is_text, get_args(annotation)))
    return annotation is str


def given_by(config: Mapping[str, str], project: str, sections: Mapping[str, bool], written: AsWritten) -> Given:
    """What the configuration gives the sections of a project; `sections` has for each whether it is a text.

    A mistyped or misplaced key counts as the key that was meant, where that is missing: one mistake is enough.
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
    """The configuration with what is written as `gpulab: {network: …}`, and the mistakes in that."""
    config, mistakes = dict(config), []
    for namespace in (project, "aws"):
        inner = _decoded(config.get(f"{project}:{namespace}", ""), is_text=False)
        if isinstance(inner, dict) and inner:
            del config[f"{project}:{namespace}"]
            example = f"{namespace}:{next(iter(inner))}"
            message = f'is not used: write each key within it with its namespace, such as "{example}"'
            mistakes.append(Mistake(namespace, message))
            for name, value in inner.items():
                if config.get(f"{namespace}:{name}", "") in _EMPTY:
                    config[f"{namespace}:{name}"] = value if isinstance(value, str) else json.dumps(value)
    return config, mistakes


def _unread(key: str, project: str, sections: Mapping[str, bool]) -> tuple[str, str] | None:
    """What is wrong with a key that nobody reads, and the key that was meant or ""; None for a key that is read."""
    namespace, _, name = key.partition(":")
    # Unknown plain names in the project's own namespace are reported by the settings.
    own = namespace == project and _section_of(name) == name and not _prefixed(name, project)
    if namespace in (*_OTHERS, CONFIG_NAMESPACE) or key == REGION_KEY or (own and name.lower() != "region"):
        return None
    meant = _meant(key, project, sections)
    if _section_of(meant) != meant:
        command = f"`pulumi config set --path '{meant}' VALUE`"
        return f"has no effect, as it is one name and not a path: remove it and set the value by {command}", meant
    if meant:
        return f'is not used: did you mean "{meant}"?', meant
    if namespace == "aws":
        # The program's own AWS provider reads none of these: a stack that relies on one would go to another account.
        return "has no effect: remove it, and sign in through the environment (AWS_PROFILE, AWS_REGION and so on)", ""
    return f"is not used: remove it. Known are {project}: with {', '.join(sections)}, and {REGION_KEY}", ""


def _meant(key: str, project: str, sections: Mapping[str, bool]) -> str:
    """The key that was meant by a mistyped one, with its path if it has one; empty where that is unclear."""
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
    """The two parts of a key that has another character in place of the colon, such as gpulab.network."""
    return re.fullmatch(rf"({project}|aws)[^A-Za-z0-9]+(.+)", name, re.IGNORECASE)


def _section_of(name: str) -> str:
    return re.split(r"[.\[]", name, maxsplit=1)[0]


def _decoded(text: str, *, is_text: bool) -> Any:
    """A section's value: text if the section is a text, else what the JSON says, or the text if it is not JSON."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        # loads: it is not JSON. dumps: it is JSON that no engine writes, such as NaN or half of a surrogate pair.
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
    """The mistakes with the text that the file has without quotes, and further ones that only the file shows.

    The engine reads 0042 without quotes as 34, and gives a date without quotes a time of day.
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
            # Suggest the decimal number that was meant.
            meant = [re.sub(rf"\b{value.read}(?=[smh]\b)", octal[2], one.message) for one in known]
            found[key] = [Mistake(key, f"{message}; {reads}") for message in meant]
        elif octal:
            found[key] = [Mistake(key, f"must not begin with a zero, as {reads}: write {octal[1]}{octal[2]}")]
        elif _DATE.match(value.text) and not known:
            found[key] = [Mistake(key, f'{MUST_BE_TEXT}: write "{value.text}" in quotes')]
    return [one for several in found.values() for one in several]
