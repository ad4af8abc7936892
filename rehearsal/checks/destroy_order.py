"""Checks that a destroy deletes each resource before the resources that its deletion needs."""

from __future__ import annotations

import re

from rehearsal.machine.engine import Result
from rehearsal.report import Check

# The order of a destroy, as patterns of `TYPE NAME`: everything that matches the first must be gone before the deletion
# of anything that matches the second begins.
_BEFORE = tuple(
    (re.compile(first), re.compile(then))
    for first, then in (
        (r"v1:NodePool ", r"v1:EC2NodeClass "),
        (r"v1:NodePool ", r":Release .*-karpenter$"),
        (r"v1:EC2NodeClass ", r":Release .*-karpenter$"),
        (r"v1:NodePool ", r":NodeOverlay "),
        (r"apps/v1:Deployment .*-warm-", r"v1:NodePool "),
        (r":Release .*-gpu$", r"v1:NodePool "),
        (r":Release .*-karpenter$", r":Release .*-karpenter-crd$"),
        (r":Release .*-karpenter$", r":PodIdentityAssociation .*-karpenter$"),
        (r":Release .*-karpenter$", r"aws:sqs/queue:Queue "),
        (r":Job ", r":Release .*-keycloak$"),
        (r":Release .*-keycloak$", r"aws:rds/instance:Instance .*-identity-database$"),
        (r":Release .*-hub$", r"aws:rds/instance:Instance .*-hub-database$"),
        # The release of Karpenter's CRDs has no pods.
        (r":Release (?!.*-karpenter-crd$)", r":NodeGroup "),
        (r":PersistentVolumeClaim ", r":VolumeGate "),
        # The volumes for the jobs that measure homes belong to the hub's namespace.
        (r"v1:Namespace .*-team-", r":PersistentVolume (?!.*-hub-homes-)"),
        (r":CronJob .*-hub-homes-", r":PersistentVolumeClaim .*-hub-homes-"),
        (r":PersistentVolumeClaim .*-hub-homes-", r":PersistentVolume .*-hub-homes-"),
        (r"v1:Namespace .*-team-", r":ValidatingAdmissionPolicyBinding "),
        (r"v1:Namespace .*-team-", r":VolumeGate "),
        (r":Release .*-hub$", r":NotebookEnd "),
        (r":Release .*-hub$", r":VolumeGate "),
        (r":NotebookEnd ", r":Namespace .*-team-"),
        (r"postgresql.cnpg.io/v1:Cluster ", r":VolumeGate "),
        (r":VolumeGate ", r"v1:NodePool "),
        (r":VolumeGate ", r":Addon .*-storage-"),
        (r":VolumeGate ", r"aws:efs/mountTarget:MountTarget "),
        (r"v1:NodePool ", r":Addon .*-storage-"),
        (r"v1:EC2NodeClass ", r":Addon .*-storage-"),
        (r"v1:NodePool ", r"aws:efs/mountTarget:MountTarget "),
        (r":Addon .*-storage-", r":NodeGroup "),
        (r":Addon .*-storage-", r":PodIdentityAssociation .*-storage-"),
        (r"v1:NodePool ", r":AccessEntry .*-karpenter"),
        (r":TargetGroupBinding ", r":Release .*-alb-controller$"),
        (r":TargetGroupBinding ", r"aws:lb/targetGroup:TargetGroup "),
        (r":Release .*-alb-controller$", r":PodIdentityAssociation .*-alb-controller$"),
        (r":IdentityProviderConfig ", r":Release .*-keycloak$"),
        (r":IdentityProviderConfig ", r"aws:lb/listenerRule:ListenerRule "),
        (r":SecurityGroupIngressRule .*-alb-open$", r"aws:lb/listenerRule:ListenerRule "),
        (r":NodeGroup ", r":Cluster .*-eksCluster$"),
        (r":NodeGroup ", r"aws:lb/loadBalancer:LoadBalancer "),
        (r"aws:lb/loadBalancer:LoadBalancer ", r":Subnet "),
        (r":NodeGroup ", r":NatGateway "),
        (r":NodeGroup ", r"aws:ec2/instance:Instance "),
        (r":NodeGroup ", r"aws:ec2/eip:Eip "),
        (r":NodeGroup ", r"aws:ec2/route:Route "),
        # EC2 keeps a subnet while something is in it.
        (r":NodeGroup ", r":Subnet "),
        (r":Cluster .*-eksCluster$", r"aws:ec2/vpc:Vpc "),
        (r":Cluster .*-eksCluster$", r"aws:kms/key:Key "),
    )
)


def destroyed_in_order(destroy: Result) -> Check:
    """Whether a destroy deleted each resource before the resources that its deletion needs."""
    name = "the destroy keeps its order"
    wrong = []
    for first, then in _BEFORE:
        deleted = [position for position, step in enumerate(destroy.steps) if first.search(step.name)]
        started = [(step, ended) for step, ended in destroy.begun if then.search(step.name)]
        if not deleted or not started:
            continue  # the stack does not have both
        late = destroy.steps[deleted[-1]].name
        wrong += [
            f"{step.name} was being deleted before {late} was gone" for step, ended in started if ended <= deleted[-1]
        ]
    return Check(name, not wrong, "; ".join(wrong) or f"{len(destroy.steps)} resources, {len(_BEFORE)} order rules")
