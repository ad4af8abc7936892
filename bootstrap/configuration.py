"""The bootstrap's configuration, checked like stack files, and what it reads from the stack files."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt, ValidationError
from pydantic_core import to_json

import settings
from settings import EksSettings
from settings.eks_stack import REGION_PATTERN
from settings.language.configuration import REGION_KEY, AsWritten, given_by, sections_of
from settings.language.section import Facts, Findings, Mistake, Reading, Section, SettingsError, given_as, rule, text_of
from settings.language.values import DISTINCT, Check, tag_value

PROJECT = "gpulab-bootstrap"
STACK_FILES = Path(__file__).resolve().parent.parent
# A stack file names its secrets in AWS Secrets Manager by ARN; the program reads them, in previews too.
_SECRET = re.compile(r'"(arn:[a-z-]+:secretsmanager:[^"]+)"')


def _repository(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}", text):
        raise ValueError("must be a repository on GitHub, owner/name, such as example/gpulab")
    return text


def _stack(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text):
        raise ValueError("must be the name of a stack, such as dev: letters, digits, hyphens, underscores; 40 at most")
    if text == "preview":
        raise ValueError("is reserved: previews use the role gpulab-preview")
    return text


def _responsible(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return tag_value(text)


def _provider_arn(text: str) -> str:
    if not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:oidc-provider/token\.actions\.githubusercontent\.com", text):
        raise ValueError(
            "must be the ARN that `aws iam list-open-id-connect-providers` shows for GitHub, which ends in "
            "token.actions.githubusercontent.com"
        )
    return text


class RepositoryIds(Section):
    """The numbers that GitHub adds to the names in the tokens of newer repositories."""

    owner: StrictInt = Field(description="The owner's number: `gh api repos/OWNER/NAME --jq .owner.id`.", gt=0)
    repository: StrictInt = Field(description="The repository's number: `gh api repos/OWNER/NAME --jq .id`.", gt=0)


class BootstrapSettings(Section):
    """What a bootstrap's stack file has under `gpulab-bootstrap:`."""

    repository: Annotated[str, Check(_repository)] = Field(description="The repository on GitHub, owner/name.")
    repository_ids: RepositoryIds | None = Field(default=None, description="The numbers of owner and repository.")
    stacks: Annotated[tuple[Annotated[str, Check(_stack)], ...], DISTINCT] = Field(
        description="The stacks that are deployed into this account, such as [dev, prod]."
    )
    owner: Annotated[str, Check(_responsible)] = Field(description="Who is responsible for it; tag Owner.")
    cost_center: Annotated[str, Check(_responsible)] = Field(
        description="The cost center that pays for it; tag CostCenter."
    )
    open_id_connect_provider: Annotated[str, Check(_provider_arn)] | None = Field(
        default=None, description="The account's OpenID Connect provider for GitHub, if it has one."
    )
    unlock: StrictBool = Field(default=False, description="Removes the protection of the bucket and the key.")

    @rule
    def _some_stack(self, facts: Facts) -> Findings:
        if not self.stacks:
            yield ("stacks",), "must have at least one stack"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that the bootstrap is made from. `stacks` are the settings of the stacks' own files."""

    region: str
    repository: str
    repository_ids: RepositoryIds | None
    owner: str
    cost_center: str
    open_id_connect_provider: str | None
    unlock: bool
    stacks: dict[str, StackFacts] = field(default_factory=dict)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of every resource. The tag Stack is missing, because it marks the resources of a stack."""
        return {"Owner": self.owner, "CostCenter": self.cost_center, "Project": PROJECT, "Lifecycle": "production"}

    @property
    def subject(self) -> str:
        """The repository's part of the subject in GitHub's tokens; the job's part follows."""
        owner, _, name = self.repository.partition("/")
        if self.repository_ids:
            return f"repo:{owner}@{self.repository_ids.owner}/{name}@{self.repository_ids.repository}"
        return f"repo:{self.repository}"


@dataclass(frozen=True, kw_only=True)
class StackFacts:
    """The facts of a stack file on which permissions depend."""

    stack: str
    cluster: str
    region: str
    domain: str | None
    secrets: tuple[str, ...]

    @classmethod
    def of(cls, stack: EksSettings) -> StackFacts:
        """The facts of a stack."""
        everything = to_json(vars(stack)).decode()
        return cls(
            stack=stack.stack,
            cluster=stack.cluster.name,
            region=stack.region,
            domain=stack.ingress.domain,
            secrets=tuple(sorted(set(_SECRET.findall(everything)))),
        )


def load(config: Mapping[str, str], *, account: str, stack_files: Path = STACK_FILES) -> Configuration:
    """Checks the configuration of an account's bootstrap.

    `config` is the configuration that Pulumi gives a program. Raises SettingsError with every mistake in it, or in the
    file of a stack that it names, and StackFileError if there is no such file.
    """
    given = given_by(config, PROJECT, sections_of(BootstrapSettings), AsWritten())
    mistakes = given.mistakes
    region = given.region
    if not re.fullmatch(REGION_PATTERN, region):
        mistakes.append(Mistake(REGION_KEY, f"must be an AWS region such as us-east-1{given_as(region)}"))
    try:
        sections = {name: value for name, value in given.sections.items() if value != []}  # a default of Pulumi.yaml
        read = BootstrapSettings.model_validate(sections, context=Reading(Facts(stack=account)))
    except ValidationError as error:
        found = [
            Mistake(f"{PROJECT}:{text_of(details['loc'])}", details["msg"])
            for details in error.errors()
            if not given.is_covered(details["loc"])
        ]
        raise SettingsError(account, [*mistakes, *found]) from None
    if mistakes:
        raise SettingsError(account, mistakes)
    facts = {name: StackFacts.of(_stack_settings(stack_files, name)) for name in read.stacks}
    return Configuration(region=region, **{**dict(read), "stacks": facts})


def _stack_settings(folder: Path, name: str) -> EksSettings:
    """The settings of a stack, also of an expired lab, which must still be destroyed."""
    return settings.on_eks(settings.check_stack_file(folder / f"Pulumi.{name}.yaml", name, datetime.date.min))
