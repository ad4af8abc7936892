"""What homes on the file system hold: a job for each team measures it, and the hub reads the result.

The jobs run in the hub's namespace and on the system nodes. So they need no node of their own and no room in a team's
quota, and nobody in a team can change what they find. Each sees one team's homes, read-only, as the user who owns the
files: the access point sees to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.ground.placement import Placement
from components.ground.reach import Reach
from components.hub.network_policies import api_server
from components.hub.values import HOME_SIZES, PACKAGE, PACKAGE_FOLDER, home_sizes_map, hub_image
from components.identity.keycloak import restricted
from components.manifests import Spec
from components.storage import volumes
from components.storage.files import Files
from components.teams.names import HUB_NAMESPACE, PULL_SECRET
from components.teams.rbac import role_ref

if TYPE_CHECKING:
    from settings import Settings

NAME = HOME_SIZES
_APP = {"app.kubernetes.io/name": NAME}
_FOLDER = "/homes"

# Seconds. A file system answers some thousand calls a second, so this is enough for tens of millions of files.
DEADLINE = 6 * 3600
# Seconds after its time in which a job may still start, when the controller was away.
STARTING_DEADLINE = 3600


@dataclass(frozen=True, kw_only=True)
class HomeSizesArgs:
    """The settings of a stack with a hub, and the ConfigMap with the hub's modules, one of which the job runs.

    `files`, `placement` and `reach` are the ground's.
    """

    settings: Settings
    modules: pulumi.Input[str]
    files: Files
    placement: Placement
    reach: Reach


class HomeSizes(pulumi.ComponentResource):
    """The jobs, one for each team's homes. They are deleted before the hub's namespace, their volumes after it."""

    def __init__(self, name: str, args: HomeSizesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:HomeSizes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        teams = list(args.settings.teams)
        metadata: Any = {"name": NAME, "namespace": HUB_NAMESPACE}
        rbac = kubernetes.rbac.v1
        before: list[pulumi.Resource] = [
            kubernetes.core.v1.ServiceAccount(
                name, metadata=metadata, automount_service_account_token=False, opts=child
            ),
            rbac.Role(name, metadata=metadata, rules=rules(teams), opts=child),
            rbac.RoleBinding(
                name,
                metadata=metadata,
                role_ref=role_ref("Role", NAME),
                subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": HUB_NAMESPACE}],
                opts=child,
            ),
            kubernetes.networking.v1.NetworkPolicy(
                name, metadata=metadata, spec=network_policy(args.reach), opts=child
            ),
        ]
        for team in teams:
            claim = self._claim(f"{name}-{team}", team, args)
            kubernetes.batch.v1.CronJob(
                f"{name}-{team}",
                metadata={"name": home_sizes_map(team), "namespace": HUB_NAMESPACE},
                spec=cron_job(team, args),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[*before, claim]),
            )
        self.register_outputs({})

    def _claim(self, name: str, team: str, args: HomeSizesArgs) -> pulumi.Resource:
        """The team's homes in the hub's namespace. The job is deleted before the claim, the claim before the volume."""
        child, volume = pulumi.ResourceOptions(parent=self), homes_of(team, args.settings)
        made = args.files.make(name, HUB_NAMESPACE, volume, child)
        return kubernetes.core.v1.PersistentVolumeClaim(
            name,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
            **args.files.claim(HUB_NAMESPACE, volume),
        )


def homes_of(team: str, settings: Settings) -> volumes.TeamVolume:
    """All of a team's homes, read-only, under a name that no other volume of the hub's namespace has."""
    (homes,) = [one for one in volumes.team_volumes(team, settings.storage) if one.of_person]
    return volumes.TeamVolume(name=home_sizes_map(team), directory=homes.directory, mount_path=_FOLDER, read_only=True)


def rules(teams: Sequence[str]) -> list[Spec]:
    """What the jobs may do: apply the ConfigMaps of these teams, by name.

    Applying a ConfigMap that does not exist needs `create`. For an apply the API server checks it with the name
    (`patch.go` of k8s.io/apiserver); a plain create has no name, so it is refused.
    """
    names = sorted(map(home_sizes_map, teams))
    return [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["create", "patch"]}]


def network_policy(reach: Reach) -> Spec:
    """Nothing reaches the jobs, and they reach only the API server."""
    return {
        "podSelector": {"matchLabels": _APP},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [],
        "egress": [api_server(reach)],
    }


def cron_job(team: str, args: HomeSizesArgs) -> Spec:
    """The `spec` of a team's CronJob."""
    return {
        "schedule": args.settings.storage.home_use.schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": STARTING_DEADLINE,
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 1,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 1,
                "activeDeadlineSeconds": DEADLINE,
                "template": {"metadata": {"labels": _APP}, "spec": _pod(team, args)},
            }
        },
    }


def _pod(team: str, args: HomeSizesArgs) -> Spec:
    settings, homes = args.settings, homes_of(team, args.settings)
    command = ["python3", "-m", f"{PACKAGE}.measuring", team, _FOLDER, HUB_NAMESPACE, home_sizes_map(team)]
    pulls = settings.running_hub and settings.running_hub.registry and settings.running_hub.registry.pull_secret
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "imagePullSecrets": [{"name": PULL_SECRET}] if pulls else [],
        **args.placement.pod,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": volumes.UID,
            "runAsGroup": volumes.GID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "measure",
                "image": hub_image(settings),
                "command": command,
                "env": [
                    {"name": "PYTHONPATH", "value": PACKAGE_FOLDER.rpartition("/")[0]},
                    {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
                ],
                "volumeMounts": [
                    {"name": PACKAGE, "mountPath": PACKAGE_FOLDER, "readOnly": True},
                    {"name": homes.name, "mountPath": _FOLDER, "readOnly": True},
                ],
                "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
                "securityContext": {**restricted(volumes.UID), "readOnlyRootFilesystem": True},
            }
        ],
        "volumes": [
            {"name": PACKAGE, "configMap": {"name": args.modules}},
            {"name": homes.name, "persistentVolumeClaim": {"claimName": homes.name, "readOnly": True}},
        ],
    }
