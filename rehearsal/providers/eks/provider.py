"""The provider: constructs the components, brings back those that arrive as references, answers `getKubeconfig`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import pulumi
from pulumi.provider import CallResult, ConstructResult, Provider

from rehearsal.providers.eks import aws_cli, contract, resources
from rehearsal.providers.eks.addons import Addon, VpcCniAddon
from rehearsal.providers.eks.cluster import Cluster, cluster_kubeconfig
from rehearsal.providers.eks.node_group import ManagedNodeGroup


class _Component(Protocol):
    """A component class: built from its inputs (camelCase, as the engine sends them)."""

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
        """Register the component and its children. Raises InputPropertiesError for what the real provider refuses."""
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
        """Answer `Cluster.get_kubeconfig`, the package's one method."""
        if token != f"{Cluster.pulumi_type}/getKubeconfig":
            raise ValueError(f"unknown method {token}")
        cluster = args["__self__"].core.apply(lambda core: core["cluster"])
        config = cluster_kubeconfig(cluster, role_arn=args.get("roleArn"), profile=args.get("profileName"))
        return CallResult(outputs={"result": config.apply(json.dumps)})
