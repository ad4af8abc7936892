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


CONFIG_NAMESPACE = "gpulab-secrets"
"""The namespace of encrypted values in a stack file."""


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
Namespace = Annotated[str, _text(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "the name of a namespace")]
ConfigName = Annotated[str, _text(r"[A-Za-z][A-Za-z0-9_-]{0,62}", "a name of letters, digits, - and _, a letter first")]
SecretKey = Annotated[str, _text(r"[A-Za-z0-9._-]{1,253}", "a key of letters, digits, dots, - and _")]


class SecretReference(Section):
    """Where a secret is: in AWS Secrets Manager, in a Kubernetes Secret, or encrypted in the stack file."""

    secrets_manager: Arn | None = Field(
        default=None, description="ARN of a secret in AWS Secrets Manager, in the stack's region."
    )
    kubernetes_secret: SecretName | None = Field(
        default=None,
        description="Name of a Secret, which you make by hand or with a tool. Without namespace it is in the namespace "
        "identity and is read when the realm is applied; its value must not contain a double quote or a backslash.",
    )
    namespace: Namespace | None = Field(
        default=None,
        description="Namespace of kubernetesSecret on an existing cluster. Pulumi reads it there; it is there before "
        "the first up.",
    )
    config: ConfigName | None = Field(
        default=None,
        description="Name of an encrypted value of the stack file, set by "
        f"`pulumi config set --secret {CONFIG_NAMESPACE}:NAME`.",
    )
    key: SecretKey | None = Field(
        default=None,
        description="Key within the Kubernetes Secret, or within the JSON object in Secrets Manager.",
    )

    @property
    def is_read_by_realm(self) -> bool:
        """Whether Keycloak's realm job reads it from a Secret beside it, so that Pulumi never has its value."""
        return self.kubernetes_secret is not None and self.namespace is None

    @rule
    def _one_place(self, facts: Facts) -> Findings:
        places = {
            "secretsManager": self.secrets_manager,
            "kubernetesSecret": self.kubernetes_secret,
            "config": self.config,
        }
        if facts.ground == "existing" and places.pop("secretsManager") is not None:
            return  # reported for it
        named = [place for place, value in places.items() if value is not None]
        if len(named) != 1:
            *others, last = places
            yield (), f"must have either {', '.join(others)} or {last}, and has {' and '.join(named) or 'neither'}"

    @rule
    def _store_of_the_ground(self, facts: Facts) -> Findings:
        if facts.ground == "existing" and self.secrets_manager is not None:
            yield (
                ("secretsManager",),
                "is for gpulab:ground.kind eks: use kubernetesSecret with namespace and key, or config with a name",
            )

    @rule
    def _namespace_of_a_kubernetes_secret(self, facts: Facts) -> Findings:
        if self.namespace is None:
            return
        if self.kubernetes_secret is None:
            yield ("namespace",), "is for kubernetesSecret: leave it out"
        elif facts.ground == "eks":
            yield (
                ("namespace",),
                "is for gpulab:ground.kind existing: the Secret is in the namespace identity; leave it out, or use "
                "secretsManager",
            )

    @rule
    def _no_key_of_a_text(self, facts: Facts) -> Findings:
        if self.config is not None and self.key is not None:
            yield ("key",), "is for kubernetesSecret and secretsManager: a value of the stack file has no keys"

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


def unread_findings(key: str, reference: SecretReference | None, facts: Facts, *, on_eks: str) -> Findings:
    """A Secret that Pulumi has to read and can't: it is only known to be beside Keycloak. `key` is the reference's.

    `on_eks` is why that does not serve on EKS, as the beginning of a sentence.
    """
    if reference is None or not reference.is_read_by_realm:
        return
    if facts.ground == "existing":
        yield (key, "namespace"), "is missing: the namespace of the Secret, where Pulumi reads it"
    else:
        yield (key, "kubernetesSecret"), f"{on_eks}: put it into AWS Secrets Manager (secretsManager)"
