"""Carries out lines for the AWS CLI by boto3: each must name an operation and options that AWS has.

Operations that take time on AWS are still under way at the next call, which is then refused; moto itself completes them
at once.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError

from reports.account import Account

_WAITING = re.compile(
    r'\(tries=1; until \[ "\$\((aws .*)\)" = 0 \]; '
    r"do \[ \$tries -lt (\d+) \] \|\| exit 1; tries=\$\(\(tries \+ 1\)\); sleep \d+; done\)"
)
_EMPTYING = re.compile(
    r"\(while objects=\$\((aws s3api list-object-versions .*)\) && \[ \"\$objects\" != \"\[\]\" \]; "
    r"do aws s3api delete-objects --bucket (\S+) --delete \"(.*)\" --region \S+ \|\| exit 1; done\)"
)
_IN_A_VPC = ("DeleteSecurityGroup", "DeleteSubnet")


@dataclass(frozen=True)
class Slow:
    """An operation that takes time: other calls are refused until `seen`, a waiter or a call, shows that it is done."""

    seen: tuple[str, ...]
    refused: tuple[str, ...]
    code: str


# From the API references of the services, "Errors" of each refused operation.
_SLOW = {
    "DeleteLoadBalancer": Slow(("DescribeNetworkInterfaces",), _IN_A_VPC, "DependencyViolation"),
    "DeleteCluster": Slow(("DescribeNetworkInterfaces",), _IN_A_VPC, "DependencyViolation"),
    "DeleteVpcEndpoints": Slow(("DescribeVpcEndpoints",), (*_IN_A_VPC, "DeleteVpc"), "DependencyViolation"),
    "DeleteNatGateway": Slow(("nat_gateway_deleted",), ("ReleaseAddress", "DeleteSubnet"), "InvalidIPAddress.InUse"),
    "DetachNetworkInterface": Slow(
        ("network_interface_available",), ("DeleteNetworkInterface",), "InvalidParameterValue"
    ),
    "TerminateInstances": Slow(("instance_terminated",), ("DeleteVolume", *_IN_A_VPC), "VolumeInUse"),
    "DeleteMountTarget": Slow(("DescribeMountTargets",), ("DeleteFileSystem",), "FileSystemInUse"),
    "DeleteRecoveryPoint": Slow(
        ("ListRecoveryPointsByBackupVault",), ("DeleteBackupVault",), "InvalidRequestException"
    ),
    "DeleteNodegroup": Slow(("nodegroup_deleted",), ("DeleteCluster",), "ResourceInUseException"),
    "UpdateClusterConfig": Slow(("cluster_active",), ("DeleteCluster",), "ResourceInUseException"),
    "ModifyDBInstance": Slow(("db_instance_available",), ("DeleteDBInstance",), "InvalidDBInstanceState"),
    "DeleteDBInstance": Slow(
        ("db_instance_deleted",), ("DeleteDBSubnetGroup", "DeleteDBParameterGroup"), "InvalidDBSubnetGroupStateFault"
    ),
}


class CommandLine:
    """The person who types the lines, one after another."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._under_way: list[str] = []

    def carry_out(self, lines: Iterable[str]) -> None:
        """Does what each line says. Fails on what the AWS CLI would not understand; raises botocore's ClientError."""
        for line in lines:
            if waiting := _WAITING.fullmatch(line):
                self._wait(waiting[1], int(waiting[2]))
            elif emptying := _EMPTYING.fullmatch(line):
                self._empty(shlex.split(emptying[1]), emptying[2], emptying[3])
            else:
                self._command(line)

    def _wait(self, command: str, tries: int) -> None:
        for _ in range(tries):
            if self._command(command) == 0:
                return
        raise AssertionError(f"still there after {tries} tries: {command}")

    def _empty(self, listing: list[str], bucket: str, delete: str) -> None:
        """Lists and deletes until nothing is listed."""
        client, query = self._account.client("s3"), listing[listing.index("--query") + 1]
        while objects := jmespath.search(query, client.list_object_versions(Bucket=bucket, MaxKeys=2)):
            text = delete.replace('\\"', '"').replace("$objects", json.dumps(objects))
            client.delete_objects(Bucket=bucket, Delete=json.loads(text))

    def _command(self, line: str) -> Any:
        words = shlex.split(line)
        assert words[0] == "aws"
        at = words.index("--region")
        assert words[at + 1] == self._account.region
        service, operation, *options = words[1:at] + words[at + 2 :]
        if (service, operation) == ("s3", "rb"):
            return self._remove_bucket(options[0].removeprefix("s3://"))
        if operation == "wait":
            return self._waiter(service, *options)
        return self._call(service, operation, options)

    def _remove_bucket(self, bucket: str) -> None:
        client = self._account.client("s3")
        for one in self._account.pages("s3", "list_objects_v2", "Contents", Bucket=bucket):
            client.delete_object(Bucket=bucket, Key=one["Key"])  # of a bucket with versions that hides them
        client.delete_bucket(Bucket=bucket)

    def _waiter(self, service: str, waiter: str, *options: str) -> None:
        client, name = self._account.client(service), waiter.replace("-", "_")
        # What moto did at once need not be waited for: that there is such a waiter, and its options, are what counts.
        config = client.get_waiter(name).config
        _arguments(client, _operations(client)[xform_name(config.operation, "-")], list(options))
        self._see(name)

    def _see(self, what: str) -> bool:
        """Whether an operation was under way, which counts as done from now on."""
        seen = [one for one in self._under_way if what in _SLOW[one].seen]
        self._under_way = [one for one in self._under_way if one not in seen]
        return bool(seen)

    def _call(self, service: str, operation: str, options: list[str]) -> Any:
        client = self._account.client(service)
        name = _operations(client)[operation]
        query = None
        if "--query" in options:
            at = options.index("--query")
            assert options[at + 2 : at + 4] == ["--output", "text"]
            query = options[at + 1]
            del options[at : at + 4]
        for one in self._under_way:
            if name in _SLOW[one].refused:
                message = f"{one} is still under way"
                raise ClientError({"Error": {"Code": _SLOW[one].code, "Message": message}}, name)
        try:
            answer = getattr(client, xform_name(name))(**_arguments(client, name, options))
        except client.exceptions.ClientError as error:
            # AWS marks the interfaces of NAT gateways as its own, moto does not: they are gone by then.
            if error.response["Error"]["Code"] != "InvalidNetworkInterfaceID.NotFound":
                raise
            return None
        if query:
            return jmespath.search(query, answer) + self._see(name)
        if name in _SLOW:
            self._under_way.append(name)
        return None


def _operations(client: Any) -> dict[str, str]:
    return {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}


def _arguments(client: Any, operation: str, options: list[str]) -> dict[str, Any]:
    shape = client.meta.service_model.operation_model(operation).input_shape
    members = {xform_name(name, "-"): (name, member) for name, member in shape.members.items()}
    given: dict[str, list[str]] = {}
    for word in options:
        if word.startswith("--"):
            given[word.removeprefix("--")] = []
        else:
            given[list(given)[-1]].append(word)
    arguments = {}
    for option, values in given.items():
        negated = option not in members and option.startswith("no-")
        name, member = members[option.removeprefix("no-") if negated else option]
        arguments[name] = not negated if member.type_name == "boolean" else _value(member, values)
    missing = set(shape.required_members) - arguments.keys()
    assert not missing, f"{operation} lacks {missing}"
    return arguments


def _value(member: Any, values: list[str]) -> Any:
    if values[0][:1] in ("{", "["):
        return json.loads(values[0])
    if member.type_name == "list":
        if member.member.type_name == "structure":
            return [_structure(member.member, value) for value in values]
        return values
    (value,) = values
    return int(value) if member.type_name in ("integer", "long") else value


def _structure(shape: Any, value: str) -> dict[str, Any]:
    """The CLI's shorthand: `Name=vpc-id,Values=one,two`."""
    found: dict[str, list[str]] = {}
    for part in value.split(","):
        key, equals, first = part.partition("=")
        if equals:
            found[key] = [first]
        else:
            found[list(found)[-1]].append(part)
    return {key: values if shape.members[key].type_name == "list" else values[0] for key, values in found.items()}
