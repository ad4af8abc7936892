"""The objects that EKS and its addons make in a cluster.

Without a known API server (see `api_server`), nothing is made.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import contracts
from rehearsal.cloud import api_server

_DRIVERS = "/apis/storage.k8s.io/v1/csidrivers"
_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_SERVED_SECONDS, _LOOK_SECONDS = 60, 0.1
_SNAPSHOT_GROUP = "snapshot.storage.k8s.io"
_EKS_CLASS = "gp2"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
# From this minor version on, EKS's class is not the default class ("Kubernetes 1.30", EKS user guide).
_WITHOUT_DEFAULT_CLASS = 30


def begin(kubernetes_version: str) -> None:
    """Makes what EKS makes in a new cluster. Raises OSError if the API server does not accept it."""
    is_default = int(kubernetes_version.partition(".")[2]) < _WITHOUT_DEFAULT_CLASS
    storage_class: dict[str, Any] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": _EKS_CLASS, "annotations": {_DEFAULT_CLASS: "true"} if is_default else {}},
        "provisioner": "kubernetes.io/aws-ebs",
        "parameters": {"type": "gp2", "fsType": "ext4"},
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    api_server.create(_CLASSES, storage_class)


def end() -> None:
    """Deletes these objects with the cluster, which is deleted even if its API server does not answer."""
    with contextlib.suppress(OSError):
        api_server.delete(_CLASSES, _EKS_CLASS)


def install(addon: str) -> None:
    """Makes an addon's objects, and waits until its kinds are served. Raises OSError if the API server fails."""
    for collection, obj in _objects(addon):
        api_server.create(collection, obj)
    for collection, obj in _objects(addon):
        if collection == _DEFINITIONS and api_server.known():
            _wait_for_kind(obj["spec"])


def _wait_for_kind(definition: dict[str, Any]) -> None:
    """Waits until a kind is served. On EKS an addon becomes active later, when its controller runs."""
    deadline = time.monotonic() + _SERVED_SECONDS
    kind = definition["names"]["kind"]
    versions = [version["name"] for version in definition["versions"] if version["served"]]
    while not all(kind in _kinds(definition["group"], version) for version in versions):
        if time.monotonic() > deadline:
            raise OSError(f"the API server does not serve {kind} after {_SERVED_SECONDS} s")
        time.sleep(_LOOK_SECONDS)


def _kinds(group: str, version: str) -> set[str]:
    text = api_server.call("GET", f"/apis/{group}/{version}", fine=(404,))
    return {resource["kind"] for resource in json.loads(text)["resources"]} if text else set()


def uninstall(addon: str) -> None:
    """Deletes an addon's objects. Deleting a definition deletes all objects of its kind."""
    for collection, obj in _objects(addon):
        api_server.delete(collection, obj["metadata"]["name"])


def _objects(addon: str) -> list[tuple[str, dict[str, Any]]]:
    match addon:
        case "aws-ebs-csi-driver":
            return [(_DRIVERS, _driver("ebs.csi.aws.com", attachRequired=True, fsGroupPolicy="File"))]
        case "aws-efs-csi-driver":
            return [(_DRIVERS, _driver("efs.csi.aws.com", attachRequired=False))]
        case "snapshot-controller":
            return [(_DEFINITIONS, dict(definition)) for definition in contracts.crds(_SNAPSHOT_GROUP)]
    return []


def _driver(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": spec}
