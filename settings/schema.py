"""`python -m settings.schema [--check]`: write the JSON Schema of the stack file for editors, or say if it is stale.

Exit status 0, or 1 when `--check` finds that the file differs from the settings.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from settings.eks_stack import REGION_PATTERN, EksStack
from settings.existing_stack import ExistingStack
from settings.stack import PROJECT, StackSettings
from settings.stack_file import TOP_LEVEL

SCHEMA_FILE = Path(__file__).parent.parent / "schema" / "stack.schema.json"
_COMMAND = "python -m settings.schema"


def stack_file_schema() -> dict[str, Any]:
    """The JSON Schema of a whole stack file. Keys of other namespaces are allowed, whatever they are."""
    definitions: dict[str, Any] = {}
    kind = {"properties": {"kind": {"const": ExistingStack.kind}}, "required": ["kind"]}
    ground = f"{PROJECT}:ground"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gpulab stack file",
        "description": f"Made by `{_COMMAND}` from the settings; do not edit.",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "description": "The stack's configuration.",
                "if": {"properties": {ground: kind}, "required": [ground]},
                "then": _configuration(ExistingStack, definitions),
                "else": _configuration(EksStack, definitions),
            },
            **{key: {"description": "Pulumi's own."} for key in TOP_LEVEL if key != "config"},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _configuration(stack: type[StackSettings], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of `config` on one ground; adds the definitions that it refers to."""
    sections = _without_titles(stack.model_json_schema(by_alias=True))
    definitions.update(sections["$defs"])
    region = {"type": "string", "pattern": f"^{REGION_PATTERN}$", "description": "AWS region."}
    return {
        "required": [
            *(["aws:region"] if stack.in_a_region else []),
            *(f"{PROJECT}:{name}" for name in sections["required"]),
        ],
        "properties": {
            **({"aws:region": region} if stack.in_a_region else {}),
            **{f"{PROJECT}:{name}": schema for name, schema in sections["properties"].items()},
        },
        "patternProperties": {f"^{PROJECT}:(?!({'|'.join(sections['properties'])})$)": False},
    }


def _without_titles(schema: Any) -> Any:
    """The schema without pydantic's titles, which editors would show instead of the descriptions."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_titles(value) for key, value in schema.items() if key != "title"}


def _text() -> str:
    return json.dumps(stack_file_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog=_COMMAND, description="Write the JSON Schema of the stack file.")
    parser.add_argument("--check", action="store_true", help="write nothing, say whether the file is up to date")
    options = parser.parse_args(arguments)
    if options.check:
        if SCHEMA_FILE.is_file() and SCHEMA_FILE.read_text(encoding="utf-8") == _text():
            return 0
        print(f"{SCHEMA_FILE.name} is stale: run `{_COMMAND}`", file=sys.stderr)
        return 1
    SCHEMA_FILE.parent.mkdir(exist_ok=True)
    SCHEMA_FILE.write_text(_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
