"""Refuses calls of pods that the policies of their role do not allow. Everybody else is the account's administrator.

Each call is taken apart into the demands that IAM decides about ("Actions, resources, and condition keys" of each
service): what it makes with which tags, and what it names, with the tags that this has. It knows the calls of the
controllers that the rehearsal runs; any other is decided by its action only.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends

from rehearsal.cloud import pod_credentials
from rehearsal.cloud.caller_identity import PARTITION
from rehearsal.cloud.calls import CREDENTIAL
from rehearsal.cloud.policies import Demand, allows

_CLUSTER = re.compile(r"/clusters/(?P<name>[^/]+)")
# What each call of EC2 makes, beside what its launch template makes.
_MADE = {
    "CreateFleet": ("fleet", "instance", "volume"),
    "RunInstances": ("instance", "volume", "network-interface"),
    "CreateLaunchTemplate": ("launch-template",),
}
# The last word of the parameters by which EC2's calls name what there is.
_NAMED = ("LaunchTemplateName", "LaunchTemplateId", "SubnetId", "ImageId", "InstanceId", "ResourceId")
_WITH_NAMES = (*_MADE, "CreateTags", "TerminateInstances", "DeleteLaunchTemplate")
_TEMPLATE_TAGS = "LaunchTemplateData."


_refused: Counter[str] = Counter()


def refusals() -> dict[str, int]:
    """How often each call was refused, in IAM's words."""
    return dict(_refused)


def refusal(environ: dict[str, Any]) -> str | None:
    """Why the call of a pod is refused, in IAM's words; None for a call that is allowed, or not a pod's."""
    found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
    role = pod_credentials.roles().get(found["key"]) if found else None
    if found is None or role is None:
        return None
    statements = list(_statements(role))
    for demand in _demands(environ, found["service"], found["region"]):
        if not allows(statements, demand):
            why = f"User: {role} is not authorized to perform: {demand.action} on resource: {demand.resource}"
            _refused[why] += 1
            return why
    return None


def _statements(role_arn: str) -> Iterator[Mapping[str, Any]]:
    iam = iam_backends[DEFAULT_ACCOUNT_ID][PARTITION]
    role = iam.get_role_by_arn(role_arn)
    attached = [
        version.document
        for one in role.managed_policies.values()
        for version in one.versions
        if version.version_id == one.default_version_id
    ]
    for document in [*attached, *role.policies.values()]:
        statements = json.loads(document)["Statement"]
        yield from statements if isinstance(statements, list) else [statements]


def _demands(environ: dict[str, Any], service: str, region: str) -> Iterator[Demand]:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    in_region = {"aws:RequestedRegion": [region]}
    arn = f"arn:{PARTITION}:{service}:{region}:{DEFAULT_ACCOUNT_ID}:"
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        given = json.loads(body or b"{}")
        resource = "*"
        if service == "sqs":
            resource = arn + (given.get("QueueName") or given["QueueUrl"].rpartition("/")[2])
        elif service == "ssm":
            resource = f"arn:{PARTITION}:ssm:{region}::parameter{given['Name']}"  # a public one
        yield Demand(f"{service}:{target.rpartition('.')[2]}", resource, in_region)
        return
    if service == "eks":
        named = _CLUSTER.fullmatch(environ["PATH_INFO"])
        yield Demand("eks:DescribeCluster", f"{arn}cluster/{named['name']}" if named else "*", in_region)
        return
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    action = form.get("Action", "")
    if service == "ec2":
        yield from _of_ec2(form, action, region, in_region)
    elif service == "iam":
        yield from _of_iam(form, action)
    else:
        yield Demand(f"{service}:{action}", "*", in_region)


def _of_ec2(form: Mapping[str, str], action: str, region: str, context: Mapping[str, list[str]]) -> Iterator[Demand]:
    if action not in _WITH_NAMES:
        yield Demand(f"ec2:{action}", "*", context)
        return
    tags = _tag_specifications(form)
    arn = f"arn:{PARTITION}:ec2:{region}:{DEFAULT_ACCOUNT_ID}:"
    for kind in _MADE.get(action, ()):
        requested = {**context, **_requested(tags.get(kind, {}))}
        yield Demand(f"ec2:{action}", f"{arn}{kind}/new", requested)
        if tags.get(kind):
            yield Demand("ec2:CreateTags", f"{arn}{kind}/new", {**requested, "ec2:CreateAction": [action]})
    own = _requested(_numbered(form, "Tag.")) if action == "CreateTags" else {}
    ec2 = ec2_backends[DEFAULT_ACCOUNT_ID][region]
    for name, value in form.items():
        word = next((part for part in reversed(name.split(".")) if not part.isdigit()), "")
        if word in _NAMED and not name.startswith(_TEMPLATE_TAGS) and (action, word) != ("CreateLaunchTemplate", word):
            id = _template_id(ec2, value) if word == "LaunchTemplateName" else value
            kind = {"ami": "image", "lt": "launch-template", "i": "instance"}.get(id.split("-")[0], "subnet")
            owner = "" if kind == "image" else DEFAULT_ACCOUNT_ID
            has = {f"aws:ResourceTag/{key}": [one] for key, one in ec2.tags.get(id, {}).items()}
            resource = f"arn:{PARTITION}:ec2:{region}:{owner}:{kind}/{id}"
            yield Demand(f"ec2:{action}", resource, {**context, **own, **has})


def _template_id(ec2: Any, name: str) -> str:
    return ec2.launch_template_name_to_ids.get(name, "lt-none")


def _of_iam(form: Mapping[str, str], action: str) -> Iterator[Demand]:
    iam = iam_backends[DEFAULT_ACCOUNT_ID][PARTITION]
    prefix = f"arn:{PARTITION}:iam::{DEFAULT_ACCOUNT_ID}:"
    name = form.get("InstanceProfileName")
    if name is None:
        yield Demand(f"iam:{action}")
        return
    known = next((one for one in iam.get_instance_profiles() if one.name == name), None)
    path = known.path if known else form.get("Path", "/")
    has = {f"aws:ResourceTag/{one['Key']}": [one["Value"]] for one in (known.tags if known else [])}
    context = {**has, **_requested(_numbered(form, "Tags.member."))}
    yield Demand(f"iam:{action}", f"{prefix}instance-profile{path}{name}", context)
    if action == "AddRoleToInstanceProfile":
        role = f"{prefix}role/{form['RoleName']}"
        yield Demand("iam:PassRole", role, {"iam:PassedToService": ["ec2.amazonaws.com"]})


def _requested(tags: Mapping[str, str]) -> dict[str, list[str]]:
    context = {f"aws:RequestTag/{key}": [value] for key, value in tags.items()}
    return {**context, "aws:TagKeys": list(tags)} if tags else context


def _tag_specifications(form: Mapping[str, str]) -> dict[str, dict[str, str]]:
    kinds = {
        name.removesuffix("ResourceType"): value
        for name, value in form.items()
        if name.startswith("TagSpecification.") and name.endswith(".ResourceType")
    }
    return {kind: _numbered(form, f"{prefix}Tag.") for prefix, kind in kinds.items()}


def _numbered(form: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The tags of a list of a form: `Tag.1.Key` and `Tag.1.Value`."""
    keys = {name: value for name, value in form.items() if name.startswith(prefix) and name.endswith(".Key")}
    return {key: form.get(f"{name.removesuffix('Key')}Value", "") for name, key in keys.items()}
