"""Keeps a notebook's token for the hub in a Secret: KubeSpawner would write it into the pod, which the team can read.

The Secret is made after the pod, which owns it, so both are deleted together; until then the container waits. Each
start has a Secret of its own name, so it never meets the Secret of the start before.
"""

from __future__ import annotations

from typing import Any

from kubernetes_asyncio.client import V1EnvVar, V1EnvVarSource, V1SecretKeySelector
from kubespawner import KubeSpawner

VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
"""The variables with the token; both have the same value."""

START_ANNOTATION = "gpulab.dev/start"
"""The annotation of a pod that says which start it belongs to."""

_KEY = "token"
_START_LENGTH = 12


def secret_name(pod_name: str, start: str) -> str:
    """The name of the Secret of one start."""
    return f"{pod_name}-{start[:_START_LENGTH]}"


def hide(spawner: KubeSpawner, pod: Any) -> Any:
    """KubeSpawner's `modify_pod_hook`: replaces the token in the pod by a reference to the Secret."""
    name = secret_name(pod.metadata.name, pod.metadata.annotations[START_ANNOTATION])
    reference = V1EnvVarSource(secret_key_ref=V1SecretKeySelector(name=name, key=_KEY))
    for container in (*pod.spec.containers, *(pod.spec.init_containers or ())):
        container.env = [
            V1EnvVar(name=one.name, value_from=reference) if one.name in VARIABLES else one
            for one in container.env or ()
        ]
    return pod


async def keep(spawner: KubeSpawner) -> None:
    """Makes the Secret of the pod that was just made. It is deleted with the pod."""
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
