"""Amazon ECR."""

from __future__ import annotations

from reports.account import Account, Held
from reports.aws_type import AwsType
from reports.aws_type.listing import listing, no_tags, tags_by_call
from reports.aws_type.pricing import by_use, free
from reports.aws_type.steps import Steps, by_command

_PRICING = "https://aws.amazon.com/ecr/pricing/"


def _remove_repository(_account: Account, held: Held) -> Steps:
    yield ["aws", "ecr", "delete-repository", "--repository-name", held.id, "--force"]


TYPES = (
    AwsType(
        type="aws:ecr/repository:Repository",
        listing=listing(
            "ecr",
            "describe_repositories",
            "repositories",
            "repositoryName",
            tags_by_call("list_tags_for_resource", "tags", resourceArn="repositoryArn"),
            "ListTagsForResource",
        ),
        remove=_remove_repository,
        # Nodes that pull an image through the cache make its repository again.
        after=("eks clusters",),
        id="{name}",
        bill=by_use(f"{_PRICING}: by GB-month"),
    ),
    AwsType(
        type="aws:ecr/pullThroughCacheRule:PullThroughCacheRule",
        listing=listing(
            "ecr", "describe_pull_through_cache_rules", "pullThroughCacheRules", "ecrRepositoryPrefix", no_tags
        ),
        remove=by_command("ecr", "delete-pull-through-cache-rule", "--ecr-repository-prefix"),
        after=("ecr repositories",),
        id="{ecrRepositoryPrefix}",
        bill=free(f"{_PRICING}: what it stores and carries is paid for"),
    ),
    AwsType(
        type="aws:ecr/repositoryCreationTemplate:RepositoryCreationTemplate",
        bill=free(f"{_PRICING}: what it stores and carries is paid for"),
    ),
)
