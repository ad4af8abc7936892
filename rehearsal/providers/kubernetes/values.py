"""Checks a chart's values: by its JSON Schema where it has one, else by the keys and types of its defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from jsonschema.exceptions import best_match
from jsonschema.validators import validator_for

from rehearsal.providers.serving import Refused, contains_unknown

# Maps whose keys the chart does not choose: labels and the like, parts of a pod's specification that templates copy as
# they are, and the values of subcharts, whose own defaults are not at hand.
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
    """What is wrong with `values`, each by its path. Parts that a preview does not know yet are left alone."""
    if schema is None:
        return list(_by_defaults(values, defaults, ""))
    return list(_by_schema(coalesced(values, defaults), schema))


def coalesced(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What Helm renders with: the defaults with the values laid over them."""
    merged = {**defaults, **values}
    for key, value in values.items():
        default = defaults.get(key)
        if value is None and key in defaults:
            # A null takes the default away.
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(default, Mapping):
            merged[key] = coalesced(value, default)
    return merged


def _by_schema(values: dict[str, Any], schema: Mapping[str, Any]) -> Iterator[Refused]:
    validator = validator_for(schema)(schema)
    for error in sorted(validator.iter_errors(values), key=lambda error: list(map(str, error.absolute_path))):
        cause = best_match([error]) or error
        if not contains_unknown(cause.instance):
            # The value itself may be a secret.
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
    """Whether `default` says nothing about `value`, be it that one of the two is empty or not known yet."""
    if value is None or default is None or default == {}:
        return True
    if isinstance(value, dict):
        return False
    return contains_unknown(value) or (default == "" and not isinstance(value, list))


def _same_type(value: Any, default: Any) -> bool:
    """Whether a value can stand for a default. A template prints 1 and "1" alike, but any text is true, "false" too."""
    return _type(value) == _type(default) or {_type(value), _type(default)} == {"a number", "text"}


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return {str: "text", dict: "a mapping", list: "a list"}.get(type(value), "nothing")
