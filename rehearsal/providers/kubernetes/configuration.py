"""The configuration of the provider: its keys, and the changes that replace all resources."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused

if TYPE_CHECKING:
    from kubernetes.client import Configuration

_FLAGS = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "suppressHelmHookWarnings": "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS",
}
_SETTINGS = {"kubeconfig", "context", "cluster", "namespace", "clusterIdentifier", "kubeClientSettings"}
_RELEASE_SETTINGS = {
    "driver",
    "pluginsPath",
    "registryConfigPath",
    "repositoryCache",
    "repositoryConfigPath",
    "suppressBetaWarning",
}
_UNMODELLED = {"renderYamlToDirectory", "alwaysRender", "strictMode", "rejectUnknownResources"}
_KNOWN = sorted({*_FLAGS, *_SETTINGS, *_UNMODELLED, "helmReleaseSettings"})
_DEFAULT_NAMESPACE = "default"
_ACTIVE_CLUSTER_KEYS = frozenset({"kubeconfig", "context", "cluster"})


class NoAccess(Exception):
    """A kubeconfig that gives no access to a cluster."""


@dataclass(frozen=True)
class Settings:
    """The switches in the configuration and in the environment. The configuration wins."""

    delete_unreachable: bool
    skip_update_unreachable: bool
    patch_force: bool
    config_map_mutable: bool
    secret_mutable: bool
    upsert: bool

    @classmethod
    def of(cls, config: Properties) -> Settings:
        """The switches that `config` and the environment set."""
        return cls(
            delete_unreachable=_flag(config, "deleteUnreachable"),
            skip_update_unreachable=_flag(config, "skipUpdateUnreachable"),
            patch_force=_flag(config, "enablePatchForce"),
            config_map_mutable=_flag(config, "enableConfigMapMutable"),
            secret_mutable=_flag(config, "enableSecretMutable"),
            upsert=_flag(config, "upsertExistingObjects"),
        )


def check(config: Properties) -> None:
    """Refuses keys and values that the plugin or the stand-in does not know. Values can be UNKNOWN."""
    failures = []
    for key, value in config.items():
        if key not in _KNOWN:
            nearest = get_close_matches(key, _KNOWN, n=1)
            failures.append(
                Refused("unknown configuration" + (f"; did you mean {nearest[0]}?" if nearest else ""), key)
            )
        elif key in _UNMODELLED and value not in (None, "", False, "false"):
            failures.append(Refused("the rehearsal's kubernetes provider does not support it", key))
        elif key in _FLAGS and value not in (UNKNOWN, None, "", True, False, "true", "false"):
            failures.append(Refused(f"true or false is expected, not {value!r}", key))
    if config.get("enableServerSideApply") is not UNKNOWN and not _flag(config, "enableServerSideApply", default=True):
        failures.append(Refused("the rehearsal supports only server-side apply", "enableServerSideApply"))
    failures += _check_release_settings(config.get("helmReleaseSettings"))
    Refused.all(failures)


def _check_release_settings(given: Any) -> list[Refused]:
    settings = json.loads(given) if isinstance(given, str) and given else given
    if not isinstance(settings, dict):
        return []
    failures = [
        Refused("unknown configuration", f"helmReleaseSettings.{key}") for key in settings.keys() - _RELEASE_SETTINGS
    ]
    if settings.get("driver", "secret") not in ("secret", UNKNOWN):
        failures.append(Refused("the rehearsal keeps releases only in Secrets", "helmReleaseSettings.driver"))
    return failures


def _flag(config: Properties, key: str, *, default: bool = False) -> bool:
    value = config.get(key)
    if value in (None, "", UNKNOWN):
        value = os.environ.get(_FLAGS[key], default)
    return value in (True, "true")


def namespace(config: Properties) -> str:
    """The namespace of objects without one: from the configuration, the kubeconfig context, or `default`."""
    context = _active(_parse(config.get("kubeconfig")), config, "contexts", _context_name) or {}
    return config.get("namespace") or context.get("namespace") or _DEFAULT_NAMESPACE


def access(config: Properties) -> Configuration:
    """The access to the cluster in the configuration, or in the kubeconfig of the environment. Raises NoAccess."""
    # The import takes a quarter of a second, which an idle provider saves.
    from kubernetes import config as kubeconfigs  # noqa: PLC0415
    from kubernetes.client import Configuration  # noqa: PLC0415

    document = kubeconfig(config)
    configuration = Configuration()
    try:
        kubeconfigs.load_kube_config_from_dict(document, client_configuration=configuration, persist_config=False)
    except kubeconfigs.ConfigException as error:
        raise NoAccess(f"unable to load Kubernetes client configuration from kubeconfig: {error}") from error
    user = _active(document, config, "users", lambda *_: _context(document, config).get("user")) or {}
    # The client only logs a failure of the plugin and continues as an anonymous user.
    if "exec" in user and not configuration.api_key and not configuration.cert_file:
        raise NoAccess(f"the kubeconfig's credential plugin {user['exec'].get('command')} did not give credentials")
    return configuration


def kubeconfig(config: Properties) -> dict[str, Any]:
    """The kubeconfig with the context and the cluster of the configuration. Raises NoAccess."""
    document = copy.deepcopy(_parse(config.get("kubeconfig")))
    if not document:
        raise NoAccess("no kubeconfig is configured, and there is none in KUBECONFIG and ~/.kube/config")
    context = _context_name(document, config)
    if context:
        document["current-context"] = context
    if config.get("cluster"):
        entry = next((item for item in document.get("contexts", []) if item["name"] == context), None)
        if entry:
            entry["context"]["cluster"] = config["cluster"]
    return document


def replaces(olds: Properties, news: Properties) -> set[str]:
    """The keys whose change means another cluster, so that all resources are replaced.

    With an unchanged clusterIdentifier nothing is replaced. Without one, the active cluster in the kubeconfig counts
    (DiffConfig of pulumi-kubernetes).
    """
    before, after = olds.get("clusterIdentifier"), news.get("clusterIdentifier")
    if after and before == after:
        return set()
    replacing = {"clusterIdentifier"} if before and after else set()
    unknown = {key for key in _ACTIVE_CLUSTER_KEYS if news.get(key) is UNKNOWN}
    if unknown:
        return replacing | unknown
    old_cluster, new_cluster = (
        _active(_parse(config.get("kubeconfig"), ambient=False), config, "clusters", _cluster_name)
        for config in (olds, news)
    )
    if old_cluster and new_cluster and old_cluster != new_cluster:
        replacing |= {key for key in _ACTIVE_CLUSTER_KEYS if olds.get(key) != news.get(key)}
    return replacing


def _parse(kubeconfig: Any, *, ambient: bool = True) -> dict[str, Any]:
    """A kubeconfig from its text or path. Without one, and if `ambient`, that of the environment."""
    if isinstance(kubeconfig, dict):
        return kubeconfig
    if not kubeconfig:
        path = Path(os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube" / "config")
        text = path.read_text(encoding="utf-8") if ambient and path.is_file() else ""
    elif "\n" not in kubeconfig and not kubeconfig.lstrip().startswith("{"):
        path = Path(kubeconfig).expanduser()
        if not path.is_file():
            raise NoAccess(f"failed to parse kubeconfig data: {kubeconfig!r} is neither a kubeconfig nor a file")
        text = path.read_text(encoding="utf-8")
    else:
        text = kubeconfig
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise NoAccess(f"failed to parse kubeconfig data: {error}") from error
    if not isinstance(document, dict):
        raise NoAccess("failed to parse kubeconfig data: it is not a mapping")
    return document


def _context_name(document: dict[str, Any], config: Properties) -> Any:
    return config.get("context") or document.get("current-context")


def _context(document: dict[str, Any], config: Properties) -> dict[str, Any]:
    return _active(document, config, "contexts", _context_name) or {}


def _cluster_name(document: dict[str, Any], config: Properties) -> Any:
    return config.get("cluster") or _context(document, config).get("cluster")


def _active(document: dict[str, Any], config: Properties, section: str, name: Any) -> dict[str, Any] | None:
    """The active entry of a kubeconfig's section: `contexts`, `clusters` or `users`."""
    wanted = name(document, config)
    entries = document.get(section) or []
    return next((entry[section.removesuffix("s")] for entry in entries if entry["name"] == wanted), None)
