"""Secrets that others keep (a client secret, a mail password): a stack file says where they are, not what they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from settings.language.section import Facts, Findings, Section, rule

# With the six characters that Secrets Manager adds to a name: IAM compares whole ARNs ("Identity-based policies",
# Secrets Manager user guide).
_ARN = re.compile(
    r"arn:aws(-[a-z]+)*:secretsmanager:(?P<region>[a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]{1,512}-[A-Za-z0-9]{6}"
)


def silently(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The check, with a message that does not repeat the value: it may be the secret itself."""

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise PydanticCustomError("mistake", "{text}", {"text": str(error)}) from None

    return checked


def _text(pattern: str, expectation: str) -> BeforeValidator:
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise ValueError(f"must be {expectation}")
        return value

    return BeforeValidator(silently(check))


def _no_literal(value: Any) -> Any:
    if isinstance(value, str | int | float):
        raise ValueError(  # noqa: TRY004 (what the other checks raise)
            "must say where the secret is, and not be the secret: secretsManager with an ARN, or kubernetesSecret and"
            " key. If this was a real secret, change it: the stack file's history keeps it"
        )
    return value


Arn = Annotated[
    str,
    _text(
        _ARN.pattern,
        "the whole ARN of a secret in AWS Secrets Manager, with its last six characters, such as"
        " arn:aws:secretsmanager:us-east-1:123456789012:secret:gpulab/mail-AbCdEf"
        " (aws secretsmanager describe-secret --secret-id NAME --query ARN prints it)",
    ),
]
SecretName = Annotated[str, _text(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a Kubernetes Secret")]
SecretKey = Annotated[str, _text(r"[A-Za-z0-9._-]{1,253}", "a key of letters, digits, dots, - and _")]


class SecretReference(Section):
    """Where a secret is: in AWS Secrets Manager, or in a Kubernetes Secret of the namespace `identity`."""

    secrets_manager: Arn | None = Field(
        default=None, description="ARN of a secret in AWS Secrets Manager, in the stack's region."
    )
    kubernetes_secret: SecretName | None = Field(
        default=None,
        description="Name of a Secret in the namespace identity, which you make by hand or with a tool. It is read when"
        " the realm is applied; its value must not contain a double quote or a backslash.",
    )
    key: SecretKey | None = Field(
        default=None,
        description="Key within the Kubernetes Secret, or within the JSON object in Secrets Manager.",
    )

    @rule
    def _one_place(self, facts: Facts) -> Findings:
        if (self.secrets_manager is None) == (self.kubernetes_secret is None):
            has = "neither" if self.secrets_manager is None else "both"
            yield (), f"must have either secretsManager or kubernetesSecret, and has {has}"

    @rule
    def _key_within_the_kubernetes_secret(self, facts: Facts) -> Findings:
        if self.kubernetes_secret is not None and self.key is None:
            yield ("key",), "is missing: the key within the Kubernetes Secret"

    @rule
    def _secret_of_the_region(self, facts: Facts) -> Findings:
        found = _ARN.fullmatch(self.secrets_manager or "")
        if found and facts.region and found["region"] != facts.region:
            yield ("secretsManager",), f"is in another region than the stack, which is in {facts.region}"


Secret = Annotated[SecretReference, BeforeValidator(silently(_no_literal))]
"""A field that names a secret."""
