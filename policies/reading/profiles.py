"""Notebook profiles: what people may start, from a hub's `profileList` or from a ConfigMap.

A ConfigMap with the label `gpulab.dev/profiles` holds lists of profiles, as YAML or JSON, in KubeSpawner's form. The
label's value is the namespace of the notebooks, unless it is `true`.

A ConfigMap with the label `gpulab.dev/catalogue` holds catalogues of teams and profiles in the form that gpulab's hub
reads (`components/hub/catalogue_from_settings.py`). A hub whose pods have this label (`hub.labels`) starts only what
the catalogue lists, and stops it after the profile's lifetime.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.reading import helm
from policies.reading.added_containers import added_containers
from policies.reading.pods import GPU, SHARED_GPU, PodShape, labels_of, namespace_of, required_node_affinity
from policies.reading.quantities import kubespawner_memory, quantity
from policies.reading.resources import NotDecidedError, Resource, Stack, at, entries, items, kind_of, parsed

LABEL = "gpulab.dev/profiles"
CATALOGUE_LABEL = "gpulab.dev/catalogue"
_POOL_LABEL = "gpulab.dev/pool"
HUB = "jupyterhub"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A notebook that people may start. `override` has the spawner's settings; `place` is where it is defined."""

    place: str
    name: str
    namespace: str | None
    override: Mapping[str, Any]
    lifetime: float | None = None
    """Seconds after which the notebook is stopped in any case, or None if the profile has no lifetime."""
    on_own_nodes: bool = False
    """Whether it runs on nodes that nobody buys, whose taints the catalogue knows."""
    typed_images: tuple[str, ...] = ()
    """The options of the profile in which people type the name of an image."""

    @property
    def image(self) -> str | None:
        """The image, if the profile has its own."""
        return at(self.override, "image")

    def added_containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The containers that it adds to the notebook's own, each with its place in the override."""
        return added_containers(self.override, "kubespawner_override")

    def shape(self) -> PodShape:
        """The pod that is started."""
        return PodShape(
            place=f"profile {self.name} at {self.place}",
            namespace=self.namespace,
            requests=self.requests(),
            tolerations=[toleration for _, toleration in entries(self.override.get("tolerations"))],
            node_selector=self.override.get("node_selector") or {},
            node_affinity=[
                *(term for _, term in entries(self.override.get("node_affinity_required"))),
                *required_node_affinity(self.override.get("extra_pod_config") or {}),
            ],
            on_own_nodes=self.on_own_nodes,
        )

    def requests(self) -> dict[str, float]:
        """What the notebook requests: its guarantees, and the limits of extended resources."""
        found: dict[str, float] = {}
        for resource, key in (("cpu", "cpu"), ("memory", "mem")):
            amount = self.override.get(f"{key}_guarantee") or self.override.get(f"{key}_limit")
            read = kubespawner_memory(amount) if resource == "memory" else quantity(amount)
            if amount is not None and read is not None:
                found[resource] = read
        extra = {
            **(self.override.get("extra_resource_limits") or {}),
            **(self.override.get("extra_resource_guarantees") or {}),
        }
        for resource, amount in extra.items():
            found[resource] = quantity(amount) or 0
        return found


def profiles(resource: Resource) -> Iterator[Profile]:
    """The profiles of a hub or a ConfigMap. Each choice of a profile's options is a separate profile."""
    if helm.is_release(resource) and helm.chart_name(resource) == HUB:
        values = helm.values(resource)
        if follows_catalogue(values):
            return
        base = spawner_defaults(values)
        namespace = helm.namespace(resource)
        listed = items(at(values, "singleuser.profileList"))
        yield Profile(place="values.singleuser", name="default", namespace=namespace, override=base)
        yield from _of_list(listed, "values.singleuser.profileList", namespace, base)
    elif kind_of(resource) == "ConfigMap" and LABEL in labels_of(resource):
        label = str(labels_of(resource)[LABEL])
        namespace = label if label not in ("", "true") else namespace_of(resource)
        for key, text in at(resource.props, "data", {}).items():
            listed = parsed(text)
            if not isinstance(listed, list):
                raise NotDecidedError(f"data.{key} of the ConfigMap {resource.name}: it is not a list of profiles")
            yield from _of_list(listed, f"data.{key}", namespace, {})
    elif is_catalogue(resource):
        for key, text in at(resource.props, "data", {}).items():
            document = parsed(text)
            if not isinstance(document, Mapping):
                raise NotDecidedError(f"data.{key} of the ConfigMap {resource.name}: it is not a catalogue")
            yield from _of_catalogue(document, f"data.{key}")


def is_catalogue(resource: Resource) -> bool:
    """Whether a resource is a ConfigMap with a catalogue of teams and profiles."""
    return kind_of(resource) == "ConfigMap" and CATALOGUE_LABEL in labels_of(resource)


def follows_catalogue(values: Mapping[str, Any]) -> bool:
    """Whether a hub starts only what a catalogue lists."""
    return CATALOGUE_LABEL in set(at(values, "hub.labels", {}))


def profile_shapes(resource: Resource) -> Iterator[PodShape]:
    """The pods of those profiles."""
    for profile in profiles(resource):
        yield profile.shape()


def all_profiles(stack: Stack) -> list[tuple[Resource, Profile]]:
    """All profiles of a stack, each with the release or ConfigMap that holds it."""

    def found() -> list[tuple[Resource, Profile]]:
        holders = (*helm.releases(stack, HUB), *stack.of_kind("ConfigMap"))
        return [(holder, profile) for holder in holders for profile in profiles(holder)]

    return stack.fact("profiles", found)


def notebook_namespaces(stack: Stack) -> set[str]:
    """The namespaces in which notebooks run."""
    labelled = {
        at(namespace.props, "metadata.name", namespace.name)
        for namespace in stack.of_kind("Namespace")
        if "gpulab.dev/team" in labels_of(namespace)
    }
    return labelled | {profile.namespace for _, profile in all_profiles(stack) if profile.namespace}


def spawner_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """The spawner settings that the chart makes for every notebook, by KubeSpawner's names."""
    user = at(values, "singleuser", {})
    return {
        "cpu_guarantee": at(user, "cpu.guarantee"),
        "cpu_limit": at(user, "cpu.limit"),
        "mem_guarantee": at(user, "memory.guarantee"),
        "mem_limit": at(user, "memory.limit"),
        "extra_resource_limits": at(user, "extraResource.limits"),
        "extra_resource_guarantees": at(user, "extraResource.guarantees"),
        "tolerations": at(user, "extraTolerations"),
        "node_selector": at(user, "nodeSelector"),
        "node_affinity_required": at(user, "extraNodeAffinity.required"),
        "extra_pod_config": at(user, "extraPodConfig"),
        "environment": at(user, "extraEnv"),
        "uid": at(user, "uid"),
        "allow_privilege_escalation": at(user, "allowPrivilegeEscalation"),
    }


def _of_list(listed: list[Any], place: str, namespace: str | None, base: Mapping[str, Any]) -> Iterator[Profile]:
    for index, profile in enumerate(listed):
        if not isinstance(profile, Mapping):
            continue
        name = str(profile.get("slug") or profile.get("display_name") or index)
        override = _overridden(base, profile.get("kubespawner_override"))
        options = profile.get("profile_options") or {}
        typed = tuple(option for option, described in options.items() if _takes_images(described))
        yield _profile(f"{place}.{index}", name, namespace, override, typed)
        for option, described in options.items():
            for choice, chosen in (described.get("choices") or {}).items():
                yield _profile(
                    f"{place}.{index}.profile_options.{option}.choices.{choice}",
                    f"{name}/{choice}",
                    namespace,
                    _overridden(override, chosen.get("kubespawner_override")),
                )


def _of_catalogue(document: Mapping[str, Any], place: str) -> Iterator[Profile]:
    """Each profile of each team, in the team's namespace, by KubeSpawner's names.

    One that discovers GPUs is a profile for each of the team's GPU pools, with one of the pool's resources.
    """
    profiles_, pools = document.get("profiles") or {}, document.get("pools") or {}
    for team, described in (document.get("teams") or {}).items():
        for name in described.get("profiles") or ():
            profile = profiles_.get(name) or {}
            for own, requested in _where(profile, described, pools):
                yield Profile(
                    place=f"{place}.profiles.{name}",
                    name=f"{team}/{name}",
                    namespace=described.get("namespace"),
                    override={
                        "image": profile.get("image"),
                        "environment": profile.get("env"),
                        "cpu_guarantee": profile.get("cpu"),
                        "mem_guarantee": quantity(profile.get("memory")),
                        "extra_resource_limits": requested,
                        "tolerations": [one for pool in own for one in pools[pool]["tolerations"]],
                        "node_selector": _labels_of(own[0], pools) if len(own) == 1 else {},
                        **_in_memory(profile.get("sharedMemory")),
                    },
                    lifetime=profile.get("lifetime"),
                    on_own_nodes=bool(own) and all(pools[pool].get("capacityTypes") == [] for pool in own),
                )


def _where(
    profile: Mapping[str, Any], team: Mapping[str, Any], pools: Mapping[str, Any]
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """The pools that a team's notebook of the profile may be in, with the GPUs that it asks for there."""
    allowed = team.get("nodePools") or ()
    if gpu := profile.get("gpu"):
        yield [gpu["pool"]], {gpu["resource"]: gpu["count"]}
    elif profile.get("discovery"):
        for pool in allowed:
            if pools[pool]["gpu"]:
                yield from (([pool], {resource: 1}) for resource in _gpu_resources(pools[pool]))
    else:
        yield [pool for pool in allowed if _takes_cpu_notebooks(pools[pool])], {}


def _gpu_resources(pool: Mapping[str, Any]) -> list[str]:
    """The resources by which notebooks ask for a pool's GPUs."""
    known = [one for one in pool.get("largest") or () if one.startswith("nvidia.com/")]
    return known or [SHARED_GPU if at(pool, "gpus.sharing") in ("time-slicing", "mps") else GPU]


def _takes_cpu_notebooks(pool: Mapping[str, Any]) -> bool:
    return not pool["gpu"] or pool.get("forAll") is True


def _labels_of(pool: str, pools: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels by which notebooks get to a pool's nodes."""
    return pools[pool].get("nodeSelector") or {_POOL_LABEL: pool}


def _in_memory(size: str | None) -> dict[str, Any]:
    """What gpulab's hub mounts at /dev/shm."""
    if size is None:
        return {}
    volume = {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    return {"volumes": [volume], "volume_mounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}]}  # noqa: S108


def _takes_images(option: Mapping[str, Any]) -> bool:
    unlisted = at(option, "unlisted_choice", {})
    return unlisted.get("enabled") is True and "image" in set(at(unlisted, "kubespawner_override", {}))


def _profile(
    place: str, name: str, namespace: str | None, override: Mapping[str, Any], typed: tuple[str, ...] = ()
) -> Profile:
    return Profile(
        place=place,
        name=name,
        namespace=override.get("namespace") or namespace,
        override=override,
        typed_images=typed,
    )


def _overridden(base: Mapping[str, Any], above: Mapping[str, Any] | None) -> dict[str, Any]:
    """Merges as KubeSpawner does: an override replaces the keys that it sets, except those set to None."""
    return {**base, **{key: value for key, value in (above or {}).items() if value is not None}}
