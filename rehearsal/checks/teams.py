"""What must hold of a running stack's teams: what their namespaces refuse, and that teams cannot see each other.

The checks use dry runs: the API server admits or refuses them like any other request, and stores nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from components.teams.names import NOTEBOOK_SERVICE_ACCOUNT, TEAM_LABEL
from rehearsal.controllers.world import Kubernetes
from rehearsal.providers.kubernetes.client import ApiError
from settings.notebooks.profiles import DEVICE_VARIABLES
from settings.people.names import namespace_of
from settings.people.teams import Team
from settings.pools.gpu_shares import GPU_RESOURCE, SHARED_GPU_RESOURCE, resources
from settings.pools.labels import POOL_LABEL

from .checking import NotTried, StackSubject, require

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


def namespaces_are_bounded(subject: StackSubject) -> str:
    """Each team has its namespace with its limits, and there are no namespaces of other teams."""
    teams = _teams(subject)
    spaces = {
        namespace["metadata"]["labels"][TEAM_LABEL]: namespace["metadata"]
        for namespace in _items(subject, "/api/v1/namespaces")
        if TEAM_LABEL in (namespace["metadata"].get("labels") or {})
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
            account["metadata"]["name"]: account
            for account in _items(subject, f"/api/v1/namespaces/{namespace}/serviceaccounts")
        }
        own = accounts.get(NOTEBOOK_SERVICE_ACCOUNT, {})
        require(own.get("automountServiceAccountToken") is False, f"notebooks of {namespace} get an API token")
    return f"{len(teams)}: {', '.join(sorted(teams))}"


def quotas_hold(subject: StackSubject) -> str:
    """Each team can request the GPUs and shares that its quota grants, and not one more of any kind."""
    tried = 0
    for name, team in _teams(subject).items():
        for resource in sorted({GPU_RESOURCE, SHARED_GPU_RESOURCE, *resources(subject.settings.node_pools)}):
            amount = team.quota.accelerators[resource]
            error = _refused(subject, _pod(subject, name, team, {resource: str(amount + 1)}))
            require("exceeded quota" in error, f"{name}: its quota does not refuse {amount + 1} {resource}: {error}")
            if amount:
                error = _refused(subject, _pod(subject, name, team, {resource: str(amount)}))
                require(not error, f"{name}: {amount} {resource} are granted but refused: {error}")
            tried += 1
    return (
        f"{tried} GPU resources in {len(_teams(subject))} namespaces: the granted amount is admitted, one more refused"
    )


def namespaces_refuse(subject: StackSubject) -> str:
    """A plain notebook is admitted. Privileged pods, other teams' pools, GPUs without a request, Ingresses are not."""
    elsewhere = 0
    for name, team in _teams(subject).items():
        error = _refused(subject, _pod(subject, name, team))
        require(not error, f"{name}: a plain notebook is refused: {error}")
        privileged = _pod(subject, name, team)
        privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        anywhere = _pod(subject, name, team)
        del anywhere["spec"]["nodeSelector"]
        idle = _pod(subject, name, team)
        if any(pool.is_gpu and pool.is_open for pool in subject.settings.node_pools.values()):
            del idle["spec"]["containers"][0]["env"]
        else:
            idle["spec"]["tolerations"] = [{"key": GPU_RESOURCE, "operator": "Exists"}]
        greedy = _pod(subject, name, team)
        greedy["spec"]["containers"][0]["env"] = [{"name": DEVICE_VARIABLES[0], "value": "all"}]
        cases = [
            ("PodSecurity", privileged),
            ("node pool", anywhere),
            ("must request a GPU", idle),
            (DEVICE_VARIABLES[0], greedy),
        ]
        own = team.pools(subject.settings.node_pools)
        for pool in sorted(subject.settings.node_pools.keys() - set(own))[:1]:
            foreign = _pod(subject, name, team)
            foreign["spec"]["nodeSelector"] = {POOL_LABEL: pool}
            cases.append(("node pool", foreign))
            elsewhere += 1
        for word, pod in cases:
            error = _refused(subject, pod)
            require(word in error, f"{name}: {pod['metadata']['name']} is not refused for its {word}: {error}")
        ingress = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "tried", "namespace": namespace_of(name)},
            "spec": {"defaultBackend": {"service": {"name": "tried", "port": {"number": 80}}}},
        }
        error = _refused(subject, ingress, "apis/networking.k8s.io/v1", "ingresses")
        require("teams can't publish Ingresses" in error, f"{name}: an Ingress is not refused: {error}")
    refused = "privileged pods, pods without a pool, GPUs without a request, Ingresses"
    return f"{refused}; pods on another team's pool in {elsewhere} namespaces"


def teams_are_apart(subject: StackSubject) -> str:
    """Notebooks cannot read anything in the Kubernetes API, neither of their own team nor of another."""
    names = sorted(_teams(subject))
    pairs = list(itertools.pairwise([*names, names[0]]))
    for team, other in pairs:
        for namespace in {namespace_of(team), namespace_of(other)}:
            for verb, resource in (("list", "pods"), ("get", "secrets"), ("create", "pods"), ("list", "configmaps")):
                account = f"system:serviceaccount:{namespace_of(team)}:{NOTEBOOK_SERVICE_ACCOUNT}"
                require(
                    not _can(subject, account, verb, resource, namespace),
                    f"notebooks of {team} can {verb} {resource} in {namespace}",
                )
    return f"the service accounts of {len(names)} teams can read and create nothing, in their own and another namespace"


TEAM_CHECKS: Mapping[str, Callable[[StackSubject], str]] = {
    "teams have their namespaces": namespaces_are_bounded,
    "quotas hold": quotas_hold,
    "namespaces refuse what they must": namespaces_refuse,
    "teams are apart": teams_are_apart,
}


def _teams(subject: StackSubject) -> dict[str, Team]:
    if not subject.settings.teams:
        raise NotTried("the stack has no teams")
    return subject.settings.teams


def _pod(subject: StackSubject, name: str, team: Team, limits: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A pod like the hub's notebooks, on the first pool that the team may use."""
    pool = team.pools(subject.settings.node_pools)[0]
    resources = {"limits": {"memory": "1Gi", **(limits or {})}, "requests": {"cpu": "100m"}}
    container: dict[str, Any] = {"name": "notebook", "image": "tried", "resources": resources}
    container["securityContext"] = _RESTRICTED
    if not limits:
        container["env"] = [{"name": DEVICE_VARIABLES[0], "value": "void"}]
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


def _refused(subject: StackSubject, obj: dict[str, Any], api: str = "api/v1", plural: str = "pods") -> str:
    """The API server's error when it refuses an object; an empty text if it would accept it."""
    namespace = obj["metadata"]["namespace"]
    try:
        path = f"/{api}/namespaces/{namespace}/{plural}?dryRun=All"
        Kubernetes(subject.plane.kubeconfig).request("POST", path, obj)
    except ApiError as error:
        return str(error)
    return ""


def _can(subject: StackSubject, user: str, verb: str, resource: str, namespace: str) -> bool:
    attributes = {"verb": verb, "group": "", "resource": resource, "namespace": namespace}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    return subject.plane.request("POST", _REVIEWS, review)["status"]["allowed"]


def _items(subject: StackSubject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]
