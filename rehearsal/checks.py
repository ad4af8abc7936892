"""What has to hold while a rehearsed stack is up. Each check looks at the running parts, not at the program."""

from __future__ import annotations

import base64
import json
import re
import shlex
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil
import yaml

from settings import Settings

from .control_plane import ControlPlane
from .controllers.twins import is_twin
from .engine import Result
from .leftovers import Account
from .processes import describe, marked
from .report import Check
from .workspace import ACCESS_KEY, Workspace

_KUBECONFIG_OUTPUT = "kubeconfig"
# Where tools of the user's would look for state and credentials.
_USERS_VARIABLES = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE")

Value = TypeVar("Value")


@dataclass(frozen=True)
class Subject:
    """A stack that is up: what was asked for, what the engine holds, and where to look."""

    settings: Settings
    workspace: Workspace
    folder: Path
    session_id: str
    resources: list[dict[str, Any]]
    outputs: Mapping[str, Any]
    account: Account
    aws_url: str
    plane: ControlPlane


class DoesNotHold(Exception):
    """A check's finding."""


class NotTried(Exception):
    """Why a check can't be made of this stack; it has neither held nor failed."""


def require(holds: bool, finding: str) -> None:
    """Raises DoesNotHold with the finding, unless the condition holds."""
    if not holds:
        raise DoesNotHold(finding)


def required(value: Value | None, finding: str) -> Value:
    """The value, which has to be there: raises DoesNotHold with the finding for None."""
    require(value is not None, finding)
    return cast("Value", value)


def outcome(name: str, check: Callable[[], str]) -> Check:
    """What a check finds; one that breaks has not held."""
    try:
        return Check(name, True, check())
    except NotTried as reason:
        return Check(name, None, str(reason))
    except DoesNotHold as finding:
        return Check(name, False, str(finding))
    except Exception as error:  # whatever it was, it must not end the rehearsal without a destroy
        return Check(name, False, f"{type(error).__name__}: {error}")


def run_all(subject: Subject, checks: Mapping[str, Callable[[Subject], str]]) -> list[Check]:
    """Every check's result, in their order."""
    return [outcome(name, lambda check=check: check(subject)) for name, check in checks.items()]


def aws_calls(url: str) -> dict[str, Any]:
    """The calls that the simulated AWS heard so far, see `rehearsal.aws.calls`."""
    with urllib.request.urlopen(f"{url}/gpulab/calls", timeout=30) as answer:
        return json.load(answer)


def crds_admit_pools(subject: Subject) -> str:
    """Each pool of the stack file is a NodePool and an EC2NodeClass that the real CRDs admitted."""
    pools = set(subject.settings.node_pools)
    found = {
        # The pools' twins are the rehearsal's.
        kind: {item["metadata"]["name"] for item in subject.plane.request("GET", path)["items"] if not is_twin(item)}
        for kind, path in {
            "NodePool": "/apis/karpenter.sh/v1/nodepools",
            "EC2NodeClass": "/apis/karpenter.k8s.aws/v1/ec2nodeclasses",
        }.items()
    }
    for kind, names in found.items():
        require(names == pools, f"{kind}s in the cluster: {sorted(names)}; pools in the stack file: {sorted(pools)}")
    return f"{len(pools)} NodePools and {len(pools)} EC2NodeClasses: {', '.join(sorted(pools))}"


def kubernetes_is_the_stacks(subject: Subject) -> str:
    """The API server is of the stack's own version, and EKS and the system nodes' image are, too."""
    wanted = subject.settings.cluster
    served = subject.plane.request("GET", "/version")["gitVersion"]
    require(served.startswith(f"v{wanted.version}."), f"the API server is {served}, not {wanted.version}")
    eks = subject.account.client("eks")
    cluster = eks.describe_cluster(name=wanted.name)["cluster"]
    require(cluster["version"] == wanted.version, f"EKS has {cluster['version']}, not {wanted.version}")
    policy = cluster["upgradePolicy"]["supportType"]
    require(policy == wanted.upgrade_policy, f"the upgrade policy is {policy}, not {wanted.upgrade_policy}")
    (group,) = eks.list_nodegroups(clusterName=wanted.name)["nodegroups"]
    release = eks.describe_nodegroup(clusterName=wanted.name, nodegroupName=group)["nodegroup"]["releaseVersion"]
    require(release == wanted.node_release, f"the system nodes' image is {release}, not {wanted.node_release}")
    return f"{served}, upgrade policy {policy}, image of the system nodes {release}"


def system_nodes_exist(subject: Subject) -> str:
    """The system nodes are ready, tainted, in more than one zone, and each is a running instance in AWS."""
    selector = "/api/v1/nodes?labelSelector=eks.amazonaws.com%2Fnodegroup"
    nodes = subject.plane.request("GET", selector)["items"]
    wanted = subject.settings.cluster.system_nodes.count
    require(len(nodes) == wanted, f"{len(nodes)} nodes of the system node group, {wanted} are asked for")
    for node in nodes:
        name = node["metadata"]["name"]
        ready = {one["type"]: one["status"] for one in node["status"].get("conditions", [])}.get("Ready")
        require(ready == "True", f"node {name} is not ready")
        taints = {taint["key"] for taint in node["spec"].get("taints", [])}
        require("CriticalAddonsOnly" in taints, f"node {name} lacks the taint CriticalAddonsOnly")
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    require(len(zones) > 1, f"all system nodes are in {', '.join(zones)}")
    instances = [node["spec"]["providerID"].rpartition("/")[2] for node in nodes]
    reservations = subject.account.client("ec2").describe_instances(InstanceIds=instances)["Reservations"]
    running = [one for group in reservations for one in group["Instances"] if one["State"]["Name"] == "running"]
    require(len(running) == wanted, f"{len(running)} of {wanted} instances are running")
    return f"{wanted} nodes, ready, tainted, in {', '.join(sorted(zones))}"


def kubeconfig_works(subject: Subject) -> str:
    """The exported `aws eks update-kubeconfig` line makes a kubeconfig with which the API server lets us in."""
    command = subject.outputs[_KUBECONFIG_OUTPUT]
    file = subject.folder / "check.kubeconfig"
    environment = dict(subject.workspace.users_environment)
    _output([*shlex.split(command), "--kubeconfig", str(file)], environment)
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]["exec"]
    variables = {one["name"]: one["value"] for one in user.get("env") or []}
    credential = json.loads(_output([user["command"], *user["args"]], environment | variables))
    authority = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode("ascii")
    )

    def status(token: str) -> int:
        request = urllib.request.Request(
            f"{cluster['server']}/api/v1/nodes", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(request, context=authority, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    token = credential["status"]["token"]
    require(status(token) == 200, f"with it the API server answers {status(token)}")
    require(status(f"{token}x") == 401, "the API server lets a forged token in")
    client = "the aws CLI" if subject.workspace.has_real_aws else "a stand-in of the aws CLI"
    return f"`{command}`, by {client}: lists the nodes; a forged token gets 401"


def tags_everywhere(subject: Subject) -> str:
    """Every AWS resource that can have tags carries the stack's, and so do the instances of the system nodes."""
    tags = subject.settings.resource_tags
    taggable = [one for one in subject.resources if one["type"].startswith("aws:") and "tagsAll" in one["outputs"]]
    require(bool(taggable), "no resource in the state has tags")
    for resource in taggable:
        require(
            tags.items() <= (resource["outputs"]["tagsAll"] or {}).items(),
            f"{resource['urn'].rpartition('::')[2]} ({resource['type']}) has {resource['outputs']['tagsAll']}",
        )
    pages = subject.account.client("ec2").get_paginator("describe_instances").paginate()
    instances = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    for instance in instances:
        actual = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        wanted = subject.settings.node_tags.items()
        require(wanted <= actual.items(), f"instance {instance['InstanceId']} has {actual}")
    return f"{len(taggable)} resources and {len(instances)} instances carry {', '.join(sorted(tags))}"


def identities_come_first(subject: Subject) -> str:
    """The association of each controller waits for no node: one that is seconds old does not reach a new pod on EKS."""
    by_urn = {one["urn"]: one for one in subject.resources}
    controllers = [
        one
        for one in subject.resources
        if one["type"] == "aws:eks/podIdentityAssociation:PodIdentityAssociation"
        and one["outputs"]["namespace"] == "kube-system"
    ]
    require(bool(controllers), "no controller has a Pod Identity association")
    for one in controllers:
        late = [urn for urn in _needed(one, by_urn) if by_urn[urn]["type"] == "aws:eks/nodeGroup:NodeGroup"]
        require(not late, f"the association of {one['outputs']['serviceAccount']} waits for the system nodes")
    for addon in [one["outputs"] for one in subject.resources if one["type"] == "aws:eks/addon:Addon"]:
        own = addon.get("podIdentityAssociations")
        require(not own, f"the addon {addon['addonName']} makes its association together with its pods")
    return ", ".join(sorted(one["outputs"]["serviceAccount"] for one in controllers))


def _needed(resource: Mapping[str, Any], by_urn: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """All that is made before a resource: what it and its parents depend on, and these in turn."""
    seen: set[str] = set()
    waiting = [resource]
    while waiting:
        one = waiting.pop()
        found = {urn for urn in (one.get("parent", ""), *one.get("dependencies", [])) if urn in by_urn} - seen
        seen |= found
        waiting += [by_urn[urn] for urn in found]
    return seen


def nothing_of_the_users(subject: Subject) -> str:
    """Each process runs with the rehearsal's own home, and each AWS call was signed with its key alone."""
    processes = marked(subject.session_id)
    for process in processes:
        try:
            environment = process.environ()
        except psutil.Error:  # it has ended meanwhile
            continue
        home = Path(environment.get("HOME", ""))
        require(home.is_relative_to(subject.folder), f"{describe(process)} has the home folder {home}")
        for variable in _USERS_VARIABLES:
            require(variable not in environment, f"{describe(process)} has {variable}")
    calls = aws_calls(subject.aws_url)
    signers = set(calls["keys"])
    require(signers <= {ACCESS_KEY}, f"AWS calls were signed with {', '.join(sorted(signers - {ACCESS_KEY}))}")
    count = sum(calls["keys"].values())
    others = f"{len(processes)} processes beside the rehearsal itself have a home of their own"
    return f"{others}; {count} AWS calls, all with the rehearsal's key"


# The order of destruction, as patterns of `TYPE NAME`: all that matches the first has gone before anything that matches
# the second begins to go.
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
        (r"v1:Namespace .*-team-", r":PersistentVolume "),
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
        # Its own subnets EC2 keeps as long as it is in them; those of the nodes may go beside it.
        (r":NodeGroup ", r":Subnet "),
        (r":Cluster .*-eksCluster$", r"aws:ec2/vpc:Vpc "),
        (r":Cluster .*-eksCluster$", r"aws:kms/key:Key "),
    )
)


def destroyed_in_order(destroy: Result) -> Check:
    """Whether a destroy took each thing down before what it needs in order to go away."""
    name = "the destroy keeps its order"
    wrong = []
    for first, then in _BEFORE:
        gone = [position for position, step in enumerate(destroy.steps) if first.search(step.name)]
        going = [(step, ended) for step, ended in destroy.begun if then.search(step.name)]
        if not gone or not going:
            continue  # a stack without one of the two has nothing to put in order
        late = destroy.steps[gone[-1]].name
        wrong += [f"{step.name} began to go before {late} had gone" for step, ended in going if ended <= gone[-1]]
    return Check(name, not wrong, "; ".join(wrong) or f"{len(destroy.steps)} resources, {len(_BEFORE)} rules of order")


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60
    )
    require(done.returncode == 0, f"`{shlex.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "CRDs admit every pool": crds_admit_pools,
    "Kubernetes is the stack's own": kubernetes_is_the_stacks,
    "system nodes exist": system_nodes_exist,
    "the cluster's kubeconfig works": kubeconfig_works,
    "tags on every AWS resource": tags_everywhere,
    "Pod Identity comes before the pods": identities_come_first,
    "nothing of the user's was read": nothing_of_the_users,
}
