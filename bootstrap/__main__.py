"""The bootstrap of an account: where states are stored, and which workflows get which rights."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws

# It uses the stack files' settings, which are in the main program's folder.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap import configuration
from bootstrap.github_access import GitHubAccess, GitHubAccessArgs
from bootstrap.state_store import StateStore, StateStoreArgs
from settings import SettingsError, StackFileError


def main() -> None:
    """Checks the configuration, makes everything, and exports the commands and variables for the next steps."""
    try:
        config = configuration.load(pulumi.runtime.get_config_env(), account=pulumi.get_stack())
    except (SettingsError, StackFileError) as error:
        raise pulumi.RunError(str(error)) from None

    provider = aws.Provider("aws", region=config.region, default_tags={"tags": config.tags})
    on_aws = pulumi.ResourceOptions(providers=[provider])
    invoke_opts = pulumi.InvokeOptions(provider=provider)
    account_id = aws.get_caller_identity_output(opts=invoke_opts).account_id
    partition = aws.get_partition_output(opts=invoke_opts).partition

    store = StateStore(
        "gpulab-state",
        StateStoreArgs(account_id=account_id, partition=partition, protect=not config.unlock),
        opts=on_aws,
    )
    access = GitHubAccess(
        "gpulab",
        GitHubAccessArgs(
            config=config,
            account_id=account_id,
            partition=partition,
            bucket_arn=store.bucket_arn,
            key_arn=store.key_arn,
        ),
        opts=on_aws,
    )

    login = pulumi.Output.format("s3://{0}?region={1}", store.bucket_name, config.region)
    secrets = pulumi.Output.format("awskms://{0}?region={1}", store.alias, config.region)
    pulumi.export("login", pulumi.Output.concat("pulumi login '", login, "'"))
    pulumi.export(
        "stackInit",
        {
            stack: pulumi.Output.concat("pulumi stack init ", stack, " --secrets-provider '", secrets, "'")
            for stack in config.stacks
        },
    )
    pulumi.export(
        "repositoryVariables",
        {"GPULAB_STATE": login, "GPULAB_PREVIEW_ROLE": access.preview_role_arn, "GPULAB_REGION": config.region},
    )
    pulumi.export(
        "environmentVariables",
        {stack: {"GPULAB_DEPLOY_ROLE": arn} for stack, arn in access.deploy_role_arns.items()},
    )
    pulumi.export("permissionsBoundary", access.boundary_arn)


main()
