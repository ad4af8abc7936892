"""The inputs of the components: names, types and which are required, from contracts/pulumi-eks-4.4.0.json.

The real provider ignores unknown inputs, and fails late for a value of a wrong type. The stand-in names the property
instead.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.output import Unknown

_FILE = Path(__file__).parents[3] / "contracts" / "pulumi-eks-4.4.0.json"


@functools.cache
def _contract() -> dict[str, Any]:
    return json.loads(_FILE.read_text())


def version() -> str:
    """The version of pulumi-eks that the contract describes."""
    return _contract()["version"]


def unmodelled() -> list[str]:
    """The package's components that the contract leaves out."""
    return _contract()["others"]


def checked(component: str, args: Mapping[str, Any], unmodelled: Collection[str] = ()) -> dict[str, Any]:
    """`args`, after a check against the contract of the component.

    Plain values are checked at once. An output is replaced by one that fails if its value does not fit; unknown parts
    pass. Raises InputPropertiesError with all mistakes. Inputs in `unmodelled` are mistakes too.
    """
    checker = _Checker()
    found = checker.fields(args, _contract()["components"][component]["inputs"], "")
    for name in sorted(set(unmodelled) & found.keys()):
        checker.refuse(name, f"{component} has it, but the rehearsal's eks provider does not support it")
    checker.finish(component)
    return found


class _Checker:
    """Compares a value with its type in the contract and collects the mistakes."""

    def __init__(self) -> None:
        self._errors: list[pulumi.InputPropertyErrorDetails] = []

    def refuse(self, path: str, reason: str) -> None:
        self._errors.append({"property_path": path, "reason": reason})

    def finish(self, what: str) -> None:
        if self._errors:
            raise pulumi.InputPropertiesError(f"{what} refuses its inputs", self._errors)

    def fields(self, value: Mapping[str, Any], fields: Mapping[str, Any], path: str) -> dict[str, Any]:
        given = {name: item for name, item in value.items() if item is not None}
        prefix = f"{path}." if path else ""
        for name in sorted(given.keys() - fields.keys()):
            near = difflib.get_close_matches(name, fields, 1)
            self.refuse(f"{prefix}{name}", "no such property" + (f"; did you mean {near[0]}?" if near else ""))
        for name, (_, flags) in fields.items():
            if "r" in flags and name not in given:
                self.refuse(f"{prefix}{name}", "required, but missing")
        return {
            name: self.value(item, fields[name][0], f"{prefix}{name}", plain="p" in fields[name][1])
            for name, item in given.items()
            if name in fields
        }

    def value(self, value: Any, kind: Any, path: str, *, plain: bool = False) -> Any:
        if isinstance(value, Unknown):
            return value
        if isinstance(value, pulumi.Output):
            if plain:
                self.refuse(path, "needs a plain value: the component would ignore an output")
            return value.apply(lambda known: _later(known, kind, path), run_with_unknowns=True)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # The engine has no integers.
        shape, *parts = [kind] if isinstance(kind, str) else kind
        return getattr(self, f"_{shape}")(value, path, *parts)

    def _any(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return self._list(value, path, "any")
        if isinstance(value, Mapping):
            return self._map(value, path, "any")
        return value

    def _list(self, value: Any, path: str, item: Any) -> Any:
        if isinstance(value, list):
            return [self.value(each, item, f"{path}[{index}]") for index, each in enumerate(value)]
        return self._other(value, path, "a list")

    def _map(self, value: Any, path: str, item: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: self.value(each, item, f"{path}.{key}") for key, each in value.items()}
        return self._other(value, path, "a map")

    def _type(self, value: Any, path: str, name: str) -> Any:
        if isinstance(value, Mapping):
            return self.fields(value, _contract()["types"][name], path)
        return self._other(value, path, f"a {name}")

    def _enum(self, value: Any, path: str, name: str) -> Any:
        accepted = _contract()["enums"][name]
        return value if value in accepted else self._other(value, path, f"one of {', '.join(accepted)}")

    def _resource(self, value: Any, path: str, token: str) -> Any:
        if token.startswith("pulumi:providers:"):
            return value  # No provider's class is registered, so its reference arrives as a bare id.
        if isinstance(value, pulumi.Resource) and value.pulumi_resource_type == token:
            return value
        return self._other(value, path, f"a resource of type {token}")

    def _either(self, value: Any, path: str, *kinds: Any) -> Any:
        attempts = []
        for kind in kinds:
            attempt = _Checker()
            found = attempt.value(value, kind, path)
            if not attempt._errors:
                return found
            attempts.append(attempt)
        # The attempt that got furthest explains the mistake best.
        self._errors += max(attempts, key=lambda attempt: attempt._errors[0]["property_path"].count("."))._errors
        return value

    def _string(self, value: Any, path: str) -> Any:
        return value if isinstance(value, str) else self._other(value, path, "a string")

    def _bool(self, value: Any, path: str) -> Any:
        return value if isinstance(value, bool) else self._other(value, path, "true or false")

    def _number(self, value: Any, path: str) -> Any:
        return value if type(value) is int else self._other(value, path, "a whole number")

    def _other(self, value: Any, path: str, needed: str) -> Any:
        self.refuse(path, f"{needed} is needed, not {_shown(value)}")
        return value


def _later(value: Any, kind: Any, path: str) -> Any:
    if value is None:
        return None  # An output of nothing is not an input.
    checker = _Checker()
    found = checker.value(value, kind, path)
    checker.finish("the component")
    return found


def _shown(value: Any) -> str:
    if isinstance(value, pulumi.Resource):
        return value.pulumi_resource_type
    return f"{value!r} ({type(value).__name__})"
