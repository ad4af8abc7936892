"""What has to hold of a running stack's teams: what their namespaces refuse, and what one team sees of another.

Whether something is refused is asked by dry runs: the API server admits or refuses them as any other request, and keeps
nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from components.node_pools import POOL_LABEL
from components.team_names import NOTEBOOK_SERVICE_ACCOUNT, TEAM_LABEL
from settings.gpu_shares import GPU_RESOURCE, SHARED_GPU_RESOURCE, resources
from settings.profiles import DEVICE_VARIABLES
from settings.team_names import namespace_of
from settings.teams import Team

from .checks import NotTried, Subject, require
from .controllers.world import Kubernetes
from .providers.kubernetes.client import ApiError

_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_BOUNDS = (
    ("api/v1", "resourcequotas"),
    ("api/v1", "limitranges"),
    ("apis/networking.k8s.io/v1", "networkpolicies"),
)
_ENFORCE = "pod-security.kubernetes.io/enforce"
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def namespaces_are_bounded(subject: Subject) -> str:
    """Each team has its namespace, with what bounds it; and no namespace is a team's that is not in the stack file."""
    teams = _teams(subject)
    spaces = {
        one["metadata"]["labels"][TEAM_LABEL]: one["metadata"]
        for one in _items(subject, "/api/v1/namespaces")
        if TEAM_LABEL in (one["metadata"].get("labels") or {})
    }
    require(spaces.keys() == teams.keys(), f"namespaces of teams: {sorted(spaces)}; teams: {sorted(teams)}")
    for name, metadata in spaces.items():
        namespace = namespace_of(name)
        require(metadata["name"] == namespace, f"the namespace of {name} is {metadata['name']}")
        require(metadata["labels"].get(_ENFORCE) == "restricted", f"{namespace} does not enforce restricted")
        for path in (
            "api/v1/{}/resourcequotas",
            "api/v1/{}/limitranges",
            "apis/networking.k8s.io/v1/{}/networkpolicies",
        ):
            found = _items(subject, f"/{path.format(f'namespaces/{namespace}')}")
            require(len(found) == 1, f"{namespace} has {len(found)} {path.rpartition('/')[2]}")
        accounts = {
            one["metadata"]["name"]: one for one in _items(subject, f"/api/v1/namespaces/{namespace}/serviceaccounts")
        }
        own = accounts.get(NOTEBOOK_SERVICE_ACCOUNT, {})
        require(own.get("automountServiceAccountToken") is False, f"notebooks of {namespace} may bring a token")
    return f"{len(teams)}: {', '.join(sorted(teams))}"


def quotas_hold(subject: Subject) -> str:
    """One more of anything than is granted is refused, of GPUs of every kind too; what is granted is not."""
    tried = 0
    for name, team in _teams(subject).items():
        for resource in sorted({GPU_RESOURCE, SHARED_GPU_RESOURCE, *resources(subject.settings.node_pools)}):
            amount = team.quota.accelerators[resource]
            said = _refused(subject, _pod(subject, name, team, {resource: str(amount + 1)}))
            require("exceeded quota" in said, f"{name}: {amount + 1} {resource} are not refused by its quota: {said}")
            if amount:
                said = _refused(subject, _pod(subject, name, team, {resource: str(amount)}))
                require(not said, f"{name}: {amount} {resource}, which it may have, are refused: {said}")
            tried += 1
    return f"{tried} kinds of GPUs and slices in {len(_teams(subject))} namespaces: what is granted and no more"


def namespaces_refuse(subject: Subject) -> str:
    """A plain notebook is admitted; a privileged one, a foreign pool, GPUs not asked for, and Ingresses are not."""
    elsewhere = 0
    for name, team in _teams(subject).items():
        said = _refused(subject, _pod(subject, name, team))
        require(not said, f"{name}: a plain notebook is refused: {said}")
        privileged = _pod(subject, name, team)
        privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        anywhere = _pod(subject, name, team)
        del anywhere["spec"]["nodeSelector"]
        idle = _pod(subject, name, team)
        idle["spec"]["tolerations"] = [{"key": GPU_RESOURCE, "operator": "Exists"}]
        greedy = _pod(subject, name, team)
        greedy["spec"]["containers"][0]["env"] = [{"name": DEVICE_VARIABLES[0], "value": "all"}]
        cases = [
            ("PodSecurity", privileged),
            ("node pool", anywhere),
            ("ask for a GPU", idle),
            (DEVICE_VARIABLES[0], greedy),
        ]
        own = team.pools(subject.settings.node_pools)
        for pool in sorted(subject.settings.node_pools.keys() - set(own))[:1]:
            foreign = _pod(subject, name, team)
            foreign["spec"]["nodeSelector"] = {POOL_LABEL: pool}
            cases.append(("node pool", foreign))
            elsewhere += 1
        for word, pod in cases:
            said = _refused(subject, pod)
            require(word in said, f"{name}: {pod['metadata']['name']} is not refused for its {word}: {said}")
        ingress = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "tried", "namespace": namespace_of(name)},
            "spec": {"defaultBackend": {"service": {"name": "tried", "port": {"number": 80}}}},
        }
        said = _refused(subject, ingress, "apis/networking.k8s.io/v1", "ingresses")
        require("publish nothing" in said, f"{name}: an Ingress is not refused: {said}")
    tried = "privileged pods, pods without a pool, Ingresses; GPUs not asked for"
    return f"{tried}; pods of foreign pools in {elsewhere} namespaces"


def teams_are_apart(subject: Subject) -> str:
    """No notebook reads anything of the Kubernetes API: not of the next team, nor of its own."""
    names = sorted(_teams(subject))
    pairs = list(itertools.pairwise([*names, names[0]]))
    for one, other in pairs:
        for namespace in {namespace_of(one), namespace_of(other)}:
            for verb, resource in (("list", "pods"), ("get", "secrets"), ("create", "pods"), ("list", "configmaps")):
                account = f"system:serviceaccount:{namespace_of(one)}:{NOTEBOOK_SERVICE_ACCOUNT}"
                require(
                    not _can(subject, account, verb, resource, namespace),
                    f"notebooks of {one} can {verb} {resource} in {namespace}",
                )
    return f"the accounts of {len(names)} teams read and make nothing, in their namespace and the next"


TEAM_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "teams have their namespaces": namespaces_are_bounded,
    "quotas hold": quotas_hold,
    "namespaces refuse what they must": namespaces_refuse,
    "teams are apart": teams_are_apart,
}


def _teams(subject: Subject) -> dict[str, Team]:
    if not subject.settings.teams:
        raise NotTried("the stack has no teams")
    return subject.settings.teams


def _pod(subject: Subject, name: str, team: Team, limits: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod as the hub makes notebooks, on the first pool that the team may use."""
    pool = team.pools(subject.settings.node_pools)[0]
    resources = {"limits": {"memory": "1Gi", **(limits or {})}, "requests": {"cpu": "100m"}}
    container = {"name": "notebook", "image": "tried", "resources": resources, "securityContext": _RESTRICTED}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried", "namespace": namespace_of(name)},
        "spec": {
            "serviceAccountName": NOTEBOOK_SERVICE_ACCOUNT,
            "nodeSelector": {POOL_LABEL: pool},
            "containers": [container],
        },
    }


def _refused(subject: Subject, obj: dict[str, Any], api: str = "api/v1", plural: str = "pods") -> str:
    """What the API server says as it refuses an object; nothing when it would take it."""
    namespace = obj["metadata"]["namespace"]
    try:
        path = f"/{api}/namespaces/{namespace}/{plural}?dryRun=All"
        Kubernetes(subject.plane.kubeconfig).request("POST", path, obj)
    except ApiError as error:
        return str(error)
    return ""


def _can(subject: Subject, user: str, verb: str, resource: str, namespace: str) -> bool:
    attributes = {"verb": verb, "group": "", "resource": resource, "namespace": namespace}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    return subject.plane.request("POST", _REVIEWS, review)["status"]["allowed"]


def _items(subject: Subject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]
