"""EC2NodeClasses as Karpenter's AWS half treats them: resolved in the simulated AWS, kept while in use, then finalized.

A class that finds no subnet, security group or image is not ready, and Karpenter makes no node of it. Each has a
KWOKNodeClass of its name, as ready as itself, which is the one that Karpenter's KWOK provider asks.
Modelled on karpenter-provider-aws v1, pkg/controllers/nodeclass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from botocore.exceptions import ClientError

import contracts
from rehearsal.controllers.instance_types import GPU_COUNT
from rehearsal.controllers.world import EC2_NODE_CLASSES, KWOK_NODE_CLASSES, NODE_CLAIMS, Object, World, place, place_of

FINALIZER = "karpenter.k8s.aws/termination"

# What is looked up on AWS: another value changes nodes only when it finds something else.
_SELECTORS = ("subnetSelectorTerms", "securityGroupSelectorTerms", "capacityReservationSelectorTerms")
# How each family calls its images: the SSM parameters for a Kubernetes version, by what the label filter of a node is.
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}
_AL2023 = "/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{arch}/{variant}/recommended/image_id"
_BOTTLEROCKET = "/aws/service/bottlerocket/aws-k8s-{version}{suffix}/{arch}/latest/image_id"


class Switch(Protocol):
    """What says whether Karpenter runs."""

    @property
    def running(self) -> bool:
        """Whether it does."""
        ...


class NodeClasses:
    """Resolves EC2NodeClasses, and lets a deleted one go once no NodeClaim and no instance is left of it."""

    def __init__(self, karpenter: Switch) -> None:
        self._karpenter = karpenter

    def reconcile(self, world: World) -> None:
        """Looks at every class, while Karpenter runs."""
        if not self._karpenter.running:
            return
        for node_class in world.listed(EC2_NODE_CLASSES):
            if "deletionTimestamp" in node_class["metadata"]:
                self._finalize(world, node_class)
            else:
                self._resolve(world, node_class)

    def _resolve(self, world: World, node_class: Object) -> None:
        path = place_of(EC2_NODE_CLASSES, node_class)
        finalizers = node_class["metadata"].get("finalizers", [])
        if FINALIZER not in finalizers:
            world.kubernetes.patch(path, {"metadata": {"finalizers": [*finalizers, FINALIZER]}})
        status = node_class.get("status", {})
        if not is_current(node_class):
            status = resolve(world, node_class)
            world.kubernetes.patch(f"{path}/status", {"status": status})
        name, ready = node_class["metadata"]["name"], condition_of(status, "Ready")
        live = next((one for one in world.listed(KWOK_NODE_CLASSES) if one["metadata"]["name"] == name), None)
        if live is None:
            made = {
                "apiVersion": "karpenter.kwok.sh/v1alpha1",
                "kind": "KWOKNodeClass",
                "metadata": {"name": name, "ownerReferences": [owned_by(node_class)]},
                "spec": {},
            }
            live = world.kubernetes.apply(place(KWOK_NODE_CLASSES, name), made)
        if condition_of(live["status"], "Ready") != ready:
            world.kubernetes.patch(f"{place(KWOK_NODE_CLASSES, name)}/status", {"status": {"conditions": [ready]}})

    def _finalize(self, world: World, node_class: Object) -> None:
        metadata = node_class["metadata"]
        if FINALIZER not in metadata.get("finalizers", []):
            return
        name = metadata["name"]
        used = any(claim["spec"]["nodeClassRef"]["name"] == name for claim in world.listed(NODE_CLAIMS))
        if used or list(class_instances(world, name)):
            return
        profile = node_class.get("status", {}).get("instanceProfile")
        if profile and "role" in node_class["spec"]:
            _delete_profile(world, profile, node_class["spec"]["role"])
        left = [one for one in metadata["finalizers"] if one != FINALIZER]
        world.kubernetes.patch(place_of(EC2_NODE_CLASSES, node_class), {"metadata": {"finalizers": left}})


def class_instances(world: World, node_class: str) -> Iterable[Mapping[str, Any]]:
    """The instances of a class that are not terminated."""
    filters = [
        {"Name": "tag:karpenter.k8s.aws/ec2nodeclass", "Values": [node_class]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "shutting-down", "stopping", "stopped"]},
    ]
    pages = world.aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return (one for page in pages for group in page["Reservations"] for one in group["Instances"])


def drift_hash(node_class: Object) -> str:
    """A word that changes when the nodes of a class are out of date: with any field but what is merely looked up."""
    fields = {key: value for key, value in node_class["spec"].items() if key not in _SELECTORS}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def owned_by(owner: Object) -> dict[str, Any]:
    """A reference with which a foreground deletion of `owner` waits for what carries it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": True,
    }


def condition_of(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of that type in an object's status."""
    return next((one for one in status.get("conditions") or [] if one["type"] == kind), None)


def is_current(node_class: Object) -> bool:
    """Whether the status is that of the present spec, and good; one that found nothing is looked up again."""
    ready = condition_of(node_class.get("status", {}), "Ready")
    generation = node_class["metadata"]["generation"]
    return bool(ready and ready["status"] == "True" and ready.get("observedGeneration") == generation)


def resolve(world: World, node_class: Object) -> dict[str, Any]:
    """The status of a class: what its selectors find, its instance profile, and a condition for each."""
    spec = node_class["spec"]
    subnets = _find(world, "subnets", spec.get("subnetSelectorTerms", []))
    groups = _find(world, "security_groups", spec.get("securityGroupSelectorTerms", []))
    amis = _amis(world, spec["amiSelectorTerms"])
    profile, why_not = _profile(world, node_class)
    findings = {
        "SubnetsReady": None if subnets else ("SubnetsNotFound", "SubnetSelector did not match any Subnets"),
        "SecurityGroupsReady": None
        if groups
        else ("SecurityGroupsNotFound", "SecurityGroupSelector did not match any SecurityGroups"),
        "AMIsReady": None if amis else ("AMINotFound", "AMISelector did not match any AMIs"),
        "InstanceProfileReady": None if profile else ("InstanceProfileNotReady", why_not),
    }
    return {
        "subnets": [
            {"id": one["SubnetId"], "zone": one["AvailabilityZone"], "zoneID": one["AvailabilityZoneId"]}
            for one in subnets
        ],
        "securityGroups": [{"id": one["GroupId"], "name": one["GroupName"]} for one in groups],
        "amis": amis,
        "instanceProfile": profile,
        "conditions": conditions(findings, node_class["metadata"]["generation"]),
    }


def conditions(findings: Mapping[str, tuple[str, str] | None], generation: int) -> list[dict[str, Any]]:
    """A condition for each finding (None where all is well, else reason and message), and `Ready` for all of them."""
    failed = {kind: why for kind, why in findings.items() if why}
    summary = ("UnhealthyDependents", ", ".join(f"{kind}=False" for kind in failed)) if failed else None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        {
            "type": kind,
            "status": "False" if why else "True",
            "reason": why[0] if why else kind,
            "message": why[1] if why else "",
            "lastTransitionTime": now,
            "observedGeneration": generation,
        }
        for kind, why in {**findings, "Ready": summary}.items()
    ]


def filters_of(term: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A selector term in the form of EC2's filters; `*` stands for any value of a tag."""
    filters = [
        {"Name": "tag-key", "Values": [key]} if value == "*" else {"Name": f"tag:{key}", "Values": [value]}
        for key, value in term.get("tags", {}).items()
    ]
    return [*filters, *([{"Name": "group-name", "Values": [term["name"]]}] if "name" in term else [])]


def _find(world: World, what: str, terms: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The subnets or security groups that any of the terms names, by id or by tags."""
    ec2 = world.aws.client("ec2")
    answer, key, by_id = {
        "subnets": ("Subnets", "SubnetId", "subnet-id"),
        "security_groups": ("SecurityGroups", "GroupId", "group-id"),
    }[what]
    found: dict[str, dict[str, Any]] = {}
    for term in terms:
        filters = [{"Name": by_id, "Values": [term["id"]]}] if "id" in term else filters_of(term)
        for one in getattr(ec2, f"describe_{what}")(Filters=filters)[answer]:
            found[one[key]] = one
    return list(found.values())


def _amis(world: World, terms: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The images of an alias. The simulated AWS has one release of each, which stands for every pinned one."""
    (cluster,) = world.aws.clusters()
    version = world.aws.client("eks").describe_cluster(name=cluster)["cluster"]["version"]
    found = []
    for term in terms:
        family, _, release = term.get("alias", "").partition("@")
        if not contracts.node_images().is_for(term.get("alias", ""), version):
            continue  # no image of that release for the cluster's version
        for architecture, arch in _ARCHITECTURES.items():
            for gpu in (False, True):
                if family == "al2023":
                    parameter = _AL2023.format(version=version, arch=arch, variant="nvidia" if gpu else "standard")
                elif family == "bottlerocket":
                    parameter = _BOTTLEROCKET.format(version=version, arch=arch, suffix="-nvidia" if gpu else "")
                else:
                    continue
                requirements = [
                    {"key": "kubernetes.io/arch", "operator": "In", "values": [architecture]},
                    {"key": GPU_COUNT, "operator": "Exists" if gpu else "DoesNotExist"},
                ]
                if id := _parameter(world, parameter):
                    name = f"{family}-{architecture}{'-nvidia' if gpu else ''}-{release}"
                    found.append({"id": id, "name": name, "requirements": requirements})
    return found


def _parameter(world: World, name: str) -> str | None:
    try:
        return world.aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        return None


def _profile(world: World, node_class: Object) -> tuple[str, str]:
    """The instance profile and, where there is none, why. Karpenter makes one of the class's role."""
    spec, metadata = node_class["spec"], node_class["metadata"]
    iam = world.aws.client("iam")
    if "instanceProfile" in spec:
        try:
            iam.get_instance_profile(InstanceProfileName=spec["instanceProfile"])
        except ClientError as error:
            return "", str(error)
        return spec["instanceProfile"], ""
    (cluster,) = world.aws.clusters()
    name = f"{cluster}_{hashlib.sha256((world.region + metadata['name']).encode()).hexdigest()[:20]}"
    tags = {
        f"kubernetes.io/cluster/{cluster}": "owned",
        "eks:eks-cluster-name": cluster,
        "karpenter.k8s.aws/ec2nodeclass": metadata["name"],
        "topology.kubernetes.io/region": world.region,
        **spec.get("tags", {}),
    }
    try:
        iam.create_instance_profile(
            InstanceProfileName=name, Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
    try:
        profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        if not profile["Roles"]:
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=spec["role"])
    except ClientError as error:
        return "", str(error)
    return name, ""


def _delete_profile(world: World, name: str, role: str) -> None:
    iam = world.aws.client("iam")
    for call, arguments in (
        (iam.remove_role_from_instance_profile, {"RoleName": role}),
        (iam.delete_instance_profile, {}),
    ):
        try:
            call(InstanceProfileName=name, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise
