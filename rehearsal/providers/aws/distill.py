"""Distils contracts/aws/pulumi-aws-VERSION.json from the Python SDK of pulumi-aws that is installed.

    python -m rehearsal.providers.aws.distill

writes the shapes of the resource types and functions of this package, names and types only. Run it again after you add
one. It reads the tokens from the text of the modules, because they cannot be loaded before the contract has them. The
SDK has the exact names, types and required properties of the 7.x provider. What it does not say (which lists are sets,
which inputs the cloud fills in, what is sensitive) comes from the contract of the Terraform provider under it,
contracts/aws/terraform-aws-5.100.0.json.

The file: `version`; `resources`: token -> `inputs` {name: [type, flags]}, `outputs` {name: type}, `secrets`;
`functions`: token -> `inputs`, `outputs`; `objects`: name -> {property: [type, flags]}. A type is `string`, `boolean`,
`integer`, `number`, `any`, or a list: `[list, T]`, `[set, T]`, `[map, T]`, `[object, NAME]`, `[union, T, ...]`. Flags:
r required, c filled in by the cloud where the program leaves it out.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Union

import pulumi
from pulumi import _types

_TYPE = re.compile(r'^    token = "(aws:[^"]+)"$', re.MULTILINE)
_FUNCTION = re.compile(r'^@function\("(aws:[^"]+)"\)$', re.MULTILINE)
_SCALARS = {str: "string", bool: "boolean", int: "integer", float: "number", Any: "any", object: "any"}


def _tokens(pattern: re.Pattern[str]) -> list[str]:
    """The tokens in the modules of this package."""
    return sorted({token for path in Path(__file__).parent.glob("*.py") for token in pattern.findall(path.read_text())})


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _plurals(name: str) -> set[str]:
    """The names that Pulumi may give to a Terraform attribute or block: itself, or its plural."""
    return {name, f"{name}s", f"{name}es", re.sub("y$", "ies", name)}


def _hints(of: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of a function of the SDK; `Output` and `T` are free names in what `pulumi.Input` stands for."""
    module = vars(importlib.import_module(of.__module__))
    return typing.get_type_hints(of, {**module, "Output": pulumi.Output, "T": type(None)})


class _Terraform:
    """One block of the Terraform provider's contract; an unknown one answers every question with no."""

    def __init__(self, block: Mapping[str, Any]) -> None:
        self._attributes = block.get("attributes", {})
        self._blocks = block.get("blocks", {})

    def _find(self, of: Mapping[str, Any], name: str) -> Any:
        return next((item for key, item in of.items() if name in _plurals(_camel(key))), None)

    def attribute(self, name: str) -> tuple[Any, str]:
        return self._find(self._attributes, name) or (None, "")

    def inner(self, name: str) -> _Terraform:
        return _Terraform(self._find(self._blocks, name) or {})

    def is_set(self, name: str) -> bool:
        kind, _ = self.attribute(name)
        block = self._find(self._blocks, name) or {}
        return (isinstance(kind, list) and kind[0] == "set") or block.get("nesting") == "set"


class Distiller:
    """Collects the shapes; nested objects go to `objects`, once each."""

    def __init__(self, terraform: Mapping[str, Any]) -> None:
        self.terraform = terraform
        self.objects: dict[str, Any] = {}

    def type_of(self, hint: Any, terraform: _Terraform, name: str) -> Any:
        """The contract's type for a Python type hint, with `Input`, `Output` and `Optional` peeled off."""
        hint = self._peel(hint)
        if hint in _SCALARS:
            return _SCALARS[hint]
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (Union, types.UnionType):
            members = [self.type_of(arg, terraform, name) for arg in args]
            different = [item for index, item in enumerate(members) if item not in members[:index]]
            return different[0] if len(different) == 1 else ["union", *different]
        if origin is not None and issubclass(origin, Mapping):
            return ["map", self.type_of(args[1], terraform, name)]
        if origin is not None:
            return ["set" if terraform.is_set(name) else "list", self.type_of(args[0], terraform, name)]
        if _types.is_input_type(hint) or _types.is_output_type(hint):
            return ["object", self._object(hint, terraform.inner(name))]
        return "string"  # an enumeration or a reference such as `aws.Region`: text on the wire

    @staticmethod
    def _peel(hint: Any) -> Any:
        """`hint` without the wrappers that say it may be missing or come later, and without its TypedDict twin."""
        if typing.get_origin(hint) not in (Union, types.UnionType):
            return Distiller._peel(typing.get_args(hint)[0]) if typing.get_origin(hint) is pulumi.Output else hint
        kept = [
            arg
            for arg in typing.get_args(hint)
            if arg is not type(None)
            and not typing.is_typeddict(arg)
            and typing.get_origin(arg) not in (Awaitable, pulumi.Output)
        ]
        return Distiller._peel(kept[0]) if len(kept) == 1 else Union[tuple(kept)]  # noqa: UP007

    def _object(self, cls: type, terraform: _Terraform) -> str:
        name = cls.__name__.removesuffix("Args").removesuffix("Result")
        name = f"{cls.__module__.split('.')[1]}.{name}" if cls.__module__.count(".") > 1 else name
        if name not in self.objects:
            self.objects[name] = {}  # first, since objects may hold themselves
            self.objects[name].update(self.properties(cls, terraform))
        return name

    def properties(self, cls: type, terraform: _Terraform) -> dict[str, Any]:
        """{name: [type, flags]} of an Args class or an output class."""
        names = {python: wire for python, wire, _ in _types._py_properties(cls)}
        hints = _hints(cls.__init__)
        found = {}
        for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
            name = names.get(parameter.name, _camel(parameter.name))
            _, flags = terraform.attribute(name)
            required = "r" if parameter.default is inspect.Parameter.empty else ""
            hint = hints.get(parameter.name, Any)
            found[name] = [self.type_of(hint, terraform, name), required + ("c" if "c" in flags else "")]
        return found

    def resource(self, token: str) -> dict[str, Any]:
        """The contract of one resource type."""
        module, kind = token.split(":")[1].partition("/")[0], token.rpartition(":")[2]
        package = importlib.import_module(f"pulumi_aws.{module}")
        # Terraform calls what is RDS's `db`.
        service = {"rds": "db"}.get(module, module)
        block = self.terraform.get(f"aws_{service}_{_snake(kind)}") or self.terraform.get(f"aws_{_snake(kind)}") or {}
        terraform = _Terraform(block)
        # Where a nested object has the name of the resource's arguments, these are its InitArgs.
        arguments = getattr(package, f"{kind}InitArgs", None) or getattr(package, f"{kind}Args")
        inputs = self.properties(arguments, terraform)
        if "region" in inputs:  # new in 7.x, filled in from the provider's
            inputs["region"][1] = "c"
        outputs = _types.resource_types(getattr(package, kind))
        source = inspect.getsource(getattr(package, kind))
        secrets = re.findall(r"additional_secret_outputs=\[([^]]*)]", source)
        secret = set(re.findall(r'"(\w+)"', " ".join(secrets)))
        secret |= {name for name in outputs if "s" in terraform.attribute(name)[1]}
        only = {name: self.type_of(hint, terraform, name) for name, hint in outputs.items() if name not in inputs}
        return {"inputs": inputs, "outputs": only, "secrets": sorted(secret)}

    def function(self, token: str) -> dict[str, Any]:
        """The contract of one function."""
        module, name = token.split(":")[1].partition("/")[0], token.rpartition(":")[2]
        package = importlib.import_module("pulumi_aws" if module == "index" else f"pulumi_aws.{module}")
        call = getattr(package, _snake(name))
        hints = _hints(call)
        wire = dict(re.findall(r"__args__\['(\w+)'\] = (\w+)", inspect.getsource(call)))
        inputs = {key: [self.type_of(hints[parameter], _Terraform({}), key), ""] for key, parameter in wire.items()}
        result = _types.output_type_types(getattr(package, f"{name[0].upper()}{name[1:]}Result"))
        outputs = {key: self.type_of(hint, _Terraform({}), key) for key, hint in result.items()}
        return {"inputs": inputs, "outputs": outputs}


def distill(terraform: Mapping[str, Any]) -> dict[str, Any]:
    """The whole contract. `terraform` is the Terraform provider's, as contracts/aws has it."""
    distiller = Distiller(terraform["resources"])
    made = {
        "source": "names and types in the Python SDK of pulumi-aws (Apache-2.0), flags of terraform-aws-5.100.0.json",
        "version": metadata.version("pulumi-aws"),
        "resources": {token: distiller.resource(token) for token in _tokens(_TYPE)},
        "functions": {token: distiller.function(token) for token in _tokens(_FUNCTION)},
    }
    return {**made, "objects": dict(sorted(distiller.objects.items()))}


def main() -> None:
    """Writes the contract of the installed version beside the Terraform provider's."""
    folder = Path(str(resources.files("contracts"))) / "aws"
    made = distill(json.loads((folder / "terraform-aws-5.100.0.json").read_text()))
    target = folder / f"pulumi-aws-{made['version']}.json"
    target.write_text(_lines(made))
    print(f"{target}: {len(made['resources'])} resource types, {len(made['functions'])} functions")


def _lines(made: Mapping[str, Any]) -> str:
    """JSON with one resource type, function or object a line, so that a diff of two versions reads well."""
    sections = []
    for key, value in made.items():
        if isinstance(value, dict):
            items = ",\n".join(f"  {json.dumps(name)}: {json.dumps(item)}" for name, item in value.items())
            sections.append(f" {json.dumps(key)}: {{\n{items}\n }}")
        else:
            sections.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


if __name__ == "__main__":
    main()
