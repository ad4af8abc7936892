"""Notebooks: people's code runs as an ordinary user, without access to its node or the node's role."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading import helm
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
# Settings of JupyterHub's authenticators; the last one is NativeAuthenticator's.
_OPEN_TO_ALL = (".allow_all", ".allow_existing_users", ".open_signup")
# Authenticators that ask for no proof, by the names that JupyterHub knows them by.
_WITHOUT_PROOF = (
    *("dummy", "dummyauthenticator.DummyAuthenticator", "jupyterhub.auth.DummyAuthenticator"),
    *("null", "tmp", "tmpauthenticator.TmpAuthenticator"),
)


_MAKE_NOTEBOOKS = either(helm.RELEASES, is_kind("ConfigMap", "Pod"))


@resource_policy(
    "notebook-root",
    "Notebooks do not run as root",
    fix="Set singleuser.uid to 1000 (uid in kubespawner_override, securityContext.runAsUser of an added container),"
    " and run no privileged container",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=helm.of_chart(HUB),
    framework=cis("4.2.1"),
)
def notebook_root(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Root in a container is one bug away from root on the node. Jupyter's images switch to the user NB_UID."""
    for place, override in overrides(resource):
        extra = context(override, "runAsUser")
        is_not_set = "uid" in set(override) and override["uid"] is None and extra is None
        if number(override.get("uid")) == 0:
            yield f"{place}: uid is 0"
        elif is_not_set and True not in (override.get("run_as_non_root"), context(override, "runAsNonRoot")):
            yield NotDecided(f"which user {place} runs as: without runAsUser the image decides")
        if override.get("privileged") is True or context(override, "privileged") is True:
            yield f"{place}: the container is privileged"
        if str(environment(override).get("NB_UID")) == "0":
            yield f"{place}: NB_UID is 0"
        if extra == 0:
            yield f"{place}: runAsUser is 0"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-sudo",
    "Notebooks cannot use sudo",
    fix="Remove GRANT_SUDO from singleuser.extraEnv, or environment in kubespawner_override",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=helm.of_chart(HUB),
    framework=_PODS,
)
def notebook_sudo(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With it, Jupyter's images let everybody become root."""
    for place, override in overrides(resource):
        if str(environment(override).get("GRANT_SUDO", "")).lower() in ("yes", "1", "true"):
            yield f"{place}: GRANT_SUDO is set"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-visible-devices",
    "A notebook cannot choose which GPUs of its node it sees",
    fix="Remove NVIDIA_VISIBLE_DEVICES from singleuser.extraEnv, or environment in kubespawner_override",
    severity=HIGH,
    concerns=_MAKE_NOTEBOOKS,
    where=helm.of_chart(HUB),
)
def notebook_visible_devices(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise it gets GPUs that it did not request, that no quota counts and that others use."""
    for place, override in overrides(resource):
        if str(environment(override).get("NVIDIA_VISIBLE_DEVICES", "void")) not in ("void", "none"):
            yield f"{place}: NVIDIA_VISIBLE_DEVICES is set"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-privilege-escalation",
    "Processes of a notebook cannot gain more privileges",
    fix="Set singleuser.allowPrivilegeEscalation to false (allow_privilege_escalation in kubespawner_override)",
    severity=HIGH,
    concerns=_MAKE_NOTEBOOKS,
    where=helm.of_chart(HUB),
    framework=cis("4.2.5"),
)
def notebook_privilege_escalation(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """With privilege escalation, a setuid program of root makes any user root."""
    for place, override in overrides(resource):
        extra = context(override, "allowPrivilegeEscalation")
        if is_true(override.get("allow_privilege_escalation")) or is_true(extra):
            yield f"{place}: privilege escalation is allowed"
    yield from set_in_python(resource, SPAWNER)


@resource_policy(
    "notebook-host-access",
    "A notebook does not mount its node's file system or join its namespaces",
    fix="Remove hostPath from singleuser.storage.extraVolumes, and hostNetwork, hostPID and hostIPC",
    severity=CRITICAL,
    concerns=_MAKE_NOTEBOOKS,
    where=helm.of_chart(HUB),
    framework=cis("4.2.4"),
)
def notebook_host_access(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """The node's files and processes include those of all other users."""
    if kind_of(resource) == "Pod":
        if is_notebook(resource):
            yield from _host(at(resource.props, "spec", {}), "spec")
        return
    if helm.is_release(resource):
        values = helm.values(resource)
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
    "The hub does not start a privileged container before each notebook",
    fix="Set values.singleuser.cloudMetadata.blockWithIptables to false; the network policy blocks the address",
    severity=HIGH,
    concerns=helm.RELEASES,
    where=helm.of_chart(HUB),
    framework=cis("4.2.1"),
)
def hub_iptables_init_container(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """By default the chart runs root with NET_ADMIN in every notebook's pod. Pod Security's `restricted` refuses it."""
    if at(helm.values(hub), "singleuser.cloudMetadata.blockWithIptables") is True:
        yield "values.singleuser.cloudMetadata.blockWithIptables is true"


@resource_policy(
    "metadata-address-reachable",
    "Notebooks cannot reach the metadata of their node",
    fix="Keep values.singleuser.networkPolicy enabled and cloudMetadataServer false, and do not admit 169.254.169.254"
    " in egress",
    severity=HIGH,
    concerns=helm.RELEASES,
    where=helm.of_chart(HUB),
    framework=best_practices("Security: Network security, network policy"),
)
def metadata_address_reachable(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """The metadata server gives out the credentials of the node's role."""
    user = at(helm.values(hub), "singleuser", {})
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
        raise NotDecidedError(f"whether {cidr} contains {_METADATA}: it is not a range of addresses") from None


def _is_http(port: Mapping[str, Any]) -> bool:
    """Whether a port of a network policy is, or may be, port 80 of the metadata server."""
    first = port.get("port")
    if port.get("protocol", "TCP") != "TCP":
        return False
    if not isinstance(first, int | float):
        return True  # every port, or a named port
    return first <= 80 <= (number(port.get("endPort")) or first)


@resource_policy(
    "hub-allow-all",
    "Signing in is not enough to start a notebook",
    fix="Remove allow_all from values.hub.config, and name allowed_groups",
    severity=HIGH,
    concerns=helm.RELEASES,
    where=helm.of_chart(HUB),
    framework=_PODS,
)
def hub_allow_all(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """With a public identity provider, everybody can sign in."""
    for path, value in leaves(at(helm.values(hub), "hub.config", {}), "values.hub.config"):
        if path.endswith(_OPEN_TO_ALL) and is_true(value):
            yield f"{path} is true"
    yield from set_in_python(hub, r"\w*Authenticator\.allow_\w+")


@resource_policy(
    "hub-dummy-authenticator",
    "The hub lets nobody in without a proof of who they are",
    fix="Set values.hub.config.JupyterHub.authenticator_class to generic-oauth, or to another identity provider",
    severity=CRITICAL,
    concerns=helm.RELEASES,
    where=helm.of_chart(HUB),
    framework=_PODS,
)
def hub_dummy_authenticator(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """The dummy authenticator, the chart's default, accepts any name, and the one for temporary users gives one."""
    in_python = list(set_in_python(hub, r"JupyterHub\.authenticator_class"))
    yield from in_python
    given = at(helm.values(hub), "hub.config.JupyterHub.authenticator_class")
    if not in_python and str(given) in _WITHOUT_PROOF:
        yield f"values.hub.config.JupyterHub.authenticator_class is {given}"


@resource_policy(
    "hub-administrators-in-notebooks",
    "Only administrators from the identity provider can open other people's notebooks",
    fix="Name admin_groups instead of admin_users, and add a filter to access:servers (!group=NAME) in"
    " values.hub.loadRoles; for a chart before 2.0 set values.hub.config.JupyterHub.admin_access to false",
    severity=MEDIUM,
    concerns=helm.RELEASES,
    where=helm.of_chart(HUB),
    framework=_PODS,
)
def hub_administrators_in_notebooks(hub: Resource, _limits: Limits) -> Iterator[Found]:
    """From JupyterHub 2 on, the administrators' role always allows it, and `admin_access` has no effect."""
    given = at(helm.values(hub), "hub", {})
    config = given.get("config") or {}
    if _before_roles(at(hub.props, "version")) and is_true(at(config, "JupyterHub.admin_access")):
        yield "values.hub.config.JupyterHub.admin_access is true"
    for section in config:
        if items(at(config[section], "admin_users")):
            yield f"values.hub.config.{section}.admin_users names accounts that the identity provider cannot revoke"
    roles = given.get("loadRoles") or {}
    for role in roles:
        if "access:servers" in items(at(roles[role], "scopes")):
            yield (
                f"values.hub.loadRoles.{role}.scopes has access:servers without a filter, "
                "which gives access to everybody's notebooks"
            )
    yield from set_in_python(hub, r"JupyterHub\.(?:load_roles|admin_access)|\w*Authenticator\.admin_users")


def _before_roles(version: Any) -> bool:
    """Whether the chart has JupyterHub 1. Chart 2.0.0 has JupyterHub 3.0, with roles. No version means the newest."""
    major = str(version or "").removeprefix("v").partition(".")[0]
    return major in ("0", "1")


@resource_policy(
    "workload-privileged",
    "Workloads outside kube-system do not run privileged containers",
    fix="Set securityContext.privileged to false, and allowPrivilegeEscalation to false",
    severity=HIGH,
    concerns=either(helm.RELEASES, is_kind("Pod", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob")),
    framework=cis("4.2.1"),
)
def workload_privileged(workload: Resource, _limits: Limits) -> Iterator[Found]:
    """A privileged container is root on its node. Of a chart, the policy sees only containers in its values."""
    is_release = helm.is_release(workload)
    namespace = helm.namespace(workload) if is_release else at(workload.props, "metadata.namespace")
    if namespace == "kube-system":
        return
    added = added_containers(helm.values(workload), "values") if is_release else containers(pod_spec(workload) or {})
    for place, container in added:
        if at(container, "securityContext.privileged") is True:
            yield f"the container {container.get('name')} ({place}) is privileged"
