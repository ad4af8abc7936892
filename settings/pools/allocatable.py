"""What an instance has for pods: what is left after the hypervisor, kubelet and the pods of every node."""

from __future__ import annotations

from contracts import InstanceType

MEMORY_OVERHEAD = 0.075
"""The share of the memory that Karpenter assigns to the hypervisor (settings.vmMemoryOverheadPercent)."""

# What kubelet on EKS's images reserves for itself and the system (awslabs/amazon-eks-ami, nodeadm, kubelet/config.go).
EVICTION_MIB = 100
_SYSTEM_MIB = 255
_MIB_PER_POD = 11
_CPU_SHARES = ((1, 60), (1, 10), (2, 5))
_CPU_SHARE_BEYOND = 2.5

# What the pods of every node request: VPC CNI 50m, kube-proxy 100m, the CSI drivers' node pods 60m and 240 MiB, and
# some room for the pods of GPU nodes and of monitoring.
_DAEMONS_MILLICORES, _DAEMONS_MIB = 300, 512

# Kubelet's reservation of disk, and the share below which it evicts pods (nodefs.available).
_DISK_RESERVED_GIB, _DISK_EVICTION = 1, 0.10
_IMAGES_GIB = 20


def reserved_mib(instance_type: InstanceType) -> int:
    """MiB that kubelet reserves."""
    return EVICTION_MIB + _SYSTEM_MIB + _MIB_PER_POD * instance_type.max_pods_eni


def reserved_millicores(instance_type: InstanceType) -> int:
    """What kubelet reserves: 6 % of the first core, 1 % of the second, 0.5 % of two more, 0.25 % of the rest."""
    reserved, left = 0.0, instance_type.vcpu
    for cores, millicores in _CPU_SHARES:
        taken = min(cores, left)
        reserved, left = reserved + taken * millicores, left - taken
    return round(reserved + left * _CPU_SHARE_BEYOND)


def vcpu_for_pods(instance_type: InstanceType) -> float:
    """How many vCPUs one pod can have on an instance of the type, beside the pods of every node."""
    return max(0.0, (1000 * instance_type.vcpu - reserved_millicores(instance_type) - _DAEMONS_MILLICORES) / 1000)


def memory_for_pods(instance_type: InstanceType) -> float:
    """GiB that one pod can have on an instance of the type, as Karpenter estimates before it has seen one."""
    usable = instance_type.memory_mib * (1 - MEMORY_OVERHEAD) - reserved_mib(instance_type) - _DAEMONS_MIB
    return max(0.0, usable / 1024)


def disk_for_pods(root_volume: int, nvme: int = 0) -> float:
    """GiB of scratch for one pod on a node: on its NVMe disks if it has some, else on its root volume (both in GiB)."""
    return max(0.0, (nvme or root_volume) * (1 - _DISK_EVICTION) - _DISK_RESERVED_GIB - _IMAGES_GIB)
