"""Whether the destruction of a resource loses data: the verdict on each type of the providers, made once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

from contracts import _read, chart_name

Verdict = Literal["data", "records", "takes", "none", "unknown"]
"""What the contract says of each; `unknown` is what nobody has judged."""


def verdict(type_: str, inputs: Mapping[str, Any] | None = None) -> Verdict:
    """What a resource of a type holds; where the type alone does not tell, its inputs do.

    `aws:ebs/volume:Volume`, `kubernetes:core/v1:Namespace`; a patch of an object is only a part of it.
    """
    provider, _, rest = type_.partition(":")
    module, _, name = rest.rpartition(":")
    if provider == "pulumi":
        return "none"
    if provider == "kubernetes":
        if name.endswith("Patch"):
            return "none"
        name = name.removesuffix("List")
    judged = _judged().get((provider, module.partition("/")[0], name), "unknown")
    return _by_inputs(judged, inputs or {}) if isinstance(judged, Mapping) else cast("Verdict", judged)


@cache
def _judged() -> Mapping[tuple[str, str, str], Any]:
    found: dict[tuple[str, str, str], Any] = {}
    for provider, modules in _read("stateful.json")["types"].items():
        for module, verdicts in modules.items():
            for said, names in verdicts.items():
                if said == "depends":
                    found |= {(provider, module, name): judged for name, judged in names.items()}
                else:
                    found |= {(provider, module, name): said for name in names.split()}
    return found


def _by_inputs(judged: Mapping[str, Any], inputs: Mapping[str, Any]) -> Verdict:
    value: Any = inputs
    for key in judged["on"].split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if judged["on"] == "chart":
        value = chart_name(str(value))
    if isinstance(value, bool):
        value = "true" if value else "false"
    return judged["is"].get(value, judged["else"]) if isinstance(value, str) else judged["else"]
