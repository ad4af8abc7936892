"""What must hold of a running stack's cluster: its version, nodes, kubeconfig, tags, identities and processes."""

from __future__ import annotations

import base64
import json
import shlex
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml

from rehearsal.machine.processes import describe, marked
from rehearsal.machine.workspace import ACCESS_KEY

from .checking import Subject, aws_calls, require
from .pods import until

_KUBECONFIG_OUTPUT = "kubeconfig"
_CLASSES = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"
# Karpenter is up within seconds; on a busy machine it takes longer.
_READY_SECONDS = 60
# The user's own variables for state and credentials.
_USERS_VARIABLES = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE_FILE")


def crds_admit_pools(subject: Subject) -> str:
    """Each pool of the stack file is a NodePool and an EC2NodeClass that the real CRDs accepted."""
    pools = set(subject.settings.node_pools)
    found = {
        kind: {item["metadata"]["name"] for item in subject.plane.request("GET", path)["items"]}
        for kind, path in {
            "NodePool": "/apis/karpenter.sh/v1/nodepools",
            "EC2NodeClass": _CLASSES,
        }.items()
    }
    for kind, names in found.items():
        require(names == pools, f"{kind}s in the cluster: {sorted(names)}; pools in the stack file: {sorted(pools)}")
    return f"{len(pools)} NodePools and {len(pools)} EC2NodeClasses: {', '.join(sorted(pools))}"


def classes_are_ready(subject: Subject) -> str:
    """Karpenter says of each EC2NodeClass that it found what the class names, and may launch instances of it."""

    def conditions() -> dict[str, list[dict[str, Any]]]:
        classes = subject.plane.request("GET", _CLASSES)["items"]
        return {one["metadata"]["name"]: one.get("status", {}).get("conditions", []) for one in classes}

    def failing() -> str:
        found = conditions()
        silent = [f"{name}: Karpenter says nothing" for name, parts in found.items() if not parts]
        failed = [
            f"{name}: {one['type']} {one['status']} ({one.get('message')})"
            for name, parts in found.items()
            for one in parts
            if one["status"] != "True"
        ]
        return "; ".join([*silent, *failed])

    until(lambda: not failing(), "each class is ready", seconds=_READY_SECONDS, otherwise=failing)
    found = conditions()
    types = sorted({one["type"] for parts in found.values() for one in parts})
    return f"{', '.join(found)}: {', '.join(types)}"


def kubernetes_is_the_stacks(subject: Subject) -> str:
    """The API server, EKS and the system nodes' image have the stack's version."""
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
    require(len(nodes) == wanted, f"the system node group has {len(nodes)} nodes, the stack file wants {wanted}")
    for node in nodes:
        name = node["metadata"]["name"]
        conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", [])}
        require(conditions.get("Ready") == "True", f"node {name} is not ready")
        taints = {taint["key"] for taint in node["spec"].get("taints", [])}
        require("CriticalAddonsOnly" in taints, f"node {name} lacks the taint CriticalAddonsOnly")
    zones = {node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes}
    require(len(zones) > 1, f"all system nodes are in {', '.join(zones)}")
    instances = [node["spec"]["providerID"].rpartition("/")[2] for node in nodes]
    reservations = subject.account.client("ec2").describe_instances(InstanceIds=instances)["Reservations"]
    running = [
        instance for group in reservations for instance in group["Instances"] if instance["State"]["Name"] == "running"
    ]
    require(len(running) == wanted, f"{len(running)} of {wanted} instances are running")
    return f"{wanted} nodes, ready, tainted, in {', '.join(sorted(zones))}"


def kubeconfig_works(subject: Subject) -> str:
    """The exported `aws eks update-kubeconfig` command writes a kubeconfig that the API server accepts."""
    command = subject.outputs[_KUBECONFIG_OUTPUT]
    file = subject.folder / "check.kubeconfig"
    environment = dict(subject.workspace.users_environment)
    _output([*shlex.split(command), "--kubeconfig", str(file)], environment)
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]["exec"]
    variables = {variable["name"]: variable["value"] for variable in user.get("env") or []}
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
    require(status(token) == 200, f"with this kubeconfig the API server answers {status(token)}")
    require(status(f"{token}x") == 401, "the API server accepts a forged token")
    client = "the aws CLI" if subject.workspace.has_real_aws else "a stand-in of the aws CLI"
    return f"`{command}`, by {client}: lists the nodes; a forged token gets 401"


def tags_everywhere(subject: Subject) -> str:
    """Every AWS resource that can have tags has the stack's tags, and so do the instances of the system nodes."""
    tags = subject.settings.resource_tags
    taggable = [
        resource
        for resource in subject.resources
        if resource["type"].startswith("aws:") and "tagsAll" in resource["outputs"]
    ]
    require(bool(taggable), "no resource in the state has tags")
    for resource in taggable:
        require(
            tags.items() <= (resource["outputs"]["tagsAll"] or {}).items(),
            f"{resource['urn'].rpartition('::')[2]} ({resource['type']}) has {resource['outputs']['tagsAll']}",
        )
    pages = subject.account.client("ec2").get_paginator("describe_instances").paginate()
    instances = [instance for page in pages for group in page["Reservations"] for instance in group["Instances"]]
    for instance in instances:
        actual = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
        wanted = subject.settings.node_tags.items()
        require(wanted <= actual.items(), f"instance {instance['InstanceId']} has {actual}")
    return f"{len(taggable)} resources and {len(instances)} instances carry {', '.join(sorted(tags))}"


def identities_come_first(subject: Subject) -> str:
    """Pod Identity associations do not wait for nodes: on EKS a new pod may miss an association that is seconds old."""
    by_urn = {resource["urn"]: resource for resource in subject.resources}
    controllers = [
        resource
        for resource in subject.resources
        if resource["type"] == "aws:eks/podIdentityAssociation:PodIdentityAssociation"
        and resource["outputs"]["namespace"] == "kube-system"
    ]
    require(bool(controllers), "no controller has a Pod Identity association")
    for controller in controllers:
        late = [urn for urn in _needed(controller, by_urn) if by_urn[urn]["type"] == "aws:eks/nodeGroup:NodeGroup"]
        require(not late, f"the association of {controller['outputs']['serviceAccount']} waits for the system nodes")
    for addon in [resource["outputs"] for resource in subject.resources if resource["type"] == "aws:eks/addon:Addon"]:
        own = addon.get("podIdentityAssociations")
        require(not own, f"the addon {addon['addonName']} creates its association at the same time as its pods")
    return ", ".join(sorted(controller["outputs"]["serviceAccount"] for controller in controllers))


def _needed(resource: Mapping[str, Any], by_urn: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Everything that is created before a resource: its dependencies and those of its parents, recursively."""
    seen: set[str] = set()
    waiting = [resource]
    while waiting:
        current = waiting.pop()
        needed = (current.get("parent", ""), *current.get("dependencies", []))
        found = {urn for urn in needed if urn in by_urn} - seen
        seen |= found
        waiting += [by_urn[urn] for urn in found]
    return seen


def _has_own_files(pid: int) -> bool:
    """Whether a process is of a machine of a rig: it sees no file of the user's. Raises OSError if it has ended."""
    own = Path("/proc/self/ns/mnt")
    return own.exists() and Path(f"/proc/{pid}/ns/mnt").stat().st_ino != own.stat().st_ino


def user_settings_are_not_used(subject: Subject) -> str:
    """Each process has the rehearsal's own home folder, and each AWS call is signed with its key or a pod's."""
    processes = marked(subject.session_id)
    for process in processes:
        try:
            if _has_own_files(process.pid):
                continue
            environment = process.environ()
        except (psutil.Error, OSError):  # it has ended in the meantime
            continue
        home = Path(environment.get("HOME", ""))
        require(home.is_relative_to(subject.folder), f"{describe(process)} has the home folder {home}")
        for variable in _USERS_VARIABLES:
            require(variable not in environment, f"{describe(process)} has {variable}")
    calls = aws_calls(subject.aws_url)
    others = set(calls["keys"]) - {ACCESS_KEY, *calls["pods"]}
    require(not others, f"AWS calls were signed with {', '.join(sorted(others))}")
    count = sum(calls["keys"].values())
    of_pods = sum(calls["keys"].get(key, 0) for key in calls["pods"])
    homes = f"{len(processes)} processes of the rehearsal have its home folder"
    return f"{homes}; {count} AWS calls, all with the rehearsal's key, or that of a pod's role ({of_pods})"


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = subprocess.run(
        command, env=environment, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60
    )
    require(done.returncode == 0, f"`{shlex.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


CLUSTER_CHECKS: Mapping[str, Callable[[Subject], str]] = {
    "CRDs admit every pool": crds_admit_pools,
    "Karpenter finds what each class names": classes_are_ready,
    "Kubernetes is the stack's own": kubernetes_is_the_stacks,
    "system nodes exist": system_nodes_exist,
    "the cluster's kubeconfig works": kubeconfig_works,
    "tags on every AWS resource": tags_everywhere,
    "Pod Identity comes before the pods": identities_come_first,
    "the user's settings are not used": user_settings_are_not_used,
}
