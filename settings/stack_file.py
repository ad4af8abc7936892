"""Reads a stack file as Pulumi's engine does, without the engine."""

from __future__ import annotations

import datetime
import json
import math
import re
from pathlib import Path
from typing import Any

import yaml

from settings.stack import PROJECT, Settings, load


class StackFileError(ValueError):
    """A stack file that cannot be read at all: missing, no YAML, a key twice. The message has the file and the line."""


def check_stack_file(path: str | Path, stack: str, today: datetime.date) -> Settings:
    """The settings in a stack file. Raises StackFileError when it cannot be read, SettingsError with every mistake."""
    return load(read_stack_file(path), stack=stack, today=today)


def read_stack_file(path: str | Path) -> dict[str, str]:
    """The configuration in a stack file as Pulumi hands it to a program: full keys, values as text, objects as JSON.

    Values under `secure:` stay encrypted. Raises StackFileError.
    """
    content = _content(Path(path))
    config = content.get("config") or {} if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise StackFileError(f"{path}: must be a mapping with the key config, itself a mapping")
    try:
        return {_full_key(key): _as_text(value) for key, value in config.items()}
    except (ValueError, RecursionError):  # an anchor within what it stands for
        raise StackFileError(f"{path}: has a value without an end") from None


def _content(path: Path) -> Any:
    try:
        loader = _PulumiLoader(path.read_text(encoding="utf-8"))
        document = loader.get_single_node()
        _check_keys(document)
        return loader.construct_document(document) if document else {}
    except OSError as error:
        raise StackFileError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StackFileError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}:" if mark else ""
        raise StackFileError(f"{path}:{line} {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise StackFileError(f"{path}: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise StackFileError(f"{path}: is nested too deeply") from None


def _full_key(key: str) -> str:
    return key if ":" in key else f"{PROJECT}:{key}"


def _as_text(value: Any) -> str:
    """A value as the engine keeps it: text as it is, null as nothing, the rest as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_keys(document: yaml.Node | None) -> None:
    """Refuse a key that stands in a mapping twice, and one that is no text; the engine does too."""
    waiting, met = [document], set()
    while waiting:
        node = waiting.pop()
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
                problem = f"the key {key.value} stands in line {lines[key.value]} already"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            lines[key.value] = key.start_mark.line + 1
            waiting.append(value)


class _PulumiLoader(yaml.SafeLoader):
    """YAML as Go's yaml.v3, which the engine uses, reads it: `on` and `12:30` are text, `010` is 8."""

    # Not the parent's, which are YAML 1.1's.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)

    def construct_number(self, node: yaml.ScalarNode) -> int | float | str:
        """A number; whole ones without a fraction, as the engine writes them. What is too large for one is text."""
        text = self.construct_scalar(node).replace("_", "")
        octal = re.fullmatch(r"([-+]?)0+([0-7]+)", text)
        try:
            return int(f"{octal[1]}0o{octal[2]}" if octal else text, 0)
        except ValueError:
            number = float(text)
        if math.isinf(number):
            return text
        return int(number) if number.is_integer() and abs(number) < 1e21 else number

    def construct_date(self, node: yaml.ScalarNode) -> str:
        """A date without quotes, in the form that the engine gives it."""
        return f"{self.construct_scalar(node)} 00:00:00 +0000 UTC"


_NUMBER = r"0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?"
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("number", rf"[-+]?({_NUMBER})", list("-+.0123456789")),
    ("date", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", list("0123456789")),
    ("merge", r"<<", ["<"]),
):
    _PulumiLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_PulumiLoader.add_constructor("tag:yaml.org,2002:number", _PulumiLoader.construct_number)
_PulumiLoader.add_constructor("tag:yaml.org,2002:date", _PulumiLoader.construct_date)
