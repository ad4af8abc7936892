"""ECR: repositories, and the rules of the pull-through cache."""

from __future__ import annotations

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.described import DescribedResource, fields


class Repository(DescribedResource):
    """A repository."""

    token = "aws:ecr/repository:Repository"
    force_new = frozenset({"name", "encryptionConfigurations"})
    defaults = {"imageTagMutability": "MUTABLE"}
    choices = {
        "imageTagMutability": ("MUTABLE", "IMMUTABLE", "MUTABLE_WITH_EXCLUSION", "IMMUTABLE_WITH_EXCLUSION"),
    }
    longest_name = 256
    name_pattern = r"(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*"
    unmodelled = frozenset(
        {"encryptionConfigurations", "imageScanningConfiguration", "imageTagMutabilityExclusionFilters"}
    )
    service = "ecr"
    tag_call = Call("tag_resource", resourceArn="{arn}", tags="{tags}")
    untag_call = Call("untag_resource", resourceArn="{arn}", tagKeys="{tagKeys}")
    id_form = "{name}"
    api_names = {"name": "repositoryName", "arn": "repositoryArn", "repositoryUrl": "repositoryUri"}
    create_call = Call("create_repository", "name imageTagMutability tags")
    read_call, found = Call("describe_repositories", repositoryNames=["{name}"]), "repositories[0]"
    outputs = fields("arn registryId repositoryUrl imageTagMutability")
    read_tags_call = Call("list_tags_for_resource", resourceArn="{arn}")
    tags_found = "tags"
    updates = {"imageTagMutability": Call("put_image_tag_mutability", "name imageTagMutability")}
    delete_call = Call("delete_repository", "name", force="{forceDelete || `false`}")


class PullThroughCacheRule(DescribedResource):
    """The registry from which ECR fills repositories with a prefix. Its id is the prefix."""

    token = "aws:ecr/pullThroughCacheRule:PullThroughCacheRule"
    force_new = frozenset({"ecrRepositoryPrefix", "upstreamRegistryUrl"})
    unmodelled = frozenset({"credentialArn", "customRoleArn", "upstreamRepositoryPrefix"})
    service, id_form = "ecr", "{ecrRepositoryPrefix}"
    create_call = Call("create_pull_through_cache_rule", "ecrRepositoryPrefix upstreamRegistryUrl")
    read_call = Call("describe_pull_through_cache_rules", ecrRepositoryPrefixes=["{ecrRepositoryPrefix}"])
    found, outputs = "pullThroughCacheRules[0]", fields("upstreamRegistryUrl registryId")
    delete_call = Call("delete_pull_through_cache_rule", "ecrRepositoryPrefix")
