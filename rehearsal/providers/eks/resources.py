"""The AWS resources that the components register, with only the outputs that the components read.

pulumi_aws would take ten times as long to start, and twice the memory.
"""

# ruff: noqa: N815 (outputs have the names that the engine gives them)

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pulumi
from pulumi.runtime.rpc import ResourceModule, register_resource_module


class AwsResource(pulumi.CustomResource):
    """A resource of type `pulumi_type`. A subclass declares the outputs that are read, with the engine's names."""

    pulumi_type: ClassVar[str]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        outputs = dict.fromkeys(inspect.get_annotations(type(self)))
        super().__init__(self.pulumi_type, name, {**outputs, **args}, opts)


class Role(AwsResource):
    """An IAM role."""

    pulumi_type = "aws:iam/role:Role"
    arn: pulumi.Output[str]
    name: pulumi.Output[str]


class RolePolicyAttachment(AwsResource):
    """A managed policy's attachment to a role."""

    pulumi_type = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"


class InstanceProfile(AwsResource):
    """An instance profile."""

    pulumi_type = "aws:iam/instanceProfile:InstanceProfile"


class OpenIdConnectProvider(AwsResource):
    """An identity provider of IAM."""

    pulumi_type = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    arn: pulumi.Output[str]


class SecurityGroup(AwsResource):
    """A security group without its rules."""

    pulumi_type = "aws:ec2/securityGroup:SecurityGroup"


class SecurityGroupRule(AwsResource):
    """One rule of a security group."""

    pulumi_type = "aws:ec2/securityGroupRule:SecurityGroupRule"
    securityGroupRuleId: pulumi.Output[str]


class LaunchTemplate(AwsResource):
    """A launch template."""

    pulumi_type = "aws:ec2/launchTemplate:LaunchTemplate"
    latestVersion: pulumi.Output[int]


class EksCluster(AwsResource):
    """The EKS cluster itself."""

    pulumi_type = "aws:eks/cluster:Cluster"
    arn: pulumi.Output[str]
    name: pulumi.Output[str]
    version: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificateAuthority: pulumi.Output[dict[str, Any]]
    identities: pulumi.Output[list[dict[str, Any]]]
    vpcConfig: pulumi.Output[dict[str, Any]]


class AccessEntry(AwsResource):
    """A principal's access entry."""

    pulumi_type = "aws:eks/accessEntry:AccessEntry"


class AccessPolicyAssociation(AwsResource):
    """An access policy's association with a principal."""

    pulumi_type = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"


class EksAddon(AwsResource):
    """An EKS add-on."""

    pulumi_type = "aws:eks/addon:Addon"


class NodeGroup(AwsResource):
    """A managed node group."""

    pulumi_type = "aws:eks/nodeGroup:NodeGroup"


AWS_RESOURCES: tuple[type[AwsResource], ...] = tuple(AwsResource.__subclasses__())


class _References(ResourceModule):
    """Turns references to resources of one module into resources, with their state from the engine."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self._kinds = kinds

    def version(self) -> None:
        """None: any version of the package."""

    def construct(self, name: str, typ: str, urn: str) -> pulumi.Resource:
        """The resource of that URN."""
        return self._kinds[typ](name, {}, pulumi.ResourceOptions(urn=urn))


def register_references(kinds: Iterable[Any]) -> None:
    """Lets inputs have references to resources of `kinds`, which would otherwise arrive as bare ids."""
    modules: dict[tuple[str, str], dict[str, Any]] = {}
    for kind in kinds:
        package, module, _ = kind.pulumi_type.split(":")
        modules.setdefault((package, module), {})[kind.pulumi_type] = kind
    for (package, module), found in modules.items():
        register_resource_module(package, module, _References(found))
