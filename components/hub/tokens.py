"""A notebook's token of the hub lies in a Secret: KubeSpawner would write it into the pod, which a team looks at.

The Secret is made once the pod is there, which owns it, so that both go together; until then the container waits. Its
name is that of one start, so that it never meets the Secret of the start before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubernetes_asyncio.client import V1EnvVar, V1EnvVarSource, V1SecretKeySelector

if TYPE_CHECKING:
    from .spawner import NotebookSpawner

VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
"""The variables that hold it; both are the same."""

START_ANNOTATION = "gpulab.dev/start"
"""On a pod: which start it is of."""

_KEY = "token"
_START_LENGTH = 12


def secret_name(pod_name: str, start: str) -> str:
    """The name of the Secret of one start."""
    return f"{pod_name}-{start[:_START_LENGTH]}"


def hide(spawner: NotebookSpawner, pod: Any) -> Any:
    """KubeSpawner's `modify_pod_hook`: the pod with a reference in the place of the token."""
    name = secret_name(pod.metadata.name, pod.metadata.annotations[START_ANNOTATION])
    reference = V1EnvVarSource(secret_key_ref=V1SecretKeySelector(name=name, key=_KEY))
    for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
        container.env = [
            V1EnvVar(name=one.name, value_from=reference) if one.name in VARIABLES else one
            for one in container.env or ()
        ]
    return pod


async def keep(spawner: NotebookSpawner, _pod: Mapping[str, Any]) -> None:
    """KubeSpawner's `after_pod_created_hook`: makes the Secret, which goes with the pod."""
    # What KubeSpawner hands on may still be the pod of this name that is on its way out.
    pod = await spawner.api.read_namespaced_pod(spawner.pod_name, spawner.namespace)
    metadata = pod.metadata
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(metadata.name, metadata.annotations[START_ANNOTATION]),
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": metadata.name, "uid": metadata.uid}],
        },
        "stringData": {_KEY: spawner.api_token},
    }
    await spawner.api.create_namespaced_secret(spawner.namespace, secret)
