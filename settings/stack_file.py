"""Reads a stack file as Pulumi's engine does, without the engine."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from settings.language.configuration import AsWritten, Plain
from settings.language.section import Mistake, nearest, text_of
from settings.loading import SECTIONS, is_required, load, load_leniently
from settings.stack import PROJECT, Settings

_SAVE_AS = "save it as UTF-8"
# YAML types that JSON does not have.
_NO_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("binary", "set", "timestamp", "omap", "pairs"))
# Pulumi's documentation, "Stack settings file reference", of 2026-11-30.
TOP_LEVEL = ("config", "environment", "secretsprovider", "encryptionsalt", "encryptedkey")
"""The keys of a stack file that Pulumi reads."""


class StackFileError(ValueError):
    """A stack file that cannot be read at all: missing, not YAML, a key twice. The message has the file and line."""


def check_stack_file(path: str | Path, stack: str, today: datetime.date) -> Settings:
    """The settings in a stack file. Raises StackFileError when it cannot be read, SettingsError with every mistake."""
    content = _content(Path(path))
    config = _config(path, content)
    texts = _as_texts(path, config)
    return load(texts, stack=stack, today=today, written=_as_written(path, content, config))


def read_leniently(path: str | Path, stack: str) -> Settings:
    """The settings in a stack file for what ends the stack: see `load_leniently`. Raises as `check_stack_file` does."""
    content = _content(Path(path))
    config = _config(path, content)
    return load_leniently(_as_texts(path, config), stack=stack, written=_as_written(path, content, config))


def as_written(path: str | Path, config: Mapping[str, str]) -> AsWritten:
    """What a stack file says beyond the configuration that the engine made of it.

    Nothing when the configuration comes from another file (`--config-file`), or from one that cannot be read.
    """
    try:
        content = _content(Path(path))
        values = _config(path, content)
        texts = _as_texts(path, values)
        if not texts.keys() <= config.keys():
            return AsWritten()
        # A value that differs from the file's was encrypted there.
        same = {key: value for key, value in values.items() if _json(texts[key]) == _json(config[key])}
        return _as_written(path, content, same)
    except StackFileError:
        return AsWritten()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_written(path: str | Path, content: dict[str, Any], config: dict[str, Any]) -> AsWritten:
    misplaced, mistakes = _outside_config(content)
    mistakes += [
        Mistake(f"{PROJECT}:{name}", "is empty, which is the same as leaving it out: fill it in, or remove the key")
        for name in SECTIONS
        if not is_required(name) and config.get(f"{PROJECT}:{name}", "") is None
    ]
    texts = _as_texts(path, misplaced)
    return AsWritten(plain=_plain({**misplaced, **config}), mistakes=tuple(mistakes), misplaced=texts)


def read_stack_file(path: str | Path) -> dict[str, str]:
    """The configuration in a stack file as Pulumi hands it to a program: full keys, values as text, objects as JSON.

    Values under `secure:` stay encrypted. Raises StackFileError.
    """
    return _as_texts(path, _config(path, _content(Path(path))))


def _config(path: str | Path, content: Any) -> dict[str, Any]:
    """The values under `config`, by full key."""
    config = content.get("config") or {} if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise StackFileError(f"{path}: must be a mapping with the key config, itself a mapping")
    return {_full_key(key): value for key, value in config.items()}


def _outside_config(content: dict[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """What is beside `config` and belongs in it, by full key; and a mistake for each key that Pulumi does not read."""
    misplaced: dict[str, Any] = {}
    mistakes = []
    for key in sorted(content.keys() - {*TOP_LEVEL}):
        near = nearest(key, TOP_LEVEL)
        if ":" in key or key in SECTIONS:
            misplaced[_full_key(key)] = content[key]
            what = "is beside config, where it has no effect: indent it, so that it is within config"
        elif key in (PROJECT, "aws") and isinstance(content[key], dict):
            nested = {f"{key}:{inner}": value for inner, value in content[key].items()}
            misplaced |= nested
            example = next(iter(nested), f"{PROJECT}:network")
            what = f'is not used: write each key within config with its namespace, such as "{example}"'
        elif near:
            what = f'is not used: did you mean "{near}"?'
            if near == "config" and isinstance(content[key], dict):
                misplaced |= {_full_key(inner): value for inner, value in content[key].items()}
        else:
            what = f"is not used: remove it. Beside config Pulumi reads {', '.join(TOP_LEVEL[1:])}"
        mistakes.append(Mistake(key, what))
    return misplaced, mistakes


def _plain(config: dict[str, Any]) -> dict[str, Plain]:
    """The numbers, dates, true and false in a configuration, as they are written, by full key with its path."""
    found: dict[str, Plain] = {}

    def look(value: Any, key: str, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict | list):
            for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
                look(inner, key, (*path, part))
        elif isinstance(value, bool | _Int | _Float | _Date):
            namespace, _, name = key.partition(":")
            read = _as_text(value)
            text = read if isinstance(value, bool) else value.written
            found[f"{namespace}:{text_of((name, *path))}"] = Plain(text=text, read=read)

    for key, value in config.items():
        look(value, key, ())
    return found


def _as_texts(path: str | Path, config: dict[str, Any]) -> dict[str, str]:
    try:
        return {key: _as_text(value) for key, value in config.items()}
    except (ValueError, RecursionError):  # an anchor that contains itself
        raise StackFileError(f"{path}: has a value that contains itself") from None


def _content(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if "\0" in text:
            raise StackFileError(f"{path}: is not UTF-8 text: {_SAVE_AS}")
        loader = _PulumiLoader(text)
        document = loader.get_single_node()
        _check_keys(document)
        return loader.construct_document(document) if document else {}
    except OSError as error:
        raise StackFileError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StackFileError(f"{path}: is not UTF-8 text (byte {error.start}): {_SAVE_AS}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tab = _line_with_tab(text, mark.line + 1) if mark else None
        if tab:
            what = "is indented with a tab, and YAML takes only spaces: replace it"
            raise StackFileError(f"{path}: line {tab}: {what}") from None
        line = f" line {mark.line + 1}:" if mark else ""
        raise StackFileError(f"{path}:{line} {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise StackFileError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise StackFileError(f"{path}: is nested too deeply") from None


def _line_with_tab(text: str, last: int) -> int | None:
    """The first line with a tab in its indentation, up to the line where YAML gave up."""
    lines = text.splitlines()[:last]
    return next((number for number, line in enumerate(lines, 1) if re.match(r" *\t\s*\S", line)), None)


def _full_key(key: str) -> str:
    """A key with its namespace, and without the `config:` that old engines put between."""
    namespace, _, name = key.rpartition(":")
    return f"{namespace.removesuffix(':config') or PROJECT}:{name}"


def _as_text(value: Any) -> str:
    """A value as the engine keeps it: text unchanged, null as nothing, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_keys(document: yaml.Node | None) -> None:
    """Refuse a key that a mapping has twice, and a key that is not text; the engine refuses them too."""
    waiting, met = [document] if document else [], set()
    while waiting:
        node = waiting.pop()
        if node.tag in _NO_TAGS:
            problem = (
                f"no setting takes the tag !!{node.tag.rpartition(':')[2]}: write plain text or a list in its place"
            )
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        if id(node) in met or not isinstance(node, yaml.CollectionNode):
            continue
        met.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            waiting += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                problem = "a key must be text: write it in quotes"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            if key.value in lines:
                problem = f"the key {key.value} is already in line {lines[key.value]}"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
            waiting.append(value)


class _Int(int):
    """A whole number, with the text it is written as."""

    written: str


class _Float(float):
    """A number with a fraction, with the text it is written as."""

    written: str


class _Date(str):  # noqa: SLOT000 (it has an attribute)
    """A date as the engine reads it, with the text it is written as."""

    written: str


N = TypeVar("N", _Int, _Float, _Date)


def _written(value: N, text: str) -> N:
    value.written = text
    return value


class _PulumiLoader(yaml.SafeLoader):
    """YAML as Go's yaml.v3, which the engine uses, reads it: `on` and `12:30` are text, `010` is 8."""

    # The parent class has those of YAML 1.1.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)

    def scan_to_next_token(self) -> None:
        """Skips tabs between values, as yaml.v3 does. YAML does not allow them where a line begins."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

    def construct_number(self, node: yaml.ScalarNode) -> int | float | str:
        """A number; whole ones without a fraction, as the engine writes them. A number that is too large is text."""
        written = self.construct_scalar(node)
        text = written.replace("_", "")
        octal = re.fullmatch(r"([-+]?)0+([0-7]+)", text)
        try:
            return _written(_Int(f"{octal[1]}0o{octal[2]}" if octal else text, 0), written)
        except ValueError:
            number = float(text)
        if math.isinf(number):
            return text
        whole = number.is_integer() and abs(number) < 1e21
        return _written(_Int(number), written) if whole else _written(_Float(number), written)

    def construct_date(self, node: yaml.ScalarNode) -> str:
        """A date without quotes, in the form that the engine gives it."""
        text = self.construct_scalar(node)
        match = _TIMESTAMP.fullmatch(text)
        assert match is not None  # only text that matches is resolved as a date
        year, month, day, hour, minute, second = (int(number or 0) for number in match.group(1, 2, 3, 5, 6, 7))
        fraction, zone = match.group(8, 9)
        try:
            moment = datetime.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001 (the zone is a text)
        except ValueError:  # not a day of the calendar: the engine leaves it as it is
            return text
        fraction = (fraction or "").replace(",", ".").rstrip("0").rstrip(".")
        offset = (zone or "Z").replace(":", "")
        name = "+0000 UTC" if offset in ("Z", "+0000", "-0000") else f"{offset} {offset}"
        return _written(_Date(f"{moment}{fraction} {name}"), text)


# Four formats of Go's time (yaml.v3, resolve.go: allowedTimestampFormats): a T takes a zone, a space none.
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"((?:[Tt](?=.*(?:Z|[-+][0-9]{2}:[0-9]{2})$)| +(?!.*[-+Z]))"
    r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})([.,][0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_NUMBER = r"0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("number", rf"[-+]?({_NUMBER})", list("-+.0123456789")),
    ("date", _TIMESTAMP.pattern, list("0123456789")),
    ("merge", r"<<", ["<"]),
):
    _PulumiLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_PulumiLoader.add_constructor("tag:yaml.org,2002:number", _PulumiLoader.construct_number)
_PulumiLoader.add_constructor("tag:yaml.org,2002:date", _PulumiLoader.construct_date)
