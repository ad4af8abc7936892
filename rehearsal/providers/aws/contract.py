"""Checks properties against the shapes of pulumi-aws, from contracts/aws/pulumi-aws-7.51.1.json.

`distill` in this package writes the file and explains its content. Values that a preview does not know yet pass; `up`
checks them.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, TypeAlias

from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused

VERSION = "7.51.1"
_FILE = f"pulumi-aws-{VERSION}.json"
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "list": (list,),
    "set": (list,),
    "map": (dict,),
    "object": (dict,),
}

Type: TypeAlias = str | list[Any]


@dataclass(frozen=True)
class Shape:
    """The contract of one resource type or function, by the engine's property names.

    `inputs` has (type, flags). The flag `r` means required; `c` means that AWS fills the input in if it is left out.
    `outputs` has only the outputs that are not inputs.
    """

    token: str
    inputs: Mapping[str, tuple[Type, str]]
    outputs: Mapping[str, Type]
    secrets: frozenset[str] = frozenset()

    @property
    def computed(self) -> frozenset[str]:
        """The properties that a preview does not know, unless the program sets them."""
        return frozenset(self.outputs) | {name for name, (_, flags) in self.inputs.items() if "c" in flags}

    def kind(self, name: str) -> Type:
        """The type of a property."""
        return self.inputs[name][0] if name in self.inputs else self.outputs.get(name, "")

    def is_set(self, name: str) -> bool:
        """Whether the property is a list whose order does not matter."""
        kind = self.kind(name)
        return isinstance(kind, list) and kind[0] == "set"

    def takes_document(self, name: str) -> bool:
        """Whether the input is a JSON document, which a program can give as text or as an object."""
        kind = self.kind(name)
        return isinstance(kind, list) and kind[0] == "union" and "string" in kind

    def problems(self, inputs: Properties) -> list[Refused]:
        """Everything that the schema of the real provider refuses: names, types, missing properties."""
        return list(_object_problems(self.token, self.inputs, inputs, ""))


@functools.cache
def _contract() -> dict[str, Any]:
    return json.loads(resources.files("contracts").joinpath("aws", _FILE).read_text())


@functools.cache
def shape(token: str) -> Shape:
    """The contract of a resource type or function. Raises Refused if the contract lacks it."""
    for section in ("resources", "functions"):
        found = _contract()[section].get(token)
        if found:
            inputs = {name: (kind, flags) for name, (kind, flags) in found["inputs"].items()}
            return Shape(token, inputs, found["outputs"], frozenset(found.get("secrets", ())))
    raise Refused(
        f"the rehearsal's aws provider does not support {token}: add it to a module of rehearsal/providers/aws, then"
        " run `python -m rehearsal.providers.aws.distill`"
    )


def nested(name: str) -> Mapping[str, tuple[Type, str]]:
    """The properties of the nested object `name`, as in `Shape.inputs`."""
    return _contract()["objects"][name]


def _object_problems(
    owner: str, properties: Mapping[str, Any], value: Mapping[str, Any], path: str
) -> Iterator[Refused]:
    prefix = f"{path}." if path else ""
    for name in value.keys() - properties.keys():
        near = difflib.get_close_matches(name, properties, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(properties))}"
        yield Refused(f"{owner} has no property {prefix}{name}{hint}", f"{prefix}{name}")
    for name, (kind, flags) in properties.items():
        given = value.get(name)
        if given is None:
            if "r" in flags:
                yield Refused(f"{owner} requires {prefix}{name}", f"{prefix}{name}")
        else:
            yield from _type_problems(owner, kind, given, f"{prefix}{name}")


def _type_problems(owner: str, kind: Type, value: Any, path: str) -> Iterator[Refused]:
    """Why the `value` at `path` is not of the type `kind`."""
    if value is UNKNOWN or value is None or kind == "any":
        return
    outer = kind if isinstance(kind, str) else kind[0]
    if outer == "union":
        tries = [list(_type_problems(owner, member, value, path)) for member in kind[1:]]
        if all(tries):
            # The deepest mistake is about the member that the program meant.
            yield from max(tries, key=lambda found: max(len(problem.property) for problem in found))
    elif not _fits(outer, value):
        yield _wrong_type(owner, outer, value, path)
    elif outer in ("list", "set"):
        for index, item in enumerate(value):
            yield from _type_problems(owner, kind[1], item, f"{path}[{index}]")
    elif outer == "map":
        for key, item in value.items():
            yield from _type_problems(owner, kind[1], item, f'{path}["{key}"]')
    elif outer == "object":
        yield from _object_problems(owner, nested(kind[1]), value, path)


def _fits(kind: str, value: Any) -> bool:
    """Whether the outermost type is right. In Python a boolean is an integer too, in the engine it is not."""
    return isinstance(value, _PYTHON[kind]) and isinstance(value, bool) == (kind == "boolean")


def _wrong_type(owner: str, kind: str, value: Any, path: str) -> Refused:
    given = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", dict: "object"}
    found = given.get(type(value), type(value).__name__)
    shown = f" {value!r}" if isinstance(value, bool | int | float) else ""
    return Refused(f"{owner}: {path} must be of type {'list' if kind == 'set' else kind}, not {found}{shown}", path)
