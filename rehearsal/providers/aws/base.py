"""What the resource types of the aws stand-in share, so that each of them is a few declarative lines.

A type is a subclass of `AwsResource` in any module of this package: the provider imports them all. It says what can't
be changed in place (`force_new`) and what it accepts beyond the contract (`defaults`, `choices`, `ranges`,
`exactly_one`, `at_most_one`, `validate`), and carries out the operations through boto3:

    class Vpc(AwsResource):
        token = "aws:ec2/vpc:Vpc"
        force_new = frozenset({"cidrBlock"})
        def make(self, cloud, inputs, request): ...      # creates it, returns its id
        def complete(self, cloud, id, inputs, request): ...   # what follows a creation: attributes, waiting
        def live(self, cloud, id, olds): ...             # its properties as they are now, None when it is gone
        def change(self, cloud, id, inputs, olds, *, changed, request): ...   # an update in place, tags apart
        def retag(self, cloud, id, olds, put, drop): ... # a change of tags
        def remove(self, cloud, id, olds, request): ...  # deletes it

The base class does the rest: the contract, names, default tags, previews, drift, errors in a sentence. botocore's
ClientError may be left to it everywhere; one that says "not found" means that the resource is gone, in `live` and
`remove`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from botocore.exceptions import ClientError

from rehearsal.providers.aws.cloud import Cloud, is_gone, refusal, tag_problems
from rehearsal.providers.aws.contract import Shape, shape
from rehearsal.providers.aws.forms import as_given, same_document, same_set
from rehearsal.providers.serving import (
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

if TYPE_CHECKING:
    from rehearsal.providers.aws.provider import AwsProvider

TYPES: dict[str, AwsResource] = {}
"""Every resource type of the modules imported so far, by token."""

_PREFIX_SUFFIX = 26
_AUTONAMED = re.compile(r"-[0-9a-f]{7}$")


def known(value: Any) -> Any:
    """`value`, or None where a preview can't know it."""
    return None if value is UNKNOWN else value


def each(value: Any, path: str, at: str = "") -> Iterator[tuple[str, Any]]:
    """What is known at `path` (`ingress[].protocol`) in `value`, with where it was found (`ingress[0].protocol`)."""
    if value is UNKNOWN or value is None:
        return
    if not path:
        yield at, value
        return
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    found, where = value.get(name), f"{at}.{name}" if at else name
    if not head.endswith("[]"):
        yield from each(found, rest, where)
    elif isinstance(found, list):
        for index, item in enumerate(found):
            yield from each(item, rest, f"{where}[{index}]")


class AwsResource(ResourceType):
    """One resource type of AWS; the module's docstring says what a subclass writes.

    `force_new`: inputs, or paths below them (`vpcConfig.subnetIds`), whose change replaces the resource.
    `defaults`: inputs that the provider itself fills in.
    `choices`, `ranges`: path of an input (`metadataOptions.httpTokens`, `ingress[].fromPort`) -> accepted values, or
    the least and the greatest.
    `exactly_one`, `at_most_one`: groups of top-level inputs.
    `longest_name`: bound of `name`, in characters; None for a type that isn't named by itself.
    `name_pattern`: what `name` must match as a whole.
    `documents`: inputs that are JSON text: equal documents are no change. (Those the contract shows are added.)
    `recomputed`: outputs that any update changes.
    `shared`: properties that other resources change too (a route table's routes): followed only where the program set
    them, else left as they were.
    `unmodelled`: inputs that the simulated AWS can't carry out: refused rather than ignored.
    """

    shape: ClassVar[Shape]
    defaults: ClassVar[Mapping[str, Any]] = {}
    choices: ClassVar[Mapping[str, Collection[Any]]] = {}
    ranges: ClassVar[Mapping[str, tuple[int, int]]] = {}
    exactly_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    at_most_one: ClassVar[tuple[tuple[str, ...], ...]] = ()
    longest_name: ClassVar[int | None] = 255
    name_pattern: ClassVar[str] = ""
    documents: ClassVar[frozenset[str]] = frozenset()
    recomputed: ClassVar[frozenset[str]] = frozenset()
    shared: ClassVar[frozenset[str]] = frozenset()
    unmodelled: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Takes the type's shape from the contract and registers it; one without a token is a base of others."""
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
        """What preview can refuse beyond the contract. Values may be UNKNOWN: see `known` and `each`."""
        yield from ()

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        """Creates the resource with `inputs` (tags: `inputs["tagsAll"]`, where there are any) and returns its id."""
        raise NotImplementedError

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        """What follows the creation. A failure leaves the resource in the state, and the next `up` comes here again."""

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        """The properties as AWS has them now, or None. All tags go under `tags`; `olds` is empty on an import."""
        raise NotImplementedError

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        """Changes the inputs named in `changed`, which hold no tags, in place; `olds` are the outputs before."""
        raise NotImplementedError(f"{self.token}: {', '.join(sorted(changed))} can't be changed in place")

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        """Sets the tags `put` and removes those whose keys are in `drop`."""
        raise NotImplementedError

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
        """Of a create: what the cloud decides is unknown. Of an update: what stays, the new inputs, `recomputed`."""
        if olds is None:
            return {**dict.fromkeys(self.computed, UNKNOWN), **inputs}
        kept = {name: value for name, value in olds.items() if name in inputs or name in self.computed}
        return {**kept, **inputs, **dict.fromkeys(self.recomputed, UNKNOWN)}

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """As in the base; a `force_new` may be a path below an input, and a name that was chosen stands in the way."""
        changes = list(changed_paths(old_inputs, inputs))
        replaced = self.replaces(old_inputs, inputs, {str(path[0]) for path, _ in changes}) if changes else set()
        replacing = frozenset(tuple(path.split(".")) for path in self.force_new | replaced)
        name = known(inputs.get("name"))
        chosen = self.longest_name is not None and isinstance(name, str) and not _AUTONAMED.search(name)
        first = self.delete_before_replace or (chosen and name == old_inputs.get("name"))
        return Difference(changes, replacing, first)

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Makes and completes the resource. Raises InitFailed when only the second failed."""
        cloud = _cloud(request, inputs)
        try:
            id = self.make(cloud, inputs, request)
        except ClientError as error:
            raise refusal(error) from error
        try:
            self.complete(cloud, id, inputs, request)
            return id, self._outputs(cloud, id, inputs, {}, request)
        except Exception as error:  # whatever it is, the state must know of the resource
            reason = refusal(error) if isinstance(error, ClientError) else error
            raise InitFailed(id, inputs, [str(reason)]) from error

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The inputs as they are in AWS now, in the program's form where nothing changed, and all outputs."""
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
        """Changes tags and whatever else differs; with no difference at all it completes a failed creation."""
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
        """Removes the resource; one that is gone is no error."""
        try:
            self.remove(_cloud(request, olds), id, olds, request)
        except ClientError as error:
            if not is_gone(error):
                raise refusal(error) from error

    # Details.

    def chosen_name(self, inputs: Properties) -> str:
        """The name to create with: `name`, or `namePrefix` and 26 characters that nothing else has."""
        return inputs.get("name") or f"{inputs['namePrefix']}{uuid.uuid4().hex[:_PREFIX_SUFFIX]}"

    def _names_itself(self, inputs: Properties) -> bool:
        return (
            self.longest_name is not None and "name" in self.shape.inputs and not inputs.keys() & {"name", "namePrefix"}
        )

    def _outputs(self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """The inputs with what is live over them."""
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
        """Whether two values of an input mean the same: a set in another order, an equal document."""
        if isinstance(one, list) and isinstance(other, list) and self.shape.is_set(name):
            return same_set(one, other)
        if name in self.documents and isinstance(one, str) and isinstance(other, str):
            return same_document(one, other)
        return False

    def _settled(self, name: str, new: Any, old: Any) -> Any:
        """`old` where `new` only writes the same in another way."""
        return old if self.same(name, old, new) else new

    def _as_given(self, name: str, given: Any, found: Any) -> Any:
        kind = self.shape.inputs[name][0] if name in self.shape.inputs else ["map", "string"]
        return as_given(kind, given, self._settled(name, found, given))

    def _common_problems(self, inputs: Properties) -> Iterator[Refused]:
        yield from self._value_problems(inputs)
        yield from self._group_problems(inputs)
        for name in sorted(self.unmodelled & inputs.keys()):
            yield Refused(f"the rehearsal's aws provider does not carry out {name} of {self.token}", name)
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
    """The resource isn't there."""


def _provider(request: Request) -> AwsProvider:
    return cast("AwsProvider", request.provider)


def _cloud(request: Request, properties: Properties) -> Cloud:
    return _provider(request).cloud(known(properties.get("region")))
