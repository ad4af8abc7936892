"""What moto's IAM lacks: refusing invalid trust policies, and the clients of an OpenID Connect provider.

moto's validator checks the grammar, but only when a trust policy is changed. Here it is used on create too, with an
additional check of the principal.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.iam import urls
from moto.iam.exceptions import LimitExceededException, MalformedPolicyDocument, NotFoundException
from moto.iam.models import IAMBackend, ManagedPolicy
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse

from rehearsal.cloud.one_change_at_a_time import OneChangeAtATime

_TRUST_POLICY_CHARACTERS = 2048
_PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")


def check_trust_policy(document: str) -> None:
    """Raises IAM's error for an invalid trust policy. Its size is counted without white space, as in IAM's quotas."""
    IAMTrustPolicyDocumentValidator(document).validate()
    statements = json.loads(document)["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal")
        if principal is None and "NotPrincipal" not in statement:
            raise MalformedPolicyDocument("Missing required field Principal")
        if isinstance(principal, dict) and (not principal or principal.keys() - set(_PRINCIPALS)):
            raise MalformedPolicyDocument(f"Invalid principal in policy: {json.dumps(principal)}")
        if isinstance(principal, str) and principal != "*":
            raise MalformedPolicyDocument(f'Invalid principal in policy: "{principal}"')
    if len("".join(document.split())) > _TRUST_POLICY_CHARACTERS:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {_TRUST_POLICY_CHARACTERS}")


class Response(OneChangeAtATime, IamResponse):
    """moto's IAM with checks of trust policies.

    It answers changes one at a time: two would change a list that both read.
    """

    def create_role(self) -> Any:
        check_trust_policy(self._get_param("AssumeRolePolicyDocument"))
        return super().create_role()

    def update_assume_role_policy(self) -> Any:
        check_trust_policy(self._get_param("PolicyDocument"))
        return super().update_assume_role_policy()

    def add_client_id_to_open_id_connect_provider(self) -> ActionResult:
        """Adds a client; it may exist already."""
        clients, client = self._clients(), self._get_param("ClientID")
        if client not in clients:
            clients.append(client)
        return EmptyResult()

    def remove_client_id_from_open_id_connect_provider(self) -> ActionResult:
        """Removes a client; it may be missing already."""
        clients, client = self._clients(), self._get_param("ClientID")
        if client in clients:
            clients.remove(client)
        return EmptyResult()

    def list_instance_profiles(self) -> ActionResult:
        """Those below a path. moto gives all, which Karpenter takes for its own and deletes."""
        prefix = self._get_param("PathPrefix", "/")
        found = [one for one in self.backend.get_instance_profiles() if one.path.startswith(prefix)]
        return ActionResult({"InstanceProfiles": found})

    def remove_role_from_instance_profile(self) -> Any:
        """Refuses a role that the profile does not have."""
        profile = self.backend.get_instance_profile(self._get_param("InstanceProfileName"))
        role = self._get_param("RoleName")
        if role not in [one.name for one in profile.roles]:
            raise NotFoundException(f"The role with name {role} cannot be found in {profile.name}.")
        return super().remove_role_from_instance_profile()

    def _clients(self) -> list[str]:
        return self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn")).client_id_list


_read_aws_policies = IAMBackend._init_aws_policies
_aws_policies: dict[str, list[ManagedPolicy]] = {}


def aws_policies(backend: IAMBackend) -> list[ManagedPolicy]:
    """AWS's own policies, read once per partition: moto reads all 1,500 for each account and after each reset."""
    if backend.partition not in _aws_policies:
        _aws_policies[backend.partition] = _read_aws_policies(backend)
    # Copies, because a policy counts its attachments.
    return [copy.copy(policy) for policy in _aws_policies[backend.partition]]


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/$": Response.dispatch}
    IAMBackend._init_aws_policies = aws_policies  # pyright: ignore[reportAttributeAccessIssue]
