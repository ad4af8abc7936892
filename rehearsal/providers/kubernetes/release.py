"""`kubernetes:helm.sh/v3:Release`: a chart that Helm installs, upgrades and uninstalls.

It follows helm_release.go of pulumi-kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar

from rehearsal.providers.protocol.model import (
    UNKNOWN,
    InitFailed,
    Properties,
    Refused,
    Request,
    ResourceType,
    unique_name,
)

from . import chart_lookup, helm, history, objects
from .chart_lookup import Chart
from .client import Cluster
from .connection import Connection
from .history import Revision

# The rule of Helm for names (pkg/chartutil/validate_name.go).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 53
_AUTONAME_DIGITS = 8
_TIMEOUT_SECONDS = 300

_FLAGS = """
    allowNullValues atomic cleanupOnFail createNamespace dependencyUpdate devel disableCRDHooks
    disableOpenapiValidation disableWebhooks forceUpdate lint recreatePods renderSubchartNotes replace resetValues
    reuseValues skipAwait skipCrds takeOwnership verify waitForJobs
"""
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(_FLAGS.split(), bool),
    **dict.fromkeys(("chart", "compat", "description", "keyring", "name", "namespace", "version"), str),
    **dict.fromkeys(("maxHistory", "timeout"), int),
    **dict.fromkeys(("repositoryOpts", "values"), dict),
}
# The message of the plugin since 4.30.0.
_DEPRECATED = (
    "`allowNullValues` is deprecated and has no effect; null values in Helm chart values are preserved by default."
)
_REPOSITORY_OPTIONS = frozenset({"repo", "caFile", "certFile", "keyFile", "username", "password"})
# The plugin accepts these too, but they need the archive of the chart or a file of the program.
_UNMODELLED = frozenset({"manifest", "postrender", "valueYamlFiles"})


class Release(ResourceType):
    """A Helm release."""

    token: ClassVar[str] = "kubernetes:helm.sh/v3:Release"
    force_new: ClassVar[frozenset[str]] = frozenset({"name", "namespace"})
    computed: ClassVar[frozenset[str]] = frozenset({"resourceNames", "status"})

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """Refuses unknown inputs, a version that the contract does not have, and values that the chart refuses."""
        news = {key: value for key, value in inputs.items() if value is not None and key not in self.computed}
        failures = _check_inputs(news)
        if not news.get("name"):
            news["name"] = olds.get("name") or unique_name(request, _AUTONAME_DIGITS)
        if news["name"] is not UNKNOWN and (len(news["name"]) > _LONGEST_NAME or not _NAME.fullmatch(news["name"])):
            failures.append(
                Refused(
                    f"invalid release name {news['name']!r}, must match regex {_NAME.pattern} and the length must not"
                    f" be longer than {_LONGEST_NAME}",
                    "name",
                )
            )
        news["namespace"] = news.get("namespace") or self._connection.namespace
        if news.get("skipAwait") is not True:
            news.setdefault("timeout", _TIMEOUT_SECONDS)
        if news.get("allowNullValues") is True:
            request.provider.warn(request.urn, _DEPRECATED)
        chart = news.get("chart")
        if isinstance(chart, str) and not failures:
            found = _find(news)
            failures += found.check_values(_values(news))
            news["version"] = found.version
        Refused.all(failures)
        return {**dict.fromkeys(_FLAGS.split(), False), **news}

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Installs the chart. Raises Refused, TimeoutError, and InitFailed for a release that failed."""
        cluster = self._reachable_cluster("create")
        name, namespace = inputs["name"], inputs["namespace"]
        if history.latest(cluster, namespace, name) and not inputs.get("replace"):
            raise Refused("cannot re-use a name that is still in use", "name")
        with _find(inputs).path() as chart:
            revision = self._run_helm(helm.install_arguments(chart, inputs), None, inputs, request)
        return f"{namespace}/{name}", _outputs(inputs, revision)

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The current revision. Another chart version or other values are drift."""
        connection = self._connection
        if connection.unreachable:
            if connection.gives_up_unreachable(request):
                return None
            return connection.unread(inputs, olds, request)
        namespace, name = objects.parse_id(id)
        revision = history.latest(connection.cluster, namespace, name)
        if revision is None:
            return None
        if not inputs:
            inputs = {"chart": revision.chart, "name": name, "namespace": namespace, "values": revision.values}
        live = {**inputs, "version": revision.chart_version}
        if _values({**inputs, "values": revision.values}) != _values(inputs):
            live["values"] = revision.values
        return live, _outputs(live, revision)

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Upgrades the release to a new revision. Raises Refused."""
        cluster = self._reachable_cluster("update")
        before = history.latest(cluster, inputs["namespace"], inputs["name"])
        if before is None:
            raise Refused(f'"{inputs["name"]}" has no deployed releases')
        found = _find(inputs)
        if found.is_stand_in and not before.is_stand_in:
            raise Refused(
                f"the release was installed from the chart {found.name}, which cannot be found anymore", "chart"
            )
        with found.path() as chart:
            revision = self._run_helm(helm.upgrade_arguments(chart, inputs), before, inputs, request)
        return _outputs(inputs, revision)

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Uninstalls the release. The definitions of its crds/ folder stay. Raises Refused, TimeoutError."""
        connection = self._connection
        if connection.unreachable:
            raise Refused(f"can't delete Helm Release with unreachable cluster. Reason: {connection.unreachable}")
        namespace, name = objects.parse_id(id)
        if history.latest(connection.cluster, namespace, name) is None:
            raise Refused(f"uninstall: Release not loaded: {name}: release: not found")
        try:
            helm.run(connection.kubeconfig(), helm.uninstall_arguments(name, namespace, olds), request)
        except helm.HelmFailed as failed:
            raise Refused(str(failed)) from failed

    def _run_helm(
        self, arguments: list[str], before: Revision | None, inputs: Properties, request: Request
    ) -> Revision:
        """The revision that Helm makes of the release.

        Raises InitFailed if Helm failed or was cancelled but left a revision, which must be in the state. Otherwise it
        raises Refused or InterruptedError.
        """
        release = self._connection.cluster, inputs["namespace"], inputs["name"]
        try:
            helm.run(self._connection.kubeconfig(), arguments, request, values=_values(inputs))
        except (helm.HelmFailed, InterruptedError) as failed:
            latest = history.latest(*release)
            if latest is None or (before and latest.number == before.number):
                if isinstance(failed, InterruptedError):
                    raise
                raise Refused(str(failed)) from failed
            id = f"{latest.namespace}/{latest.name}"
            made = "failed to initialize completely" if before else "was created, but failed to initialize completely"
            reason = f"Helm release {id!r} {made}. Use Helm CLI to investigate: {failed}"
            raise InitFailed(id, _outputs(inputs, latest), [reason]) from failed
        latest = history.latest(*release)
        if latest is None:
            raise Refused(f"Helm left no record of the release {inputs['name']}")
        return latest

    def _reachable_cluster(self, action: str) -> Cluster:
        if self._connection.unreachable:
            raise Refused(f"can't {action} Helm Release with unreachable cluster: {self._connection.unreachable}")
        return self._connection.cluster


def _check_inputs(inputs: Properties) -> list[Refused]:
    failures = []
    for key, value in inputs.items():
        if key in _UNMODELLED:
            failures.append(Refused("the rehearsal's kubernetes provider does not support it", key))
        elif key not in _TYPES:
            nearest = get_close_matches(key, _TYPES, n=1)
            failures.append(Refused("unknown property" + (f"; did you mean {nearest[0]}?" if nearest else ""), key))
        elif value is not UNKNOWN and not _is_a(value, _TYPES[key]):
            failures.append(Refused(f"{value!r} is of the wrong type", key))
    if not inputs.get("chart") and inputs.get("chart") is not UNKNOWN:
        failures.append(Refused("missing required property", "chart"))
    repository = inputs.get("repositoryOpts")
    if isinstance(repository, dict):
        unknown = sorted(repository.keys() - _REPOSITORY_OPTIONS)
        failures += [Refused("unknown property", f"repositoryOpts.{key}") for key in unknown]
    return failures


def _is_a(value: Any, type: type) -> bool:
    return isinstance(value, type) and isinstance(value, bool) == (type is bool)


def _find(inputs: Properties) -> Chart:
    options = inputs.get("repositoryOpts")
    repository = options.get("repo") if isinstance(options, dict) else None
    repository = repository if isinstance(repository, str) else None
    return chart_lookup.find(inputs["chart"], inputs.get("version"), repository)


def _values(inputs: Properties) -> dict[str, Any]:
    """The values for Helm. A null removes a default of the chart."""
    values = inputs.get("values")
    return values if isinstance(values, dict) else {}


def _outputs(inputs: Properties, revision: Revision) -> Properties:
    names: dict[str, list[str]] = {}
    for obj in revision.objects:
        group = obj["apiVersion"].rpartition("/")[0]
        kind = f"{obj['kind']}.{group}" if group else obj["kind"]
        names.setdefault(f"{kind}/{obj['apiVersion']}", []).append(objects.object_id(obj))
    return {
        **inputs,
        "version": revision.chart_version,
        "resourceNames": names,
        "status": {
            "name": revision.name,
            "namespace": revision.namespace,
            "revision": revision.number,
            "status": revision.status,
            "chart": revision.chart,
            "version": revision.chart_version,
            "appVersion": revision.app_version,
        },
    }
