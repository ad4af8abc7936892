"""Mistakes that somebody could make in the platform, each in the running site, which is right again afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from components.nodes.site_gpu import NAMESPACE as GPU_NAMESPACE
from rehearsal.controllers.world import place

from . import hub_changes, promises
from .promises import People
from .quotas import SHARE
from .site import HUB_URL, Site
from .stack import SHARES
from .waiting import until

_PLUGIN_SECONDS = 90
_NOTHING_BUT_PKCE = {"pkce.code.challenge.method": ""}

Broken = Callable[[Site], contextlib.AbstractContextManager[None]]
Check = Callable[[Site, People], None]


def redirect_uri_off_by_a_character(site: Site) -> contextlib.AbstractContextManager[None]:
    return site.keycloak.changed_client("jupyterhub", redirectUris=[f"{HUB_URL}/hub/oauth_callbac"])


def pkce_off(site: Site) -> contextlib.AbstractContextManager[None]:
    return site.keycloak.changed_client("jupyterhub", attributes=_NOTHING_BUT_PKCE)


def hub_text(file: str, pattern: str, replacement: str) -> Callable[[Site], contextlib.AbstractContextManager[None]]:
    return lambda site: hub_changes.changed(site, file, pattern, replacement)


def without(collection: str, name: str) -> Callable[[Site], contextlib.AbstractContextManager[None]]:
    return lambda site: site.without(place(collection, name, "team-vision"))


@contextlib.contextmanager
def no_renaming(site: Site) -> Iterator[None]:
    """The device plugin calls shares what whole GPUs are called."""
    config_maps = site.kubernetes.list(f"/api/v1/namespaces/{GPU_NAMESPACE}/configmaps")
    (configuration,) = [one for one in config_maps if "gpu-shared" in one.get("data", {})]
    path = place("/api/v1/configmaps", configuration["metadata"]["name"], GPU_NAMESPACE)
    right = configuration["data"]["gpu-shared"]
    wrong = right.replace("renameByDefault: true", "renameByDefault: false")
    assert wrong != right, right
    try:
        restart_plugin(site, path, wrong, offers=lambda shares: shares != str(SHARES))
        yield
    finally:
        restart_plugin(site, path, right, offers=lambda shares: shares == str(SHARES))


def restart_plugin(site: Site, path: str, configuration: str, offers: Callable[[str | None], bool]) -> None:
    """Gives the device plugin a configuration, and waits until the node offers what follows from it."""
    site.kubernetes.patch(path, {"data": {"gpu-shared": configuration}})
    pods = site.kubernetes.list(f"/api/v1/namespaces/{GPU_NAMESPACE}/pods")
    for pod in pods:
        site.kubernetes.delete(place("/api/v1/pods", pod["metadata"]["name"], GPU_NAMESPACE))

    def offered() -> bool:
        node = site.kubernetes.request("GET", "/api/v1/nodes/node-1")
        return offers(node["status"]["allocatable"].get(SHARE))

    until(offered, "the node offers what the device plugin says", seconds=_PLUGIN_SECONDS)


BREAKAGES: dict[str, tuple[Broken, Check, str]] = {
    "redirect URI off by a character": (
        redirect_uri_off_by_a_character,
        promises.member_sees_profiles,
        r"Invalid parameter: redirect_uri",
    ),
    "PKCE off": (pkce_off, promises.sign_in_needs_a_challenge, r"a sign-in without PKCE was answered with 200"),
    "group claim missing": (
        lambda site: site.keycloak.changed_claim("jupyterhub", "groups", None),
        promises.member_sees_profiles,
        r"you are not in a team",
    ),
    "wrong claim name": (
        lambda site: site.keycloak.changed_claim("jupyterhub", "groups", "group"),
        promises.member_sees_profiles,
        r"you are not in a team",
    ),
    "allow_all": (
        hub_text("sign_in.py", r"ours\.allow_all = False", "ours.allow_all = True"),
        promises.stranger_is_refused,
        r"somebody without a team was answered with 200",
    ),
    "hub URL short": (
        hub_text(
            "config.py",
            r"    ending\(c, known, str\(catalogue\)\)\n",
            "    ending(c, known, str(catalogue))\n    c.JupyterHub.hub_connect_url = 'http://hub:8081'\n",
        ),
        promises.notebook_starts,
        r"the start failed|the notebook answers",
    ),
    "hub role missing in a namespace": (
        without("/apis/rbac.authorization.k8s.io/v1/rolebindings", "hub"),
        promises.notebook_starts,
        r"was refused: .*team-vision",
    ),
    "quota absent": (without("/api/v1/resourcequotas", "team"), promises.full_quota_is_said, r"was not refused"),
    "network policy absent": (
        without("/apis/networking.k8s.io/v1/networkpolicies", "team"),
        promises.notebook_is_confined,
        r"the notebook reaches the API server.*the instance metadata",
    ),
    "uid 0": (
        hub_text("pod.py", r"UID, GID = 1000, 100\n", "UID, GID = 0, 0\n"),
        promises.notebook_has_no_privileges,
        r"runAsUser=0|runAsNonRoot",
    ),
    "no /dev/shm": (
        hub_text("pod.py", r"    if profile\.shared_memory:\n", "    if False:\n"),
        promises.notebook_has_shared_memory,
        r"/dev/shm has 64 MiB",
    ),
    "home read-only": (
        hub_text(
            "pod.py",
            r"mounts = \[mount for mount in mounts_of\(choice\)",
            "mounts = [{**mount, 'readOnly': True} for mount in mounts_of(choice)",
        ),
        promises.notebook_keeps_files,
        r"the start failed|the notebook answers|500 Server Error|403",
    ),
    "service account token mounted": (
        hub_text(
            "config.py",
            r"ours\.automount_service_account_token = False",
            "ours.automount_service_account_token = True",
        ),
        promises.notebook_has_no_privileges,
        r"must not have a token of the Kubernetes API",
    ),
    "privileged": (
        hub_text("config.py", r"ours\.allow_privilege_escalation = False", "ours.privileged = True"),
        promises.notebook_has_no_privileges,
        r"The cluster refused the notebook: .*privileged",
    ),
    "device plugin without renaming": (no_renaming, promises.card_is_shared, r"the node offers"),
}
"""By what is wrong: how it is made wrong, the check that then fails, and what the failure says."""
