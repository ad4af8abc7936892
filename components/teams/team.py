"""A team: the namespace in which its notebooks run, what they may use there, and what they reach.

A destroy, or removing the team from the stack file, first deletes the namespace, with pods and claims that Pulumi does
not know, then the volumes. `gpulab:storage.retain` decides whether their data is kept: see `components.teams.volumes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.reach import Reach
from components.manifests import Spec
from components.storage.files import Files
from components.teams import network_policy as team_network
from components.teams import quota as team_quota
from components.teams import rbac as team_rbac
from components.teams.buckets import BucketAccess
from components.teams.names import NODE_POOLS_ANNOTATION, NOTEBOOK_SERVICE_ACCOUNT, PULL_SECRET, TEAM_LABEL
from components.teams.volumes import TeamClaims, TeamClaimsArgs, TeamVolumes, TeamVolumesArgs
from settings.people.names import namespace_of

if TYPE_CHECKING:
    from settings import Team as TeamSettings
    from settings.files import Files as FilesSettings
    from settings.pools.pool import Pool

OWNER_LABEL, COST_CENTER_LABEL = "gpulab.dev/owner", "gpulab.dev/cost-center"
DESCRIPTION_ANNOTATION = "gpulab.dev/description"

_POD_SECURITY = "pod-security.kubernetes.io"
_LONGEST_LABEL = 63


@dataclass(frozen=True, kw_only=True)
class SharedArgs:
    """What is the same for all teams.

    `storage` is that of the settings, with the teams' writers. Costs are split by the stack's `owner` and
    `cost_center`. `files`, `buckets` and `reach` are the ground's. `pull_secret` is the text of a Docker
    `config.json`. `binds_groups`: people reach the Kubernetes API with their sign-in (`cluster.oidc`);
    `directory_groups` are those of `components.identity.realm.providers`.
    """

    storage: FilesSettings
    pools: Mapping[str, Pool]
    owner: str
    cost_center: str
    files: Files
    reach: Reach
    buckets: BucketAccess | None
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
    """One team. It depends on the gate of `components.gates.volume_gate` and on the policies of `TeamAdmission`."""

    namespace: str

    def __init__(self, name: str, args: TeamArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Team", name, None, opts)
        team, shared, self.namespace = args.settings, args.shared, namespace_of(args.name)
        child = pulumi.ResourceOptions(parent=self)
        directories = TeamVolumes(
            name,
            TeamVolumesArgs(
                team=args.name,
                namespace=self.namespace,
                files=shared.files,
                settings=shared.storage,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        namespace = kubernetes.core.v1.Namespace(
            name,
            metadata=namespace_metadata(args),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[directories]),
        )
        # What exists only in the namespace is deleted with it.
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
                shared.reach, reaches_buckets=team.buckets is not None, ranges=team.reaches
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
                team=args.name,
                namespace=self.namespace,
                namespace_object=namespace,
                files=shared.files,
                settings=shared.storage,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        if team.buckets is not None and shared.buckets is not None:
            shared.buckets.open(f"{name}-buckets", args.name, self.namespace, team.buckets, child)
        self.register_outputs({"namespace": self.namespace})

    def _metadata(self, object_name: str) -> Spec:
        return {"name": object_name, "namespace": self.namespace}

    def _rights(self, name: str, args: TeamArgs, opts: pulumi.ResourceOptions) -> None:
        """Makes the hub's Role, and binds the team's groups to the teams' ClusterRoles."""
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
    """The namespace's labels (Pod Security `restricted`, owner, cost center) and annotations (pools, description)."""
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
    """A text as a valid label value: other characters become hyphens, and it is cut to 63 characters."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", text.replace("@", "-at-"))
    return plain[:_LONGEST_LABEL].strip("-._")
