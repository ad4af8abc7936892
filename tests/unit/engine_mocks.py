"""A recording stand-in for the engine, so that tests see a component's whole graph in milliseconds.

A test deploys a component and asks about what was registered:

    def test_queue_refuses_plain_http(mocks):
        karpenter = mocks.deploy(lambda: Karpenter("lab", args))
        policy = mocks.one("aws:sqs/queuePolicy:QueuePolicy")
        assert "aws:SecureTransport" in policy.inputs["policy"]
        assert mocks.value(karpenter.queue_name) == mocks.one("aws:sqs/queue:Queue").outputs["name"]

- `mocks.deploy(program)` runs the program to its end, raises what it raises, and returns what it returns.
- `mocks.all(type)`, `mocks.one(type, name=None)` look resources up; every one is a `Registered`.
- `mocks.value(output)` is an output's plain value, `mocks.needs(a, b)` says whether a (transitively) depends on b.
- `mocks.outputs[type] = lambda resource: {...}` adds outputs (camelCase) that a real provider would compute;
  `mocks.invokes[token] = {...}` answers a function call (a dict, or a callable that takes the arguments).

Input and output keys are camelCase, as the engine sees them. A custom resource's id is `TYPE-NAME` (`Vpc-lab`), its
`name` output the given or the logical name, and its `arn` ends with that name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest import mock

import pulumi
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime import resource as pulumi_resource
from pulumi.runtime import rpc
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.sync_await import _sync_await

T = TypeVar("T")


@dataclass
class Registered:
    """A resource as it was registered. `parent` and `dependencies` hold URNs, `provider` `URN::ID`."""

    type: str
    name: str
    urn: str
    id: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    custom: bool
    parent: str
    provider: str
    providers: dict[str, str] = field(default_factory=dict)
    dependencies: list[str] = field(default_factory=list)
    protect: bool = False
    retain_on_delete: bool = False
    deleted_with: str = ""
    custom_timeouts: dict[str, str] = field(default_factory=dict)
    ignore_changes: list[str] = field(default_factory=list)
    additional_secret_outputs: list[str] = field(default_factory=list)


class RecordingMonitor(pulumi_mocks.MockMonitor):
    """Keeps each registration's options too, which Pulumi's own mock monitor drops."""

    def __init__(self, mocks: EngineMocks) -> None:
        super().__init__(mocks)
        self.registered = mocks.resources

    def RegisterResource(self, request):
        """As the engine's method of this name."""
        response = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            timeouts = request.customTimeouts
            self.registered.append(
                Registered(
                    type=request.type,
                    name=request.name,
                    urn=response.urn,
                    id=response.id,
                    inputs=_plain(rpc.deserialize_properties(request.object)),
                    outputs=_plain(rpc.deserialize_properties(response.object)),
                    custom=request.custom,
                    parent=request.parent,
                    provider=request.provider,
                    providers=dict(request.providers),
                    dependencies=list(request.dependencies),
                    protect=request.protect,
                    retain_on_delete=request.retainOnDelete,
                    deleted_with=request.deletedWith,
                    custom_timeouts={
                        step: getattr(timeouts, step)
                        for step in ("create", "update", "delete")
                        if getattr(timeouts, step)
                    },
                    ignore_changes=list(request.ignoreChanges),
                    additional_secret_outputs=list(request.additionalSecretOutputs),
                )
            )
        return response


class EngineMocks(pulumi_mocks.Mocks):
    """Answers for the engine and its providers, and records the requests. See the module's docstring."""

    account_id = "123456789012"
    region = "us-east-1"

    def __init__(self) -> None:
        self.resources: list[Registered] = []
        self.calls: list[pulumi_mocks.MockCallArgs] = []
        self.outputs: dict[str, Callable[[pulumi_mocks.MockResourceArgs], dict[str, Any]]] = {
            "random:index/randomPassword:RandomPassword": lambda resource: {"result": f"generated for {resource.name}"},
            "random:index/randomId:RandomId": lambda resource: {"hex": "0a1b2c3d"},
            "aws:rds/instance:Instance": lambda resource: {"address": f"{resource.name}.rds.example.com"},
        }
        self.invokes: dict[str, dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]] = {
            "aws:index/getCallerIdentity:getCallerIdentity": {
                "accountId": self.account_id,
                "arn": f"arn:aws:iam::{self.account_id}:role/platform-admin",
                "id": self.account_id,
                "userId": "AROATEST:platform-admin",
            },
            "aws:ec2/getAmi:getAmi": lambda asked: {"id": f"ami of {asked['filters'][0]['values'][0]}"},
            "aws:index/getPartition:getPartition": {
                "partition": "aws",
                "id": "aws",
                "dnsSuffix": "amazonaws.com",
                "reverseDnsPrefix": "com.amazonaws",
            },
            # As they are in some account: names go to other ids in others. Of the regions of dev and prod.
            "aws:index/getAvailabilityZones:getAvailabilityZones": {
                "id": self.region,
                "names": [*(f"us-east-1{letter}" for letter in "abcdef"), *(f"eu-west-1{letter}" for letter in "abc")],
                "zoneIds": [*(f"use1-az{number}" for number in (6, 1, 2, 4, 3, 5)), "euw1-az2", "euw1-az3", "euw1-az1"],
            },
            "aws:secretsmanager/getSecretVersion:getSecretVersion": lambda asked: {
                "id": asked["secretId"],
                "arn": asked["secretId"],
                "secretString": json.dumps({"password": "kept in Secrets Manager"}),
            },
        }

    def new_resource(self, args: pulumi_mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """The inputs, a name, an ARN, and what `outputs` adds for the type."""
        inputs = _plain(args.inputs)
        extra = self.outputs[args.typ](args) if args.typ in self.outputs else {}
        if not args.custom:
            return "", {**inputs, **extra}
        name = inputs.get("name", args.name)
        service = args.typ.split(":")[1].split("/")[0]
        arn = f"arn:aws:{service}:{self.region}:{self.account_id}:{name}"
        return f"{args.typ.split(':')[-1]}-{args.name}", {"name": name, "arn": arn, **inputs, **extra}

    def call(self, args: pulumi_mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        """The answer given in `invokes`; an unexpected function is an error."""
        self.calls.append(args)
        if args.token not in self.invokes:
            raise AssertionError(f"unexpected function call {args.token}: add it to mocks.invokes")
        answer = self.invokes[args.token]
        return (answer(args.args) if callable(answer) else answer), []

    def deploy(self, program: Callable[[], T]) -> T:
        """Run `program` to its end, all registrations done, and return what it returns."""
        pulumi.runtime.set_mocks(self, project="gpulab", stack="test", preview=False, monitor=RecordingMonitor(self))
        result: list[T] = []
        # Each registration brings the whole stack of calls, which is deep under pytest and which no test looks at: it
        # would be a fifth of the time.
        with mock.patch.object(pulumi_resource, "_get_stack_trace", source_pb2.StackTrace):
            pulumi.runtime.test(lambda: result.append(program()))()
        return result[0]

    def value(self, output: pulumi.Input[T]) -> T:
        """The plain value of an output of a deployed resource."""
        return _sync_await(pulumi.Output.from_input(output).future())  # type: ignore[return-value]

    def all(self, type_: str) -> list[Registered]:
        """Every registered resource of a type, in the order of registration."""
        return [resource for resource in self.resources if resource.type == type_]

    def one(self, type_: str, name: str | None = None) -> Registered:
        """The only resource of a type (with that name, when given)."""
        found = [resource for resource in self.all(type_) if name in (None, resource.name)]
        assert len(found) == 1, f"{type_} {name or ''}: found {[resource.name for resource in found]}"
        return found[0]

    def needs(self, dependent: Registered, dependency: Registered) -> bool:
        """Whether `dependent` is created after, and destroyed before, `dependency`."""
        by_urn = {resource.urn: resource for resource in self.resources}
        seen: set[str] = set()
        waiting = [dependent.parent, *dependent.dependencies]
        while waiting:
            urn = waiting.pop()
            if urn == dependency.urn:
                return True
            if urn in by_urn and urn not in seen:
                seen.add(urn)
                # The engine orders a child after its parent, and so after what the parent depends on.
                waiting += [by_urn[urn].parent, *by_urn[urn].dependencies]
        return False


def _plain(value: Any) -> Any:
    """`value` with the wrappers of secrets taken off."""
    if rpc.is_rpc_secret(value):
        return _plain(rpc.unwrap_rpc_secret(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
