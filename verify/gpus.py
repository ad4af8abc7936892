"""Bare pods on GPU nodes: one for each GPU pool that sees its GPU, and two that must see none or not get there.

They run in a namespace of their own, with the image of a notebook of the pool, so that nothing else is pulled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from components.hub.catalogue_from_settings import catalogue as catalogue_document
from components.hub.inside import catalogue as hub_catalogue
from components.hub.inside.catalogue import Catalogue, Pool, Profile
from components.hub.inside.sections import Section
from settings import Settings
from settings.pools.gpu_shares import GPU_TAINT
from verify import timing
from verify.checks import Check, Failed, Found, Skipped
from verify.cleaning import Cleaner
from verify.cluster_api import RUNS, ClusterApi, Object, conditions

GROUP = "gpus"
_LOOK_SECONDS = 1.0
_NODE_SECONDS = 900
# Each GPU, then the driver's version and the CUDA that it supports.
_ASK = "nvidia-smi -L && nvidia-smi | grep -oE '(Driver|CUDA) Version: [0-9.]+'"
# It prints what it sees of GPUs, and that is nothing.
_LOOK = "ls /dev | grep -c '^nvidia[0-9]' || true"
_ENDED = ("Succeeded", "Failed")
_DONE = "Succeeded"
_UNSCHEDULABLE = "Unschedulable"


@dataclass(frozen=True)
class Trial:
    """A namespace for pods, which the cleaner deletes."""

    api: ClusterApi
    cleaner: Cleaner
    run_id: str
    keep_failed: bool = False

    @property
    def namespace(self) -> str:
        """Its name."""
        return f"{RUNS}{self.run_id}"

    def make_namespace(self) -> None:
        """Makes it, unless it is there."""
        if self.api.get(self._path) is None:
            self.cleaner.will_delete(self._path)
            labels = {"gpulab.dev/verify": self.run_id, "pod-security.kubernetes.io/enforce": "restricted"}
            self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": labels}})

    def printed(self, name: str, spec: Mapping[str, Any]) -> Found:
        """What a pod prints that ends by itself, and the phases of its start. Raises Failed if it does not end well."""
        self.make_namespace()
        self.api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", _pod(name, spec))
        deadline = time.monotonic() + _NODE_SECONDS
        while (pod := self._pod(name))["status"].get("phase") not in _ENDED:
            why = _hopeless(pod)
            if time.monotonic() > deadline:
                why = why or f"the pod {name} did not run within {_NODE_SECONDS} s"
            if why:
                raise self._failure(pod, why)
            time.sleep(_LOOK_SECONDS)
        said = self.api.log(self.namespace, name)
        if pod["status"]["phase"] != _DONE:
            raise self._kept(Failed(f"the pod {name} failed", Section.DRIVER, said))
        return Found(words=said.strip(), phases=timing.phases(self.api, pod))

    def stays_off(self, name: str, spec: Mapping[str, Any]) -> str:
        """The scheduler's reason for not starting a pod. Raises Failed if it starts."""
        self.make_namespace()
        self.api.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", _pod(name, spec))
        while True:
            pod = self._pod(name)
            scheduled = conditions(pod).get("PodScheduled", {})
            if node := pod["spec"].get("nodeName"):
                raise Failed(f"a pod without the pool's toleration runs on {node}", Section.PENDING)
            if scheduled.get("reason") == _UNSCHEDULABLE:
                return scheduled.get("message", _UNSCHEDULABLE)
            time.sleep(_LOOK_SECONDS)

    def _pod(self, name: str) -> Object:
        found = self.api.get(f"{self._path}/pods/{name}")
        if found is None:
            raise Failed(f"somebody deleted the pod {name} before it ran", Section.PENDING)
        return found

    def _failure(self, pod: Object, why: str) -> Failed:
        name = pod["metadata"]["name"]
        section = Section.IMAGE if "pull" in why else Section.PENDING
        return self._kept(Failed(why, section, self.api.events(self.namespace, name)))

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    def _kept(self, failed: Failed) -> Failed:
        """The failure, whose pod stays if people want to look at it."""
        if self.keep_failed:
            self.cleaner.keep(self._path)
        return failed


def checks(trial: Trial, settings: Settings) -> Iterator[Check]:
    """One for each GPU pool, then those for pods that want no GPU."""
    known = hub_catalogue.parse(catalogue_document(settings)) if settings.running_hub else None
    pools = {name: pool for name, pool in known.pools.items() if pool.gpu} if known else {}
    for name, pool in pools.items():
        yield Check(
            name=f"a pod sees the GPU of {name}",
            group=GROUP,
            try_it=lambda pool=pool: pod_sees_gpu(trial, known, pool),
            section=Section.NO_GPUS,
        )
    for name, pool in list(pools.items())[:1]:
        yield Check(
            name=f"a pod that asks for no GPU sees none of {name}",
            group=GROUP,
            try_it=lambda pool=pool: pod_sees_none(trial, known, pool),
            section=Section.NO_GPUS,
        )
        yield Check(
            name=f"a pod without a toleration stays off {name}",
            group=GROUP,
            try_it=lambda pool=pool: pod_stays_off(trial, known, pool),
            section=Section.PENDING,
        )


def pod_sees_gpu(trial: Trial, known: Catalogue | None, pool: Pool) -> Found:
    """A pod that asks for what the pool's notebooks ask for ends with the GPU's name, its driver and its CUDA."""
    profile = _profile(known, pool)
    wanted = {profile.gpu.resource: str(profile.gpu.count)} if profile.gpu else {}
    spec = {**_on(pool), "runtimeClassName": pool.runtime_class, "containers": [_container(profile, _ASK, wanted)]}
    found = trial.printed(f"sees-{pool.name}", spec)
    told = [*found.words.splitlines(), timing.in_words(found.phases)]
    return Found(words="; ".join(filter(None, told)), phases=found.phases)


def pod_sees_none(trial: Trial, known: Catalogue | None, pool: Pool) -> str:
    """A pod on a GPU node that asks for none has no device of a GPU. Raises Skipped where no node of the pool runs."""
    labels = ",".join(f"{key}={value}" for key, value in pool.selector_labels.items())
    if not trial.api.list("/api/v1/nodes", labelSelector=labels):
        raise Skipped(f"no node of {pool.name} runs, and none is bought for a pod without a GPU")
    spec = {**_on(pool), "containers": [_container(_profile(known, pool), _LOOK, {})]}
    seen = trial.printed(f"none-{pool.name}", spec).words
    if seen != "0":
        raise Failed(f"a pod that asked for no GPU sees {seen}", Section.NO_GPUS)
    return "it sees none"


def pod_stays_off(trial: Trial, known: Catalogue | None, pool: Pool) -> str:
    """A pod that selects the pool's nodes and tolerates nothing is not started."""
    if not any(one.get("key") == GPU_TAINT.key for one in pool.tolerations):
        raise Skipped(f"the pool {pool.name} has no taint")
    spec = {"nodeSelector": dict(pool.selector_labels), "containers": [_container(_profile(known, pool), _LOOK, {})]}
    return trial.stays_off(f"off-{pool.name}", spec)


def _profile(known: Catalogue | None, pool: Pool) -> Profile:
    """The first profile whose notebooks run on the pool's GPUs. Raises Skipped where there is none."""
    profiles = known.profiles.values() if known else ()
    for profile in profiles:
        if profile.gpu and profile.gpu.pool == pool.name:
            return profile
    raise Skipped(f"no profile names the GPU pool {pool.name}, so its image is not known")


def _on(pool: Pool) -> dict[str, Any]:
    return {"nodeSelector": dict(pool.selector_labels), "tolerations": [dict(one) for one in pool.tolerations]}


def _container(profile: Profile, command: str, resources: Mapping[str, str]) -> dict[str, Any]:
    requests = {"cpu": "100m", "memory": "128Mi", **resources}
    return {
        "name": "main",
        "image": profile.image,
        "command": ["sh", "-c", command],
        "env": [] if resources else [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}],
        "resources": {"requests": requests, "limits": {"memory": "512Mi", **resources}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _pod(name: str, spec: Mapping[str, Any]) -> Object:
    security = {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": security,
            **{key: value for key, value in spec.items() if value is not None},
        },
    }


def _hopeless(pod: Object) -> str:
    """Why waiting for a pod is of no use; empty if it may still run."""
    for status in pod["status"].get("containerStatuses") or ():
        waiting = status.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName"):
            return f"the image {status['image']} cannot be pulled"
    return ""
