"""The image cache: ECR repositories that ECR fills from other registries when somebody pulls from them.

Layers then come from S3 through the network's gateway endpoint, without a NAT gateway's fee per GB. ECR could make a
repository at the first pull. They are made here instead, so that they have tags, nodes need no permission to make them,
and a destroy deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.hub.values import image_names
from components.iam import policy_document
from settings.images import UPSTREAMS

if TYPE_CHECKING:
    from settings import EksSettings
    from settings.images import ImageCache as ImageCacheSettings


@dataclass(frozen=True, kw_only=True)
class ImageCacheArgs:
    """What is cached, and for which nodes.

    `images` are the publishers' full names. `node_role_names` are the roles of the nodes that pull, by their purpose.
    `account_id` is the account in which the program runs.
    """

    cache: ImageCacheSettings
    images: Sequence[str]
    node_role_names: Mapping[str, pulumi.Input[str]]
    account_id: str
    partition: str


class ImageCache(pulumi.ComponentResource):
    """The cache's rules, repositories and permissions. What runs pods with cached images must depend on it."""

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
                # ECR checks once a day whether a tag has moved upstream, and then moves it.
                image_tag_mutability="MUTABLE",
                # The cache can be filled again.
                force_delete=True,
                opts=child,
            )
        policy = fill_policy(args.partition, args.cache)
        for purpose, role_name in args.node_role_names.items():
            aws.iam.RolePolicy(f"{name}-{purpose}", role=role_name, policy=policy, opts=child)
        self.register_outputs({})


def image_caches(
    name: str,
    settings: EksSettings,
    caller: aws.GetCallerIdentityResult,
    node_role_names: Mapping[str, pulumi.Input[str]],
    opts: pulumi.ResourceOptions,
) -> list[ImageCache]:
    """The cache of the hub's and notebooks' images, if the stack file asks for it."""
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
    """Images would be pulled from another account's registry. The message says what to do about it."""


def require_account(account_id: str, cache: ImageCacheSettings) -> None:
    """Raises WrongAccountError if the program's account is not the one in the images' names."""
    if account_id != cache.account:
        raise WrongAccountError(
            f"gpulab:images.cache: images would be pulled from the account {cache.account}, but this is {account_id}: "
            f'set gpulab:images.account: "{account_id}"'
        )


def fill_policy(partition: str, cache: ImageCacheSettings) -> str:
    """What a node's role may do in addition to pulling: make ECR fetch what the cache lacks.

    Source: "IAM permissions required to sync an upstream registry", ECR user guide.
    """
    repositories = f"arn:{partition}:ecr:{cache.region}:{cache.account}:repository/{cache.namespace}/*"
    return policy_document({"Effect": "Allow", "Action": "ecr:BatchImportUpstreamImage", "Resource": repositories})
