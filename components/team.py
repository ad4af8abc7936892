"""A team: the namespace in which its notebooks run, what they may have there, and what they reach.

A destroy, or a team that leaves the stack file, takes the namespace first, with pods and claims that Pulumi does not
know, then the volumes. What is on them stays or goes as `gpulab:storage.retain` says: see `components.team_volumes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components import team_network, team_quota, team_rbac
from components.manifests import Spec
from components.team_buckets import TeamBuckets, TeamBucketsArgs
from components.team_names import NODE_POOLS_ANNOTATION, NOTEBOOK_SERVICE_ACCOUNT, PULL_SECRET, TEAM_LABEL
from components.team_volumes import TeamClaims, TeamClaimsArgs, TeamVolumes, TeamVolumesArgs
from settings.team_names import namespace_of

if TYPE_CHECKING:
    from settings import NodePool, Storage
    from settings import Team as TeamSettings

OWNER_LABEL, COST_CENTER_LABEL = "gpulab.dev/owner", "gpulab.dev/cost-center"
DESCRIPTION_ANNOTATION = "gpulab.dev/description"

_POD_SECURITY = "pod-security.kubernetes.io"
_LONGEST_LABEL = 63


@dataclass(frozen=True, kw_only=True)
class SharedArgs:
    """What is the same for all teams.

    `storage` is that of the settings, with the teams' writers. `owner` and `cost_center` are the stack's, by which
    costs are split. `cluster_label` is the cluster's name as the stack file has it. `endpoint_cidrs` are the subnets
    with interface endpoints. `pull_secret` is the text of a Docker `config.json`. `binds_groups`: people reach the
    Kubernetes API with their sign-in (`cluster.oidc`); `directory_groups` are those of `components.realm_providers`.
    """

    storage: Storage
    pools: Mapping[str, NodePool]
    owner: str
    cost_center: str
    vpc_cidr: str
    cluster_label: str
    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    partition: pulumi.Input[str]
    file_system_id: pulumi.Input[str]
    endpoint_cidrs: Sequence[str] = ()
    pull_secret: pulumi.Input[str] | None = None
    binds_groups: bool = False
    directory_groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TeamArgs:
    """One team of the settings, by its name there, and what it shares with the others."""

    name: str
    settings: TeamSettings
    shared: SharedArgs


class Team(pulumi.ComponentResource):
    """One team. It depends on the gate of `components.volume_gate` and on the policies of `TeamAdmission`."""

    namespace: str

    def __init__(self, name: str, args: TeamArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Team", name, None, opts)
        team, shared, self.namespace = args.settings, args.shared, namespace_of(args.name)
        directories = TeamVolumes(
            name,
            TeamVolumesArgs(
                team=args.name,
                namespace=self.namespace,
                file_system_id=shared.file_system_id,
                settings=shared.storage,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata=namespace_metadata(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[directories]),
        )
        # What exists nowhere but in the namespace goes with it.
        within = pulumi.ResourceOptions(parent=self, depends_on=[namespace], deleted_with=namespace)

        kubernetes.core.v1.ResourceQuota(
            name,
            metadata=self._metadata(team_quota.NAME),
            spec=team_quota.resource_quota(args.name, team.quota, shared.storage, shared.pools),
            opts=within,
        )
        kubernetes.core.v1.LimitRange(
            name, metadata=self._metadata(team_quota.NAME), spec=team_quota.limit_range(team.quota), opts=within
        )
        kubernetes.networking.v1.NetworkPolicy(
            name,
            metadata=self._metadata(team_network.NAME),
            spec=team_network.network_policy(
                vpc_cidr=shared.vpc_cidr,
                reaches_buckets=team.buckets is not None,
                endpoint_cidrs=shared.endpoint_cidrs,
            ),
            opts=within,
        )
        secrets = []
        if shared.pull_secret is not None:
            kubernetes.core.v1.Secret(
                f"{name}-{PULL_SECRET}",
                metadata=self._metadata(PULL_SECRET),
                type="kubernetes.io/dockerconfigjson",
                string_data={".dockerconfigjson": shared.pull_secret},
                opts=within,
            )
            secrets.append({"name": PULL_SECRET})
        kubernetes.core.v1.ServiceAccount(
            name,
            metadata=self._metadata(NOTEBOOK_SERVICE_ACCOUNT),
            automount_service_account_token=False,
            image_pull_secrets=secrets,
            opts=within,
        )
        self._rights(name, args, within)
        TeamClaims(
            name,
            TeamClaimsArgs(
                team=args.name, namespace=self.namespace, namespace_object=namespace, settings=shared.storage
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if team.buckets is not None:
            TeamBuckets(
                f"{name}-buckets",
                TeamBucketsArgs(
                    team=args.name,
                    namespace=self.namespace,
                    cluster_name=shared.cluster_name,
                    cluster_arn=shared.cluster_arn,
                    cluster_label=shared.cluster_label,
                    partition=shared.partition,
                    buckets=team.buckets,
                ),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({"namespace": self.namespace})

    def _metadata(self, object_name: str) -> Spec:
        return {"name": object_name, "namespace": self.namespace}

    def _rights(self, name: str, args: TeamArgs, opts: pulumi.ResourceOptions) -> None:
        """The hub's Role, and who of the team has which of the teams' ClusterRoles."""
        rbac = kubernetes.rbac.v1
        metadata = self._metadata(team_rbac.HUB_ROLE)
        rbac.Role(f"{name}-hub", metadata=metadata, rules=team_rbac.hub_rules(args.shared.storage), opts=opts)
        rbac.RoleBinding(
            f"{name}-hub",
            metadata=metadata,
            role_ref=team_rbac.role_ref("Role", team_rbac.HUB_ROLE),
            subjects=[team_rbac.hub_subject()],
            opts=opts,
        )
        for cluster_role in team_rbac.CLUSTER_ROLES if args.shared.binds_groups else ():
            rbac.RoleBinding(
                f"{name}-{cluster_role}",
                metadata=self._metadata(cluster_role),
                role_ref=team_rbac.role_ref("ClusterRole", cluster_role),
                subjects=team_rbac.subjects(args.name, cluster_role, args.shared.directory_groups),
                opts=opts,
            )


def namespace_metadata(args: TeamArgs) -> Spec:
    """The namespace's labels: Pod Security `restricted`, whose costs these are; and its annotations: the pools."""
    return {
        "name": namespace_of(args.name),
        "labels": {
            f"{_POD_SECURITY}/enforce": "restricted",
            TEAM_LABEL: args.name,
            OWNER_LABEL: label_value(args.shared.owner),
            COST_CENTER_LABEL: label_value(args.shared.cost_center),
        },
        "annotations": {
            NODE_POOLS_ANNOTATION: ",".join(args.settings.pools(args.shared.pools)),
            DESCRIPTION_ANNOTATION: args.settings.description,
        },
    }


def label_value(text: str) -> str:
    """A text as a label can have it: other signs become hyphens, 63 characters remain."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", text.replace("@", "-at-"))
    return plain[:_LONGEST_LABEL].strip("-._")
