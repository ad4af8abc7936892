"""An EKS cluster with everything that belongs to it, and what all requests share."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.eks import responses
from moto.eks.exceptions import EKSError, InvalidParameterException, ResourceInUseException, ResourceNotFoundException
from moto.eks.models import Cluster as MotoCluster
from moto.eks.models import Nodegroup
from moto.iam.models import iam_backends

from contracts import eks
from rehearsal.cloud.versions import versions


class Cluster(MotoCluster):
    """moto's cluster with additional fields. Records have the form of EKS's answers."""

    def __init__(self, **described: Any) -> None:
        super().__init__(**described)
        self.access_config: dict[str, Any] = {}
        self.upgrade_policy: dict[str, Any] = {}
        self.deletion_protection = False
        self.health: dict[str, Any] = {"issues": []}
        self.addons: dict[str, dict[str, Any]] = {}
        self.access_entries: dict[str, AccessEntry] = {}
        self.pod_identity_associations: dict[str, dict[str, Any]] = {}
        self.identity_providers: dict[str, dict[str, Any]] = {}
        self.updates: dict[str, dict[str, Any]] = {}
        self.network_interfaces: list[NetworkInterface] = []
        self.nodes: dict[str, list[Node]] = {}

    @property
    def security_group_id(self) -> str:
        """The security group that EKS made for the control plane and its nodes."""
        return self.resources_vpc_config["clusterSecurityGroupId"]

    def upgrade_if_due(self) -> None:
        """Upgrades the control plane as EKS does automatically with the policy STANDARD when standard support ends."""
        while self.upgrade_policy.get("supportType") == eks.STANDARD:
            newer = eks.newer(self.version)
            if eks.versions()[self.version].is_standard(eks.today()) or newer not in versions():
                return
            self.version = newer
            self.updated("VersionUpdate", {"Version": newer})

    def updated(self, kind: str, params: dict[str, Any], errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Records a finished update of the cluster or of something in it."""
        update = {
            "id": str(uuid.uuid4()),
            "status": "Failed" if errors else "Successful",
            "type": kind,
            "params": [{"type": name, "value": str(value)} for name, value in params.items()],
            "createdAt": utcnow(),
            "errors": errors or [],
        }
        self.updates[update["id"]] = update
        return update


@dataclass
class AccessEntry:
    """Who may use the cluster's API: `entry` as EKS describes it, `policies` by policy ARN."""

    entry: dict[str, Any]
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """An instance of a managed node group and the name of its Kubernetes node."""

    instance_id: str
    name: str


def missing(what: str, **names: str) -> EKSError:
    """EKS's error for something that does not exist."""
    return ResourceNotFoundException(message=what, **names)


def invalid(why: str, **names: str) -> EKSError:
    """EKS's error for an invalid parameter."""
    return InvalidParameterException(message=why, **names)


def in_use(why: str, **names: str) -> EKSError:
    """EKS's error for something that exists already, or that something else needs."""
    return ResourceInUseException(message=why, **names)


class Operations(responses.EKSResponse):
    """What all operations share. `self.params` is the request, parsed with botocore's model of EKS."""

    _one_at_a_time = threading.RLock()

    def __init__(self) -> None:
        super().__init__()
        self.automated_parameter_parsing = True

    def call_action(self) -> Any:
        """Answers one request at a time, because most check first and then change something."""
        with self._one_at_a_time:
            return super().call_action()

    @property
    def ec2(self) -> Any:
        """Moto's EC2 of the request's account and region."""
        return ec2_backends[self.current_account][self.region]

    @property
    def iam(self) -> Any:
        """Moto's IAM of the request's account."""
        return iam_backends[self.current_account][self.eks_backend.partition]

    def parameter(self, name: str, default: Any = None) -> Any:
        """A parameter of the request, or `default` if it is missing."""
        value = self._get_param(name)
        return default if value is None else value

    def cluster(self, parameter: str = "clusterName") -> Cluster:
        """The cluster that the request names."""
        name = self.parameter(parameter)
        cluster = self.eks_backend.clusters.get(name)
        if not isinstance(cluster, Cluster):
            raise missing(f"No cluster found for name: {name}.", clusterName=name)
        cluster.upgrade_if_due()
        return cluster

    def node_group(self, cluster: Cluster) -> Nodegroup:
        """The node group of `cluster` that the request names."""
        name = self.parameter("nodegroupName")
        if name not in cluster.nodegroups:
            raise missing(f"No node group found for name: {name}.", clusterName=cluster.name, nodegroupName=name)
        return cluster.nodegroups[name]

    def arn(self, resource: str) -> str:
        """The ARN of an EKS resource of this account and region."""
        return f"arn:{self.eks_backend.partition}:eks:{self.region}:{self.current_account}:{resource}"
