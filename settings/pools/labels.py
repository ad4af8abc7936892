"""Labels and taints of nodes: which keys and values a stack file may set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from settings.language.section import Section
from settings.language.values import Check, matching

# Labels and taints in these domains and their subdomains are set by Kubernetes, EKS, Karpenter, NVIDIA or the platform.
_RESERVED_DOMAINS = (
    "kubernetes.io",
    "k8s.io",
    "karpenter.sh",
    "karpenter.k8s.aws",
    "eks.amazonaws.com",
    "nvidia.com",
    "gpulab.dev",
)
_RESERVED_KEYS = ("CriticalAddonsOnly",)

POOL_LABEL = "gpulab.dev/pool"
"""The label of every node that the platform makes, or that the stack file names, with the name of its pool."""
PRODUCT_LABEL, MEMORY_LABEL, COUNT_LABEL = (f"nvidia.com/gpu.{what}" for what in ("product", "memory", "count"))
"""The labels of NVIDIA's feature discovery: the product of a node's GPUs, the MiB of one, and how many there are."""
DEVICE_PLUGIN_CONFIG_LABEL = "nvidia.com/device-plugin.config"
"""The label that selects the device plugin's configuration for a node."""
MIG_CONFIG_LABEL = "nvidia.com/mig.config"
"""The label that selects how the GPU Operator partitions the GPUs of a node."""
MARKS_ANNOTATION = "gpulab.dev/marks"
"""On a node that the stack file names: the stack, and the labels and taints that it has set there, as JSON."""

# contracts/crds/nodepools.karpenter.sh.json
_QUALIFIED_NAME = (
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
)
LONGEST_LABEL_VALUE = 63
LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"


def _not_reserved(key: str) -> str:
    domain, slash, name = key.rpartition("/")
    if len(name) > 63 or len(domain) > 253:
        raise ValueError("is too long: 253 characters before the slash and 63 after it at most")
    if key in _RESERVED_KEYS or (
        slash and any(f".{domain}".endswith(f".{reserved}") for reserved in _RESERVED_DOMAINS)
    ):
        raise ValueError("is reserved: Kubernetes, Karpenter or the platform sets it; use a domain of your own")
    return key


def _label_value(value: str) -> str:
    if len(value) > LONGEST_LABEL_VALUE:
        raise ValueError(f"is too long: {len(value)} characters, {LONGEST_LABEL_VALUE} at most")
    return value


Key = Annotated[
    str,
    matching(_QUALIFIED_NAME, "a key such as example.com/team: letters, digits, - _ . and a domain in front"),
    Check(_not_reserved),
]
AnyKey = Annotated[str, matching(_QUALIFIED_NAME, "the key of a label")]
"""The key of a label or taint that nodes have already, whoever set it."""
LabelValue = Annotated[
    str,
    matching(LABEL_VALUE, "letters, digits, - _ and ., with a letter or digit first and last"),
    Check(_label_value),
]


class Taint(Section):
    """A taint: pods that do not tolerate it stay off the node."""

    key: Key = Field(description="Key, such as example.com/team.")
    value: Annotated[str, matching(_QUALIFIED_NAME, "letters, digits, - _ and .")] | None = Field(
        default=None, description="Value."
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] = Field(
        description="What happens to pods that do not tolerate the taint."
    )


class SiteTaint(Taint):
    """A taint of nodes that are there, whoever set it."""

    key: AnyKey = Field(description="Key, such as nvidia.com/gpu.")
