"""What moto's IAM leaves out: refusing a trust policy that is none, and the clients of an OpenID Connect provider.

moto's own validator knows the grammar, and is used when a trust policy is changed; here it is used on create, too, with
what it does not ask: who may assume the role.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.iam import urls
from moto.iam.exceptions import LimitExceededException, MalformedPolicyDocument
from moto.iam.models import IAMBackend, ManagedPolicy
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse

from rehearsal.aws.turns import OneChangeAtATime

_TRUST_POLICY_CHARACTERS = 2048
_PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")


def check_trust_policy(document: str) -> None:
    """Raises what IAM answers about a trust policy that is none. Its size is without white space, by IAM's quotas."""
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
    """moto's IAM with trust policies checked. Two requests at once would change what the other goes through."""

    def create_role(self) -> Any:
        check_trust_policy(self._get_param("AssumeRolePolicyDocument"))
        return super().create_role()

    def update_assume_role_policy(self) -> Any:
        check_trust_policy(self._get_param("PolicyDocument"))
        return super().update_assume_role_policy()

    def add_client_id_to_open_id_connect_provider(self) -> ActionResult:
        """Adds a client; one that is there already is no error."""
        clients, client = self._clients(), self._get_param("ClientID")
        if client not in clients:
            clients.append(client)
        return EmptyResult()

    def remove_client_id_from_open_id_connect_provider(self) -> ActionResult:
        """Removes a client; one that is not there is no error."""
        clients, client = self._clients(), self._get_param("ClientID")
        if client in clients:
            clients.remove(client)
        return EmptyResult()

    def _clients(self) -> list[str]:
        return self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn")).client_id_list


_read_aws_policies = IAMBackend._init_aws_policies
_aws_policies: dict[str, list[ManagedPolicy]] = {}


def aws_policies(backend: IAMBackend) -> list[ManagedPolicy]:
    """AWS's own policies, read once a partition: moto reads all 1,500 for each account and each time it is emptied."""
    if backend.partition not in _aws_policies:
        _aws_policies[backend.partition] = _read_aws_policies(backend)
    # A policy counts what it is attached to.
    return [copy.copy(one) for one in _aws_policies[backend.partition]]


def install() -> None:
    """Puts these operations in the place of moto's."""
    urls.url_paths = {"{0}/$": Response.dispatch}
    IAMBackend._init_aws_policies = aws_policies  # pyright: ignore[reportAttributeAccessIssue]
