"""The platform with one fixed team: its namespace and its volumes."""

from __future__ import annotations

import datetime

import pulumi
import pulumi_kubernetes as kubernetes

import settings
from components.ground.eks import EksGround
from components.platform import Platform
from components.teams.volumes import TeamClaims, TeamClaimsArgs, TeamVolumes, TeamVolumesArgs

TEAM, NAMESPACE = "ml", "team-ml"

stack = settings.on_eks(
    settings.load(
        pulumi.runtime.get_config_env(), stack=pulumi.get_stack(), today=datetime.date.fromisoformat("2026-09-01")
    )
)
platform = Platform(stack.cluster.name, stack)
ground = platform.ground
assert isinstance(ground, EksGround)
both = [ground.aws_provider, ground.provider]


def after(resource: pulumi.Resource) -> pulumi.ResourceOptions:
    """On the platform's account and cluster, made after a resource and destroyed before it."""
    return pulumi.ResourceOptions(providers=both, depends_on=[resource])


directories = TeamVolumes(
    TEAM,
    TeamVolumesArgs(team=TEAM, namespace=NAMESPACE, files=ground.files, settings=stack.storage),
    opts=after(platform.volume_gate),
)
namespace = kubernetes.core.v1.Namespace(NAMESPACE, metadata={"name": NAMESPACE}, opts=after(directories))
TeamClaims(
    TEAM,
    TeamClaimsArgs(
        team=TEAM,
        namespace=NAMESPACE,
        namespace_object=namespace,
        files=ground.files,
        settings=stack.storage,
    ),
    opts=after(namespace),
)
pulumi.export("kubeconfig", platform.ground.outputs["kubeconfig"])
