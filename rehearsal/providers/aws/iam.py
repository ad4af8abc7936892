"""IAM: roles and policies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.inputs import each, known
from rehearsal.providers.aws.policy_grammar import (
    LONGEST_INLINE_POLICIES,
    LONGEST_MANAGED_POLICY,
    identity_policy,
    trust_policy,
)
from rehearsal.providers.protocol.model import Properties, Refused, Request

_NAME = r"[\w+=,.@-]+"
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_MOST_POLICY_VERSIONS = 5
_ARN = re.compile(r"arn:[^:]+:[^:]*:[^:]*:[^:]*:.+")


def _path_problems(inputs: Properties) -> Iterator[Refused]:
    path = known(inputs.get("path"))
    if path is not None and not _PATH.fullmatch(path):
        yield Refused(f"invalid path {path}: it must begin and end with /", "path")


def _arn_problems(inputs: Properties, path: str) -> Iterator[Refused]:
    for where, arn in each(inputs, path):
        if not _ARN.fullmatch(arn):
            yield Refused(f"{where} ({arn}) is an invalid ARN", where)


class Role(DescribedResource):
    """A role, with the inline and managed policies that its inputs name."""

    token = "aws:iam/role:Role"
    force_new = frozenset({"name", "namePrefix", "path"})
    defaults = {"path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False}
    ranges = {"maxSessionDuration": (3600, 43200)}
    longest_name = 64
    name_pattern = _NAME
    service, id_form = "iam", "{name}"
    api_names = {"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument", "uniqueId": "RoleId"}
    create_call = Call(
        "create_role", "name assumeRolePolicy path maxSessionDuration tags description permissionsBoundary"
    )
    read_call, found = Call("get_role", "name"), "Role"
    outputs = fields(
        "arn path assumeRolePolicy createDate uniqueId tags",
        description="Description || ''",
        maxSessionDuration="MaxSessionDuration || `3600`",
        permissionsBoundary="PermissionsBoundary.PermissionsBoundaryArn",
    )
    updates = {
        "assumeRolePolicy": Call("update_assume_role_policy", "name", PolicyDocument="{assumeRolePolicy}"),
        "description maxSessionDuration": Call(
            "update_role", "name maxSessionDuration", Description="{description || ''}"
        ),
    }
    delete_call = Call("delete_role", "name")
    tag_call = Call("tag_role", RoleName="{id}", Tags="{tags}")
    untag_call = Call("untag_role", RoleName="{id}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from trust_policy(inputs, "assumeRolePolicy")
        yield from _path_problems(inputs)
        yield from _arn_problems(inputs, "permissionsBoundary")
        for inline in known(inputs.get("inlinePolicies")) or []:
            yield from identity_policy(inline, "policy", LONGEST_INLINE_POLICIES)

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self._put_policies(cloud, id, inputs, {})

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        attached = cloud.client("iam").list_attached_role_policies(RoleName=known["id"])["AttachedPolicies"]
        return {
            "managedPolicyArns": sorted(policy["PolicyArn"] for policy in attached),
            "inlinePolicies": self._inline(cloud, known["id"], known),
        }

    @staticmethod
    def _inline(cloud: Cloud, id: str, olds: Properties) -> list[dict[str, Any]]:
        """The inline policies, each as the text of the program if that has the same meaning."""
        iam = cloud.client("iam")
        given = {
            given_policy.get("name"): given_policy.get("policy") for given_policy in olds.get("inlinePolicies") or []
        }
        found = []
        for name in iam.list_role_policies(RoleName=id)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=id, PolicyName=name)["PolicyDocument"]
            text = given.get(name)
            found.append(
                {"name": name, "policy": text if text and json.loads(text) == document else json.dumps(document)}
            )
        return found

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        super().change(cloud, id, inputs, olds, changed=changed, request=request)
        boundary = inputs.get("permissionsBoundary")
        if "permissionsBoundary" in changed and boundary:
            cloud.client("iam").put_role_permissions_boundary(RoleName=id, PermissionsBoundary=boundary)
        elif "permissionsBoundary" in changed:
            cloud.client("iam").delete_role_permissions_boundary(RoleName=id)
        if changed & {"inlinePolicies", "managedPolicyArns"}:
            self._put_policies(cloud, id, inputs, olds)

    @staticmethod
    def _put_policies(cloud: Cloud, id: str, inputs: Properties, olds: Properties) -> None:
        """Makes the policies in the inputs, and deletes those that `olds` has in addition."""
        iam = cloud.client("iam")
        if "inlinePolicies" in inputs:
            wanted = {policy["name"]: policy["policy"] for policy in inputs["inlinePolicies"]}
            for name, policy in wanted.items():
                iam.put_role_policy(RoleName=id, PolicyName=name, PolicyDocument=policy)
            for name in {policy["name"] for policy in olds.get("inlinePolicies") or []} - wanted.keys():
                iam.delete_role_policy(RoleName=id, PolicyName=name)
        if "managedPolicyArns" in inputs:
            for arn in inputs["managedPolicyArns"]:
                iam.attach_role_policy(RoleName=id, PolicyArn=arn)
            for arn in set(olds.get("managedPolicyArns") or []) - set(inputs["managedPolicyArns"]):
                iam.detach_role_policy(RoleName=id, PolicyArn=arn)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Deletes the role. As in the real provider, it fails while the role has policies of other resources."""
        iam = cloud.client("iam")
        everything = olds.get("forceDetachPolicies")
        if everything or "managedPolicyArns" in self._own(olds):
            for policy in iam.list_attached_role_policies(RoleName=id)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=id, PolicyArn=policy["PolicyArn"])
        if everything or "inlinePolicies" in self._own(olds):
            for name in iam.list_role_policies(RoleName=id)["PolicyNames"]:
                iam.delete_role_policy(RoleName=id, PolicyName=name)
        for profile in iam.list_instance_profiles_for_role(RoleName=id)["InstanceProfiles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=profile["InstanceProfileName"], RoleName=id)
        super().remove(cloud, id, olds, request)

    @staticmethod
    def _own(olds: Properties) -> set[str]:
        """The kinds of policies that the last state of the role has."""
        return {name for name in ("managedPolicyArns", "inlinePolicies") if olds.get(name)}


class RolePolicy(DescribedResource):
    """An inline policy of a role."""

    token = "aws:iam/rolePolicy:RolePolicy"
    force_new = frozenset({"name", "namePrefix", "role"})
    longest_name = 128
    name_pattern = _NAME
    service, id_form = "iam", "{role}:{name}"
    api_names = {"role": "RoleName", "name": "PolicyName", "policy": "PolicyDocument"}
    create_call = Call("put_role_policy", "role name policy")
    read_call, outputs = Call("get_role_policy", "role name"), fields("policy")
    delete_call = Call("delete_role_policy", "role name")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from identity_policy(inputs, "policy", LONGEST_INLINE_POLICIES)


class RolePolicyAttachment(DescribedResource):
    """The attachment of a managed policy to a role."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    force_new = frozenset({"role", "policyArn"})
    service, id_form = "iam", "{role}/{policyArn}"
    api_names = {"role": "RoleName"}
    create_call = Call("attach_role_policy", "role policyArn")
    read_call, found = Call("list_attached_role_policies", "role"), "AttachedPolicies[?PolicyArn=='{policyArn}']"
    delete_call = Call("detach_role_policy", "role policyArn")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _arn_problems(inputs, "policyArn")


class Policy(DescribedResource):
    """A managed policy of the account."""

    token = "aws:iam/policy:Policy"
    force_new = frozenset({"name", "namePrefix", "path", "description"})
    defaults = {"path": "/"}
    longest_name = 128
    name_pattern = _NAME
    service, made_id = "iam", "Policy.Arn"
    api_names = {"name": "PolicyName"}
    create_call = Call("create_policy", "name path description tags", PolicyDocument="{policy}")
    read_call, found = Call("get_policy", PolicyArn="{id}"), "Policy"
    outputs = fields("arn name path policyId attachmentCount tags", description="Description || ''")
    delete_call = Call("delete_policy", PolicyArn="{id}")
    tag_call = Call("tag_policy", PolicyArn="{id}", Tags="{tags}")
    untag_call = Call("untag_policy", PolicyArn="{id}", TagKeys="{tagKeys}")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from identity_policy(inputs, "policy", LONGEST_MANAGED_POLICY)
        yield from _path_problems(inputs)

    def more_outputs(self, cloud: Cloud, found: Any, known: Properties) -> Properties:
        version = {"PolicyArn": known["id"], "VersionId": found["DefaultVersionId"]}
        return {"policy": json.dumps(cloud.client("iam").get_policy_version(**version)["PolicyVersion"]["Document"])}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """Makes a new default version. IAM keeps five, so the oldest one is deleted first."""
        if "policy" not in changed:
            return
        iam = cloud.client("iam")
        versions = iam.list_policy_versions(PolicyArn=id)["Versions"]
        if len(versions) >= _MOST_POLICY_VERSIONS:
            oldest = min(
                (version for version in versions if not version["IsDefaultVersion"]),
                key=lambda version: version["CreateDate"],
            )
            iam.delete_policy_version(PolicyArn=id, VersionId=oldest["VersionId"])
        iam.create_policy_version(PolicyArn=id, PolicyDocument=inputs["policy"], SetAsDefault=True)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        iam = cloud.client("iam")
        for version in iam.list_policy_versions(PolicyArn=id)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=id, VersionId=version["VersionId"])
        super().remove(cloud, id, olds, request)
