"""The settings that notebooks start with: from a hub's values, from profiles, or in an existing Pod."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from policies.reading import helm
from policies.reading.added_containers import added_containers
from policies.reading.pods import containers, labels_of, pod_spec
from policies.reading.profiles import HUB, follows_catalogue, profiles, spawner_defaults
from policies.reading.resources import NotDecided, Resource, at, entries, items, kind_of

_COMPONENT = "singleuser-server"
SPAWNER = (
    r"(?:Kube)?Spawner\.(?:uid|privileged|environment|allow_privilege_escalation|container_security_context"
    r"|pod_security_context|extra_pod_config|extra_container_config|init_containers|extra_containers|volumes"
    r"|profile_list|modify_pod_hook|pre_spawn_hook)"
)
"""The traits in a hub's Python configuration that decide how a notebook starts: a pattern for `set_in_python`."""


def is_notebook(resource: Resource) -> bool:
    """Whether a Pod is a notebook that a hub started."""
    return labels_of(resource).get("component") == _COMPONENT


def overrides(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The settings of each kind of notebook, by KubeSpawner's names, and of each container that is added to it."""
    if kind_of(resource) == "Pod":
        if is_notebook(resource):
            spec = pod_spec(resource) or {}
            yield from _of_containers(containers(spec), spec.get("securityContext") or {}, "spec.")
        return
    if helm.is_release(resource):
        values = helm.values(resource)
        defaults = spawner_defaults(values)
        if follows_catalogue(values):
            # Settings for all notebooks apply to those of a catalogue too.
            yield "values.singleuser", defaults
        added = added_containers(at(values, "singleuser", {}), "values.singleuser", but=("profileList",))
        yield from _of_containers(added, _shared(defaults))
    for profile in profiles(resource):
        place = f"{profile.name} at {profile.place}"
        yield place, profile.override
        yield from _of_containers(profile.added_containers(), _shared(profile.override), f"{place}: ")


def _shared(override: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod's security context, the default of its containers. `uid` is not part of it."""
    return {**at(override, "extra_pod_config.securityContext", {}), **at(override, "pod_security_context", {})}


def _of_containers(
    found: Iterable[tuple[str, Mapping[str, Any]]], shared: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, container in found:
        own = {**shared, **(container.get("securityContext") or {})}
        yield (
            f"{prefix}{place}",
            {
                "uid": own.get("runAsUser"),
                "run_as_non_root": own.get("runAsNonRoot"),
                "allow_privilege_escalation": own.get("allowPrivilegeEscalation", True),
                "privileged": own.get("privileged"),
                "environment": {one.get("name"): one.get("value") for one in items(container.get("env"))},
            },
        )


def context(override: Mapping[str, Any], key: str) -> Any:
    """The value of a key in the security contexts of the pod or its container, beside KubeSpawner's own settings."""
    extra = (
        at(override, "extra_pod_config.securityContext", {}),
        at(override, "extra_container_config.securityContext", {}),
        at(override, "container_security_context", {}),
        at(override, "pod_security_context", {}),
    )
    return next((given[key] for given in extra if key in set(given)), None)


def environment(override: Mapping[str, Any]) -> Mapping[str, Any]:
    """The environment variables of the notebook."""
    return override.get("environment") or {}


def set_in_python(resource: Resource, traits: str) -> Iterator[NotDecided]:
    """The `traits` (a pattern of `Class.trait`) that a hub's own Python code sets: no policy can read their values."""
    if helm.is_release(resource) and helm.chart_name(resource) == HUB:
        given = at(helm.values(resource), "hub.extraConfig", {})
        for key, text in [("", given)] if isinstance(given, str) else entries(given):
            place = f"values.hub.extraConfig.{key}".rstrip(".")
            for name in dict.fromkeys(re.findall(rf"\bc\.({traits})\b", str(text))):
                yield NotDecided(f"the value of c.{name}: {place} of {resource.name} sets it in Python")
