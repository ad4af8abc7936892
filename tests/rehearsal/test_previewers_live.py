"""What previewers may do in the cluster, decided by the API server's own authorizer."""

from __future__ import annotations

import pytest

from components.ground.cluster_access import PREVIEWER_GROUP, PREVIEWER_POLICY, PREVIEWER_RULES
from rehearsal.checks.pods import until
from rehearsal.cloud.access import groups_of
from rehearsal.machine.control_plane import ControlPlane

RBAC = "rbac.authorization.k8s.io"
# Of what the program makes, by kind, with the releases that Helm keeps as Secrets.
READ = (
    "configmaps", "limitranges", "namespaces", "persistentvolumeclaims", "persistentvolumes", "resourcequotas",
    "secrets", "serviceaccounts", "batch/jobs", "elbv2.k8s.aws/targetgroupbindings", "karpenter.k8s.aws/ec2nodeclasses",
    "karpenter.sh/nodeoverlays", "karpenter.sh/nodepools", "networking.k8s.io/networkpolicies",
    "postgresql.cnpg.io/clusters", "postgresql.cnpg.io/scheduledbackups", f"{RBAC}/clusterrolebindings",
    f"{RBAC}/clusterroles", f"{RBAC}/rolebindings",
    "scheduling.k8s.io/priorityclasses", "snapshot.storage.k8s.io/volumesnapshotclasses",
    "storage.k8s.io/storageclasses", "admissionregistration.k8s.io/validatingadmissionpolicies",
)  # fmt: skip
CHANGES = ("create", "update", "patch", "delete", "deletecollection")


@pytest.fixture
def previewers(cluster: ControlPlane) -> ControlPlane:
    """The cluster with the role and the binding that the program makes."""
    api, name = f"/apis/{RBAC}/v1", {"name": PREVIEWER_GROUP}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": name, "rules": PREVIEWER_RULES}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": name,
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": PREVIEWER_GROUP},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": PREVIEWER_GROUP}],
    }
    cluster.apply(role, f"{api}/clusterroles")
    cluster.apply(binding, f"{api}/clusterrolebindings")
    # The authorizer hears of a binding a moment later.
    until(lambda: may(cluster, "get", "configmaps"), "previewers are bound", seconds=60)
    return cluster


def may(cluster: ControlPlane, verb: str, kind: str, subresource: str = "") -> bool:
    group, _, resource = kind.rpartition("/")
    access = groups_of({f"arn/{PREVIEWER_POLICY}": {"accessScope": {"type": "cluster"}}})
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "arn:aws:sts::123456789012:assumed-role/gpulab-preview/job",
            "groups": [PREVIEWER_GROUP, *access, "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "subresource": subresource},
        },
    }
    return cluster.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"]["allowed"]


@pytest.mark.parametrize("kind", READ)
def test_a_previewer_reads_what_a_refresh_reads_and_changes_none_of_it(previewers: ControlPlane, kind: str) -> None:
    assert may(previewers, "get", kind)
    assert [verb for verb in CHANGES if may(previewers, verb, kind)] == []


@pytest.mark.parametrize(
    ("kind", "subresource"),
    [("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("nodes", "proxy"), ("services", "proxy")],
)
def test_a_previewer_gets_into_no_pod_and_no_node(previewers: ControlPlane, kind: str, subresource: str) -> None:
    # Up to Kubernetes 1.34 `get` is enough to run a command over a WebSocket.
    assert may(previewers, "get", kind)
    assert [verb for verb in ("get", "create") if may(previewers, verb, kind, subresource)] == []
