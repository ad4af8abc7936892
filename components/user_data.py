"""User data of nodes: what a pool asks of its image beyond what Karpenter writes, which merges the two.

AL2023 reads a NodeConfig (awslabs/amazon-eks-ami, nodeadm), and runs a script before kubelet first starts, as its
nodeadm-run.service comes after cloud-final.service. Bottlerocket reads its settings as TOML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

from components.gpu_sharing import bottlerocket_settings

if TYPE_CHECKING:
    from settings import NodePool


# An A100 needs a reset to change its mode, which an instance cannot do: it starts anew, once. So the node joins with
# its GPUs in MIG mode, and mig-manager makes the slices, for which nothing has to stop. It retries what fails here.
MIG_MODE = """\
#!/bin/bash
for _ in $(seq 60); do nvidia-smi -L && break; sleep 2; done
nvidia-smi -mig 1
modes=$(nvidia-smi --query-gpu=mig.mode.current --format=csv,noheader)
if [[ $modes == *Disabled* && ! -e /var/lib/gpulab-mig-mode ]]; then
  touch /var/lib/gpulab-mig-mode
  systemctl reboot
  sleep infinity
fi
"""

_BOUNDARY = "//"


def user_data(pool: NodePool) -> str | None:
    """The `userData` of the pool's EC2NodeClass; None where Karpenter's own says it all."""
    if pool.ami.family == "Bottlerocket":
        settings = bottlerocket_settings(pool)
        return _toml("settings.kubelet-device-plugins.nvidia", settings) if settings else None
    parts: dict[str, str] = {}
    if pool.gpu.sharing == "mig":
        parts["text/x-shellscript"] = MIG_MODE
    if pulls_in_parallel(pool):
        gates = {"featureGates": {"FastImagePull": True}}
        config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": gates}
        parts["application/node.eks.aws"] = yaml.safe_dump(config, sort_keys=False)
    # Karpenter knows a script and a NodeConfig when it sees one, and takes several as MIME.
    return next(iter(parts.values()), None) if len(parts) < 2 else _multipart(parts)


def _multipart(parts: Mapping[str, str]) -> str:
    """A MIME document of parts by their types."""
    head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
    body = (f"--{_BOUNDARY}\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts.items())
    return f"{head}{''.join(body)}--{_BOUNDARY}--\n"


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
