"""Custom resources that policies refuse, and the same resources after the policies' own `fix`.

Each policy that asks for a change of such an object has an entry; more than one where the fix depends on the object.
`tests/policies/test_fixes.py` checks both with the schemas in contracts/, and `tests/rehearsal` with an API server,
which also applies CEL rules.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy import PolicyResource

from tests.policies.conftest import kubernetes

Manifest = dict[str, Any]

GPU = "nvidia.com/gpu"
SHARED = "nvidia.com/gpu.shared"
TAINT = {"key": GPU, "value": "true", "effect": "NoSchedule"}
OVERLAY = kubernetes(
    "NodeOverlay",
    {
        "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu"]}],
        "capacity": {GPU: "0", SHARED: "4"},
    },
    api="karpenter.sh/v1alpha1",
)


def requirement(key: str, *values: str) -> Manifest:
    return {"key": key, "operator": "In", "values": list(values)}


def node_pool(*requirements: Manifest, **spec: Any) -> Manifest:
    """A NodePool with what the CRD requires, and more of its spec; `template` has more of its template's."""
    template = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpu"},
        "requirements": list(requirements) or [requirement("karpenter.k8s.aws/instance-family", "g5", "g6")],
        **spec.pop("template", {}),
    }
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": "gpu"},
        "spec": {"template": {"spec": template}, **spec},
    }


def node_class(**spec: Any) -> Manifest:
    """An EC2NodeClass with what the CRD requires, and more of its spec."""
    own = {
        "role": "nodes",
        "amiSelectorTerms": [{"alias": "al2023@v20260810"}],
        "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "x"}}],
        "securityGroupSelectorTerms": [{"tags": {"karpenter.sh/discovery": "x"}}],
        **spec,
    }
    return {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "gpu"}, "spec": own}


@dataclass(frozen=True)
class Fix:
    """A policy, an object that it refuses, and the fields that its fix sets, by their JSON pointers."""

    policy: str
    refused: Manifest
    set: Mapping[str, Any]
    beside: tuple[PolicyResource, ...] = ()
    """What else is in the stack."""
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fixed(self) -> Manifest:
        """The object as the fix makes it."""
        made = copy.deepcopy(self.refused)
        for path, value in self.set.items():
            place: Any = made
            *parents, last = (key.replace("~1", "/") for key in path.split("/"))
            for key in parents:
                place = place[int(key)] if isinstance(place, list) else place.setdefault(key, {})
            if isinstance(place, list):
                place[int(last)] = value
            else:
                place[last] = value
        return made


_TEMPLATE = "spec/template/spec"
_GPU_LIMIT, _SHARED_LIMIT = "spec/limits/nvidia.com~1gpu", "spec/limits/nvidia.com~1gpu.shared"
_VOLUME = {"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi"}}
_FAMILIES = requirement("karpenter.k8s.aws/instance-family", "g5", "g6")
_CAPACITY = "karpenter.sh/capacity-type"
_TYPE = "node.kubernetes.io/instance-type"

_GPU_POOL = node_pool(template={"taints": [TAINT]})

FIXES = [
    Fix("gpu-pool-taint", node_pool(), {f"{_TEMPLATE}/taints": [TAINT]}),
    Fix(
        "gpu-pool-taint-effect",
        node_pool(template={"taints": [{**TAINT, "effect": "PreferNoSchedule"}]}),
        {f"{_TEMPLATE}/taints/0/effect": "NoSchedule"},
    ),
    Fix("node-pool-limits", node_pool(), {_GPU_LIMIT: "8"}),
    Fix("node-pool-limits", node_pool(), {"spec/limits/cpu": "64"}),
    Fix("gpu-pool-gpu-limit", node_pool(limits={"cpu": "64"}), {_GPU_LIMIT: "8"}),
    Fix("shared-pool-limit-resource", node_pool(limits={GPU: "8"}), {_SHARED_LIMIT: "32"}, (OVERLAY,)),
    Fix(
        "notebooks-on-spot-alone",
        node_pool(_FAMILIES, requirement(_CAPACITY, "spot")),
        {f"{_TEMPLATE}/requirements/1": requirement(_CAPACITY, "spot", "on-demand")},
    ),
    Fix(
        "notebook-pool-consolidation",
        node_pool(),
        {"spec/disruption/consolidationPolicy": "WhenEmpty", "spec/disruption/consolidateAfter": "10m"},
    ),
    Fix(
        "notebook-pool-drift-budget",
        node_pool(),
        {
            "spec/disruption/consolidateAfter": "10m",
            "spec/disruption/budgets": [
                {"nodes": "0", "reasons": ["Drifted"], "schedule": "0 6 * * mon-fri", "duration": "16h"}
            ],
        },
    ),
    Fix("notebook-pool-expiry", node_pool(template={"expireAfter": "72h"}), {f"{_TEMPLATE}/expireAfter": "504h"}),
    Fix("notebook-pool-expiry", node_pool(template={"expireAfter": "72h"}), {f"{_TEMPLATE}/expireAfter": "Never"}),
    Fix("node-pool-termination-grace-period", node_pool(), {f"{_TEMPLATE}/terminationGracePeriod": "4h"}),
    Fix(
        "gpu-pool-types",
        node_pool(requirement(_TYPE, "g5.xlarge")),
        {f"{_TEMPLATE}/requirements/0": requirement(_TYPE, "g5.xlarge", "g6.xlarge")},
    ),
    Fix(
        "instance-price",
        node_pool(),
        {
            f"{_TEMPLATE}/requirements": [
                _FAMILIES,
                requirement("karpenter.k8s.aws/instance-size", "xlarge"),
                requirement("karpenter.k8s.aws/instance-gpu-count", "1"),
            ]
        },
        limits={"usdAnHour": 5},
    ),
    Fix(
        "root-volume-size",
        node_class(blockDeviceMappings=[{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "4Ti"}}]),
        {"spec/blockDeviceMappings/0/ebs/volumeSize": "200Gi"},
    ),
    Fix(
        "ebs-encryption",
        node_class(blockDeviceMappings=[_VOLUME]),
        {"spec/blockDeviceMappings/0/ebs/encrypted": True},
    ),
    Fix(
        "instance-metadata-v1",
        node_class(metadataOptions={"httpTokens": "optional"}),
        {"spec/metadataOptions/httpTokens": "required"},
    ),
    Fix(
        "instance-metadata-hop-limit",
        node_class(metadataOptions={"httpPutResponseHopLimit": 2}),
        {"spec/metadataOptions/httpPutResponseHopLimit": 1},
    ),
    Fix(
        "gpu-node-visible-devices",
        node_class(),
        {
            "spec/userData": "nvidia-ctk config --in-place --set "
            "accept-nvidia-visible-devices-envvar-when-unprivileged=false"
        },
        (kubernetes("NodePool", _GPU_POOL["spec"], api="karpenter.sh/v1", metadata={"name": "gpu"}),),
    ),
    Fix(
        "unpinned-node-image",
        node_class(amiSelectorTerms=[{"alias": "al2023@latest"}]),
        {"spec/amiSelectorTerms/0/alias": "al2023@v20260810"},
    ),
    Fix(
        "unpinned-node-image",
        node_class(amiSelectorTerms=[{"alias": "windows2022@latest"}]),
        {"spec/amiSelectorTerms": [{"id": "ami-0123456789abcdef0"}], "spec/amiFamily": "Windows2022"},
    ),
]

STATIC_POOL = node_pool(replicas=2, limits={"nodes": "3"}, template={"taints": [TAINT]})
"""A pool with a fixed number of nodes, for which Karpenter's CRD does not allow resource limits."""
