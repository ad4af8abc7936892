"""Notebooks: what people's code may do. It runs as an ordinary user, and sees neither its node nor its node's role."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading import releases as charts
from policies.reading.added_containers import added_containers
from policies.reading.pods import containers, pod_spec
from policies.reading.profiles import HUB, follows_catalogue, profiles
from policies.reading.resources import (
    NotDecided,
    NotDecidedError,
    Resource,
    at,
    either,
    entries,
    is_kind,
    is_true,
    items,
    kind_of,
    leaves,
    number,
)
from policies.reading.spawned import SPAWNER, context, environment, is_notebook, overrides, set_in_python
from policies.rules import CRITICAL, HIGH, MEDIUM, Found, Limits, best_practices, cis, resource_policy

_PODS = best_practices("Security: Pod security")
_METADATA = "169.254.169.254"


_MAKE_NOTEBOOKS = either(charts.RELEASES, is_kind("ConfigMap", "Pod"))


@resource_policy(
    "notebook-root",
    "No notebook runs as root",
    fix="Set singleuser.uid to 1000 (uid in kubespawner_override, securityContext.runAsUser of an added container),"
    " and run no privileged container",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=charts.of_chart(HUB),
    framework=cis("4.2.1"),
)
def notebook_root(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Root in a container is one flaw away from root on the node. Jupyter's images switch to the user NB_UID."""
    for place, override in overrides(resource):
        extra = context(override, "runAsUser")
        says_nothing = "uid" in set(override) and override["uid"] is None and extra is None
        if number(override.get("uid")) == 0:
            yield f"{place}: uid is 0"
        elif says_nothing and True not in (override.get("run_as_non_root"), context(override, "runAsNonRoot")):
            yield NotDecided(f"who {place} runs as: without runAsUser, the image says it")
        if override.get("privileged") is True or context(override, "privileged") is True:
            yield f"{place}: the container is privileged"
        if str(environment(override).get("NB_UID")) == "0":
            yield f"{place}: NB_UID is 0"
        if extra == 0:
            yield f"{place}: runAsUser is 0"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-sudo",
    "No notebook may use sudo",
    fix="Remove GRANT_SUDO from singleuser.extraEnv, or environment in kubespawner_override",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=charts.of_chart(HUB),
    framework=_PODS,
)
def notebook_sudo(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """The images of Jupyter give everybody root by it."""
    for place, override in overrides(resource):
        if str(environment(override).get("GRANT_SUDO", "")).lower() in ("yes", "1", "true"):
            yield f"{place}: GRANT_SUDO is set"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-visible-devices",
    "No notebook says itself which GPUs of its node it sees",
    fix="Remove NVIDIA_VISIBLE_DEVICES from singleuser.extraEnv, or environment in kubespawner_override",
    severity=HIGH,
    concerns=_MAKE_NOTEBOOKS,
    where=charts.of_chart(HUB),
)
def notebook_visible_devices(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """It would get GPUs that it did not ask for, and that quotas do not count, beside whoever has them."""
    for place, override in overrides(resource):
        if str(environment(override).get("NVIDIA_VISIBLE_DEVICES", "void")) not in ("void", "none"):
            yield f"{place}: NVIDIA_VISIBLE_DEVICES is set"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-privilege-escalation",
    "No process of a notebook may get more privileges",
    fix="Set singleuser.allowPrivilegeEscalation to false (allow_privilege_escalation in kubespawner_override)",
    severity=HIGH,
    concerns=_MAKE_NOTEBOOKS,
    where=charts.of_chart(HUB),
    framework=cis("4.2.5"),
)
def notebook_privilege_escalation(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With it, a program that belongs to root makes root of whoever starts it."""
    for place, override in overrides(resource):
        extra = context(override, "allowPrivilegeEscalation")
        if is_true(override.get("allow_privilege_escalation")) or is_true(extra):
            yield f"{place}: privilege escalation is allowed"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-host-access",
    "No notebook mounts its node's file system or joins its namespaces",
    fix="Remove hostPath from singleuser.storage.extraVolumes, and hostNetwork, hostPID and hostIPC",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=charts.of_chart(HUB),
    framework=cis("4.2.4"),
)
def notebook_host_access(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Whoever sees the node's files or processes sees everybody's."""
    if kind_of(resource) == "Pod":
        if is_notebook(resource):
            yield from _host(at(resource.props, "spec", {}), "spec")
        return
    if charts.is_release(resource):
        values = charts.values(resource)
        yield from _volumes(at(values, "singleuser.storage.extraVolumes"), "values.singleuser.storage.extraVolumes")
        if follows_catalogue(values):
            yield from _host(at(values, "singleuser.extraPodConfig", {}), "values.singleuser.extraPodConfig")
    for profile in profiles(resource):
        place = f"{profile.name} at {profile.place}"
        yield from _host(at(profile.override, "extra_pod_config", {}), place)
        yield from _volumes(profile.override.get("volumes"), place)
    yield from set_in_python(resource, SPAWNER)


def _host(spec: Mapping[str, Any], place: str) -> Iterator[Found]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key) is True:
            yield f"{place}: {key} is true"
    yield from _volumes(spec.get("volumes"), place)


def _volumes(volumes: Any, place: str) -> Iterator[Found]:
    for key, volume in entries(volumes):
        if isinstance(volume, Mapping) and "hostPath" in set(volume):
            yield f"{place}: the volume {volume.get('name', key)} is a hostPath"


@resource_policy(
    "hub-iptables-init-container",
    "The hub starts no privileged container before each notebook",
    fix="Set values.singleuser.cloudMetadata.blockWithIptables to false; the network policy blocks the address",
    severity=HIGH,
    concerns=charts.RELEASES,
    where=charts.of_chart(HUB),
    framework=cis("4.2.1"),
)
def hub_iptables_init_container(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """The chart's default: root with NET_ADMIN in every notebook's pod, which Pod Security's `restricted` refuses."""
    if at(charts.values(hub), "singleuser.cloudMetadata.blockWithIptables") is True:
        yield "values.singleuser.cloudMetadata.blockWithIptables is true"


@resource_policy(
    "metadata-address-reachable",
    "Notebooks do not reach the metadata of their node",
    fix="Keep values.singleuser.networkPolicy enabled, cloudMetadataServer false, and 169.254.169.254 out of egress",
    severity=HIGH,
    concerns=charts.RELEASES,
    where=charts.of_chart(HUB),
    framework=best_practices("Security: Network security, network policy"),
)
def metadata_address_reachable(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """What answers there has the credentials of the node's role."""
    user = at(charts.values(hub), "singleuser", {})
    if at(user, "cloudMetadata.blockWithIptables") is True:
        return
    policy = at(user, "networkPolicy", {})
    if policy.get("enabled") is False:
        yield "values.singleuser.networkPolicy.enabled is false, and nothing else blocks the address"
    elif at(policy, "egressAllowRules.cloudMetadataServer") is True:
        yield "values.singleuser.networkPolicy.egressAllowRules.cloudMetadataServer is true"
    else:
        yield from _admitted(policy)


def _admitted(policy: Mapping[str, Any]) -> Iterator[Found]:
    for index, rule in enumerate(items(policy.get("egress"))):
        peers = items(rule.get("to"))
        blocks = [block for peer in peers if (block := at(peer, "ipBlock", {}))]
        everywhere = not peers or any(
            _contains(block.get("cidr")) and not any(map(_contains, items(block.get("except")))) for block in blocks
        )
        ports = items(rule.get("ports"))
        if everywhere and (not ports or any(map(_is_http, ports))):
            yield f"values.singleuser.networkPolicy.egress[{index}] admits {_METADATA}"


def _contains(cidr: Any) -> bool:
    try:
        return ipaddress.ip_address(_METADATA) in ipaddress.ip_network(str(cidr), strict=False)
    except ValueError:
        raise NotDecidedError(f"whether {cidr} has {_METADATA}: it is no range of addresses") from None


def _is_http(port: Mapping[str, Any]) -> bool:
    """Whether a port of a network policy is, or may be, the 80 that the metadata are served on."""
    first = port.get("port")
    if port.get("protocol", "TCP") != "TCP":
        return False
    if not isinstance(first, int | float):
        return True  # every port, or one by its name
    return first <= 80 <= (number(port.get("endPort")) or first)


@resource_policy(
    "hub-allow-all",
    "Not everybody who can sign in may start a notebook",
    fix="Remove allow_all from values.hub.config, and name allowed_groups",
    severity=HIGH,
    concerns=charts.RELEASES,
    where=charts.of_chart(HUB),
    framework=_PODS,
)
def hub_allow_all(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """With a public identity provider that is everybody."""
    for path, value in leaves(at(charts.values(hub), "hub.config", {}), "values.hub.config"):
        if path.endswith((".allow_all", ".allow_existing_users")) and is_true(value):
            yield f"{path} is true"
    yield from set_in_python(hub, r"\w*Authenticator\.allow_\w+")


@resource_policy(
    "hub-dummy-authenticator",
    "The hub asks an identity provider who somebody is",
    fix="Set values.hub.config.JupyterHub.authenticator_class to generic-oauth",
    severity=CRITICAL,
    concerns=charts.RELEASES,
    where=charts.of_chart(HUB),
    framework=_PODS,
)
def hub_dummy_authenticator(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """The chart's default, the dummy authenticator, lets anybody in under any name."""
    in_python = list(set_in_python(hub, r"JupyterHub\.authenticator_class"))
    yield from in_python
    given = at(charts.values(hub), "hub.config.JupyterHub.authenticator_class")
    if not in_python and str(given) in (
        "dummy",
        "dummyauthenticator.DummyAuthenticator",
        "null",
        "jupyterhub.auth.DummyAuthenticator",
    ):
        yield f"values.hub.config.JupyterHub.authenticator_class is {given}"


@resource_policy(
    "hub-administrators-in-notebooks",
    "Nobody enters other people's notebooks but administrators whom the identity provider names",
    fix="Name admin_groups in place of admin_users, and filter access:servers (!group=NAME) in values.hub.loadRoles; of"
    " a chart before 2.0 set values.hub.config.JupyterHub.admin_access to false",
    severity=MEDIUM,
    concerns=charts.RELEASES,
    where=charts.of_chart(HUB),
    framework=_PODS,
)
def hub_administrators_in_notebooks(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """From JupyterHub 2 on, administrators may, by a role that nothing takes it from; `admin_access` does nothing."""
    given = at(charts.values(hub), "hub", {})
    config = given.get("config") or {}
    if _before_roles(at(hub.props, "version")) and is_true(at(config, "JupyterHub.admin_access")):
        yield "values.hub.config.JupyterHub.admin_access is true"
    for section in config:
        if items(at(config[section], "admin_users")):
            yield f"values.hub.config.{section}.admin_users names accounts, which no identity provider can revoke"
    roles = given.get("loadRoles") or {}
    for role in roles:
        if "access:servers" in items(at(roles[role], "scopes")):
            yield f"values.hub.loadRoles.{role}.scopes has access:servers without a filter, which opens everybody's"
    yield from set_in_python(hub, r"JupyterHub\.(?:load_roles|admin_access)|\w*Authenticator\.admin_users")


def _before_roles(version: Any) -> bool:
    """Whether the chart brings JupyterHub 1: the chart's 2.0.0 brings 3.0, with roles. Without a version, it is new."""
    major = str(version or "").removeprefix("v").partition(".")[0]
    return major in ("0", "1")


@resource_policy(
    "workload-privileged",
    "No workload outside of system namespaces runs a privileged container",
    fix="Set securityContext.privileged to false, and allowPrivilegeEscalation to false",
    severity=HIGH,
    concerns=either(charts.RELEASES, is_kind("Pod", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob")),
    framework=cis("4.2.1"),
)
def workload_privileged(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """A privileged container is root on its node. Of a chart, what its values add to its pods."""
    is_release = charts.is_release(workload)
    namespace = charts.namespace(workload) if is_release else at(workload.props, "metadata.namespace")
    if namespace == "kube-system":
        return
    added = added_containers(charts.values(workload), "values") if is_release else containers(pod_spec(workload) or {})
    for place, container in added:
        if at(container, "securityContext.privileged") is True:
            yield f"the container {container.get('name')} ({place}) is privileged"
