"""Releases of charts that are not at hand: what their contracts record of them is installed in the chart's place.

After Helm 3's install, upgrade and uninstall actions.
"""

from __future__ import annotations

import json
from typing import Any

from rehearsal.providers.serving import Properties, Refused, Request

from . import awaiting, deleting, objects
from .charts import RecordedChart, is_kept
from .client import ApiError, Cluster
from .history import History, Revision
from .objects import Object

_TIMEOUT_SECONDS = 300
_MANAGER = "helm"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_RELEASE_NAME, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


def install(cluster: Cluster, chart: RecordedChart, inputs: Properties, request: Request) -> Revision:
    """Installs the chart. Raises Refused, TimeoutError."""
    if inputs.get("createNamespace"):
        _create_namespace(cluster, inputs["namespace"])
    if not inputs.get("skipCrds"):
        _install_crds(cluster, chart, request)
    rendered = [_owned(obj, inputs) for obj in chart.render(_values(inputs))]
    for obj in rendered:
        _install(cluster, obj, takes_ownership=inputs.get("takeOwnership") is True)
    _until_ready(cluster, rendered, inputs, request)
    revision = Revision.of(chart, rendered, inputs)
    try:
        History(cluster, inputs["namespace"], inputs["name"]).add(revision)
    except ApiError as error:
        raise Refused(f"release {inputs['name']} failed: {error}" + _namespace_hint(error)) from error
    return revision


def upgrade(cluster: Cluster, chart: RecordedChart, before: Revision, inputs: Properties, request: Request) -> Revision:
    """Upgrades the release from the revision `before`. Raises Refused, TimeoutError."""
    if not before.recorded:
        raise Refused(f"the chart {chart.name} is not at hand any more, from which Helm rendered the release", "chart")
    rendered = [_owned(obj, inputs) for obj in chart.render(_values(inputs))]
    for obj in rendered:
        _install(cluster, obj, takes_ownership=True)
    kept = {_identity(obj) for obj in rendered}
    _remove(cluster, [obj for obj in before.objects if _identity(obj) not in kept], inputs, request)
    _until_ready(cluster, rendered, inputs, request)
    revision = Revision.of(chart, rendered, inputs, before)
    History(cluster, inputs["namespace"], inputs["name"]).add(revision, longest=inputs.get("maxHistory") or 0)
    return revision


def uninstall(cluster: Cluster, revision: Revision, olds: Properties, request: Request) -> None:
    """Uninstalls the release; what came from the chart's crds/ folder stays. Raises TimeoutError."""
    _remove(cluster, [obj for obj in revision.objects if not is_kept(obj)], olds, request)
    History(cluster, revision.namespace, revision.name).clear()


def _values(inputs: Properties) -> dict[str, Any]:
    return inputs.get("values") or {}


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


def _install_crds(cluster: Cluster, chart: RecordedChart, request: Request) -> None:
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
