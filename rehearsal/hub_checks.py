"""What has to hold of a running stack's hub: what notebooks start from is there, and it may do no more than that."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from components.hub import catalogue as hub_catalogue
from components.hub import pod
from components.hub.catalogue import Catalogue
from components.jupyterhub import CHART, hub_modules
from components.team_names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT, PULL_SECRET

from .checks import NotTried, Subject, require
from .releases import releases

_ACCOUNT = f"system:serviceaccount:{HUB_NAMESPACE}:{HUB_SERVICE_ACCOUNT}"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

# Verb, API group and resource.
_IN_A_TEAM = (("create", "", "pods"), ("delete", "", "pods"), ("list", "", "events"), ("get", "", "resourcequotas"))
_NOWHERE = (
    ("get", "", "secrets"),
    ("create", "", "serviceaccounts"),
    ("create", "", "pods/exec"),
    ("create", "rbac.authorization.k8s.io", "rolebindings"),
)


def hub_has_its_files(subject: Subject) -> str:
    """The release mounts the hub's modules and the catalogue of this very stack file, by names that are there."""
    sources = _values(subject)["hub"]["extraVolumes"][0]["projected"]["sources"]
    held: dict[str, str] = {}
    for source in sources:
        name = source["configMap"]["name"]
        found = subject.plane.request("GET", f"/api/v1/namespaces/{HUB_NAMESPACE}/configmaps/{name}")
        require(found.get("immutable") is True, f"the ConfigMap {name} can be changed under a hub that runs")
        held |= found["data"]
    missing = {**hub_modules(), "catalogue.json": ""}.keys() - held.keys()
    require(not missing, f"the hub lacks {', '.join(sorted(missing))}")
    for name in (name for name in held if name.endswith(".py")):
        compile(held[name], name, "exec")
    known = hub_catalogue.parse(json.loads(held["catalogue.json"]))
    teams = set(subject.settings.teams)
    require(set(known.teams) == teams, f"the hub knows the teams {sorted(known.teams)}, there are {sorted(teams)}")
    size = len(held["catalogue.json"].encode())
    return f"{len(held)} files; {len(known.teams)} teams and {len(known.profiles)} profiles in {size} bytes"


def teams_have_what_notebooks_need(subject: Subject) -> str:
    """Each namespace, claim, service account, priority class and counted resource that a notebook's pod will name."""
    known = _catalogue(subject)
    classes = _names(subject, "/apis/scheduling.k8s.io/v1/priorityclasses")
    require(pod.PRIORITY_CLASS in classes, f"there is no priority class {pod.PRIORITY_CLASS}")
    for team in known.teams.values():
        within = f"/api/v1/namespaces/{team.namespace}"
        claims = {
            one["metadata"]["name"]: one["status"]["phase"]
            for one in _items(subject, f"{within}/persistentvolumeclaims")
        }
        for volume in team.volumes:
            name = volume["persistentVolumeClaim"]["claimName"]
            if "{username}" not in name:
                require(claims.get(name) == "Bound", f"{team.namespace}/{name} is {claims.get(name, 'not there')}")
        accounts = _names(subject, f"{within}/serviceaccounts")
        require(pod.SERVICE_ACCOUNT in accounts, f"{team.namespace} has no service account {pod.SERVICE_ACCOUNT}")
        if known.hub.pull_secret:
            require(PULL_SECRET in _names(subject, f"{within}/secrets"), f"{team.namespace} has no {PULL_SECRET}")
        counted = {key for quota in _items(subject, f"{within}/resourcequotas") for key in quota["spec"]["hard"]}
        asked = {gpu.resource for name in team.profiles if (gpu := known.profiles[name].gpu)}
        uncounted = [one for one in asked if f"requests.{one}" not in counted]
        require(not uncounted, f"no quota of {team.namespace} counts {', '.join(uncounted)}")
    return f"{', '.join(team.namespace for team in known.teams.values())}"


def hub_may_act_in_teams_alone(subject: Subject) -> str:
    """By the API server's own word: pods in the teams' namespaces, and nothing in others or of the whole cluster."""
    teams = [team.namespace for team in _catalogue(subject).teams.values()]
    others = sorted(_names(subject, "/api/v1/namespaces") - {*teams, HUB_NAMESPACE})
    asked = 0
    for namespace, (verb, group, resource) in product(teams, _IN_A_TEAM):
        asked += 1
        require(_may(subject, verb, group, resource, namespace), f"the hub may not {verb} {resource} in {namespace}")
    forbidden = [
        *product([*teams, HUB_NAMESPACE, *others, None], _NOWHERE),
        *product([*others, None], _IN_A_TEAM),
        (HUB_NAMESPACE, ("create", "", "pods")),
        (None, ("list", "", "nodes")),
        (None, ("list", "karpenter.sh", "nodeclaims")),
    ]
    for namespace, (verb, group, resource) in forbidden:
        asked += 1
        where = f"in {namespace}" if namespace else "everywhere"
        require(not _may(subject, verb, group, resource, namespace), f"the hub may {verb} {resource} {where}")
    return f"{asked} questions to the API server, of {len(teams)} teams and {len(others)} other namespaces"


def _may(subject: Subject, verb: str, group: str, resource: str, namespace: str | None) -> bool:
    name, _, part = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "subresource": part, "namespace": namespace or ""}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{HUB_NAMESPACE}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": _ACCOUNT, "groups": groups, "resourceAttributes": attributes},
    }
    return subject.plane.request("POST", _REVIEWS, review)["status"]["allowed"]


def _values(subject: Subject) -> Mapping[str, Any]:
    """The values of the hub's release. Raises NotTried for a stack without one."""
    if subject.settings.running_hub is None:
        raise NotTried("the stack has no hub: that takes teams and an identity section")
    found = [one for one in releases(subject.plane) if one.chart == CHART]
    require(len(found) == 1, f"{len(found)} releases of the chart {CHART}")
    return found[0].values


def _catalogue(subject: Subject) -> Catalogue:
    """The catalogue that the hub reads."""
    name = _values(subject)["hub"]["extraVolumes"][0]["projected"]["sources"][1]["configMap"]["name"]
    held = subject.plane.request("GET", f"/api/v1/namespaces/{HUB_NAMESPACE}/configmaps/{name}")
    return hub_catalogue.parse(json.loads(held["data"]["catalogue.json"]))


def _items(subject: Subject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]


def _names(subject: Subject, path: str) -> set[str]:
    return {one["metadata"]["name"] for one in _items(subject, path)}


HUB_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "the hub has its files": hub_has_its_files,
    "teams have what notebooks need": teams_have_what_notebooks_need,
    "the hub may act in teams alone": hub_may_act_in_teams_alone,
}
