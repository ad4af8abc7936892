"""Rights in teams' namespaces, as the real API server decides: of people by their role, of the hub, of notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from teams_lab import PODS, RESEARCH, VISION, account_can, can, create, notebook, token_of

from components.teams import rbac as team_rbac
from rehearsal.checks.pods import until
from rehearsal.controllers.world import Kubernetes, place
from rehearsal.providers.kubernetes.client import ApiError
from rehearsal.run import Rehearsal

pytestmark = pytest.mark.seconds(100)


def test_one_teams_account_reads_no_pods_of_its_own_or_anothers(api: Kubernetes) -> None:
    create(api, PODS, notebook("secret-work", VISION))
    token = token_of(api, RESEARCH, "notebook")
    for namespace in (VISION, RESEARCH, "kube-system"):
        with pytest.raises(ApiError) as refused:
            api.request("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)
        assert refused.value.status == 403
    for verb, resource in (("get", "pods"), ("list", "secrets"), ("create", "pods"), ("get", "configmaps")):
        for namespace in (VISION, RESEARCH, None):
            assert not account_can(api, verb, resource, namespace, f"{RESEARCH}:notebook")
            assert not account_can(api, verb, resource, namespace, f"{RESEARCH}:default")


def test_the_hub_starts_notebooks_in_teams_namespaces_and_nothing_anywhere_else(api: Kubernetes) -> None:
    for namespace in (RESEARCH, VISION):
        # By patches of a pod's annotations its notebook learns when its machine ends.
        for verb in ("get", "list", "watch", "create", "patch", "delete"):
            assert account_can(api, verb, "pods", namespace, "hub:hub")
        assert account_can(api, "get", "resourcequotas", namespace, "hub:hub")
        assert account_can(api, "list", "events", namespace, "hub:hub")
        assert account_can(api, "create", "secrets", namespace, "hub:hub")
        for verb, resource in (
            ("get", "secrets"),
            ("list", "secrets"),
            ("delete", "secrets"),
            ("create", "pods/exec"),
            ("create", "persistentvolumeclaims"),
            ("update", "resourcequotas"),
            ("create", "rolebindings"),
        ):
            assert not account_can(api, verb, resource, namespace, "hub:hub"), f"{verb} {resource}"
    for namespace in ("default", "kube-system", None):
        assert not account_can(api, "list", "pods", namespace, "hub:hub")
        assert not account_can(api, "create", "pods", namespace, "hub:hub")


# The table of components/teams/rbac.py, by role: what each may do in its team's namespace.
READ = ("get", "list", "watch")
LOOKS = {(verb, one) for verb in READ for one in ("pods", "persistentvolumeclaims", "services", "events")}
MANAGES = LOOKS | {("delete", "pods")} | {(verb, one) for verb in READ for one in ("resourcequotas", "limitranges")}
ADMINISTERS = (
    MANAGES
    | {
        (verb, one)
        for verb in (*READ, "create", "update", "patch", "delete")
        for one in ("pods", "persistentvolumeclaims", "services", "configmaps", "deployments", "jobs")
    }
    | {("get", "pods/log"), ("create", "pods/exec"), ("get", "pods/exec"), ("create", "pods/portforward")}
    | {("get", "pods/portforward")}
)
TABLE = {
    "developer": LOOKS,
    "data-scientist": LOOKS,
    "project-manager": MANAGES,
    "administrator": ADMINISTERS,
}
VERBS = (*READ, "create", "update", "patch", "delete", "deletecollection")
RESOURCES = (
    *("pods", "pods/log", "pods/exec", "pods/portforward", "persistentvolumeclaims", "services", "events"),
    *("configmaps", "secrets", "serviceaccounts", "resourcequotas", "limitranges", "deployments", "jobs"),
    *("networkpolicies", "rolebindings", "namespaces"),
)


@pytest.fixture(scope="module")
def bound(teams: Rehearsal) -> Iterator[Kubernetes]:
    """The bindings of `cluster.oidc`, which asks for a domain that this stack has not."""
    api = Kubernetes(teams.plane.kubeconfig)
    collection = "/apis/rbac.authorization.k8s.io/v1/rolebindings"
    for name in team_rbac.CLUSTER_ROLES:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": RESEARCH},
            "roleRef": team_rbac.role_ref("ClusterRole", name),
            "subjects": team_rbac.subjects("research", name, {}),
        }
        create(api, collection, binding)
    # The API server decides by a copy of the bindings, which follows them.
    for role in TABLE:
        until(lambda role=role: can(api, "get", "pods", RESEARCH, **somebody(role)), f"{role} is bound", seconds=60)
    yield api
    for name in team_rbac.CLUSTER_ROLES:
        api.delete(place(collection, name, RESEARCH))


def somebody(role: str) -> dict[str, Any]:
    """A person of the team research, as the API server's sign-in describes them."""
    return {"user": "gpulab:ada", "groups": [f"gpulab:/research/{role}"]}


@pytest.mark.parametrize("role", TABLE)
def test_each_role_can_exactly_what_the_table_says(bound: Kubernetes, role: str) -> None:
    person = somebody(role)
    found = {(verb, one) for verb in VERBS for one in RESOURCES if can(bound, verb, one, RESEARCH, **person)}
    assert found == {(verb, one) for verb, one in TABLE[role] if one in RESOURCES}
    for namespace in (VISION, "kube-system", None):
        assert not [one for verb in VERBS for one in RESOURCES if can(bound, verb, one, namespace, **person)]
