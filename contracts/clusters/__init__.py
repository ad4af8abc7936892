"""Clusters as they are in the wild: fixtures by distribution, and what is known of each distribution's parts.

The fixtures are `DISTRIBUTION.yaml`: the API objects of a site of that distribution. The facts are JSON files, each
with its source and date.
"""

from __future__ import annotations

import copy
import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from contracts.files import read

FOLDER = Path(__file__).parent

HARDWARE = "gpulab.dev/hardware"
"""The annotation of a fixture's node that says which GPUs are in it: JSON, see `gpus_of`."""

Object: TypeAlias = dict[str, Any]
"""An object of the Kubernetes API, with apiVersion and kind."""


@dataclass(frozen=True, kw_only=True)
class NodeGpus:
    """The GPUs of one kind in a node: the product as nvidia-smi has it, and the MiB of each."""

    product: str
    memory: int
    count: int


@dataclass(frozen=True, kw_only=True)
class ContainerdPaths:
    """Where a distribution has its containerd, and how NVIDIA's container toolkit gets into it."""

    config: str
    """The file that containerd reads."""
    template: str | None
    """The file from which the distribution makes it, for changes by hand; None where there is none."""
    socket: str
    toolkit: Mapping[str, str] | None
    """The environment of the GPU Operator's toolkit; None where the toolkit comes with the nodes' image only."""
    driver_root: str = "/"
    """The folder of the host below which the driver is."""
    makes_runtime_class: bool = False
    """Whether the distribution itself makes the RuntimeClass `nvidia`."""
    hint: str
    """What to do on a node."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What only nodes of a distribution have. `version`, `image` and `provider` are patterns, None: they say nothing.

    `keys` are of labels and annotations; one that ends with / or - is a prefix.
    """

    version: str | None = None
    image: str | None = None
    provider: str | None = None
    keys: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class KnownProgram:
    """How a program that clusters have is recognised among the containers of Deployments and DaemonSets."""

    title: str
    images: tuple[str, ...]
    """Ends of its image's repository: the last part of the path, or the last two."""
    words: tuple[str, ...] = ()
    """With any, one must be the container's name or in its command: several programs share the image."""
    unless: tuple[str, ...] = ()
    """None of them is in its command: with one, it does not do what matters here."""
    enforces_policies: bool = False
    """Whether it enforces network policies."""
    since: str | None = None
    """The first tag of its image that does, where tags are days, such as v20240723; None: all do."""


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """How network policies come to be enforced by a distribution.

    With `annotation` it has a controller within itself, which the argument `off` of a server turns off; the annotation
    of each node has the arguments, as JSON.
    """

    remedy: str
    """What to do where nothing enforces them."""
    annotation: str | None = None
    off: str | None = None


@cache
def known() -> tuple[str, ...]:
    """The distributions that have a fixture."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def cluster(distribution: str) -> list[Object]:
    """The objects of a distribution's fixture, for the caller to change. Raises KeyError for one without a fixture."""
    if distribution not in known():
        raise KeyError(f"there is no cluster of {distribution}, only of {', '.join(known())}")
    return copy.deepcopy(_parsed(distribution))


def hardware(gpus: Iterable[NodeGpus]) -> str:
    """The value of a node's annotation with these GPUs, from which `gpus_of` reads them."""
    return json.dumps([asdict(one) for one in gpus])


def gpus_of(node: Mapping[str, Any]) -> list[NodeGpus]:
    """The GPUs in a node of a fixture, by its annotation. Feature discovery makes labels of them."""
    annotations = node["metadata"].get("annotations", {})
    return [NodeGpus(**gpus) for gpus in json.loads(annotations.get(HARDWARE, "[]"))]


@cache
def containerd(distribution: str) -> ContainerdPaths:
    """Where a distribution has its containerd. Raises KeyError for a distribution that nobody looked up."""
    facts = read("clusters/containerd.json")["distributions"][distribution]
    return ContainerdPaths(
        config=facts["config"],
        template=facts["template"],
        socket=facts["socket"],
        toolkit=facts["toolkit"],
        driver_root=facts.get("driverRoot", "/"),
        makes_runtime_class=facts["makesRuntimeClass"],
        hint=facts["hint"],
    )


@cache
def shares(provisioner: str) -> bool | None:
    """Whether several nodes can mount a provisioner's volumes (ReadWriteMany). None: not known."""
    known_provisioners = read("clusters/provisioners.json")["provisioners"]
    for pattern, facts in known_provisioners.items():
        if fnmatch.fnmatchcase(provisioner, pattern):
            return facts["shares"]
    return None


@cache
def kubernetes_range() -> tuple[str, str]:
    """The oldest and the newest minor version that an existing cluster may have, such as 1.32."""
    facts = read("clusters/kubernetes.json")
    return facts["oldest"], facts["newest"]


@cache
def evidence() -> Mapping[str, Evidence]:
    """What tells distributions apart, by distribution."""
    return {
        name: Evidence(**{**facts, "keys": tuple(facts.get("keys", ()))})
        for name, facts in read("clusters/evidence.json")["distributions"].items()
    }


@cache
def programs() -> Mapping[str, KnownProgram]:
    """The programs that matter to a stack, by their short names; the first that fits a container counts."""
    return {
        name: KnownProgram(
            title=facts["title"],
            images=tuple(facts["images"]),
            words=tuple(facts.get("words", ())),
            unless=tuple(facts.get("unless", ())),
            enforces_policies=facts.get("enforcesPolicies", False),
            since=facts.get("since"),
        )
        for name, facts in read("clusters/programs.json")["programs"].items()
    }


@cache
def network_policies(distribution: str) -> PolicyFacts:
    """How a distribution enforces network policies. Raises KeyError for a distribution that nobody looked up."""
    facts = read("clusters/network_policies.json")["distributions"][distribution]
    return PolicyFacts(remedy=facts["remedy"], **facts.get("builtIn", {}))


@cache
def _parsed(distribution: str) -> list[Object]:
    import yaml  # noqa: PLC0415 (the program itself reads no fixture)

    return list(yaml.safe_load_all((FOLDER / f"{distribution}.yaml").read_text(encoding="utf-8")))
