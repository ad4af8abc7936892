"""Where each Helm chart comes from, and its version: as pinned in contracts, unless the stack file says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi_kubernetes as k8s

import contracts

if TYPE_CHECKING:
    from settings import ChartSource

OCI = "oci://"

# A mirror of the second chart also has the first: their publisher releases both together, at the same version.
PUBLISHED_WITH = {"karpenter-crd": "karpenter"}


def release_args(name: str, sources: Mapping[str, ChartSource]) -> dict[str, Any]:
    """The arguments of a `helm.v3.Release` that say which chart it is: `chart`, `version`, `repository_opts`.

    `sources` is the stack file's `gpulab:charts`. A path (an archive or a folder) is used as it is, with the version
    that it has. From a repository, the publisher's or a mirror of it, the pinned version is installed. Raises KeyError
    for a chart that contracts does not know.
    """
    pinned = contracts.chart(name)
    source = sources.get(name)
    if source is not None and source.path is not None:
        return {"chart": source.path}
    mirror = source or sources.get(PUBLISHED_WITH.get(name, name))
    repository = pinned.repository
    if mirror is not None and mirror.repository is not None:
        repository = mirror.repository
        if repository.startswith(OCI):
            repository = f"{repository}/{name}"
    if repository.startswith(OCI):
        # Helm's `repo` works only with HTTP indexes. For a chart in a registry, `chart` is its full name.
        return {"chart": repository, "version": pinned.version}
    return {
        "chart": name,
        "version": pinned.version,
        "repository_opts": k8s.helm.v3.RepositoryOptsArgs(repo=repository),
    }
