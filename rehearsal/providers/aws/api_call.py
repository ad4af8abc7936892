"""An API call with its parameters, for types that are described by their calls."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import jmespath

from rehearsal.providers.aws.clients import Cloud, tag_list, tag_map
from rehearsal.providers.aws.contract import Type, nested
from rehearsal.providers.protocol.model import Properties

_PARAMETER = re.compile(r"\{(.+)\}")
_BOOLEANS = {"true": True, "false": False}
_PAIRS = ({"Key", "Value"}, {"TagKey", "TagValue"})


class Call:
    """One API call: the method of boto3, and its parameters.

    `names` are properties whose parameters have the same name in another case: `Call("create_vpc", "cidrBlock tags")`.
    The parameter `{role}` is the value of that property; between the braces is a JMESPath into the properties. A
    parameter without a value is left out. The keys of objects get the case of the API too, and tags get its form (a map
    or a list).
    """

    def __init__(self, action: str, names: str = "", /, **parameters: Any) -> None:
        self.action = action
        self.names = names.split()
        self.parameters = parameters

    def answer(
        self, cloud: Cloud, service: str, properties: Properties, api_names: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Calls with the values of `properties`. `api_names` has the names that differ in more than their case."""
        client = cloud.client(service)
        operation = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[self.action])
        named = {name: properties[name] for name in self.names if properties.get(name) is not None}
        given = {**named, **_filled(self.parameters, properties)}
        return getattr(client, self.action)(**as_parameter(operation.input_shape, given, api_names or {}))


def as_parameter(shape: Any, value: Any, api_names: Mapping[str, str]) -> Any:
    """The value of a property in the form that the API takes. `shape` comes from botocore."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        named = {members.get(member_name(key, members, api_names), key): item for key, item in value.items()}
        known = {name: shape.members[name] for name in named if name in shape.members}
        made = {**named, **{name: as_parameter(member, named[name], api_names) for name, member in known.items()}}
        return {name: item for name, item in made.items() if item is not None}
    if kind == "structure" and isinstance(value, str):  # the key of a tag to remove
        return {"Key": value}
    if kind == "list":
        pairs = set(getattr(shape.member, "members", ())) if isinstance(value, dict) else set()
        if pairs in _PAIRS:
            value = [dict(zip(sorted(pairs), pair.values(), strict=True)) for pair in tag_list(value)]
        return [as_parameter(shape.member, item, api_names) for item in (value if isinstance(value, list) else [value])]
    if kind == "map" and isinstance(value, dict):
        return {key: as_parameter(shape.value, item, api_names) for key, item in value.items()}
    if kind == "string" and isinstance(value, bool | int):
        return json.dumps(value)
    return _BOOLEANS.get(value) if kind == "boolean" and isinstance(value, str) else value


def member_name(name: str, members: Collection[str], api_names: Mapping[str, str]) -> str:
    """The name of a property in the API, in lower case like `members`. Its own name wins over that in `api_names`."""
    return name.lower() if name.lower() in members else api_names.get(name, name).lower()


def as_property(kind: Type, value: Any, api_names: Mapping[str, str]) -> Any:
    """A value of an answer in the form of the type `kind`. Unknown properties are left out."""
    outer = kind if isinstance(kind, str) else kind[0]
    if outer == "object" and isinstance(value, list):  # the API has a list of the one object
        value = value[0] if value else None
    if value is None or isinstance(value, datetime):
        return value and value.isoformat()
    if outer in ("list", "set"):
        return [as_property(kind[1], item, api_names) for item in (value if isinstance(value, list) else [value])]
    if outer == "object":
        members = {key.lower(): item for key, item in value.items()}
        return {
            name: as_property(inner, members[member], api_names)
            for name, (inner, _) in nested(kind[1]).items()
            if (member := member_name(name, members, api_names)) in members
        }
    if outer == "map":
        return tag_map(value) if isinstance(value, list) else value
    if isinstance(value, str):
        return json.loads(value) if outer in ("boolean", "integer", "number") else value
    return json.dumps(value) if outer in ("string", "union") and isinstance(value, bool | int | dict) else value


def _filled(template: Any, properties: Properties) -> Any:
    """The template with the values of the properties. Keys without a value are left out."""
    if isinstance(template, dict):
        filled = {key: _filled(item, properties) for key, item in template.items()}
        return {key: value for key, value in filled.items() if value is not None}
    if isinstance(template, list):
        return [_filled(item, properties) for item in template]
    match = _PARAMETER.fullmatch(template) if isinstance(template, str) else None
    return jmespath.search(match[1], properties) if match else template
