"""What is left after a destroy: in the state, in the simulated AWS, in Kubernetes, and among the processes.

AWS and Kubernetes are listed as a person would do it. What existed before the stack (the default VPC, the system
namespaces) does not count. Neither do KMS keys that are scheduled for deletion and terminated instances.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError

import boto3
import botocore.session

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.workspace import ACCESS_KEY, SECRET_KEY
from reports import account
from reports.services import LISTINGS


@dataclass(frozen=True)
class Left:
    """The names of what is left, by place."""

    state: list[str] = field(default_factory=list)
    aws: list[str] = field(default_factory=list)
    kubernetes: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.state or self.aws or self.kubernetes or self.processes)

    def as_json(self) -> dict[str, Any]:
        """A number for each place, and the names."""
        names = {"state": self.state, "aws": self.aws, "kubernetes": self.kubernetes, "processes": self.processes}
        return {**{place: len(found) for place, found in names.items()}, "names": names}


# botocore's session variables, as (key in a profile, environment variable, default, conversion). This process runs in
# the user's environment, and must not use the user's variables and files.
_IGNORE_USER_SETTINGS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "ca_bundle": (None, None, None, None),
    "use_fips_endpoint": (None, None, False, None),
    "use_dualstack_endpoint": (None, None, False, None),
}


class Account(account.Account):
    """The simulated AWS account, listed like a real one."""

    def __init__(self, url: str, region: str) -> None:
        session = boto3.Session(
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name=region,
            botocore_session=botocore.session.Session(_IGNORE_USER_SETTINGS),
        )
        super().__init__(session, url)

    def holdings(self) -> set[str]:
        """Everything in the account, as `service kind id`, except what is scheduled for deletion."""
        listed = (item for listing in LISTINGS for item in listing.held(self))
        return {str(item) for item in listed if not item.is_gone and not item.is_scheduled}


# Objects that leave costs behind, or block a destroy, if they are not removed in order. By kind, with the API path.
_KUBERNETES = {
    "Node": "/api/v1/nodes",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "PersistentVolumeClaim": "/api/v1/persistentvolumeclaims",
    "Service": "/api/v1/services",
    "Namespace": "/api/v1/namespaces",
    "Secret": "/api/v1/secrets",
    "TargetGroupBinding": "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings",
    "NodePool": "/apis/karpenter.sh/v1/nodepools",
    "NodeClaim": "/apis/karpenter.sh/v1/nodeclaims",
    "NodeOverlay": "/apis/karpenter.sh/v1alpha1/nodeoverlays",
    "EC2NodeClass": "/apis/karpenter.k8s.aws/v1/ec2nodeclasses",
}


def kubernetes_objects(plane: ControlPlane) -> set[str]:
    """The objects in the cluster that a destroy must remove one by one, as `Kind namespace/name`."""
    found = set()
    for kind, path in _KUBERNETES.items():
        try:
            items = plane.request("GET", path)["items"]
        except HTTPError as error:
            if error.code != 404:  # a kind whose CRD is gone has no objects
                raise
            continue
        for item in items:
            metadata = item["metadata"]
            place = f"{metadata['namespace']}/" if "namespace" in metadata else ""
            found.add(f"{kind} {place}{metadata['name']}")
    return found


def state_names(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The resources of a state, by type and logical name."""
    return [f"{resource['type']} {resource['urn'].rpartition('::')[2]}" for resource in resources]
