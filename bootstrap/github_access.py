"""Access for GitHub: a read-only role for previews, and a role for each stack that deploys it."""

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
# A first update takes about half an hour (docs/timeline.md), a destroy may take longer. Each has its own job, which
# ends after 110 minutes.
SESSION_SECONDS = 2 * 60 * 60


@dataclass(frozen=True, kw_only=True)
class GitHubAccessArgs:
    """The account, the state store in it, and the configuration with its repository and stacks."""

    config: Configuration
    account_id: pulumi.Input[str]
    partition: pulumi.Input[str]
    bucket_arn: pulumi.Input[str]
    key_arn: pulumi.Input[str]


class GitHubAccess(pulumi.ComponentResource):
    """Roles that jobs of one repository assume with GitHub's tokens, so there is no key that could be stolen.

    Previews run for pull requests and on main. A deployment runs in the GitHub environment with the stack's name, whose
    rules limit who may use it. All roles that stacks make have the same permissions boundary.
    """

    preview_role_arn: pulumi.Output[str]
    deploy_role_arns: dict[str, pulumi.Output[str]]
    """The role of each stack."""
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
                # Stack files contain the boundary's name, so the policies have fixed names.
                name=f"{PROJECT}-{purpose}",
                path=PATH,
                policy=account.apply(write),
                opts=child,
            )

        provider_arn = pulumi.Output.from_input(
            config.open_id_connect_provider
            # AWS trusts GitHub's certificate authority, so it needs no thumbprints.
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
            for number, attached in enumerate(shared):
                aws.iam.RolePolicyAttachment(
                    f"{PROJECT}-{purpose}-{number}", role=made.name, policy_arn=attached.arn, opts=child
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
