"""What makes volumes on a site: beside what is there, on every node with notebooks, until the last volume is gone."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from site_parts import PLACEMENT, site

import contracts
from components.storage.local_path import CLUSTER_ROLE, NAME, PROVISIONER, config_files, deployment
from components.storage.site_storage import (
    NAMESPACE,
    NFS_CHART,
    SEAWEEDFS_CHART,
    SiteStorageClasses,
    SiteStorageClassesArgs,
    nfs_values,
    seaweedfs_values,
)
from components.storage.volumes import made_volumes, pod_mounts, pod_volumes, team_volumes
from components.teams.rbac import hub_rules
from rehearsal.providers.kubernetes.chart_values import check
from settings.ground import Distribution

RELEASE = "kubernetes:helm.sh/v3:Release"
CLASS = "kubernetes:storage.k8s.io/v1:StorageClass"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
EVERYTHING: dict[str, Any] = {
    "localPath": {"path": "/var/mnt/volumes"},
    "seaweedfs": {"filer": "seaweedfs-filer.storage.svc:8888"},
    "nfs": {"server": "nas.example.com", "path": "/export"},
}


def args(install: dict[str, Any], distribution: Distribution = "k3s", **more: Any) -> SiteStorageClassesArgs:
    given = {"homes": "per-person", "homeSize": 20, "install": install, **more}
    return SiteStorageClassesArgs(settings=site(storage=given).storage, distribution=distribution, placement=PLACEMENT)


def deployed(mocks: Any, install: dict[str, Any], **more: Any) -> SiteStorageClasses:
    return mocks.deploy(lambda: SiteStorageClasses("lab", args(install, **more)))


def test_a_site_that_has_everything_gets_nothing(mocks) -> None:
    made = deployed(mocks, {})
    assert made.drivers == []
    assert [one for one in mocks.resources if one.custom] == []


def test_each_class_is_named_as_the_file_says_and_waits_for_its_driver(mocks) -> None:
    made = deployed(mocks, {**EVERYTHING, "nfs": {**EVERYTHING["nfs"], "className": "nas"}})
    classes = {one.inputs["metadata"]["name"]: one for one in mocks.all(CLASS)}
    assert classes.keys() == {"gpulab-local-path", "gpulab-seaweedfs", "nas"}
    driver = {
        "gpulab-local-path": mocks.one("gpulab:index:LocalPathProvisioner"),
        "gpulab-seaweedfs": mocks.one(RELEASE, "lab-seaweedfs"),
        "nas": mocks.one(RELEASE, "lab-nfs"),
    }
    for name, one in classes.items():
        assert mocks.needs(one, driver[name])
        assert one.inputs["reclaimPolicy"] == "Delete"
        # A cluster may have a default class, and of two Kubernetes takes any.
        assert "annotations" not in one.inputs["metadata"]
    assert classes["nas"].inputs["parameters"]["server"] == "nas.example.com"
    assert [type(one) for one in made.drivers] == [SiteStorageClasses]


def test_a_site_that_retains_keeps_the_volumes_of_deleted_claims(mocks) -> None:
    deployed(mocks, EVERYTHING, retain=True)
    assert {one.inputs["reclaimPolicy"] for one in mocks.all(CLASS)} == {"Retain"}


def test_two_local_path_provisioners_do_not_fight(mocks) -> None:
    """Rancher's manifests name the second one's binding as the first one's, which then loses its rights."""
    deployed(mocks, {"localPath": {}})
    of_ranchers = {"local-path-provisioner", "local-path-provisioner-role", "local-path-provisioner-bind"}
    for kind in ("ClusterRole", "ClusterRoleBinding"):
        (one,) = mocks.all(f"{RBAC}:{kind}")
        assert one.inputs["metadata"]["name"] == NAME
        assert NAME not in of_ranchers
    (binding,) = mocks.all(f"{RBAC}:ClusterRoleBinding")
    assert binding.inputs["roleRef"]["name"] == NAME
    assert binding.inputs["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    (found,) = mocks.all(CLASS)
    (container,) = deployment(PLACEMENT, image="one:1")["template"]["spec"]["containers"]
    command = container["command"]
    assert command[command.index("--provisioner-name") + 1] == found.inputs["provisioner"] == PROVISIONER
    assert PROVISIONER != "rancher.io/local-path"


def test_it_reads_no_configuration_and_no_pod_of_others() -> None:
    everywhere = {resource for rule in CLUSTER_ROLE for resource in rule["resources"]}
    assert not everywhere & {"configmaps", "pods", "pods/log", "secrets"}


def test_volumes_are_made_in_the_folder_of_the_file_by_an_image_with_a_version() -> None:
    files = config_files("/var/mnt/volumes", helper_image=contracts.image("busybox"))
    (everywhere,) = json.loads(files["config.json"])["nodePathMap"]
    assert everywhere == {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": ["/var/mnt/volumes"]}
    pod = json.loads(files["helperPod.yaml"])
    # provisioner.go of v0.0.37, validateHelperPodTemplate: it adds volumes, account and node itself.
    assert not pod["spec"].keys() & {"volumes", "serviceAccountName", "nodeName", "hostPID"}
    assert pod["spec"]["tolerations"] == [{"operator": "Exists"}], "a volume may be on a tainted GPU node"
    assert ":" in pod["spec"]["containers"][0]["image"]


@pytest.mark.parametrize("distribution", get_args(Distribution))
def test_the_charts_take_their_values(distribution: Distribution) -> None:
    given = args(EVERYTHING, distribution)
    assert given.settings.install.seaweedfs
    for chart, values in (
        (SEAWEEDFS_CHART, seaweedfs_values(given, given.settings.install.seaweedfs)),
        (NFS_CHART, nfs_values(given)),
    ):
        contract = contracts.chart(chart)
        assert check(values, contract.values, contract.schema) == []


def test_drivers_mount_where_the_distribution_has_its_kubelet_and_on_tainted_nodes() -> None:
    given = args(EVERYTHING, "microk8s")
    assert given.settings.install.seaweedfs
    seaweedfs, nfs = seaweedfs_values(given, given.settings.install.seaweedfs), nfs_values(given)
    folder = "/var/snap/microk8s/common/var/lib/kubelet"
    assert nfs["kubeletDir"] == folder
    assert all(path.startswith(f"{folder}/") for path in seaweedfs["node"]["volumes"].values())
    assert nfs_values(args(EVERYTHING))["kubeletDir"] == "/var/lib/kubelet"
    for part in (seaweedfs["node"], seaweedfs["mountService"], nfs["node"]):
        assert part["tolerations"] == [{"operator": "Exists"}]


CODE: dict[str, Any] = {
    "homes": "per-person",
    "homeSize": 20,
    "homePath": "/home/jovyan/notebooks",
    "install": {"nfs": EVERYTHING["nfs"]},
    "volumes": {
        "datasets": {"mountPath": "/datasets"},
        "code": {"mountPath": "/shared-code-reference", "claim": "shared-code", "optional": True},
    },
}


def test_what_is_installed_is_the_class_of_what_is_shared_and_of_homes() -> None:
    assert site(storage=CODE).storage.shared_class == "gpulab-nfs"
    assert site(storage={**CODE, "install": EVERYTHING, "sharedClass": "nas"}).storage.home_class == "gpulab-local-path"
    assert site(storage={**CODE, "sharedClass": "nas"}).storage.shared_class == "nas"


def test_a_claim_of_others_is_mounted_read_only_and_never_made() -> None:
    storage = site(storage=CODE).storage
    assert [one.name for one in made_volumes("research", storage)] == ["datasets"]
    assert {one.name for one in team_volumes("research", storage) if one.optional} == {"code"}
    (volume,) = [one for one in pod_volumes("research", "ada", storage) if one["name"] == "code"]
    assert volume["persistentVolumeClaim"] == {"claimName": "shared-code", "readOnly": True}
    for role in ("developer", "administrator"):
        mounts = {one["name"]: one for one in pod_mounts("research", role, "ada", storage)}
        assert mounts["code"] == {"name": "code", "mountPath": "/shared-code-reference", "readOnly": True}
        assert mounts["homes"]["mountPath"] == "/home/jovyan/notebooks"


def test_the_hub_may_look_for_that_claim_and_for_no_other() -> None:
    shared = {**CODE, "homes": "shared", "homePath": "/home/jovyan"}
    rules = [one for one in hub_rules(site(storage=shared).storage) if "persistentvolumeclaims" in one["resources"]]
    assert [(one["verbs"], one["resourceNames"]) for one in rules] == [(["get"], ["shared-code"])]
    del shared["volumes"]
    assert all("persistentvolumeclaims" not in one["resources"] for one in hub_rules(site(storage=shared).storage))
