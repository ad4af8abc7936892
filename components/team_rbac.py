"""What people may do in their team's namespace by `kubectl`, and what the hub may do there.

| role | may |
| --- | --- |
| developer, data scientist | look at pods, claims, services and events |
| project manager | that, delete notebooks, and see the quota with what is used of it |
| administrator | everything in the namespace but its bounds: quota, network policy, rights, Secrets |

The rights are ClusterRoles, one for all teams, which a RoleBinding in each namespace grants there and nowhere else. No
right is granted cluster-wide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.manifests import Spec
from components.team_names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT

if TYPE_CHECKING:
    from settings.storage import Storage
    from settings.team_names import TeamRole

GROUP_PREFIX = "gpulab:"
"""Before each group that a sign-in brings, so that none of Keycloak's can be one of Kubernetes' own."""

LOOK, MANAGE, ADMINISTER = "gpulab-team-look", "gpulab-team-manage", "gpulab-team-administer"

ROLE_OF: dict[TeamRole, str] = {
    "developer": LOOK,
    "data-scientist": LOOK,
    "project-manager": MANAGE,
    "administrator": ADMINISTER,
}
"""The ClusterRole that each role of a team has in the team's namespace."""

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


def hub_rules(storage: Storage) -> Spec:
    """What KubeSpawner 7 needs in a namespace: notebooks, what happens to them, and how much of the quota is used.

    It makes a Secret for the token of each notebook, and reads none. Homes per person are claims that it makes and
    finds again by name. It never deletes one: a home outlives the person's account at the hub.
    """
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": [*_READ, "create", "delete"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": _READ},
        {"apiGroups": [""], "resources": ["resourcequotas"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]
    if storage.homes == "per-person":
        rules.append({"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "create"]})
    return rules


def hub_subject() -> Spec:
    """The hub's service account, as a RoleBinding names it."""
    return {"kind": "ServiceAccount", "name": HUB_SERVICE_ACCOUNT, "namespace": HUB_NAMESPACE}


def subjects(team: str, cluster_role: str, directory_groups: Mapping[str, str]) -> Spec:
    """The groups of the team whose members have a ClusterRole in its namespace, as a RoleBinding names them.

    `directory_groups` are those of `components.realm_providers`: a sign-in brings them in place of the role's own.
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
