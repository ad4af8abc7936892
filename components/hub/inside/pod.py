"""The pod of a choice, as values for KubeSpawner's traits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from types import MappingProxyType
from typing import Any

from . import pod_files
from .catalogue import HOME, POOL_LABEL, Catalogue, Pool, node_terms
from .choices import Choice
from .homes import HomeSize, warning
from .node_ends import Ends
from .quantities import amount, words

SERVICE_ACCOUNT = "notebook"
PRIORITY_CLASS = "gpulab-notebook"
CAPACITY_TYPE_LABEL = "karpenter.sh/capacity-type"
TEAM_LABEL, PROFILE_LABEL, PERSON_LABEL = "gpulab.dev/team", "gpulab.dev/profile", "gpulab.dev/person"

UID, GID = 1000, 100
"""jovyan and users, as in the Jupyter images and the file system's access points."""

HOME_CLAIM = "home-{username}"
SCRATCH = "scratch"
"""The name of the volume with scratch, and of the link to it in the home."""
SCRATCH_HEADROOM = 10
"""GiB that a notebook may write outside scratch, for example in /tmp: filling scratch then evicts nobody.

It is as much as for a container without scratch (`components.teams.quota`): the log, and what the container writes
elsewhere, count against the pod's limit too (Kubernetes, "Local ephemeral storage").
"""
# Many images set it to `all`; then the container runtime of a GPU node gives the container every GPU of the node.
_NO_GPUS = {"NVIDIA_VISIBLE_DEVICES": "void"}
# A container has 64 MiB there unless a volume is mounted.
SHARED_MEMORY = "/dev/shm"  # noqa: S108 (the path itself, and no file in it)

ENVIRONMENT, CLEAN = "environment", "clean"
"""The option of each choice, and its value for a notebook that starts without what its home has installed."""

_TOO_SHORT = timedelta(hours=1)
_NO_ENDS: Ends = MappingProxyType({})

# JupyterLab with extensions takes long to answer first when it is on a shared file system.
HTTP_TIMEOUT = 120

# Pod Security Standards, "Restricted"; KubeSpawner's own traits set the rest.
POD_SECURITY_CONTEXT = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    # With the default, a notebook would wait at each start while a home with many files is changed.
    "fsGroupChangePolicy": "OnRootMismatch",
}
CONTAINER_SECURITY_CONTEXT = {"capabilities": {"drop": ["ALL"]}}
ANNOTATIONS = {"karpenter.sh/do-not-disrupt": "true"}


def pools_for(catalogue: Catalogue, choice: Choice) -> list[Pool]:
    """The pools that the choice may run in: its GPUs' pool, or the team's CPU pools, if they buy its capacity type.

    Before a GPU is found for a profile that discovers them, these are the team's GPU pools.
    """
    gpu, kind = choice.profile.gpu, choice.profile.capacity_type
    allowed = [catalogue.pools[name] for name in choice.team.node_pools]
    has_gpus = choice.profile.has_gpus
    suitable = [
        pool
        for pool in allowed
        if (pool.name == gpu.pool if gpu else pool.gpu if has_gpus else pool.takes_cpu_notebooks)
    ]
    return [pool for pool in suitable if not kind or kind in pool.capacity_types]


def requests(choice: Choice) -> dict[str, Decimal]:
    """What the pod requests, by resource; memory and scratch in bytes."""
    profile = choice.profile
    found = {"cpu": Decimal(str(profile.cpu)), "memory": amount(profile.memory)}
    if profile.scratch:
        found["ephemeral-storage"] = amount(f"{profile.scratch}Gi")
    if profile.gpu:
        found[profile.gpu.resource] = Decimal(profile.gpu.count)
    return found


def in_words(choice: Choice) -> str:
    """What the notebook has, in words for people."""
    to_choose = ["a GPU to choose"] if choice.profile.discovery else []
    return ", ".join([*(words(name, number) for name, number in requests(choice).items()), *to_choose])


def environments() -> dict[str, Any]:
    """KubeSpawner's option of a profile: with what is installed in the home, or without."""
    choices = {"home": "with what you installed and set", CLEAN: "clean: without it, this time only"}
    return {
        ENVIRONMENT: {
            "display_name": "Start",
            "choices": {
                name: {
                    "display_name": display_name,
                    # Both values are set, because an option changes what the last start left.
                    "kubespawner_override": {
                        "disable_user_config": name == CLEAN,
                        "environment": {"GPULAB_CLEAN": "1" if name == CLEAN else ""},
                    },
                }
                for name, display_name in choices.items()
            },
        }
    }


def overrides(
    catalogue: Catalogue,
    choice: Choice,
    started: datetime,
    *,
    ends: Ends = _NO_ENDS,
    home: HomeSize | None = None,
    missing: Collection[str] = (),
) -> dict[str, Any]:
    """KubeSpawner's traits for the choice, started now. `{username}` in them becomes the person's slug.

    `ends` are the ends of machines. A machine that ends before the notebook's lifetime is avoided if another has room;
    one that ends within the hour is not used. `home` is what the person's home in the team holds, if measured.
    `missing` are the team's volumes without a claim, which are left out.
    """
    profile, team = choice.profile, choice.team
    pools = pools_for(catalogue, choice)
    extra = {
        resource: str(int(number)) for resource, number in requests(choice).items() if resource not in ("cpu", "memory")
    }
    headroom = {}
    if profile.scratch:
        headroom["ephemeral-storage"] = str(int(amount(f"{profile.scratch + SCRATCH_HEADROOM}Gi")))
    memory = int(amount(profile.memory))
    brought = pod_files.files(
        profile,
        warn_minutes=catalogue.hub.warn_minutes,
        started=started,
        home=warning(home, catalogue.homes),
        buckets=bool(team.buckets),
    )
    own = list(_own_volumes(catalogue, choice))
    script_seconds = profile.startup_timeout if profile.startup else 0
    mounts = [mount for mount in mounts_of(choice) if mount["name"] not in missing]
    # JupyterLab shows only the home.
    shown = [*mounts, *(mount for _, mount in own if mount["name"] == SCRATCH)]
    outside = [mount for mount in shown if not f"{mount['mountPath']}/".startswith(f"{HOME}/")]
    wanted = [_not_on(node for node, end in ends.items() if end < started + _TOO_SHORT)]
    if profile.capacity_type:
        wanted.append([{"key": CAPACITY_TYPE_LABEL, "operator": "In", "values": [profile.capacity_type]}])
    longest = started + timedelta(seconds=profile.lifetime)
    avoided = _not_on(node for node, end in ends.items() if end < longest)
    of_gpus = profile.gpu.affinity if profile.gpu else ()
    # None takes away what an earlier start has left: KubeSpawner merges it.
    runtime_class = pools[0].runtime_class if profile.gpu and pools else None
    return {
        "namespace": team.namespace,
        "service_account": SERVICE_ACCOUNT,
        "image": profile.image,
        "image_pull_secrets": [catalogue.hub.pull_secret] if catalogue.hub.pull_secret else [],
        "http_timeout": HTTP_TIMEOUT + script_seconds,
        "cpu_guarantee": profile.cpu,
        "mem_guarantee": memory,
        "mem_limit": memory,
        "extra_resource_guarantees": extra,
        "extra_resource_limits": {**extra, **headroom},
        "environment": {
            "PYTHONUSERBASE": f"{catalogue.homes.path}/.local/images/{profile.line}",
            **({"GPULAB_KEPT": catalogue.homes.path} if catalogue.homes.path != HOME else {}),
            "GPULAB_STARTUP_SECONDS": str(script_seconds),
            "GPULAB_SCRATCH_GIB": str(profile.scratch),
            "GPULAB_SCRATCH": catalogue.hub.scratch,
            **({"GPULAB_BUCKETS": _literal(" ".join(team.buckets))} if team.buckets else {}),
            "GPULAB_LINKS": ":".join(f"{mount['name']}={mount['mountPath']}" for mount in outside),
            **{name: _literal(value) for name, value in profile.env.items()},
            # In a notebook with GPUs the device plugin sets it.
            **({} if profile.gpu else _NO_GPUS),
        },
        "extra_labels": {TEAM_LABEL: team.name, PROFILE_LABEL: profile.name, PERSON_LABEL: "{username}"},
        "extra_annotations": {name: _literal(text) for name, text in pod_files.pod_annotations(brought).items()},
        "volumes": [
            *(volume for volume in team.volumes if volume["name"] not in missing),
            *(volume for volume, _ in own),
            pod_files.volume(brought),
        ],
        "volume_mounts": [*mounts, *(mount for _, mount in own), pod_files.mount()],
        "node_selector": {POOL_LABEL: pools[0].name} if len(pools) == 1 and not pools[0].node_selector else {},
        "node_affinity_required": [
            {"matchExpressions": [*term, *chain(*wanted), *of_gpus]}
            for term in node_terms(pool.selector_labels for pool in pools)
        ],
        "extra_pod_config": {"runtimeClassName": runtime_class},
        "node_affinity_preferred": [{"weight": 100, "preference": {"matchExpressions": avoided}}] if avoided else [],
        "tolerations": _distinct([dict(one) for pool in pools for one in pool.tolerations]),
    }


def _own_volumes(catalogue: Catalogue, choice: Choice) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The volumes of the pod itself, each with its mount. Shared memory counts against the container's memory limit.

    Scratch is always an emptyDir: on a node with instance-store NVMe, the node class (`instanceStorePolicy: RAID0`)
    makes kubelet keep these there. A pod that exceeds its size is evicted. No volume of a team has one of these names:
    `settings.storage` reserves them.
    """
    profile = choice.profile
    if profile.scratch:
        volume = {"name": SCRATCH, "emptyDir": {"sizeLimit": f"{profile.scratch}Gi"}}
        yield volume, _mount(SCRATCH, catalogue.hub.scratch)
    if profile.shared_memory:
        memory = {"medium": "Memory", "sizeLimit": profile.shared_memory}
        yield {"name": "shared-memory", "emptyDir": memory}, _mount("shared-memory", SHARED_MEMORY)


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path}


def _not_on(nodes: Iterable[str]) -> list[dict[str, Any]]:
    """The affinity expression that excludes these nodes; empty without nodes."""
    names = sorted(nodes)
    return [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": names}] if names else []


def mounts_of(choice: Choice) -> list[dict[str, Any]]:
    """The team's mounts; for somebody with several roles, writable if one of the roles may write."""
    by_place: dict[str, dict[str, Any]] = {}
    for role in sorted(choice.roles & choice.team.mounts.keys()):
        for mount in choice.team.mounts[role]:
            known = by_place.setdefault(mount["mountPath"], dict(mount))
            if not mount.get("readOnly"):
                known.pop("readOnly", None)
    return list(by_place.values())


def _literal(text: str) -> str:
    """A text that KubeSpawner's templates leave unchanged: KubeSpawner formats all its values."""
    return text.replace("{", "{{").replace("}", "}}")


def _distinct(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for number, one in enumerate(tolerations) if one not in tolerations[:number]]
