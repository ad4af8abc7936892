"""User data of nodes: what a pool asks of its image beyond what Karpenter writes, which merges the two.

AL2023 reads a NodeConfig (awslabs/amazon-eks-ami, nodeadm), Bottlerocket its settings as TOML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from components.gpu_sharing import bottlerocket_settings

if TYPE_CHECKING:
    from settings import NodePool


def user_data(pool: NodePool) -> str | None:
    """The `userData` of the pool's EC2NodeClass; None where Karpenter's own says it all."""
    if pool.ami.family == "Bottlerocket":
        settings = bottlerocket_settings(pool)
        return _toml("settings.kubelet-device-plugins.nvidia", settings) if settings else None
    if pulls_in_parallel(pool):
        gates = {"featureGates": {"FastImagePull": True}}
        config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": gates}
        return yaml.safe_dump(config, sort_keys=False)
    return None


def pulls_in_parallel(pool: NodePool) -> bool:
    """Whether nodes pull images by SOCI, in parallel, onto their NVMe disks."""
    return pool.gpu.image_cache is not None and pool.gpu.image_cache.method == "soci"


def _toml(name: str, table: Mapping[str, Any]) -> str:
    """A TOML document with one table and those within it."""
    return "\n".join(_tables(name, table)) + "\n"


def _tables(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    # What JSON writes for text, whole numbers and booleans is TOML too.
    yield from (f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if not _is_table(value))
    for key, value in table.items():
        if _is_table(value):
            yield from _tables(f"{name}.{key}", value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)
