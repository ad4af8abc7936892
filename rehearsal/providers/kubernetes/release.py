"""`kubernetes:helm.sh/v3:Release`: a chart installed, upgraded and uninstalled as Helm does.

Behaviour after pulumi-kubernetes' helm_release.go and Helm 3's install, upgrade and uninstall actions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from rehearsal.providers.serving import UNKNOWN, Properties, Refused, Request, ResourceType, unique_name

from . import awaiting, charts, deleting, objects
from .charts import Chart
from .client import ApiError, Cluster
from .history import History, Revision
from .objects import Object

if TYPE_CHECKING:
    from .provider import KubernetesProvider

# Helm's own rule for names (pkg/chartutil/validate_name.go).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 53
_AUTONAME_DIGITS = 8
_TIMEOUT_SECONDS = 300
_MANAGER = "helm"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_RELEASE_NAME, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"

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
        chart = news.get("chart")
        if isinstance(chart, str) and not failures:
            found = charts.find(chart, news.get("version"))
            failures += found.check_values(_values(news))
            news["version"] = found.version
        Refused.all(failures)
        return {**dict.fromkeys(_FLAGS.split(), False), **news}

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Installs the chart. Raises Refused."""
        cluster = self._reachable_cluster("create")
        name, namespace = inputs["name"], inputs["namespace"]
        history = History(cluster, namespace, name)
        if history.latest() and not inputs.get("replace"):
            raise Refused("cannot re-use a name that is still in use", "name")
        chart = charts.find(inputs["chart"], inputs.get("version"))
        if inputs.get("createNamespace"):
            _create_namespace(cluster, namespace)
        if not inputs.get("skipCrds"):
            _install_crds(cluster, chart, request)
        rendered = [_owned(obj, inputs) for obj in chart.render(_values(inputs))]
        for obj in rendered:
            _install(cluster, obj, takes_ownership=inputs.get("takeOwnership") is True)
        _until_ready(cluster, rendered, inputs, request)
        revision = Revision.of(chart, rendered, inputs)
        try:
            history.add(revision)
        except ApiError as error:
            raise Refused(f"release {name} failed: {error}" + _namespace_hint(error)) from error
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
        if revision.values != _values(inputs):
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
        chart = charts.find(inputs["chart"], inputs.get("version"))
        rendered = [_owned(obj, inputs) for obj in chart.render(_values(inputs))]
        for obj in rendered:
            _install(cluster, obj, takes_ownership=True)
        kept = {_identity(obj) for obj in rendered}
        _remove(cluster, [obj for obj in before.objects if _identity(obj) not in kept], inputs, request)
        _until_ready(cluster, rendered, inputs, request)
        revision = Revision.of(chart, rendered, inputs, before)
        history.add(revision, longest=inputs.get("maxHistory") or 0)
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
        _remove(provider.cluster, [obj for obj in revision.objects if not charts.is_kept(obj)], olds, request)
        history.clear()

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


def _values(inputs: Properties) -> dict[str, Any]:
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


def _identity(obj: Object) -> tuple[str, str, str]:
    return obj["apiVersion"], obj["kind"], objects.object_id(obj)


def _create_namespace(cluster: Cluster, name: str) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"name": name}}}
    try:
        cluster.create(namespace, field_manager=_MANAGER)
    except ApiError as error:
        if not error.already_exists:
            raise


def _namespace_hint(error: ApiError) -> str:
    return " (createNamespace makes it)" if error.is_missing_namespace else ""


def _install_crds(cluster: Cluster, chart: Chart, request: Request) -> None:
    """Installs the definitions of the chart's crds/ folder that are not there yet; Helm never upgrades them."""
    for definition in chart.folder_crds():
        try:
            live = cluster.create(definition, field_manager=_MANAGER)
        except ApiError as error:
            if not error.already_exists:
                raise
        else:
            _await(cluster, live, request)


def _owned(obj: Object, inputs: Properties) -> Object:
    """`obj` with the label and annotations by which Helm knows what it owns."""
    metadata = obj["metadata"]
    owner = {_RELEASE_NAME: inputs["name"], _RELEASE_NAMESPACE: inputs["namespace"]}
    return {
        **obj,
        "metadata": {
            **metadata,
            "labels": {**metadata.get("labels", {}), _MANAGED_BY: "Helm"},
            "annotations": {**metadata.get("annotations", {}), **owner},
        },
    }


def _install(cluster: Cluster, obj: Object, *, takes_ownership: bool) -> None:
    """Creates or updates an object of the release. Raises Refused for one that belongs to somebody else."""
    try:
        live = cluster.get(obj)
    except ApiError as error:
        if not error.is_not_found:
            raise
        cluster.create(obj, field_manager=_MANAGER)
        return
    annotations = live["metadata"].get("annotations", {})
    wanted = obj["metadata"]["annotations"]
    is_ours = all(annotations.get(key) == wanted[key] for key in (_RELEASE_NAME, _RELEASE_NAMESPACE))
    if not is_ours and not takes_ownership:
        raise Refused(
            f"Unable to continue with install: {objects.describe(obj)} exists and cannot be imported into the current"
            f" release: invalid ownership metadata; annotation validation error: {json.dumps(_RELEASE_NAME)} must be"
            f" {json.dumps(wanted[_RELEASE_NAME])}"
        )
    version = {"resourceVersion": live["metadata"]["resourceVersion"]}
    cluster.replace({**obj, "metadata": {**obj["metadata"], **version}}, field_manager=_MANAGER)


def _until_ready(cluster: Cluster, rendered: list[Object], inputs: Properties, request: Request) -> None:
    if inputs.get("skipAwait") is not True:
        for obj in rendered:
            _await(cluster, cluster.get(obj), request)


def _await(cluster: Cluster, obj: Object, request: Request) -> None:
    try:
        awaiting.until_ready(cluster, obj, obj, request)
    except awaiting.NotReady as not_ready:
        raise TimeoutError(str(not_ready)) from not_ready


def _remove(cluster: Cluster, obsolete: list[Object], inputs: Properties, request: Request) -> None:
    """Deletes objects of a release, the last installed first, and waits for them unless the release does not wait."""
    waited = []
    for obj in reversed(obsolete):
        try:
            live = cluster.get(obj)
            cluster.delete(obj, propagation="Background")
        except ApiError as error:
            if not error.is_not_found:
                raise
        else:
            waited.append(live)
    if inputs.get("skipAwait") is not True or inputs.get("atomic") is True:
        for obj in waited:
            deleting.until_gone(cluster, obj, request, seconds=inputs.get("timeout") or _TIMEOUT_SECONDS)
