"""Resources of the stand-in for pulumi-kubernetes on a real API server, driven as the engine drives a provider."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import Difference, Properties, Provider, Request, ResourceType

NAMESPACE = "kubernetes:core/v1:Namespace"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
SERVICE = "kubernetes:core/v1:Service"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
WIDGET = "kubernetes:test.gpulab.dev/v1:Widget"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"
RELEASE = "kubernetes:helm.sh/v3:Release"

# The garbage collector, which ends a foreground deletion, looks for new kinds only every 30 s.
BACKGROUND = {"pulumi.com/deletionPropagationPolicy": "background"}

names = (f"test-{number}" for number in itertools.count(1))


@dataclass
class Resource:
    """A resource in the state of a stack."""

    kind: ResourceType
    request: Request
    id: str
    inputs: Properties
    outputs: Properties

    def preview(self, news: Properties) -> Properties:
        return self.kind.preview(self.kind.check(news, self.inputs, self.request), self.outputs, self.request)

    def difference(self, news: Properties) -> Difference:
        return self.kind.difference(self.inputs, self.kind.check(news, self.inputs, self.request), self.outputs)

    def update(self, news: Properties) -> None:
        inputs = self.kind.check(news, self.inputs, self.request)
        self.outputs = self.kind.update(self.id, inputs, self.outputs, self.inputs, self.request)
        self.inputs = inputs

    def refresh(self) -> Difference | None:
        """What differs from the state; None when the resource is gone."""
        found = self.kind.read(self.id, self.inputs, self.outputs, self.request)
        return found and self.kind.difference(found[0], self.inputs, found[1])

    def delete(self) -> None:
        self.kind.delete(self.id, self.outputs, self.request)


class Stack:
    """Creates resources as the engine does: check, preview, create."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.made: list[Resource] = []

    def preview(self, token: str, name: str, inputs: Properties) -> Properties:
        kind, request = self.asked(token, name, 0)
        return kind.preview(kind.check(inputs, {}, request), None, request)

    def create(self, token: str, name: str, inputs: Properties, *, timeout: float = 0) -> Resource:
        kind, request = self.asked(token, name, timeout)
        checked = kind.check(inputs, {}, request)
        id, outputs = kind.create(checked, request)
        resource = Resource(kind, request, id, checked, outputs)
        self.made.append(resource)
        return resource

    def namespace(self) -> str:
        # A namespace takes 5 s to go.
        return self.create(NAMESPACE, next(names), {"metadata": {"annotations": {"pulumi.com/skipAwait": "true"}}}).id

    def asked(self, token: str, name: str, timeout: float) -> tuple[ResourceType, Request]:
        urn = f"urn:pulumi:s::p::{token}::{name}"
        return self.provider.resource_type(token), Request(urn=urn, provider=self.provider, timeout=timeout)


def connected(cluster: ControlPlane) -> KubernetesProvider:
    """A provider that works on `cluster`."""
    made = KubernetesProvider()
    made.configure({"kubeconfig": cluster.kubeconfig.read_text(encoding="utf-8")})
    assert not made.connection.unreachable
    return made


@contextlib.contextmanager
def stacked(provider: KubernetesProvider) -> Iterator[Stack]:
    """A stack whose resources go with the block."""
    made = Stack(provider)
    yield made
    for resource in reversed(made.made):
        # What the test deleted already is no error, but for a release.
        if resource.kind.read(resource.id, {}, resource.outputs, resource.request):
            request = Request(urn=resource.request.urn, provider=provider, timeout=120)
            resource.kind.delete(resource.id, resource.outputs, request)


def deployment(namespace: str, **annotations: str) -> Properties:
    return {
        "metadata": {"namespace": namespace, "name": "web", "annotations": annotations},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "nodeSelector": {"nobody": "has-it"},
                    "containers": [
                        {"name": "web", "image": "web", "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}}
                    ],
                },
            },
        },
    }
