"""Carries out lines for the AWS CLI by boto3: each must name an operation and options that AWS has."""

from __future__ import annotations

import json
import shlex
from typing import Any

from botocore import xform_name

from reports.account import Account


def carry_out(account: Account, line: str) -> None:
    """Does what a line says. Fails on what the AWS CLI would not understand."""
    words = shlex.split(line)
    assert words[0] == "aws"
    assert words[-2:] == ["--region", account.region]
    service, operation, *options = words[1:-2]
    if (service, operation) == ("s3", "rb"):
        bucket = options[0].removeprefix("s3://")
        for one in account.pages("s3", "list_objects_v2", "Contents", Bucket=bucket):
            account.client("s3").delete_object(Bucket=bucket, Key=one["Key"])
        account.client("s3").delete_bucket(Bucket=bucket)
        return
    client = account.client(service)
    if operation == "wait":
        waiter, *options = options
        # What is gone at once need not be waited for: that there is such a waiter, and its options, are what counts.
        config = client.get_waiter(waiter.replace("-", "_")).config
        operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
        _arguments(client, operations[xform_name(config.operation, "-")], options)
        return
    operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    method = xform_name(operations[operation])
    try:
        getattr(client, method)(**_arguments(client, operations[operation], options))
    except client.exceptions.ClientError as error:
        # AWS marks the interfaces of NAT gateways as its own, moto does not: they are gone by then.
        if error.response["Error"]["Code"] != "InvalidNetworkInterfaceID.NotFound":
            raise


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
            return [dict(pair.split("=", 1) for pair in value.split(",")) for value in values]
        return values
    (value,) = values
    return int(value) if member.type_name in ("integer", "long") else value
