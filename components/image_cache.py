"""The cache of images: repositories in ECR that ECR fills from other registries when somebody pulls from them.

Layers then come from S3, by the network's gateway endpoint, and not through a NAT gateway at its price a GB. ECR would
make a repository at the first pull; here they are made beforehand, so that they have tags, no node may make one, and a
destroy takes them along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.jupyterhub_values import image_names
from settings.images import UPSTREAMS

if TYPE_CHECKING:
    from settings import Settings
    from settings.images import ImageCache as ImageCacheSettings


@dataclass(frozen=True, kw_only=True)
class ImageCacheArgs:
    """What is cached, and for whom.

    `images` are their full names as publishers have them. `node_role_names` are the roles of the nodes that pull, by
    what they are for. `account_id` is the account that the program runs in.
    """

    cache: ImageCacheSettings
    images: Sequence[str]
    node_role_names: Mapping[str, pulumi.Input[str]]
    account_id: str
    partition: str


class ImageCache(pulumi.ComponentResource):
    """Whatever has such an image in a pod depends on it."""

    def __init__(self, name: str, args: ImageCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:ImageCache", name, None, opts)
        require_account(args.account_id, args.cache)
        child = pulumi.ResourceOptions(parent=self)
        for upstream, short in UPSTREAMS.items():
            aws.ecr.PullThroughCacheRule(
                f"{name}-{short}",
                ecr_repository_prefix=args.cache.prefix(upstream),
                upstream_registry_url=upstream,
                opts=child,
            )
        for repository in args.cache.repositories(args.images):
            aws.ecr.Repository(
                f"{name}-{repository.partition('/')[2].replace('/', '-')}",
                name=repository,
                # ECR asks upstream once a day whether a tag has moved, and moves it.
                image_tag_mutability="MUTABLE",
                # It can be filled again.
                force_delete=True,
                opts=child,
            )
        policy = fill_policy(args.partition, args.cache)
        for purpose, role_name in args.node_role_names.items():
            aws.iam.RolePolicy(f"{name}-{purpose}", role=role_name, policy=policy, opts=child)
        self.register_outputs({})


def image_caches(
    name: str,
    settings: Settings,
    caller: aws.GetCallerIdentityResult,
    node_role_names: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> list[ImageCache]:
    """What images of the hub and of notebooks come through, if the stack file asks for it."""
    if settings.image_cache is None:
        return []
    args = ImageCacheArgs(
        cache=settings.image_cache,
        images=image_names(settings),
        node_role_names=node_role_names,
        account_id=caller.account_id,
        partition=caller.arn.split(":")[1],
    )
    return [ImageCache(name, args, opts=opts)]


class WrongAccountError(pulumi.RunError):
    """Images would be looked for in the registry of another account. The message says what to do about it."""


def require_account(account_id: str, cache: ImageCacheSettings) -> None:
    """Raises WrongAccountError where the program's account is not the one in the images' names."""
    if account_id != cache.account:
        raise WrongAccountError(
            f"gpulab:images.cache: images would be pulled from the account {cache.account}, and this is {account_id}: "
            f'set gpulab:images.account: "{account_id}"'
        )


def fill_policy(partition: str, cache: ImageCacheSettings) -> str:
    """What a node's role may do beside pulling: have ECR fetch what the cache lacks.

    Source: "IAM permissions required to sync an upstream registry", ECR user guide.
    """
    repositories = f"arn:{partition}:ecr:{cache.region}:{cache.account}:repository/{cache.namespace}/*"
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "ecr:BatchImportUpstreamImage", "Resource": repositories}],
        }
    )
