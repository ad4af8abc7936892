"""Who comes in from GitHub: a role to look for previews, and for each stack one that deploys it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from bootstrap import permissions
from bootstrap.configuration import Configuration
from bootstrap.permissions import PATH, Account
from settings.stack import PROJECT

ISSUER = "https://token.actions.githubusercontent.com"
MAIN = "ref:refs/heads/main"
# A first update takes about half an hour (docs/timeline.md), a destroy may take longer. Each has a job of its own,
# which ends after 110 minutes.
SESSION_SECONDS = 2 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class GitHubAccessArgs:
    """The account, what is in it, and the repository and stacks of the configuration."""

    config: Configuration
    account_id: pulumi.Input[str]
    partition: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class GitHubAccess(pulumi.ComponentResource):
    """Roles that jobs of one repository take on by GitHub's tokens, without a key that could be stolen.

    Previews run for pull requests and on main. A deployment runs in the environment that has the stack's name, which
    only lets in what its rules on GitHub admit. The roles that stacks make are within one boundary.
    """

    preview_role_arn: pulumi.Output[str]
    deploy_role_arns: dict[str, pulumi.Output[str]]
    """By stack."""
    boundary_arn: pulumi.Output[str]

    def __init__(self, name: str, args: GitHubAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:GitHubAccess", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        config = args.config
        stacks = list(config.stacks.values())
        account = pulumi.Output.all(
            partition=args.partition, id=args.account_id, bucket_arn=args.bucket_arn, key_arn=args.key_arn
        ).apply(lambda known: Account(**known))

        def policy(purpose: str, write: Callable[[Account], str]) -> aws.iam.Policy:
            return aws.iam.Policy(
                f"{PROJECT}-{purpose}",
                # The boundary's name is in the stack files, and all of them are told apart by it.
                name=f"{PROJECT}-{purpose}",
                path=PATH,
                policy=account.apply(write),
                opts=child,
            )

        provider_arn = pulumi.Output.from_input(
            config.open_id_connect_provider
            # AWS knows GitHub's certificates by their authority, and asks for no thumbprints.
            or aws.iam.OpenIdConnectProvider(name, url=ISSUER, client_id_lists=["sts.amazonaws.com"], opts=child).arn
        )

        def role(purpose: str, jobs: list[str], own: Callable[[Account], str], *shared: aws.iam.Policy) -> aws.iam.Role:
            subjects = [f"{config.subject}:{job}" for job in jobs]
            made = aws.iam.Role(
                f"{PROJECT}-{purpose}",
                name=f"{PROJECT}-{purpose}",
                path=PATH,
                description=f"GitHub Actions of {config.repository}: {purpose}",
                assume_role_policy=provider_arn.apply(lambda arn: permissions.trust_policy(arn, subjects)),
                max_session_duration=SESSION_SECONDS,
                opts=child,
            )
            aws.iam.RolePolicy(f"{PROJECT}-{purpose}", role=made.name, policy=account.apply(own), opts=child)
            for number, one in enumerate(shared):
                aws.iam.RolePolicyAttachment(
                    f"{PROJECT}-{purpose}-{number}", role=made.name, policy_arn=one.arn, opts=child
                )
            return made

        read = policy("read", lambda known: permissions.read_policy())
        boundary = policy("boundary", lambda known: permissions.boundary_policy(known, stacks))
        preview = role("preview", ["pull_request", MAIN], lambda known: permissions.preview_policy(known, stacks), read)
        self.deploy_role_arns = {
            stack.stack: role(
                f"deploy-{stack.stack}",
                [f"environment:{stack.stack}"],
                lambda known, stack=stack: permissions.state_policy(known, stack),
                read,
                *(
                    policy(f"{purpose}-{stack.stack}", lambda known, stack=stack, write=write: write(known, stack))
                    for purpose, write in permissions.DEPLOY_POLICIES.items()
                ),
            ).arn
            for stack in stacks
        }
        self.preview_role_arn = preview.arn
        self.boundary_arn = boundary.arn
        self.register_outputs(
            {
                "preview_role_arn": self.preview_role_arn,
                "deploy_role_arns": self.deploy_role_arns,
                "boundary_arn": self.boundary_arn,
            }
        )
