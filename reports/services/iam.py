"""AWS IAM."""

from __future__ import annotations

from collections.abc import Mapping

from reports.account import Account, Held, tag_map
from reports.aws_type import AwsType, ByTags
from reports.aws_type.listing import listing, tags_by_call
from reports.aws_type.pricing import free
from reports.aws_type.steps import Steps, by_command


def _profile_tags(account: Account, held: Held) -> Mapping[str, str]:
    found = account.client("iam").get_instance_profile(InstanceProfileName=held.id)["InstanceProfile"]
    return tag_map(found.get("Tags"))


def _remove_role(account: Account, held: Held) -> Steps:
    role = ["--role-name", held.id]
    for profile in account.pages("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=held.id):
        named = ["--instance-profile-name", profile["InstanceProfileName"]]
        yield ["aws", "iam", "remove-role-from-instance-profile", *named, *role]
    for policy in account.pages("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=held.id):
        yield ["aws", "iam", "detach-role-policy", *role, "--policy-arn", policy["PolicyArn"]]
    for name in account.pages("iam", "list_role_policies", "PolicyNames", RoleName=held.id):
        yield ["aws", "iam", "delete-role-policy", *role, "--policy-name", name]
    yield ["aws", "iam", "delete-role", *role]


def _remove_policy(account: Account, held: Held) -> Steps:
    policy = ["--policy-arn", held.id]
    for version in account.pages("iam", "list_policy_versions", "Versions", PolicyArn=held.id):
        if not version["IsDefaultVersion"]:
            yield ["aws", "iam", "delete-policy-version", *policy, "--version-id", version["VersionId"]]
    yield ["aws", "iam", "delete-policy", *policy]


TYPES = (
    AwsType(
        type="aws:iam/",
        bill=free("https://aws.amazon.com/iam/faqs/: a feature of the account, at no charge"),
    ),
    AwsType(
        type="aws:iam/role:Role",
        listing=listing(
            "iam",
            "list_roles",
            "Roles",
            "RoleName",
            tags_by_call("list_role_tags", "Tags", RoleName="id"),
            "ListRoleTags",
        ),
        remove=_remove_role,
        after=(
            "backup BackupPlansList",
            "ec2 FlowLogs",
            "ec2 Instances",
            "eks clusters",
            "events Rules",
            "rds DBInstances",
        ),
        actions=("iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole", "iam:ListRolePolicies"),
        id="{name}",
        # For a role whose name the provider chose.
        lookup=ByTags(input="name", key="RoleName"),
    ),
    AwsType(type="aws:iam/rolePolicy:RolePolicy", id="{role}:{name}"),
    AwsType(type="aws:iam/rolePolicyAttachment:RolePolicyAttachment", id="{role}/{policyArn}"),
    AwsType(type="aws:iam/serviceLinkedRole:ServiceLinkedRole", if_made_again="refused"),
    AwsType(
        type="aws:iam/instanceProfile:InstanceProfile",
        listing=listing(
            "iam",
            "list_instance_profiles",
            "InstanceProfiles",
            "InstanceProfileName",
            _profile_tags,
            "GetInstanceProfile",
        ),
        remove=by_command("iam", "delete-instance-profile", "--instance-profile-name"),
        after=("iam Roles",),
        id="{name}",
    ),
    AwsType(
        type="aws:iam/policy:Policy",
        listing=listing(
            "iam",
            "list_policies",
            "Policies",
            "Arn",
            tags_by_call("list_policy_tags", "Tags", PolicyArn="id"),
            "ListPolicyTags",
            Scope="Local",
        ),
        remove=_remove_policy,
        after=("iam Roles",),
        actions=("iam:ListPolicyVersions",),
        lookup=ByTags(input="name", key="PolicyName"),
    ),
    AwsType(
        type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        listing=listing(
            "iam",
            "list_open_id_connect_providers",
            "OpenIDConnectProviderList",
            "Arn",
            tags_by_call("list_open_id_connect_provider_tags", "Tags", OpenIDConnectProviderArn="id"),
            "ListOpenIDConnectProviderTags",
        ),
        remove=by_command("iam", "delete-open-id-connect-provider", "--open-id-connect-provider-arn"),
        after=("eks clusters",),
        if_made_again="refused",
    ),
)
