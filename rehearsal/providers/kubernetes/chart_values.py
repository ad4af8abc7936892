"""Checks the values of a chart with its JSON Schema, or else with the keys and types of its defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from rehearsal.providers.protocol.model import Refused, contains_unknown

# Maps with free keys: labels and similar maps, parts of a pod's specification that templates copy, and the values of
# subcharts, whose defaults are not known here.
_FREE_FORM = re.compile(
    r"""(^|\.)(
        [a-zA-Z]*([sS]elector|[lL]abels|[aA]nnotations|[sS]ecurityContext|[sS]trategy|Probe|Affinity)
        | affinity | resources | limits | requests | capabilities | seccompProfile | rollingUpdate | global
        | alertmanager\.config
    )$
    | ^(crds | grafana | kube-state-metrics | nfd | node-feature-discovery | prometheus-(node|windows)-exporter)$""",
    re.VERBOSE,
)


def check(values: Mapping[str, Any], defaults: Mapping[str, Any], schema: Mapping[str, Any] | None) -> list[Refused]:
    """The mistakes in `values`, each with its path. Parts that a preview does not know yet are not checked."""
    if schema is None:
        return list(_by_defaults(values, defaults, ""))
    return list(_by_schema(coalesced(values, defaults), schema))


def coalesced(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values for Helm: the defaults, overwritten by `values`."""
    merged = {**defaults, **values}
    for key, value in values.items():
        default = defaults.get(key)
        if value is None and key in defaults:
            # A null removes the default.
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(default, Mapping):
            merged[key] = coalesced(value, default)
    return merged


def _by_schema(values: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[Refused]:
    # It takes a quarter of the provider's start, and only a chart with a schema needs it.
    from jsonschema.exceptions import best_match  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    validator = validator_for(schema)(schema)
    for error in sorted(validator.iter_errors(values), key=lambda error: list(map(str, error.absolute_path))):
        cause = best_match([error]) or error
        if not contains_unknown(cause.instance):
            # The value can be a secret, so it is not shown.
            message = cause.message.replace(repr(cause.instance), "the value")
            yield Refused(message, ".".join(["values", *map(str, cause.absolute_path)]))


def _by_defaults(values: Mapping[str, Any], defaults: Mapping[str, Any], path: str) -> Iterator[Refused]:
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        if key not in defaults:
            if key != "global":
                nearest = get_close_matches(key, defaults, n=1)
                hint = f"; did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(sorted(defaults))}"
                yield Refused(f"the chart has no such value{hint}", f"values.{where}")
            continue
        default = defaults[key]
        if _takes_anything(default, value):
            continue
        if not _same_type(value, default):
            expected = f"{_type(default)} is expected (the default is {default!r}), not {_type(value)}"
            yield Refused(expected, f"values.{where}")
        elif isinstance(value, dict) and isinstance(default, Mapping) and not _FREE_FORM.search(where):
            yield from _by_defaults(value, default, where)


def _takes_anything(default: Any, value: Any) -> bool:
    """Whether `default` gives no type for `value`, because one of them is empty or not known yet."""
    if value is None or default is None or default == {}:
        return True
    if isinstance(value, dict):
        return False
    return contains_unknown(value) or (default == "" and not isinstance(value, list))


def _same_type(value: Any, default: Any) -> bool:
    """Whether a value can replace a default. A template prints 1 and "1" alike, but every text is true, "false" too."""
    return _type(value) == _type(default) or {_type(value), _type(default)} == {"a number", "text"}


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {str: "text", dict: "a mapping", list: "a list"}.get(type(value), "nothing")
