"""IAM: roles, policies and how they are attached, instance profiles, identity providers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from rehearsal.providers.aws.base import AwsResource, each, known
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.aws.policies import (
    LONGEST_INLINE_POLICIES,
    LONGEST_MANAGED_POLICY,
    identity_policy,
    trust_policy,
)
from rehearsal.providers.serving import Properties, Refused, Request

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


class Role(AwsResource):
    """A role, with the inline policies that its own inputs name."""

    token = "aws:iam/role:Role"
    force_new = frozenset({"name", "namePrefix", "path"})
    defaults = {"path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False}
    ranges = {"maxSessionDuration": (3600, 43200)}
    longest_name = 64
    name_pattern = _NAME

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from trust_policy(inputs, "assumeRolePolicy")
        yield from _path_problems(inputs)
        yield from _arn_problems(inputs, "permissionsBoundary")
        for inline in known(inputs.get("inlinePolicies")) or []:
            yield from identity_policy(inline, "policy", LONGEST_INLINE_POLICIES)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        optional = {"Description": inputs.get("description"), "PermissionsBoundary": inputs.get("permissionsBoundary")}
        cloud.client("iam").create_role(
            RoleName=name,
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Path=inputs["path"],
            MaxSessionDuration=inputs["maxSessionDuration"],
            Tags=tag_list(inputs.get("tagsAll")),
            **{key: value for key, value in optional.items() if value},
        )
        return name

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        self._put_policies(cloud, id, inputs, {})

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        iam = cloud.client("iam")
        role = iam.get_role(RoleName=id)["Role"]
        attached = iam.list_attached_role_policies(RoleName=id)["AttachedPolicies"]
        return {
            "arn": role["Arn"],
            "name": role["RoleName"],
            "path": role["Path"],
            "assumeRolePolicy": json.dumps(role["AssumeRolePolicyDocument"]),
            "description": role.get("Description", ""),
            "maxSessionDuration": role.get("MaxSessionDuration", self.defaults["maxSessionDuration"]),
            "permissionsBoundary": role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "createDate": role["CreateDate"].isoformat(),
            "uniqueId": role["RoleId"],
            "managedPolicyArns": sorted(policy["PolicyArn"] for policy in attached),
            "inlinePolicies": self._inline(cloud, id, olds),
            "tags": tag_map(role.get("Tags")),
        }

    @staticmethod
    def _inline(cloud: Cloud, id: str, olds: Properties) -> list[dict[str, Any]]:
        """The inline policies, each in the text that the program gave where that says the same."""
        iam = cloud.client("iam")
        given = {one.get("name"): one.get("policy") for one in olds.get("inlinePolicies") or []}
        found = []
        for name in iam.list_role_policies(RoleName=id)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=id, PolicyName=name)["PolicyDocument"]
            text = given.get(name)
            found.append(
                {"name": name, "policy": text if text and json.loads(text) == document else json.dumps(document)}
            )
        return found

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        iam = cloud.client("iam")
        if "assumeRolePolicy" in changed:
            iam.update_assume_role_policy(RoleName=id, PolicyDocument=inputs["assumeRolePolicy"])
        if changed & {"description", "maxSessionDuration"}:
            iam.update_role(
                RoleName=id,
                Description=inputs.get("description", ""),
                MaxSessionDuration=inputs["maxSessionDuration"],
            )
        if "permissionsBoundary" in changed:
            if inputs.get("permissionsBoundary"):
                iam.put_role_permissions_boundary(RoleName=id, PermissionsBoundary=inputs["permissionsBoundary"])
            else:
                iam.delete_role_permissions_boundary(RoleName=id)
        if changed & {"inlinePolicies", "managedPolicyArns"}:
            self._put_policies(cloud, id, inputs, olds)

    @staticmethod
    def _put_policies(cloud: Cloud, id: str, inputs: Properties, olds: Properties) -> None:
        """Makes the policies that the inputs name, where they name any, and drops the others of their kind."""
        iam = cloud.client("iam")
        if "inlinePolicies" in inputs:
            wanted = {one["name"]: one["policy"] for one in inputs["inlinePolicies"]}
            for name, policy in wanted.items():
                iam.put_role_policy(RoleName=id, PolicyName=name, PolicyDocument=policy)
            for one in olds.get("inlinePolicies") or []:
                if one["name"] not in wanted:
                    iam.delete_role_policy(RoleName=id, PolicyName=one["name"])
        if "managedPolicyArns" in inputs:
            for arn in inputs["managedPolicyArns"]:
                iam.attach_role_policy(RoleName=id, PolicyArn=arn)
            for arn in set(olds.get("managedPolicyArns") or []) - set(inputs["managedPolicyArns"]):
                iam.detach_role_policy(RoleName=id, PolicyArn=arn)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        iam = cloud.client("iam")
        if put:
            iam.tag_role(RoleName=id, Tags=tag_list(put))
        if drop:
            iam.untag_role(RoleName=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        """Deletes the role. As with the real provider, policies that other resources put on it are in the way."""
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
        iam.delete_role(RoleName=id)

    @staticmethod
    def _own(olds: Properties) -> set[str]:
        """Those kinds of policies of which the last known state of the role has some."""
        return {name for name in ("managedPolicyArns", "inlinePolicies") if olds.get(name)}


class RolePolicy(AwsResource):
    """An inline policy of a role."""

    token = "aws:iam/rolePolicy:RolePolicy"
    force_new = frozenset({"name", "namePrefix", "role"})
    longest_name = 128
    name_pattern = _NAME

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from identity_policy(inputs, "policy", LONGEST_INLINE_POLICIES)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        name = self.chosen_name(inputs)
        cloud.client("iam").put_role_policy(RoleName=inputs["role"], PolicyName=name, PolicyDocument=inputs["policy"])
        return f"{inputs['role']}:{name}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        role, _, name = id.partition(":")
        found = cloud.client("iam").get_role_policy(RoleName=role, PolicyName=name)
        return {"role": role, "name": name, "policy": json.dumps(found["PolicyDocument"])}

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        role, _, name = id.partition(":")
        cloud.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=inputs["policy"])

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        role, _, name = id.partition(":")
        cloud.client("iam").delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(AwsResource):
    """A managed policy on a role."""

    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    force_new = frozenset({"role", "policyArn"})
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _arn_problems(inputs, "policyArn")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cloud.client("iam").attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        role, _, arn = id.partition("/")
        attached = cloud.client("iam").list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        return {"role": role, "policyArn": arn} if any(one["PolicyArn"] == arn for one in attached) else None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        role, _, arn = id.partition("/")
        cloud.client("iam").detach_role_policy(RoleName=role, PolicyArn=arn)


class Policy(AwsResource):
    """A managed policy of the account."""

    token = "aws:iam/policy:Policy"
    force_new = frozenset({"name", "namePrefix", "path", "description"})
    defaults = {"path": "/"}
    longest_name = 128
    name_pattern = _NAME

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from identity_policy(inputs, "policy", LONGEST_MANAGED_POLICY)
        yield from _path_problems(inputs)

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("iam").create_policy(
            PolicyName=self.chosen_name(inputs),
            Path=inputs["path"],
            PolicyDocument=inputs["policy"],
            Description=inputs.get("description", ""),
            Tags=tag_list(inputs.get("tagsAll")),
        )
        return made["Policy"]["Arn"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        iam = cloud.client("iam")
        policy = iam.get_policy(PolicyArn=id)["Policy"]
        version = iam.get_policy_version(PolicyArn=id, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        return {
            "arn": id,
            "name": policy["PolicyName"],
            "path": policy["Path"],
            "policy": json.dumps(version["Document"]),
            "description": policy.get("Description", ""),
            "policyId": policy["PolicyId"],
            "attachmentCount": policy["AttachmentCount"],
            "tags": tag_map(policy.get("Tags")),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        """Makes a new default version; IAM keeps five, so the oldest goes first."""
        if "policy" not in changed:
            return
        iam = cloud.client("iam")
        versions = iam.list_policy_versions(PolicyArn=id)["Versions"]
        if len(versions) >= _MOST_POLICY_VERSIONS:
            oldest = min((one for one in versions if not one["IsDefaultVersion"]), key=lambda one: one["CreateDate"])
            iam.delete_policy_version(PolicyArn=id, VersionId=oldest["VersionId"])
        iam.create_policy_version(PolicyArn=id, PolicyDocument=inputs["policy"], SetAsDefault=True)

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        iam = cloud.client("iam")
        if put:
            iam.tag_policy(PolicyArn=id, Tags=tag_list(put))
        if drop:
            iam.untag_policy(PolicyArn=id, TagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        iam = cloud.client("iam")
        for version in iam.list_policy_versions(PolicyArn=id)["Versions"]:
            if not version["IsDefaultVersion"]:
                iam.delete_policy_version(PolicyArn=id, VersionId=version["VersionId"])
        iam.delete_policy(PolicyArn=id)
