"""The base of the resource types of the aws stand-in.

A type is a subclass of `DescribedResource` (most of them: the API calls are a table) or of `AwsResource` in any module
of this package. It says what cannot change in place (`force_new`) and what it accepts beyond the contract (`defaults`,
`choices`, `ranges`, `required`, `exactly_one`, `at_most_one`, `validate`). A subclass of `AwsResource` also has the
operations:

    make(cloud, inputs, request)                               creates it and returns its id
    complete(cloud, id, inputs, request)                       the steps after the creation: attributes, waiting
    live(cloud, id, olds)                                      its properties now, or None if it is gone
    change(cloud, id, inputs, olds, changed=..., request=...)  an update in place, without tags
    remove(cloud, id, olds, request)                           deletes it

`service`, `tag_call` and `untag_call` change its tags. This class does the rest: the contract, names, default tags,
previews, drift, and errors as sentences. An operation need not catch ClientError; in `live` and `remove` a code such as
NotFound means that the resource is gone.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, cast

from botocore.exceptions import ClientError

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud, is_gone, refusal, tag_problems
from rehearsal.providers.aws.configuration import ConfiguredProvider
from rehearsal.providers.aws.contract import Shape, shape
from rehearsal.providers.aws.forms import as_given, same_document, same_set
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.protocol.model import (
    UNKNOWN,
    Difference,
    InitFailed,
    Properties,
    Refused,
    Request,
    ResourceType,
    autoname,
    changed_paths,
    contains_unknown,
)

TYPES: dict[str, AwsResource] = {}
"""The resource types of all modules that were imported, by token."""

_PREFIX_SUFFIX = 26
_AUTONAMED = re.compile(r"-[0-9a-f]{7}$")


class AwsResource(ResourceType):
    """One resource type of AWS. The docstring of the module explains what a subclass has.

    `force_new`: inputs, or nested paths (`vpcConfig.subnetIds`), whose change replaces the resource.
    `defaults`: inputs that the provider fills in.
    `choices`, `ranges`: path of an input (`metadataOptions.httpTokens`, `ingress[].fromPort`) -> accepted values, or
    the smallest and the greatest one.
    `required`: inputs that are optional only in the contract.
    `exactly_one`, `at_most_one`: groups of top-level inputs.
    `longest_name`: the limit of `name`, in characters. None for a type that gets no name automatically.
    `name_pattern`: a pattern for the whole `name`.
    `documents`: inputs that are JSON text, so that equal documents are not a change. The contract adds more of them.
    `recomputed`: outputs that every update changes.
    `shared`: properties that other resources change too (the routes of a table). They show drift only if the program
    set them.
    `unmodelled`: inputs that the simulated AWS does not support. They are refused, not ignored.
    `service`, `tag_call`, `untag_call`: the name of the service in boto3, and its calls for tags (see `retag`).
    """

    shape: ClassVar[Shape]
    defaults: ClassVar[Mapping[str, Any]] = {}
    choices: ClassVar[Mapping[str, Collection[Any]]] = {}
    ranges: ClassVar[Mapping[str, tuple[int, int]]] = {}
    required: ClassVar[tuple[str, ...]] = ()
    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    at_most_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    longest_name: ClassVar[int | None] = 255
    name_pattern: ClassVar[str] = ""
    documents: ClassVar[frozenset[str]] = frozenset()
    recomputed: ClassVar[frozenset[str]] = frozenset()
    shared: ClassVar[frozenset[str]] = frozenset()
    unmodelled: ClassVar[frozenset[str]] = frozenset()
    service: ClassVar[str]
    tag_call: ClassVar[Call]
    untag_call: ClassVar[Call]

    def __init_subclass__(cls) -> None:
        """Gets the shape of the type from the contract and registers it. A class without a token is only a base."""
        if "token" not in vars(cls):
            return
        cls.shape = shape(cls.token)
        cls.computed = cls.shape.computed
        cls.secret_outputs = cls.secret_outputs | cls.shape.secrets
        cls.documents = cls.documents | {name for name in cls.shape.inputs if cls.shape.takes_document(name)}
        cls.copies = {"tagsAll": "tags"} if "tags" in cls.shape.inputs else {}
        cls.force_new = cls.force_new | ({"region"} & cls.shape.inputs.keys())
        TYPES[cls.token] = cls()

    # What a subclass writes.

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        """What a preview refuses beyond the contract. Values can be UNKNOWN: see `known` and `each`."""
        yield from ()

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        """Creates the resource with `inputs` (its tags are `tagsAll`) and returns its id."""
        raise NotImplementedError

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        """The steps after the creation. If they fail, the resource is in the state, and the next `up` repeats them."""

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        """The properties in AWS now, or None. `tags` has all tags. `olds` is empty for an import."""
        raise NotImplementedError

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        """Changes the inputs `changed` in place, without tags. `olds` are the previous outputs."""
        raise NotImplementedError(f"{self.token}: {', '.join(sorted(changed))} can't be changed in place")

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        """Sets the tags `put` (for a call `tags`) and removes those with the keys `drop` (`tagKeys`)."""
        known_by = {**olds, "id": id, "tags": put, "tagKeys": drop}
        if put:
            self.tag_call.answer(cloud, self.service, known_by)
        if drop:
            self.untag_call.answer(cloud, self.service, known_by)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Deletes the resource."""
        raise NotImplementedError

    # The provider protocol.

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """The inputs with defaults, name and `tagsAll`. Raises Refused with every mistake."""
        inputs = {name: value for name, value in inputs.items() if value is not None}
        Refused.all(self.shape.problems(inputs))
        cloud = _cloud(request, inputs)
        inputs = {**self.defaults, **inputs}
        for name in self.documents & inputs.keys():
            if isinstance(inputs[name], dict):
                inputs[name] = UNKNOWN if contains_unknown(inputs[name]) else json.dumps(inputs[name])
        if self._names_itself(inputs):
            inputs["name"] = autoname(request, olds, longest=self.longest_name or 0)
        if "tags" in self.shape.inputs:
            tags = inputs.get("tags", {})
            everything = UNKNOWN if tags is UNKNOWN else {**_provider(request).default_tags, **tags}
            if everything is UNKNOWN or everything:
                inputs["tagsAll"] = everything
        Refused.all([*self._common_problems(inputs), *self.validate(inputs, cloud)])
        return {name: self._settled(name, value, olds.get(name)) for name, value in inputs.items()}

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """For a create, what AWS decides is unknown. An update keeps it, except for `recomputed`."""
        if olds is None:
            return {**dict.fromkeys(self.computed, UNKNOWN), **inputs}
        kept = {name: value for name, value in olds.items() if name in inputs or name in self.computed}
        return {**kept, **inputs, **dict.fromkeys(self.recomputed, UNKNOWN)}

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """As in the base, with nested paths in `force_new`. A name that the program chose requires to delete first."""
        changes = list(changed_paths(old_inputs, inputs))
        replaced = self.replaces(old_inputs, inputs, {str(path[0]) for path, _ in changes}) if changes else set()
        replacing = frozenset(tuple(path.split(".")) for path in self.force_new | replaced)
        name = known(inputs.get("name"))
        chosen = self.longest_name is not None and isinstance(name, str) and not _AUTONAMED.search(name)
        first = self.delete_before_replace or (chosen and name == old_inputs.get("name"))
        return Difference(changes, replacing, first)

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Makes and completes the resource. Raises InitFailed if only the completion failed."""
        cloud = _cloud(request, inputs)
        try:
            id = self.make(cloud, inputs, request)
        except ClientError as error:
            raise refusal(error) from error
        try:
            self.complete(cloud, id, inputs, request)
            return id, self._outputs(cloud, id, inputs, {}, request)
        except Exception as error:  # after any error the resource must be in the state
            reason = refusal(error) if isinstance(error, ClientError) else error
            raise InitFailed(id, inputs, [str(reason)]) from error

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The inputs in AWS now, in the form of the program where nothing changed, and all outputs."""
        cloud = _cloud(request, olds or inputs)
        try:
            outputs = self._outputs(cloud, id, inputs, olds, request)
        except _GoneError:
            return None
        if not olds:
            empty: tuple[Any, ...] = (None, "", [], {})
            wanted = {name: outputs.get(name) for name in [*self.shape.inputs, "tagsAll"] if name != "region"}
            return {name: value for name, value in wanted.items() if value not in empty}, outputs
        return {name: self._as_given(name, value, outputs.get(name)) for name, value in inputs.items()}, outputs

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Changes tags and other inputs. Without any difference it completes a failed creation."""
        cloud = _cloud(request, inputs)
        changed = {str(path[0]) for path, _ in changed_paths(old_inputs, inputs)}
        try:
            if not changed:
                self.complete(cloud, id, inputs, request)
            if changed & {"tags", "tagsAll"}:
                before, after = old_inputs.get("tagsAll") or {}, inputs.get("tagsAll") or {}
                put = {key: value for key, value in after.items() if before.get(key) != value}
                self.retag(cloud, id, olds, put, sorted(before.keys() - after.keys()))
            if changed - {"tags", "tagsAll"}:
                self.change(cloud, id, inputs, olds, changed=changed - {"tags", "tagsAll"}, request=request)
            kept = {name: value for name, value in olds.items() if name not in old_inputs}
            return self._outputs(cloud, id, inputs, {**kept, **inputs}, request)
        except ClientError as error:
            raise refusal(error) from error

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Removes the resource; it may be gone already."""
        try:
            self.remove(_cloud(request, olds), id, olds, request)
        except ClientError as error:
            if not is_gone(error):
                raise refusal(error) from error

    # Details.

    def chosen_name(self, inputs: Properties) -> str:
        """The name for the creation: `name`, or `namePrefix` and 26 random characters."""
        return inputs.get("name") or f"{inputs['namePrefix']}{uuid.uuid4().hex[:_PREFIX_SUFFIX]}"

    def _names_itself(self, inputs: Properties) -> bool:
        return (
            self.longest_name is not None and "name" in self.shape.inputs and not inputs.keys() & {"name", "namePrefix"}
        )

    def _outputs(self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """The inputs, overwritten by the live properties."""
        try:
            live = self.live(cloud, id, olds or inputs)
        except ClientError as error:
            if is_gone(error):
                raise _GoneError(f"{self.token} {id} does not exist") from error
            raise refusal(error) from error
        if live is None:
            raise _GoneError(f"{self.token} {id} does not exist")
        for name in (self.shared - inputs.keys()) & olds.keys():
            live[name] = olds[name]
        live = {"region": cloud.region, **live} if "region" in self.shape.inputs else dict(live)
        if "tags" in self.shape.inputs:
            everything = {key: value for key, value in (live.get("tags") or {}).items() if not key.startswith("aws:")}
            own, default = inputs.get("tags") or {}, _provider(request).default_tags
            live["tagsAll"] = everything
            live["tags"] = {key: value for key, value in everything.items() if key in own or default.get(key) != value}
        return {**inputs, **{name: self._settled(name, value, inputs.get(name)) for name, value in live.items()}}

    def same(self, name: str, one: Any, other: Any) -> bool:
        """Whether two values of an input mean the same: a set in another order, or an equal document."""
        if isinstance(one, list) and isinstance(other, list) and self.shape.is_set(name):
            return same_set(one, other)
        if name in self.documents and isinstance(one, str) and isinstance(other, str):
            return same_document(one, other)
        return False

    def _settled(self, name: str, new: Any, old: Any) -> Any:
        """`old` if `new` has the same meaning."""
        return old if self.same(name, old, new) else new

    def _as_given(self, name: str, given: Any, found: Any) -> Any:
        kind = self.shape.inputs[name][0] if name in self.shape.inputs else ["map", "string"]
        return as_given(kind, given, self._settled(name, found, given))

    def _common_problems(self, inputs: Properties) -> Iterator[Refused]:
        yield from self._value_problems(inputs)
        yield from self._group_problems(inputs)
        for name in sorted(self.unmodelled & inputs.keys()):
            yield Refused(f"the rehearsal's aws provider does not support {name} of {self.token}", name)
        if self.longest_name is not None:
            yield from self._name_problems(inputs, self.longest_name)
        yield from tag_problems(known(inputs.get("tagsAll")) or {})

    def _value_problems(self, inputs: Properties) -> Iterator[Refused]:
        for path, accepted in self.choices.items():
            for where, value in each(inputs, path):
                if value not in accepted:
                    yield Refused(f"expected {where} to be one of {', '.join(map(str, accepted))}, got {value}", where)
        for path, (least, greatest) in self.ranges.items():
            for where, value in each(inputs, path):
                if not least <= value <= greatest:
                    yield Refused(f"expected {where} to be in the range ({least} - {greatest}), got {value}", where)

    def _group_problems(self, inputs: Properties) -> Iterator[Refused]:
        for name in self.required:
            if name not in inputs:
                yield Refused(f"{self.token} requires {name}", name)
        for group in self.exactly_one:
            given = [name for name in group if name in inputs]
            if len(given) != 1:
                said = f"{', '.join(given)} were given" if given else "none was given"
                yield Refused(f"{self.token}: exactly one of {', '.join(group)} is needed, {said}", (given or group)[0])
        for group in self.at_most_one:
            given = [name for name in group if name in inputs]
            if len(given) > 1:
                yield Refused(f"{self.token}: {given[0]} conflicts with {', '.join(given[1:])}", given[0])

    def _name_problems(self, inputs: Properties, longest: int) -> Iterator[Refused]:
        bounds = {"name": longest, "namePrefix": longest - _PREFIX_SUFFIX}
        for key, bound in bounds.items():
            value = known(inputs.get(key)) if key in self.shape.inputs else None
            if value is not None and not 1 <= len(value) <= bound:
                yield Refused(
                    f"expected length of {key} to be in the range (1 - {bound}), got {len(value)}: {value}", key
                )
            elif value is not None and self.name_pattern and not re.fullmatch(self.name_pattern, value):
                yield Refused(f"invalid value for {key} ({value}): it must match {self.name_pattern}", key)


class _GoneError(Refused):
    """The resource does not exist."""


def _provider(request: Request) -> ConfiguredProvider:
    return cast("ConfiguredProvider", request.provider)


def _cloud(request: Request, properties: Properties) -> Cloud:
    return _provider(request).cloud(known(properties.get("region")))
