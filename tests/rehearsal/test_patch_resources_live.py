"""Patch resources on a real API server: fields of an object of somebody else, set and released."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rehearsal.controllers.world import Kubernetes, place
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import Refused, Request

TOKEN = "kubernetes:storage.k8s.io/v1:StorageClassPatch"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
NAME = "patched"


@pytest.fixture
def provider(cluster: ControlPlane) -> KubernetesProvider:
    made = KubernetesProvider()
    made.configure({"kubeconfig": cluster.kubeconfig.read_text(encoding="utf-8")})
    return made


@pytest.fixture
def kubernetes(cluster: ControlPlane) -> Iterator[Kubernetes]:
    """With a class that somebody else made the default."""
    made = Kubernetes(cluster.kubeconfig)
    metadata = {"name": NAME, "annotations": {DEFAULT: "true"}}
    theirs = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata, "provisioner": "theirs"}
    made.create(place(CLASSES, NAME), theirs)
    yield made
    made.delete(place(CLASSES, NAME))


def request(provider: KubernetesProvider) -> Request:
    return Request(urn=f"urn:pulumi:s::p::{TOKEN}::patch", provider=provider, timeout=10)


def patch(annotations: dict[str, str], *, force: bool = True) -> dict[str, Any]:
    given = {**annotations, **({"pulumi.com/patchForce": "true"} if force else {})}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": NAME, "annotations": given},
    }


def annotation(kubernetes: Kubernetes) -> str | None:
    found = kubernetes.get(place(CLASSES, NAME))
    assert found, "the object is gone"
    assert found["provisioner"] == "theirs"
    return (found["metadata"].get("annotations") or {}).get(DEFAULT)


def test_a_patch_changes_its_fields_and_gives_them_up(provider: KubernetesProvider, kubernetes: Kubernetes) -> None:
    kind, asked = provider.resource_type(TOKEN), request(provider)
    inputs = kind.check(patch({DEFAULT: "false"}), {}, asked)
    assert kind.preview(inputs, None, asked) == inputs
    id, outputs = kind.create(inputs, asked)
    assert annotation(kubernetes) == "false"
    found = kind.read(id, inputs, outputs, asked)
    assert found
    assert found[0] == inputs, "a refresh finds no difference"

    changed = kind.check(patch({DEFAULT: "no"}), inputs, asked)
    outputs = kind.update(id, changed, outputs, inputs, asked)
    assert annotation(kubernetes) == "no"

    kind.delete(id, outputs, asked)
    assert annotation(kubernetes) is None


def test_a_patch_takes_no_field_from_its_owner_without_force(
    provider: KubernetesProvider, kubernetes: Kubernetes
) -> None:
    kind, asked = provider.resource_type(TOKEN), request(provider)
    with pytest.raises(Refused, match="conflict"):
        kind.create(kind.check(patch({DEFAULT: "false"}, force=False), {}, asked), asked)
    assert annotation(kubernetes) == "true"


def test_a_patch_of_nothing_is_refused(provider: KubernetesProvider) -> None:
    kind, asked = provider.resource_type(TOKEN), request(provider)
    with pytest.raises(Refused, match="provisioner"):
        kind.create(kind.check(patch({DEFAULT: "false"}), {}, asked), asked)
