"""JupyterHub's configuration as the chart `jupyterhub` makes it from its values.

The same settings in the same order as the real chart's file of this name, without what `only.yaml` of this chart
excludes. `hub.config` and then `hub.extraConfig` come last, so they win.
"""

# JupyterHub runs this file with get_config(), and z2jh is mounted beside it.
# pyright: reportUnboundVariable=false, reportMissingImports=false
from __future__ import annotations

import os
import sys
from pathlib import Path

from tornado.httpclient import AsyncHTTPClient

c = get_config()  # noqa: F821

# `hub.extraConfig` imports modules that are mounted in this folder.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from z2jh import get_config, get_name, get_name_env, get_secret_value, set_config_if_not_none  # noqa: E402

HUB_PORT = 8081
# Traits of JupyterHub and the values below `hub` that set them.
HUB_TRAITS = {
    "concurrent_spawn_limit": "concurrentSpawnLimit",
    "active_server_limit": "activeServerLimit",
    "base_url": "baseUrl",
    "allow_named_servers": "allowNamedServers",
    "named_server_limit_per_user": "namedServerLimitPerUser",
    "authenticate_prometheus": "authenticatePrometheus",
    "redirect_to_server": "redirectToServer",
    "shutdown_on_logout": "shutdownOnLogout",
    "template_paths": "templatePaths",
    "template_vars": "templateVars",
}
# Traits of KubeSpawner and the values below `singleuser` that set them.
SPAWNER_TRAITS = {
    "pod_name_template": "podNameTemplate",
    "start_timeout": "startTimeout",
    "image_pull_policy": "image.pullPolicy",
    "events_enabled": "events",
    "extra_labels": "extraLabels",
    "extra_annotations": "extraAnnotations",
    "uid": "uid",
    "fs_gid": "fsGid",
    "service_account": "serviceAccountName",
    "storage_extra_labels": "storage.extraLabels",
    "node_selector": "nodeSelector",
    "node_affinity_required": "extraNodeAffinity.required",
    "node_affinity_preferred": "extraNodeAffinity.preferred",
    "pod_affinity_required": "extraPodAffinity.required",
    "pod_affinity_preferred": "extraPodAffinity.preferred",
    "pod_anti_affinity_required": "extraPodAntiAffinity.required",
    "pod_anti_affinity_preferred": "extraPodAntiAffinity.preferred",
    "lifecycle_hooks": "lifecycleHooks",
    "init_containers": "initContainers",
    "extra_containers": "extraContainers",
    "mem_limit": "memory.limit",
    "mem_guarantee": "memory.guarantee",
    "cpu_limit": "cpu.limit",
    "cpu_guarantee": "cpu.guarantee",
    "extra_resource_limits": "extraResource.limits",
    "extra_resource_guarantees": "extraResource.guarantees",
    "environment": "extraEnv",
    "profile_list": "profileList",
    "extra_pod_config": "extraPodConfig",
}
# What comes from the Secrets and never from `hub.config`.
SECRET_TRAITS = {
    "JupyterHub": ("proxy_auth_token", "cookie_secret", "services"),
    "ConfigurableHTTPProxy": ("auth_token",),
    "CryptKeeper": ("keys",),
}

# Tornado's own client is too slow for the proxy's API when many people start at once.
AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
# The proxy runs in a pod of its own, and notebooks outlive the hub.
c.ConfigurableHTTPProxy.api_url = f"http://{get_name('proxy-api')}:{get_name_env('proxy-api', '_SERVICE_PORT')}"
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}

database = get_config("hub.db.type")
if database == "sqlite-pvc":
    c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
elif database == "sqlite-memory":
    c.JupyterHub.db_url = "sqlite://"
else:
    set_config_if_not_none(c.JupyterHub, "db_url", "hub.db.url")
password = get_secret_value("hub.db.password", None)
if password is not None and database in ("mysql", "postgres"):
    os.environ[{"mysql": "MYSQL_PWD", "postgres": "PGPASSWORD"}[database]] = password

for trait, key in HUB_TRAITS.items():
    set_config_if_not_none(c.JupyterHub, trait, f"hub.{key}")
c.JupyterHub.hub_bind_url = f"http://:{HUB_PORT}"
c.JupyterHub.hub_connect_url = f"http://{get_name('hub')}:{get_name_env('hub', '_SERVICE_PORT')}"

chart = f"{get_config('Chart.Name')}-{get_config('Chart.Version').replace('+', '_')}"
c.KubeSpawner.common_labels = {
    **dict.fromkeys(("app.kubernetes.io/name", "app"), get_config("Chart.Name")),
    **dict.fromkeys(("app.kubernetes.io/instance", "release"), get_config("Release.Name")),
    **dict.fromkeys(("helm.sh/chart", "chart"), chart),
    "app.kubernetes.io/managed-by": "kubespawner",
}
c.KubeSpawner.namespace = os.environ.get("POD_NAMESPACE", "default")
set_config_if_not_none(c.Spawner, "consecutive_failure_limit", "hub.consecutiveFailureLimit")
for trait, key in SPAWNER_TRAITS.items():
    set_config_if_not_none(c.KubeSpawner, trait, f"singleuser.{key}")
c.KubeSpawner.image = f"{get_config('singleuser.image.name')}:{get_config('singleuser.image.tag')}"
# None is a value of its own here: the container's security context says nothing.
c.KubeSpawner.allow_privilege_escalation = get_config("singleuser.allowPrivilegeEscalation")
if pull_secrets := [*get_config("imagePullSecrets", []), *get_config("singleuser.image.pullSecrets", [])]:
    c.KubeSpawner.image_pull_secrets = pull_secrets
if tolerations := [
    *get_config("scheduling.userPods.tolerations", []),
    *get_config("singleuser.extraTolerations", []),
]:
    c.KubeSpawner.tolerations = tolerations
c.KubeSpawner.volumes = {}
c.KubeSpawner.volume_mounts = {}
c.Spawner.cmd = get_config("singleuser.cmd")
set_config_if_not_none(c.Spawner, "default_url", "singleuser.defaultUrl")

c.JupyterHub.services = [
    {"name": name, **service, "api_token": get_secret_value(f"hub.services.{name}.apiToken")}
    for name, service in get_config("hub.services", {}).items()
]
c.JupyterHub.load_roles = [{"name": name, **role} for name, role in get_config("hub.loadRoles", {}).items()]

if get_config("debug.enabled", False):
    c.JupyterHub.log_level = "DEBUG"
    c.Spawner.debug = True

c.JupyterHub.cookie_secret = get_secret_value("hub.config.JupyterHub.cookie_secret")
c.CryptKeeper.keys = get_secret_value("hub.config.CryptKeeper.keys").split(";")

for section, traits in get_config("hub.config", {}).items():
    if not section[:1].isupper():
        sys.exit(f"hub.config.{section} is not the name of a class of JupyterHub: those begin with a capital letter")
    kept = {name: value for name, value in traits.items() if name not in SECRET_TRAITS.get(section, ())}
    c[section].update(kept)

for name, code in sorted(get_config("hub.extraConfig", {}).items()):
    print(f"Loading extra config: {name}")
    exec(code)  # noqa: S102 (it is the chart's contract)
