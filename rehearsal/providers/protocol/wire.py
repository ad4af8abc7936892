"""Converts property values between plain Python and the protobuf Structs of the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from rehearsal.providers.protocol.model import UNKNOWN, Path, Properties, Refused

# The engine's marks for special values in a protobuf Struct (pulumi/sdk/go/common/resource/sig).
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


def decode(struct: struct_pb2.Struct | None) -> tuple[Properties, set[Path]]:
    """The plain properties in `struct`, and the paths of the secret ones."""
    secrets: set[Path] = set()
    fields = struct.fields if struct is not None else {}
    return {key: _plain(value, (key,), secrets) for key, value in fields.items()}, secrets


def _plain(value: struct_pb2.Value, path: Path, secrets: set[Path]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if _SIGNATURE in fields:
            return _special(fields, path, secrets)
        return {key: _plain(item, (*path, key), secrets) for key, item in fields.items()}
    if kind == "list_value":
        return [_plain(item, (*path, index), secrets) for index, item in enumerate(value.list_value.values)]
    if kind == "string_value":
        return UNKNOWN if value.string_value == _UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return value.bool_value if kind == "bool_value" else None


def _special(fields: Mapping[str, struct_pb2.Value], path: Path, secrets: set[Path]) -> Any:
    """The plain value of an object with a signature of the engine. The path of a secret is added to `secrets`."""
    mark = fields[_SIGNATURE].string_value
    if mark == _SECRET or (mark == _OUTPUT and "secret" in fields and fields["secret"].bool_value):
        secrets.add(path)
    if mark in {_SECRET, _OUTPUT}:
        return _plain(fields["value"], path, secrets) if "value" in fields else UNKNOWN
    if mark == _RESOURCE:
        return _plain(fields["id"] if "id" in fields else fields["urn"], path, secrets)
    raise Refused(f"the rehearsal's providers take no assets or archives (signature {mark})")


def encode(properties: Mapping[str, Any], secrets: set[Path]) -> struct_pb2.Struct:
    """`properties` as a Struct. The values at the paths `secrets` are marked as secret.

    If such a path leads into a value that is not an object or list anymore (a policy object that became JSON text), the
    whole value is secret.
    """
    above = {path[:end] for path in secrets for end in range(1, len(path))}

    def wire(value: Any, path: Path) -> Any:
        if value is UNKNOWN:
            made: Any = _UNKNOWN_TEXT
        elif isinstance(value, dict):
            made = {key: wire(item, (*path, key)) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            made = [wire(item, (*path, index)) for index, item in enumerate(value)]
        else:
            made = value
        flattened = path in above and not isinstance(value, dict | list | tuple) and value is not None
        return {_SIGNATURE: _SECRET, "value": made} if path in secrets or flattened else made

    struct = struct_pb2.Struct()
    struct.update({key: wire(value, (key,)) for key, value in properties.items()})
    return struct


def path_text(path: Path) -> str:
    """`path` in the form of the engine: `spec.rules[0].host`. Keys that are not identifiers are quoted in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").isalnum():
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text
