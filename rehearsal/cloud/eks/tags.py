"""Tags of everything in EKS that has an ARN."""

from __future__ import annotations

from collections.abc import Iterator

from moto.core.responses import ActionResult, EmptyResult

from rehearsal.cloud.eks.state import Cluster, Operations, missing


class TagOperations(Operations):
    """The operations on tags."""

    def tag_resource(self) -> ActionResult:
        self._tags().update(self.parameter("tags"))
        return EmptyResult()

    def untag_resource(self) -> ActionResult:
        tags = self._tags()
        for key in self.parameter("tagKeys"):
            tags.pop(key, None)
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        return ActionResult({"tags": self._tags()})

    def _tags(self) -> dict[str, str]:
        arn = self.parameter("resourceArn")
        for cluster in self.eks_backend.clusters.values():
            if isinstance(cluster, Cluster):
                for tagged, tags in _tagged(cluster):
                    if tagged == arn:
                        return tags
        raise missing(f"Resource was not found: {arn}")


def _tagged(cluster: Cluster) -> Iterator[tuple[str, dict[str, str]]]:
    yield cluster.arn, cluster.tags
    for group in cluster.nodegroups.values():
        yield group.arn, group.tags
    for addon in cluster.addons.values():
        yield addon["addonArn"], addon["tags"]
    for access in cluster.access_entries.values():
        yield access.entry["accessEntryArn"], access.entry["tags"]
    for association in cluster.pod_identity_associations.values():
        yield association["associationArn"], association["tags"]
    for provider in cluster.identity_providers.values():
        yield provider["identityProviderConfigArn"], provider["tags"]
