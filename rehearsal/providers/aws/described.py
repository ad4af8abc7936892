"""Types that are described by their API calls. Each is a table; it has a method only where AWS takes more than a call.

    class QueuePolicy(DescribedResource):
        token = "aws:sqs/queuePolicy:QueuePolicy"
        force_new = frozenset({"queueUrl"})
        service, id_form = "sqs", "{queueUrl}"
        create_call = Call("set_queue_attributes", "queueUrl", Attributes={"Policy": "{policy}"})
        read_call = Call("get_queue_attributes", "queueUrl", AttributeNames=["Policy"])
        found, outputs = "Attributes", fields("policy")
        delete_call = Call("set_queue_attributes", "queueUrl", Attributes={"Policy": ""})

Paths into properties and answers are JMESPath, as in the waiters of botocore (https://jmespath.org/specification.html).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import jmespath
from botocore.exceptions import ClientError

from rehearsal.providers.aws.api_call import Call, as_property, member_name
from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.clients import Cloud, is_gone
from rehearsal.providers.protocol.model import Properties, Request

_PROPERTY = re.compile(r"\{(\w+)\}")


def fields(same: str = "", **paths: str) -> dict[str, str]:
    """A table of outputs: properties with the `same` name in the API, in another case, and others by their path."""
    return {**dict.fromkeys(same.split(), ""), **paths}


class DescribedResource(AwsResource):
    """A type that is described by its calls. The docstring of the module has an example.

    `api_names`: property -> name in the API, where they differ in more than their case; nested properties too.
    `id_form`: how the id consists of properties (`{role}:{name}`). A read takes the properties from the id.
    `made_id`: the path of the id in the answer to `create_call`, if AWS chooses the id. Calls use it as `{id}`.
    `found`: the path of the object in the answer to `read_call`; it can use properties. If it finds nothing, the object
    is gone.
    `outputs`: property -> path of its value in the object (see `fields`).
    `read_tags_call`: reads the tags, if the object does not have them. `tags_found` is their path in the answer.
    `updates`: inputs (`*`: any) -> the call that changes them. None: `create_call` changes them.
    `set_later`: inputs that `updates` sets directly after the creation, if they are given.
    `delete_call`: None if nothing is deleted.
    `ready`: a path that finds something once the creation has finished. `waits_until_gone`: a deletion takes time.
    `wait_seconds`: how long each of them can take.
    """

    longest_name: ClassVar[int | None] = None
    api_names: ClassVar[Mapping[str, str]] = {}
    id_form: ClassVar[str] = ""
    made_id: ClassVar[str] = ""
    create_call: ClassVar[Call]
    read_call: ClassVar[Call]
    found: ClassVar[str] = "@"
    outputs: ClassVar[Mapping[str, str]] = {}
    read_tags_call: ClassVar[Call | None] = None
    tags_found: ClassVar[str] = "Tags"
    updates: ClassVar[Mapping[str, Call] | None] = None
    set_later: ClassVar[frozenset[str]] = frozenset()
    delete_call: ClassVar[Call | None]
    ready: ClassVar[str] = ""
    waits_until_gone: ClassVar[bool] = False
    wait_seconds: ClassVar[float] = 60

    def given(self, inputs: Properties) -> Properties:
        """The properties for the calls that create and change: the inputs, and values that are derived from them."""
        return {**inputs, "tags": inputs.get("tagsAll") or None}

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        """Outputs that the table cannot give. `found` is the object; `known` has the last properties and the `id`."""
        return {}

    def answer(self, call: Call, cloud: Cloud, properties: Properties) -> dict[str, Any]:
        """Makes one of the calls."""
        return call.answer(cloud, self.service, properties, self.api_names)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        given = self.given(inputs)
        if "name" in self.shape.inputs:
            given["name"] = self.chosen_name(inputs)
        answer = self.answer(self.create_call, cloud, given)
        return jmespath.search(self.made_id, answer) if self.made_id else self.id_form.format_map(given)

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        if self.ready:
            what = f"{self.token.rpartition(':')[2]} {id}"
            request.wait(lambda: self.is_ready(cloud, id, inputs), seconds=self.wait_seconds, what=what)
        if later := self.set_later & inputs.keys():
            self.change(cloud, id, inputs, {}, changed=set(later), request=request)

    def is_ready(self, cloud: Cloud, id: str, inputs: Properties) -> bool:
        """Whether the creation has finished."""
        return bool(jmespath.search(self.ready, self.look(cloud, {**inputs, **self.named(id), "id": id})))

    def look(self, cloud: Cloud, known: Properties) -> Any:
        """The object as AWS describes it. None or empty if it is gone."""
        path = _PROPERTY.sub(lambda match: known[match[1]], self.found)
        return jmespath.search(path, self.answer(self.read_call, cloud, known))

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        named = self.named(id)
        known = {**olds, **named, "id": id}
        if not (found := self.look(cloud, known)):
            return None
        shown = {**named, **{name: self.output(name, path, found) for name, path in self.outputs.items()}}
        shown |= self.more_outputs(cloud, found, known)
        if self.read_tags_call:
            answer = self.answer(self.read_tags_call, cloud, {**shown, "id": id})
            shown["tags"] = as_property(["map", "string"], jmespath.search(self.tags_found, answer), {})
        return shown

    def output(self, name: str, path: str, found: Any) -> Any:
        """One of the `outputs`, in the contract's form."""
        if path:
            value = jmespath.search(path, found)
        else:
            members = {key.lower(): item for key, item in found.items()}
            value = members.get(member_name(name, members, self.api_names))
        return as_property(self.shape.kind(name), value, self.api_names)

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        decided = {name: value for name, value in olds.items() if name in self.shape.outputs}
        given = {**decided, **self.given(inputs), **self.named(id), "id": id}
        for names, call in ({"*": self.create_call} if self.updates is None else self.updates).items():
            if names == "*" or changed & set(names.split()):
                self.answer(call, cloud, given)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        if self.delete_call:
            self.answer(self.delete_call, cloud, {**olds, **self.named(id), "id": id})
        if self.waits_until_gone:
            what = f"the deletion of {self.token.rpartition(':')[2]} {id}"
            request.wait(lambda: self.is_gone(cloud, id, olds), seconds=self.wait_seconds, what=what)

    def is_gone(self, cloud: Cloud, id: str, olds: Properties) -> bool:
        """Whether the deletion has finished."""
        try:
            return self.live(cloud, id, olds) is None
        except ClientError as error:
            if is_gone(error):
                return True
            raise

    def named(self, id: str) -> Properties:
        """The properties in the id."""
        parts = re.split(r"(\{\w+\})", self.id_form)
        pattern = "".join(f"(?P<{part[1:-1]}>.+?)" if part.startswith("{") else re.escape(part) for part in parts)
        match = re.fullmatch(pattern, id)
        return match.groupdict() if match else {}
