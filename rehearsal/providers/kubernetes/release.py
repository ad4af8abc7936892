"""`kubernetes:helm.sh/v3:Release`: a chart installed, upgraded and uninstalled by Helm, or from its contract.

Behaviour after pulumi-kubernetes' helm_release.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal.providers.serving import UNKNOWN, InitFailed, Properties, Refused, Request, ResourceType, unique_name

from . import charts, helm, objects, recorded
from .charts import ArchivedChart, Chart
from .client import Cluster
from .history import History, Revision

if TYPE_CHECKING:
    from .provider import KubernetesProvider

# Helm's own rule for names (pkg/chartutil/validate_name.go).
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
# The plugin's words, since 4.30.0.
_DEPRECATED = (
    "`allowNullValues` is deprecated and has no effect; null values in Helm chart values are preserved by default."
)
_REPOSITORY_OPTIONS = frozenset({"repo", "caFile", "certFile", "keyFile", "username", "password"})
# What the plugin takes too, but what makes no sense without the chart's archive or a file of the program's.
_UNMODELLED = frozenset({"manifest", "postrender", "valueYamlFiles"})


class Release(ResourceType):
    """A Helm release."""

    token: ClassVar[str] = "kubernetes:helm.sh/v3:Release"
    force_new: ClassVar[frozenset[str]] = frozenset({"name", "namespace"})
    computed: ClassVar[frozenset[str]] = frozenset({"resourceNames", "status"})

    def __init__(self, provider: KubernetesProvider) -> None:
        self._provider = provider

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """Refuses unknown inputs, another version than the contract's, and values that the chart does not take."""
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
        news["namespace"] = news.get("namespace") or self._provider.namespace
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
        """Installs the chart. Raises Refused, TimeoutError; InitFailed for a release that is there but failed."""
        cluster = self._reachable_cluster("create")
        name, namespace = inputs["name"], inputs["namespace"]
        history = History(cluster, namespace, name)
        if history.latest() and not inputs.get("replace"):
            raise Refused("cannot re-use a name that is still in use", "name")
        chart = _find(inputs)
        if isinstance(chart, ArchivedChart):
            arguments = helm.install_arguments(chart, inputs)
            revision = self._run_helm(arguments, history, None, inputs, request)
        else:
            revision = recorded.install(cluster, chart, inputs, request)
        return f"{namespace}/{name}", _outputs(inputs, revision)

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The revision in force; another chart version or other values than Pulumi's are drift."""
        provider = self._provider
        if provider.unreachable:
            if provider.gives_up_unreachable(request):
                return None
            return provider.unread(inputs, olds, request)
        namespace, name = objects.parse_id(id)
        revision = History(provider.cluster, namespace, name).latest()
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
        history = History(cluster, inputs["namespace"], inputs["name"])
        before = history.latest()
        if before is None:
            raise Refused(f'"{inputs["name"]}" has no deployed releases')
        chart = _find(inputs)
        if isinstance(chart, ArchivedChart):
            revision = self._run_helm(helm.upgrade_arguments(chart, inputs), history, before, inputs, request)
        else:
            revision = recorded.upgrade(cluster, chart, before, inputs, request)
        return _outputs(inputs, revision)

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Uninstalls the release; what came from the chart's crds/ folder stays. Raises Refused, TimeoutError."""
        provider = self._provider
        if provider.unreachable:
            raise Refused(f"can't delete Helm Release with unreachable cluster. Reason: {provider.unreachable}")
        namespace, name = objects.parse_id(id)
        history = History(provider.cluster, namespace, name)
        revision = history.latest()
        if revision is None:
            raise Refused(f"uninstall: Release not loaded: {name}: release: not found")
        if revision.recorded:
            recorded.uninstall(provider.cluster, revision, olds, request)
            return
        try:
            helm.run(provider.kubeconfig(), helm.uninstall_arguments(name, namespace, olds), request)
        except helm.HelmFailed as failed:
            raise Refused(str(failed)) from failed

    def _run_helm(
        self, arguments: list[str], history: History, before: Revision | None, inputs: Properties, request: Request
    ) -> Revision:
        """The revision that Helm makes of the release. Raises Refused; InitFailed where a failed one is left."""
        try:
            helm.run(self._provider.kubeconfig(), arguments, request, values=_values(inputs))
        except helm.HelmFailed as failed:
            latest = history.latest()
            if latest is None or (before and latest.number == before.number):
                raise Refused(str(failed)) from failed
            id = f"{latest.namespace}/{latest.name}"
            made = "failed to initialize completely" if before else "was created, but failed to initialize completely"
            reason = f"Helm release {id!r} {made}. Use Helm CLI to investigate: {failed}"
            raise InitFailed(id, _outputs(inputs, latest), [reason]) from failed
        latest = history.latest()
        if latest is None:
            raise Refused(f"Helm left no record of the release {inputs['name']}")
        return latest

    def _reachable_cluster(self, action: str) -> Cluster:
        if self._provider.unreachable:
            raise Refused(f"can't {action} Helm Release with unreachable cluster: {self._provider.unreachable}")
        return self._provider.cluster


def _check_inputs(inputs: Properties) -> list[Refused]:
    failures = []
    for key, value in inputs.items():
        if key in _UNMODELLED:
            failures.append(Refused("the rehearsal's kubernetes provider does not model it", key))
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
    return charts.find(inputs["chart"], inputs.get("version"), repository)


def _values(inputs: Properties) -> dict[str, Any]:
    """The values as Helm gets them, with what is null: it takes a default of the chart's away."""
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
