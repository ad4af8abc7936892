"""IAM roles for an AWS service, as `eks:index:ServiceRole` makes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi

from rehearsal.providers.eks.resources import Role, RolePolicyAttachment


class ServiceRole(pulumi.ComponentResource):
    """A role that `service` assumes, with AWS-managed policies. Its user depends on `role_and_attachments`."""

    def __init__(
        self,
        name: str,
        *,
        service: str,
        partition: pulumi.Input[str],
        policies: Sequence[str],
        description: str | None = None,
        actions: Sequence[str] = ("sts:AssumeRole",),
        tags: pulumi.Input[Mapping[str, str]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("eks:index:ServiceRole", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.role = Role(
            f"{name}-role",
            {"description": description, "assumeRolePolicy": trust_policy(service, actions), "tags": tags},
            child,
        )
        attachments = [
            RolePolicyAttachment(
                f"{name}-{_short_hash(f'arn:aws:iam::aws:policy/{policy}')}",
                {
                    "policyArn": pulumi.Output.concat("arn:", partition, f":iam::aws:policy/{policy}"),
                    "role": self.role.name,
                },
                child,
            )
            for policy in policies
        ]
        self.role_and_attachments: list[pulumi.Resource] = [self.role, *attachments]
        self.register_outputs({"directRole": self.role, "resolvedRole": self.role})


def trust_policy(service: str, actions: Sequence[str]) -> str:
    """The trust policy that lets `service` assume a role, as JSON."""
    statement = {"Action": list(actions), "Effect": "Allow", "Principal": {"Service": [service]}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


def _short_hash(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]
