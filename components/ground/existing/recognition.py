"""Recognises distributions by their nodes, and programs by the containers that run them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from contracts import clusters
from contracts.clusters import Evidence, KnownProgram

Manifest = Mapping[str, Any]


def distribution_evidence(nodes: Iterable[Manifest], version: str | None) -> dict[str, tuple[str, ...]]:
    """What speaks for each distribution, in words, once each; `version` is the API server's, if it is known.

    kubeadm makes clusters for other distributions too, so its marks count only where nothing else speaks.
    """
    found: dict[str, dict[str, None]] = {}
    nodes = list(nodes)
    for name, evidence in clusters.evidence().items():
        said: dict[str, None] = {}
        if version and evidence.version and re.search(evidence.version, version):
            said[f"version {version}"] = None
        for node in nodes:
            said |= dict.fromkeys(_evidence_of(node, evidence))
        if said:
            found[name] = said
    if len(found) > 1:
        found.pop("kubeadm", None)
    return {name: tuple(said) for name, said in found.items()}


def _evidence_of(node: Manifest, evidence: Evidence) -> Iterator[str]:
    info = node.get("status", {}).get("nodeInfo", {})
    kubelet, image = info.get("kubeletVersion", ""), info.get("osImage", "")
    provider = node.get("spec", {}).get("providerID", "")
    if evidence.version and re.search(evidence.version, kubelet):
        yield f"kubelet {kubelet}"
    if evidence.image and re.match(evidence.image, image):
        yield f"operating system {image}"
    if evidence.provider and re.match(evidence.provider, provider):
        yield f"provider {provider.partition('://')[0]}://"
    labels, annotations = node["metadata"].get("labels") or {}, node["metadata"].get("annotations") or {}
    for key, value in evidence.labels.items():
        if labels.get(key) == value:
            yield f"label {key}={value}"
    for what, present in (("label", labels), ("annotation", annotations)):
        for wanted in evidence.keys:
            key = next((key for key in present if key == wanted or (wanted[-1] in "/-" and key.startswith(wanted))), "")
            if key:
                yield f"{what} {key}"


def program_of(workload: Manifest) -> list[tuple[str, str | None]]:
    """The known programs that a Deployment or DaemonSet runs, each with the tag of its image."""
    containers = workload.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
    found: dict[str, str | None] = {}
    for container in containers:
        repository, tag = _parts(container.get("image", ""))
        for name, program in clusters.programs().items():
            if _runs(container, repository, program):
                found.setdefault(name, tag)
                break
    return list(found.items())


def _runs(container: Manifest, repository: Sequence[str], program: KnownProgram) -> bool:
    ends = {"/".join(repository[-1:]), "/".join(repository[-2:])}
    if not ends & set(program.images):
        return False
    command = [*(container.get("command") or ()), *(container.get("args") or ())]
    words = {container.get("name", ""), *(word.rpartition("/")[2] for word in command)}
    return (not program.words or bool(words & set(program.words))) and not words & set(program.unless)


def _parts(image: str) -> tuple[list[str], str | None]:
    """The parts of an image's repository, and its tag."""
    path = image.partition("@")[0]
    before, slash, last = path.rpartition("/")
    last, _, tag = last.partition(":")
    return [*(before.split("/") if slash else ()), last], tag or None
