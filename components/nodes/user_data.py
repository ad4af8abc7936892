"""User data of nodes: what a pool needs of its image in addition to Karpenter's own user data.

Karpenter merges the two.

AL2023 reads a NodeConfig (awslabs/amazon-eks-ami, nodeadm), and runs a script once, before kubelet's first start,
because its nodeadm-run.service runs after cloud-final.service. Bottlerocket reads its settings as TOML.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml

import contracts
from components.nodes.gpu_sharing import bottlerocket_settings
from settings.pools.gpu_fitting import placements

if TYPE_CHECKING:
    from settings import NodePool


# This is a service and not only a script: MIG slices are lost at a restart, and user data scripts run once. An A100
# needs a reset to change its mode, which an instance cannot do, so the instance reboots once. Kubelet waits for the
# service, so the device plugin finds the slices when it starts, and mig-manager finds its configuration applied and
# changes nothing (NVIDIA/mig-parted, v0.15.0, pkg/mig/reconfigure). If this service fails, mig-manager makes the
# slices.
_MIG = """\
cat > /usr/local/sbin/gpulab-mig <<'END'
#!/bin/bash
for _ in $(seq 60); do nvidia-smi -L && break; sleep 2; done
nvidia-smi -mig 1
modes=$(nvidia-smi --query-gpu=mig.mode.current --format=csv,noheader)
if [[ $modes == *Disabled* && ! -e /var/lib/gpulab-mig-mode ]]; then
  touch /var/lib/gpulab-mig-mode
  systemctl reboot
  sleep infinity
fi
nvidia-smi mig -cgi {slices} -C
nvidia-smi -L  # makes the slices' device nodes
END
chmod 755 /usr/local/sbin/gpulab-mig
cat > /etc/systemd/system/gpulab-mig.service <<'END'
[Unit]
Description=Partitions the GPUs before kubelet starts
After=nvidia-kmod-load.service nvidia-persistenced.service nvidia-fabricmanager.service
Before=nodeadm-run.service kubelet.service
[Service]
Type=oneshot
RemainAfterExit=true
ExecStart=/usr/local/sbin/gpulab-mig
[Install]
WantedBy=multi-user.target
END
systemctl enable --now gpulab-mig.service
"""

# Unless this is off, NVIDIA's runtime, which is containerd's default there (nodeadm, v20260714), gives every GPU of the
# node to a container whose image sets NVIDIA_VISIBLE_DEVICES=all. Containers that request GPUs get them through CDI.
# The GPU Operator's DaemonSets, which must see all GPUs, are privileged, so they still do
# (NVIDIA/nvidia-container-toolkit, v1.19.1, internal/config/image). On Bottlerocket it is off by default.
GPUS_BY_REQUEST = """\
nvidia-ctk config --in-place --config-file=/etc/nvidia-container-runtime/config.toml \\
  --set accept-nvidia-visible-devices-envvar-when-unprivileged=false
"""

_SHELL = "#!/bin/bash\n"
_BOUNDARY = "//"


def user_data(pool: NodePool) -> str | None:
    """The `userData` of the pool's EC2NodeClass; None if Karpenter's own is enough."""
    if pool.ami.family == "Bottlerocket":
        settings = bottlerocket_settings(pool)
        return _toml("settings.kubelet-device-plugins.nvidia", settings) if settings else None
    if not pool.is_gpu:
        return None
    script = [_SHELL, GPUS_BY_REQUEST, *([partitioning(pool)] if pool.gpu.sharing == "mig" else [])]
    parts = {"text/x-shellscript": "".join(script)}
    if pulls_in_parallel(pool):
        gates = {"featureGates": {"FastImagePull": True}}
        config = {"apiVersion": "node.eks.aws/v1alpha1", "kind": "NodeConfig", "spec": gates}
        parts["application/node.eks.aws"] = yaml.safe_dump(config, sort_keys=False)
    # Without the part's type, Karpenter would read a script that is also valid YAML as a NodeConfig (v1.14.1,
    # nodeadm.go).
    return _multipart(parts)


def partitioning(pool: NodePool) -> str:
    """The script that makes the pool's MIG slices on all GPUs at each start of a node, at fixed positions."""
    gpu = next(filter(None, map(contracts.mig_gpu, pool.instance_types)))
    slices = placements(pool.mig_slices, gpu) or ()
    return _MIG.replace("{slices}", ",".join(f"{profile}:{start}" for profile, start in slices))


def _multipart(parts: Mapping[str, str]) -> str:
    """A MIME document with these parts, by their types."""
    head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{_BOUNDARY}"\n\n'
    body = (f"--{_BOUNDARY}\nContent-Type: {kind}\n\n{text}\n" for kind, text in parts.items())
    return f"{head}{''.join(body)}--{_BOUNDARY}--\n"


def pulls_in_parallel(pool: NodePool) -> bool:
    """Whether nodes pull images in parallel with SOCI, onto their NVMe disks."""
    return pool.gpu.image_cache is not None and pool.gpu.image_cache.method == "soci"


def _toml(name: str, table: Mapping[str, Any]) -> str:
    """A TOML document with one table and its nested tables."""
    return "\n".join(_tables(name, table)) + "\n"


def _tables(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    # JSON's text, whole numbers and booleans are also valid TOML.
    yield from (f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items() if not _is_table(value))
    for key, value in table.items():
        if _is_table(value):
            yield from _tables(f"{name}.{key}", value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)
