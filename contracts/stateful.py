"""Whether deleting a resource loses data: a verdict on each type of the providers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, cast

from contracts.files import read
from contracts.helm import chart_name

Verdict = Literal["data", "records", "takes", "none", "unknown"]
"""The contract's verdicts; `unknown` is for types that it does not have."""


def verdict(type_: str, inputs: Mapping[str, Any] | None = None) -> Verdict:
    """What a resource of a type holds. If the type is not enough, the inputs decide.

    Types are, for example, `aws:ebs/volume:Volume` and `kubernetes:core/v1:Namespace`. A patch holds no data, because
    it is only a part of an object.
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
    for provider, modules in read("stateful.json")["types"].items():
        for module, verdicts in modules.items():
            for word, names in verdicts.items():
                if word == "depends":
                    found |= {(provider, module, name): judged for name, judged in names.items()}
                else:
                    found |= {(provider, module, name): word for name in names.split()}
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
