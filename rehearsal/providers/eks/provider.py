"""The provider: constructs the components, resolves references to them, and answers `getKubeconfig`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import pulumi
from pulumi.provider import CallResult, ConstructResult, Provider

from rehearsal.providers.eks import aws_cli, contract, resources
from rehearsal.providers.eks.addons import Addon, VpcCniAddon
from rehearsal.providers.eks.cluster import Cluster
from rehearsal.providers.eks.kubeconfig import cluster_kubeconfig
from rehearsal.providers.eks.node_group import ManagedNodeGroup


class _Component(Protocol):
    """A component class. Its inputs have the camelCase names of the engine."""

    pulumi_type: str

    def __call__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None) -> Any: ...


_COMPONENTS: dict[str, _Component] = {
    kind.pulumi_type: kind for kind in (Addon, Cluster, ManagedNodeGroup, VpcCniAddon)
}


class EksProvider(Provider):
    """Serves the components of this package."""

    def __init__(self) -> None:
        super().__init__(version=contract.version())
        resources.register_references(resources.AWS_RESOURCES)
        resources.register_references((Cluster, VpcCniAddon))

    def construct(
        self,
        name: str,
        resource_type: str,
        inputs: Mapping[str, Any],
        options: pulumi.ResourceOptions | None = None,
    ) -> ConstructResult:
        """Registers the component and its children. Raises InputPropertiesError for refused inputs."""
        kind = _COMPONENTS.get(resource_type)
        if kind is None:
            exists = "exists" if resource_type in contract.unmodelled() else "does not exist"
            raise pulumi.InputPropertiesError(
                f"{resource_type} {exists} in pulumi-eks {contract.version()}; "
                f"the rehearsal's eks provider models {', '.join(sorted(_COMPONENTS))} only",
                [],
            )
        if kind is Cluster and (refused := aws_cli.refusal()):
            raise pulumi.InputPropertiesError(refused, [])
        component = kind(name, inputs, options)
        return ConstructResult(urn=component.urn, state=component.state)

    def call(self, token: str, args: Mapping[str, Any]) -> CallResult:
        """Answers `Cluster.get_kubeconfig`, the only method of the package."""
        if token != f"{Cluster.pulumi_type}/getKubeconfig":
            raise ValueError(f"unknown method {token}")
        cluster = args["__self__"].core.apply(lambda core: core["cluster"])
        config = cluster_kubeconfig(cluster, role_arn=args.get("roleArn"), profile=args.get("profileName"))
        return CallResult(outputs={"result": config.apply(json.dumps)})
