"""Volumes that a notebook does without while nobody has made their claim: they keep nobody from starting."""

from __future__ import annotations

import asyncio

from kubernetes_asyncio.client.rest import ApiException
from kubespawner import KubeSpawner

from .catalogue import Team

_NOT_FOUND = 404


async def missing(spawner: KubeSpawner, team: Team) -> frozenset[str]:
    """The team's optional volumes whose claim is not in its namespace. Raises ApiException without an answer."""
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in team.volumes
        if volume["name"] in team.optional
    }
    found = await asyncio.gather(*(_is_there(spawner, team.namespace, claim) for claim in claims.values()))
    left_out = frozenset(name for name, there in zip(claims, found, strict=True) if not there)
    if left_out:
        spawner.log.info("%s has no claim for %s: left out", team.namespace, ", ".join(sorted(left_out)))
    return left_out


async def _is_there(spawner: KubeSpawner, namespace: str, claim: str) -> bool:
    timeout = spawner.k8s_api_request_timeout
    try:
        await spawner.api.read_namespaced_persistent_volume_claim(claim, namespace, _request_timeout=timeout)
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise
        return False
    return True
