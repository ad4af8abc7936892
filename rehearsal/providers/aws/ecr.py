"""ECR: repositories, and the rules by which ECR fills them from other registries."""

from __future__ import annotations

from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.cloud import Cloud, tag_list, tag_map
from rehearsal.providers.serving import Properties, Request


class Repository(AwsResource):
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

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cloud.client("ecr").create_repository(
            repositoryName=inputs["name"],
            imageTagMutability=inputs["imageTagMutability"],
            tags=tag_list(inputs.get("tagsAll")),
        )
        return inputs["name"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        ecr = cloud.client("ecr")
        (found,) = ecr.describe_repositories(repositoryNames=[id])["repositories"]
        tags = ecr.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
        return {
            "arn": found["repositoryArn"],
            "name": found["repositoryName"],
            "registryId": found["registryId"],
            "repositoryUrl": found["repositoryUri"],
            "imageTagMutability": found["imageTagMutability"],
            "tags": tag_map(tags),
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, *, changed: set[str], request: Request
    ) -> None:
        if "imageTagMutability" in changed:
            cloud.client("ecr").put_image_tag_mutability(
                repositoryName=id, imageTagMutability=inputs["imageTagMutability"]
            )

    def retag(self, cloud: Cloud, id: str, olds: Properties, put: dict[str, str], drop: list[str]) -> None:
        ecr = cloud.client("ecr")
        if put:
            ecr.tag_resource(resourceArn=olds["arn"], tags=tag_list(put))
        if drop:
            ecr.untag_resource(resourceArn=olds["arn"], tagKeys=drop)

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("ecr").delete_repository(repositoryName=id, force=bool(olds.get("forceDelete")))


class PullThroughCacheRule(AwsResource):
    """From which registry repositories with a prefix are filled; its id is the prefix."""

    token = "aws:ecr/pullThroughCacheRule:PullThroughCacheRule"
    force_new = frozenset({"ecrRepositoryPrefix", "upstreamRegistryUrl"})
    longest_name = None
    unmodelled = frozenset({"credentialArn", "customRoleArn", "upstreamRepositoryPrefix"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cloud.client("ecr").create_pull_through_cache_rule(
            ecrRepositoryPrefix=inputs["ecrRepositoryPrefix"], upstreamRegistryUrl=inputs["upstreamRegistryUrl"]
        )
        return inputs["ecrRepositoryPrefix"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        asked = cloud.client("ecr").describe_pull_through_cache_rules(ecrRepositoryPrefixes=[id])
        (found,) = asked["pullThroughCacheRules"]
        return {
            "ecrRepositoryPrefix": found["ecrRepositoryPrefix"],
            "upstreamRegistryUrl": found["upstreamRegistryUrl"],
            "registryId": found["registryId"],
        }

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("ecr").delete_pull_through_cache_rule(ecrRepositoryPrefix=id)
