"""What people may do in their team's namespace with `kubectl`, and what the hub may do there.

| role | may |
| --- | --- |
| developer, data scientist | look at pods, claims, services and events |
| project manager | that, delete notebooks, and see the quota with what is used of it |
| administrator | everything in the namespace but its bounds: quota, network policy, rights, Secrets |

The rights are ClusterRoles that all teams share. A RoleBinding in each namespace grants them only there; nothing is
granted cluster-wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.manifests import Spec
from components.teams.names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT

if TYPE_CHECKING:
    from settings.files import Files as FilesSettings
    from settings.people.names import TeamRole

GROUP_PREFIX = "gpulab:"
"""The prefix of each group from a sign-in, so that a Keycloak group never has the name of one of Kubernetes' own."""

LOOK, MANAGE, ADMINISTER = "gpulab-team-look", "gpulab-team-manage", "gpulab-team-administer"

ROLE_OF: dict[TeamRole, str] = {
    "developer": LOOK,
    "data-scientist": LOOK,
    "project-manager": MANAGE,
    "administrator": ADMINISTER,
}
"""The ClusterRole of each team role in the team's namespace."""

_READ = ["get", "list", "watch"]
_WRITE = ["create", "update", "patch", "delete"]
_LOOK = [
    {"apiGroups": [""], "resources": ["pods", "persistentvolumeclaims", "services", "events"], "verbs": _READ},
    {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": _READ},
]
_SEE_QUOTA = {"apiGroups": [""], "resources": ["resourcequotas", "limitranges"], "verbs": _READ}

CLUSTER_ROLES: dict[str, Spec] = {
    LOOK: _LOOK,
    MANAGE: [*_LOOK, _SEE_QUOTA, {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}],
    ADMINISTER: [
        *_LOOK,
        _SEE_QUOTA,
        {
            "apiGroups": [""],
            "resources": ["pods", "persistentvolumeclaims", "services", "configmaps"],
            "verbs": [*_READ, *_WRITE],
        },
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["get", "create"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": [*_READ, *_WRITE]},
        {"apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": [*_READ, *_WRITE]},
    ],
}
"""The rules of each ClusterRole, by its name."""

HUB_ROLE = "hub"


def hub_rules(storage: FilesSettings) -> Spec:
    """What KubeSpawner 7 needs in a namespace: notebooks, their events, and the quota's usage.

    It makes a Secret for each notebook's token, and does not read Secrets. If homes are per person, it makes their
    claims, finds them again by name, and grows them with `homeSize`; the API server allows no other change of a bound
    claim's spec. It never deletes a claim: a home outlives the person's account at the hub. It looks for optional
    claims, which others make.
    """
    rules = [
        # Patch: the hub writes into a pod's annotations when its node will end, for JupyterLab.
        {"apiGroups": [""], "resources": ["pods"], "verbs": [*_READ, "create", "patch", "delete"]},
        # The output of a profile's startup script, for people who wait for their notebook.
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]
    if storage.homes == "per-person":
        rules.append({"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "create", "patch"]})
    optional = sorted({volume.claim for volume in storage.volumes.values() if volume.claim and volume.optional})
    if optional:
        looked_for = {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "resourceNames": optional}
        rules.append({**looked_for, "verbs": ["get"]})
    return rules


def hub_subject() -> Spec:
    """The hub's service account, as a RoleBinding names it."""
    return {"kind": "ServiceAccount", "name": HUB_SERVICE_ACCOUNT, "namespace": HUB_NAMESPACE}


def subjects(team: str, cluster_role: str, directory_groups: Mapping[str, str]) -> Spec:
    """The groups of the team whose members get a ClusterRole in its namespace, as a RoleBinding names them.

    `directory_groups` are those of `components.identity.realm.providers`: for their members, a sign-in has these groups
    instead of the role's.
    """
    roles = [f"/{team}/{role}" for role, granted in ROLE_OF.items() if granted == cluster_role]
    below = [group for group, role in sorted(directory_groups.items()) if role in roles]
    return [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"{GROUP_PREFIX}{group}"}
        for group in (*roles, *below)
    ]


def role_ref(kind: str, name: str) -> Spec:
    """What a RoleBinding grants."""
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
