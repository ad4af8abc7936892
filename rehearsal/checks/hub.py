"""What must hold of a running stack's hub: all that notebooks need is there, and the hub has no further rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from components.hub.inside import catalogue as hub_catalogue
from components.hub.inside import pod
from components.hub.inside.catalogue import Catalogue
from components.hub.jupyterhub import CHART, hub_modules
from components.hub.values import HOME_SIZES, home_sizes_map
from components.teams.names import HUB_NAMESPACE, HUB_SERVICE_ACCOUNT, PULL_SECRET
from rehearsal.machine.control_plane import ControlPlane
from settings.notebooks.discovered import discovers

from .checking import NotTried, StackSubject, require
from .helm_releases import releases

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


def hub_has_its_files(subject: StackSubject) -> str:
    """The release mounts existing ConfigMaps with the hub's modules and the catalogue of this stack file."""
    sources = _values(subject)["hub"]["extraVolumes"][0]["projected"]["sources"]
    files: dict[str, str] = {}
    for source in sources:
        name = source["configMap"]["name"]
        found = subject.plane.request("GET", f"/api/v1/namespaces/{HUB_NAMESPACE}/configmaps/{name}")
        require(found.get("immutable") is True, f"the ConfigMap {name} is not immutable, so a running hub may change")
        files |= found["data"]
    missing = {**hub_modules(), "catalogue.json": ""}.keys() - files.keys()
    require(not missing, f"the hub lacks {', '.join(sorted(missing))}")
    for name in (name for name in files if name.endswith(".py")):
        compile(files[name], name, "exec")
    known = hub_catalogue.parse(json.loads(files["catalogue.json"]))
    teams = set(subject.settings.teams)
    require(
        set(known.teams) == teams,
        f"the hub knows the teams {sorted(known.teams)}, the stack file has {sorted(teams)}",
    )
    size = len(files["catalogue.json"].encode())
    return f"{len(files)} files; {len(known.teams)} teams and {len(known.profiles)} profiles in {size} bytes"


def teams_have_what_notebooks_need(subject: StackSubject) -> str:
    """All that notebook pods name exists: namespaces, claims, service accounts, priority classes, counted resources."""
    known = _catalogue(subject)
    classes = _names(subject, "/apis/scheduling.k8s.io/v1/priorityclasses")
    require(pod.PRIORITY_CLASS in classes, f"there is no priority class {pod.PRIORITY_CLASS}")
    for team in known.teams.values():
        within = f"/api/v1/namespaces/{team.namespace}"
        claims = {
            claim["metadata"]["name"]: claim["status"]["phase"]
            for claim in _items(subject, f"{within}/persistentvolumeclaims")
        }
        for volume in team.volumes:
            name = volume["persistentVolumeClaim"]["claimName"]
            if "{username}" not in name and volume["name"] not in team.optional:
                require(claims.get(name) == "Bound", f"{team.namespace}/{name} is {claims.get(name, 'not there')}")
        accounts = _names(subject, f"{within}/serviceaccounts")
        require(pod.SERVICE_ACCOUNT in accounts, f"{team.namespace} has no service account {pod.SERVICE_ACCOUNT}")
        if known.hub.pull_secret:
            require(PULL_SECRET in _names(subject, f"{within}/secrets"), f"{team.namespace} has no {PULL_SECRET}")
        counted = {key for quota in _items(subject, f"{within}/resourcequotas") for key in quota["spec"]["hard"]}
        requested = {gpu.resource for name in team.profiles if (gpu := known.profiles[name].gpu)}
        uncounted = [resource for resource in requested if f"requests.{resource}" not in counted]
        require(not uncounted, f"no quota of {team.namespace} counts {', '.join(uncounted)}")
    return f"{', '.join(team.namespace for team in known.teams.values())}"


def hub_may_act_in_teams_only(subject: StackSubject) -> str:
    """The API server allows the hub to manage pods in the teams' namespaces, and nothing elsewhere."""
    known = _catalogue(subject)
    teams = [team.namespace for team in known.teams.values()]
    others = sorted(_names(subject, "/api/v1/namespaces") - {*teams, HUB_NAMESPACE})
    reviews = 0
    for namespace, (verb, group, resource) in product(teams, _IN_A_TEAM):
        reviews += 1
        require(_may(subject, verb, group, resource, namespace), f"the hub may not {verb} {resource} in {namespace}")
    forbidden = [
        *product([*teams, HUB_NAMESPACE, *others, None], _NOWHERE),
        *product([*others, None], _IN_A_TEAM),
        (HUB_NAMESPACE, ("create", "", "pods")),
        (None, ("patch", "", "nodes")),
        (None, ("delete", "karpenter.sh", "nodeclaims")),
    ]
    for namespace, (verb, group, resource) in forbidden:
        reviews += 1
        where = f"in {namespace}" if namespace else "in the whole cluster"
        require(not _may(subject, verb, group, resource, namespace), f"the hub may {verb} {resource} {where}")
    reviews += 1
    lists_nodes = discovers(subject.settings.profiles)
    require(_may(subject, "list", "", "nodes", None) == lists_nodes, f"the hub may list nodes: {not lists_nodes}")
    return f"{reviews} access reviews, in {len(teams)} teams and {len(others)} other namespaces"


def homes_are_measured(subject: StackSubject) -> str:
    """A job for each team may apply the ConfigMap that the hub mounts, no other one, and may not read Secrets."""
    volumes = _values(subject)["hub"]["extraVolumes"]
    if subject.settings.storage.homes != "shared":
        raise NotTried("homes are volumes of a fixed size")
    jobs = _names(subject, f"/apis/batch/v1/namespaces/{HUB_NAMESPACE}/cronjobs")
    (sources,) = [volume["projected"]["sources"] for volume in volumes if volume["name"] == HOME_SIZES]
    read = {source["configMap"]["name"] for source in sources}
    wanted = set(map(home_sizes_map, subject.settings.teams))
    require(jobs >= wanted, f"these jobs are missing: {', '.join(sorted(wanted - jobs))}")
    require(read == wanted, f"the hub reads {sorted(read)}, but the jobs write {sorted(wanted)}")
    account = f"system:serviceaccount:{HUB_NAMESPACE}:{HOME_SIZES}"
    for verb in ("create", "patch"):
        for name in (*sorted(wanted), "another", ""):
            may = _may(subject, verb, "", "configmaps", HUB_NAMESPACE, account=account, name=name)
            require(may == (name in wanted), f"the jobs may {'' if may else 'not '}{verb} the ConfigMap {name or '*'}")
    require(not _may(subject, "get", "", "secrets", HUB_NAMESPACE, account=account), "the jobs may read Secrets")
    return f"{len(wanted)} jobs; they may write only what the hub reads"


def _may(
    subject: StackSubject,
    verb: str,
    group: str,
    resource: str,
    namespace: str | None,
    *,
    account: str = _ACCOUNT,
    name: str = "",
) -> bool:
    kind, _, part = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": kind, "subresource": part, "namespace": namespace or ""}
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{HUB_NAMESPACE}", "system:authenticated"]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": account, "groups": groups, "resourceAttributes": {**attributes, "name": name}},
    }
    return subject.plane.request("POST", _REVIEWS, review)["status"]["allowed"]


def _values(subject: StackSubject) -> Mapping[str, Any]:
    """The values of the hub's release. Raises NotTried for a stack without one."""
    if subject.settings.running_hub is None:
        raise NotTried("the stack has no hub: a hub needs teams and an identity section")
    return _deployed(subject.plane)


def _deployed(plane: ControlPlane) -> Mapping[str, Any]:
    found = [release for release in releases(plane) if release.chart == CHART]
    require(len(found) == 1, f"{len(found)} releases of the chart {CHART}")
    return found[0].values


def _catalogue(subject: StackSubject) -> Catalogue:
    _values(subject)
    return catalogue(subject.plane)


def catalogue(plane: ControlPlane) -> Catalogue:
    """The catalogue that the deployed hub reads. Raises DoesNotHold if there is no hub, or more than one."""
    name = _deployed(plane)["hub"]["extraVolumes"][0]["projected"]["sources"][1]["configMap"]["name"]
    found = plane.request("GET", f"/api/v1/namespaces/{HUB_NAMESPACE}/configmaps/{name}")
    return hub_catalogue.parse(json.loads(found["data"]["catalogue.json"]))


def _items(subject: StackSubject, path: str) -> list[dict[str, Any]]:
    return subject.plane.request("GET", path)["items"]


def _names(subject: StackSubject, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in _items(subject, path)}


HUB_CHECKS: Mapping[str, Callable[[StackSubject], str]] = {
    "the hub has its files": hub_has_its_files,
    "teams have what notebooks need": teams_have_what_notebooks_need,
    "the hub may act in teams only": hub_may_act_in_teams_only,
    "homes are measured": homes_are_measured,
}
