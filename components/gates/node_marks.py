"""Sets labels and taints on nodes that the stack file names, and takes exactly these off when the stack goes.

The nodes are not the stack's: others label and taint them too. An annotation on each node says what the stack has set
there. Labels and taints that were there before stay; one that has another value than the stack needs is refused.

Taints are one list, which server-side apply replaces as a whole. So a node is read and then patched at the version that
was read, again and again while others change it in between.

`pulumi destroy` does not run the program, so a dynamic provider does all this. Pulumi keeps its module and class name
in the state. Rename neither while a stack refers to it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from components.gates.access import api_client, problem
from components.gates.remembered import RememberedProvider
from components.gates.volume_gate import DELETE_UNREACHABLE
from settings.pools.labels import MARKS_ANNOTATION

_TRIES = 10
_REQUEST_SECONDS = 30


class MarksError(Exception):
    """A node cannot be marked. The message names it, and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What a node of a pool gets. A taint has a key, an effect and perhaps a value."""

    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]] = ()


class NodeMarksProvider(RememberedProvider):
    """Keeps a node's labels and taints as the stack needs them."""

    id: ClassVar[str] = "marks"
    keys: ClassVar[tuple[str, ...]] = ("kubeconfig", "stack", "node", "labels", "taints")

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Marks the node. Raises MarksError, and the Kubernetes client's ApiException."""
        _mark(props)
        return super().create(props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Sets what is new, and takes off what is no longer asked for. Another node of the same name is marked anew."""
        _mark(_news)
        return super().update(_id, _olds, _news)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Reports an update if what is asked for changed, or the node has lost it: one that was set up again has.

        Without the cluster it is not known what the node has. Another node is another resource.
        """
        if _olds.get("node") != _news.get("node"):
            return DiffResult(changes=True, replaces=["node"], delete_before_replace=True)
        found = super().diff(_id, _olds, _news)
        return found if found.changes else DiffResult(changes=_has_lost_marks(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Takes the marks off. A node that is gone has none.

        Raises MarksError, and the Kubernetes client's ApiException.
        """
        import kubernetes  # noqa: PLC0415 (loading the client takes a second and 60 MB)

        kubeconfig, stack, node = json.loads(_props["kubeconfig"]), _props["stack"], _props["node"]
        try:
            _change(kubeconfig, node, lambda found: patch_of(found, stack, Marks(labels={})))
        except (MarksError, kubernetes.client.ApiException):
            raise
        except Exception as error:  # many types: from the network, from the credential plugin
            if os.environ.get(DELETE_UNREACHABLE) != "true":
                raise MarksError(
                    f"Cannot take the labels and taints of stack {stack} off node {node}: {problem(error)}. Run "
                    f"`pulumi destroy` where it can be reached; if the cluster is gone, set {DELETE_UNREACHABLE}=true "
                    "(docs/destroy.md)."
                ) from error
            print(f"{DELETE_UNREACHABLE} is set and the API server does not answer: node {node} is gone with it.")


class NodeMarks(Resource, module="gpulab", name="NodeMarks"):
    """The labels and taints of one node that the stack file names. What runs there depends on it."""

    def __init__(
        self,
        name: str,
        kubeconfig: pulumi.Input[str],
        *,
        stack: str,
        node: str,
        marks: Marks,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`kubeconfig` is the cluster's (`components.gates.access`)."""
        props = {
            "kubeconfig": kubeconfig,
            "stack": stack,
            "node": node,
            "labels": dict(marks.labels),
            "taints": [dict(taint) for taint in marks.taints],
        }
        super().__init__(NodeMarksProvider(), name, props, opts)


def refusal(node: Mapping[str, Any], stack: str, marks: Marks) -> str | None:
    """Why a node can't have these marks, in the words of an update; None if it can. `node` as for `patch_of`."""
    try:
        patch_of(node, stack, marks)
    except MarksError as error:
        return str(error)
    return None


def patch_of(node: Mapping[str, Any], stack: str, marks: Marks) -> dict[str, Any] | None:
    """The merge patch with which a node has these marks and no others of the stack; None if nothing changes.

    `node` is as the API server has it. Raises MarksError for a label or taint that somebody else has set to another
    value, or a node that another stack has marked.
    """
    metadata = node["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    taints = node.get("spec", {}).get("taints") or []
    note = json.loads(annotations.get(MARKS_ANNOTATION) or "null") or {"stack": stack, "labels": {}, "taints": []}
    if note["stack"] != stack:
        if not marks.labels and not marks.taints:
            return None
        raise MarksError(
            f"node {metadata['name']} is marked by stack {note['stack']} (annotation {MARKS_ANNOTATION}), and a node "
            "belongs to one stack: leave it out of nodePools, or destroy that stack first"
        )
    # What somebody has changed since is not the stack's anymore.
    own_labels = {key for key, value in note["labels"].items() if labels.get(key) == value}
    own_taints = [taint for taint in taints if _plain(taint) in note["taints"]]
    foreign = [taint for taint in taints if taint not in own_taints]
    _refuse_other_values(
        metadata["name"], {key: value for key, value in labels.items() if key not in own_labels}, foreign, marks
    )
    set_labels = {key: value for key, value in marks.labels.items() if key in own_labels or key not in labels}
    set_taints = [dict(taint) for taint in marks.taints if dict(taint) not in map(_plain, foreign)]
    wanted = [*foreign, *set_taints]
    noted = {"stack": stack, "labels": set_labels, "taints": set_taints}
    kept = json.dumps(noted, sort_keys=True) if set_labels or set_taints else None
    changed: dict[str, Any] = {
        "labels": {
            **dict.fromkeys(own_labels - marks.labels.keys()),
            **{key: value for key, value in set_labels.items() if labels.get(key) != value},
        },
        "annotations": {} if annotations.get(MARKS_ANNOTATION) == kept else {MARKS_ANNOTATION: kept},
    }
    spec = {} if _set(wanted) == _set(taints) else {"spec": {"taints": wanted or None}}
    if not any(changed.values()) and not spec:
        return None
    return {"metadata": {"resourceVersion": metadata["resourceVersion"], **changed}, **spec}


def _refuse_other_values(
    node: str, labels: Mapping[str, str], taints: Sequence[Mapping[str, str]], marks: Marks
) -> None:
    """Raises MarksError if somebody else's labels or taints of the node have other values than the marks."""
    wrong = [
        f"label {key}={labels[key]}, and the stack needs {value or 'no value'}"
        for key, value in marks.labels.items()
        if labels.get(key, value) != value
    ] + [
        f"taint {_in_words(theirs)}, and the stack needs {_in_words(taint)}"
        for taint in marks.taints
        for theirs in taints
        if (theirs["key"], theirs["effect"]) == (taint["key"], taint["effect"]) and _plain(theirs) != dict(taint)
    ]
    if wrong:
        raise MarksError(
            f"node {node} has {'; '.join(wrong)}. Somebody else has set that: remove it from the node, or adopt the "
            "node by its own labels and taints (nodePools: selector in place of nodes)"
        )


def _plain(taint: Mapping[str, str]) -> dict[str, str]:
    """A taint as the stack file has it, without the time at which it was added."""
    return {key: taint[key] for key in ("key", "value", "effect") if taint.get(key)}


def _set(taints: Sequence[Mapping[str, str]]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(_plain(taint).items())) for taint in taints}


def _in_words(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _mark(props: Mapping[str, Any]) -> None:
    node = props["node"]
    marks = Marks(labels=props["labels"], taints=props["taints"])
    if not _change(json.loads(props["kubeconfig"]), node, lambda found: patch_of(found, props["stack"], marks)):
        raise MarksError(f"node {node} is not in the cluster: correct its name in nodePools (`kubectl get nodes`)")


def _has_lost_marks(props: Mapping[str, Any]) -> bool:
    marks = Marks(labels=props["labels"], taints=props["taints"])
    try:
        found = read_node(json.loads(props["kubeconfig"]), props["node"])
        return found is not None and patch_of(found, props["stack"], marks) is not None
    except MarksError:
        return True  # the update refuses it by name
    except Exception:  # many types: from the network, from the credential plugin
        return False


def _change(kubeconfig: dict[str, Any], node: str, patch: Callable[[Mapping[str, Any]], dict[str, Any] | None]) -> bool:
    """Patches a node, again if somebody changed it in between; False if there is no such node."""
    for _ in range(_TRIES):
        found = read_node(kubeconfig, node)
        if found is None:
            return False
        wanted = patch(found)
        if wanted is None or patch_node(kubeconfig, node, wanted):
            return True
    raise MarksError(f"node {node} was changed by others {_TRIES} times in between: run it again")


def read_node(kubeconfig: dict[str, Any], node: str) -> dict[str, Any] | None:
    """A node as the API server has it; None if there is none. Raises what the Kubernetes client raises."""
    import kubernetes  # noqa: PLC0415 (loading the client takes a second and 60 MB)

    with api_client(kubeconfig) as client:
        try:
            answer: Any = kubernetes.client.CoreV1Api(client).read_node(
                node, _preload_content=False, _request_timeout=_REQUEST_SECONDS
            )
        except kubernetes.client.ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return json.loads(answer.data)


def patch_node(kubeconfig: dict[str, Any], node: str, patch: dict[str, Any]) -> bool:
    """Merges a patch into a node; False if it is not at the patch's version anymore. Raises as `read_node` does."""
    import kubernetes  # noqa: PLC0415 (as above)

    with api_client(kubeconfig) as client:
        try:
            kubernetes.client.CoreV1Api(client).patch_node(
                node, patch, _content_type="application/merge-patch+json", _request_timeout=_REQUEST_SECONDS
            )
        except kubernetes.client.ApiException as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise
    return True
