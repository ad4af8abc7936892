"""A cluster in which Karpenter buys nodes for the dev lab's pools, without the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import boto3
import psutil
from background import background
from karpenter_account import CLUSTER, NODE_ROLE, REGION, ZONES, make_account

import contracts
import settings
from components.ground.system_nodes import SYSTEM_NODES
from components.nodes.gpu import gpu_operator_values
from components.nodes.gpu_sharing import node_overlays
from components.nodes.karpenter import karpenter_values
from components.nodes.node_pools import ec2_node_class_spec, node_pool_spec
from rehearsal.checks import pods
from rehearsal.checks.pods import Pods, Wish
from rehearsal.cloud import starting as aws
from rehearsal.cloud.access import access_bindings
from rehearsal.controllers import starting
from rehearsal.controllers.world import (
    DEFINITIONS,
    EC2_NODE_CLASSES,
    NODE_CLAIMS,
    NODE_OVERLAYS,
    NODE_POOLS,
    NODES,
    Kubernetes,
    Object,
    place,
    place_of,
)
from rehearsal.machine import control_plane
from rehearsal.machine.processes import free_ports, marked
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import ACCESS_KEY, PROJECT, SECRET_KEY
from settings import NodePool
from tests.rehearsal.helm_records import record

_GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

_PATIENCE_SECONDS = 240
Found = TypeVar("Found")
KARPENTER_FLAG = "--disable-leader-election"


class Lab:
    """The API server and the simulated AWS, with methods to make pods and pools."""

    def __init__(self, id: str, kubernetes: Kubernetes, aws_url: str) -> None:
        self._id = id
        self.kubernetes = kubernetes
        self.pods = Pods(kubernetes)
        self.aws_url = aws_url
        self.settings = settings.on_eks(
            settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", stack="dev", today=date(2026, 9, 1))
        )
        self._pools: dict[str, NodePool] = {}
        self._have_run: set[str] = set()

    def client(self, service: str) -> Any:
        """A boto3 client of the simulated AWS."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.aws_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def install_karpenter(self) -> None:
        """Its definitions, its service account with its roles, and the record of its Helm release."""
        for definition in contracts.chart("karpenter").crds:
            self.kubernetes.apply(place(DEFINITIONS, definition["metadata"]["name"]), dict(definition))
        for collection in (EC2_NODE_CLASSES, NODE_POOLS, NODE_CLAIMS, NODE_OVERLAYS):
            until(lambda kind=collection: self.kubernetes.get(kind), f"{collection} is served")
        for one in contracts.chart("karpenter").rbac:
            group = "api/v1" if one["apiVersion"] == "v1" else f"apis/{one['apiVersion']}"
            self.kubernetes.apply(place_of(f"/{group}/{one['kind'].lower()}s", dict(one)), dict(one))
        values = karpenter_values(
            region=REGION,
            cluster_name=CLUSTER,
            cluster_endpoint=self.kubernetes.server,
            queue_name=CLUSTER,
            isolated_vpc=False,
        )
        self._release("karpenter", values)

    def _release(self, chart: str, values: Any) -> None:
        """The record of a deployed Helm release."""
        secret = record(chart, values)
        self.kubernetes.apply(place("/api/v1/secrets", secret["metadata"]["name"], "kube-system"), secret)

    def karpenter_runs(self) -> bool:
        """Whether there is a process of Karpenter's."""
        return any(KARPENTER_FLAG in words_of(process) for process in marked(self._id))

    def uninstall_karpenter(self) -> None:
        """Removes the record of the release."""
        self.kubernetes.delete(place("/api/v1/secrets", "sh.helm.release.v1.karpenter.v1", "kube-system"))

    def make_system_node(self, taint: Object) -> None:
        """A node that is not Karpenter's, like those of the system node group."""
        amounts = {"cpu": "2", "memory": "8Gi", "pods": "29"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "system"},
            "spec": {"taints": [taint]},
            "status": {"capacity": amounts, "allocatable": amounts},
        }
        self.kubernetes.create(place(NODES, "system"), node)

    def make_pool(
        self, name: str, like: str | None = None, cluster: str = CLUSTER, pool: NodePool | None = None, **of_class: Any
    ) -> None:
        """A pool of the dev stack file, or one `like` it, or a given one; its class looks for what is tagged `cluster`.

        `of_class` are other values in the EC2NodeClass's spec. A pool that is there is changed. The GPU Operator knows
        of every pool that was made.
        """
        pool = pool or self.settings.node_pools[like or name]
        self._pools[name] = pool
        self._release("gpu-operator", gpu_operator_values(self._pools, SYSTEM_NODES))
        node_class = ec2_node_class_spec(pool, cluster_name=cluster, node_role_name=NODE_ROLE, tags={"Owner": "tests"})
        node_class |= of_class
        overlays = [
            (NODE_OVERLAYS, "karpenter.sh/v1alpha1", "NodeOverlay", overlay, spec)
            for overlay, spec in node_overlays(name, pool).items()
        ]
        for collection, version, kind, own_name, content in (
            (EC2_NODE_CLASSES, "karpenter.k8s.aws/v1", "EC2NodeClass", name, node_class),
            *overlays,
            (NODE_POOLS, "karpenter.sh/v1", "NodePool", name, node_pool_spec(name, pool)),
        ):
            obj = {"apiVersion": version, "kind": kind, "metadata": {"name": own_name}, "spec": content}
            self.kubernetes.apply(place(collection, own_name), obj)

    def pool_like(self, name: str, **changed: Any) -> NodePool:
        """A pool of the dev stack file with other keys."""
        section = self.settings.node_pools[name].model_dump(by_alias=True, exclude_defaults=True)
        return NodePool.model_validate({**section, **changed})

    def pool(self, name: str) -> Object | None:
        """The NodePool."""
        return self.kubernetes.get(place(NODE_POOLS, name))

    def is_ready(self, pool: str) -> bool:
        """Whether the pool's status says that Karpenter can make its nodes."""
        found = self.pool(pool)
        conditions = found.get("status", {}).get("conditions", []) if found else []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def delete_pool(self, name: str) -> None:
        """Deletes a pool as the engine does, in the foreground; does not wait."""
        self.kubernetes.delete(place(NODE_POOLS, name), propagation="Foreground")

    def delete_class(self, name: str) -> None:
        """Deletes an EC2NodeClass; does not wait."""
        self.kubernetes.delete(place(EC2_NODE_CLASSES, name))

    def is_left(self, name: str) -> bool:
        """Whether anything is left of a pool and its class: an object, a node or an instance."""
        claims = self.kubernetes.list(NODE_CLAIMS, labelSelector=f"karpenter.sh/nodepool={name}")
        objects = [self.pool(name), self.node_class(name), *claims, *self.nodes(name)]
        return any(objects) or any(one["Tags"].get("karpenter.sh/nodepool") == name for one in self.instances())

    def node_class(self, name: str) -> Object | None:
        """The EC2NodeClass."""
        return self.kubernetes.get(place(EC2_NODE_CLASSES, name))

    def nodes(self, pool: str) -> list[Object]:
        """The nodes of a pool."""
        return self.kubernetes.list(NODES, labelSelector=f"gpulab.dev/pool={pool}")

    def node_names(self) -> list[str]:
        """The names of all nodes."""
        return [one["metadata"]["name"] for one in self.kubernetes.list(NODES)]

    def claim_of(self, node: Object) -> Object | None:
        """The NodeClaim of a node."""
        claims = self.kubernetes.list(NODE_CLAIMS)
        return next((one for one in claims if one.get("status", {}).get("nodeName") == node["metadata"]["name"]), None)

    def run_pod(
        self,
        name: str,
        *,
        gpus: int = 0,
        resource: str = "nvidia.com/gpu",
        tolerates: bool | None = None,
        pool: str | None = None,
        lasting: bool = False,
        also_tolerates: Sequence[Object] = (),
    ) -> None:
        """A pod for GPUs that tolerates their taint, or for one CPU. A `lasting` pod must not be disrupted.

        `also_tolerates` are other taints.
        """
        tolerates = gpus > 0 if tolerates is None else tolerates
        wish = Wish(
            requests={resource: str(gpus)} if gpus else {"cpu": "1"},
            selects={"gpulab.dev/pool": pool} if pool else {},
            tolerations=[*([_GPU_TOLERATION] if tolerates else []), *also_tolerates],
            lasting=lasting,
        )
        self._have_run.discard(name)
        self.pods.run(name, wish)

    def delete_pod(self, name: str) -> None:
        """Deletes a pod."""
        self.pods.delete(name)

    def end_nodes(self) -> None:
        """Makes Karpenter remove every node at once, and waits for it."""
        for claim in self.kubernetes.list(NODE_CLAIMS):
            self.kubernetes.delete(place(NODE_CLAIMS, claim["metadata"]["name"]))
        until(lambda: not self.instances() and not self.kubernetes.list(NODE_CLAIMS), "all nodes are gone")

    def node_of(self, pod: str) -> Object | None:
        """The node on which the pod runs, or None. A pod that was deleted before it ran is made again."""
        node = self.pods.node_of(pod)
        if node:
            self._have_run.add(pod)
        elif pod not in self._have_run:
            self.pods.run_again(pod)
        return node

    def runs(self, pod: str) -> Object:
        """Waits until the pod runs, and returns its node."""
        return until(lambda: self.node_of(pod), f"{pod} runs", lambda: self.pods.standing(pod))

    def events(self, name: str) -> str:
        """Karpenter's events about an object."""
        events = self.kubernetes.list("/api/v1/events", fieldSelector=f"involvedObject.name={name}")
        return " ".join(one["message"] for one in events if one["source"].get("component") == "karpenter")

    def instances(self) -> list[dict[str, Any]]:
        """The instances that run, and their tags as a mapping."""
        filters = [{"Name": "instance-state-name", "Values": ["running"]}]
        groups = self.client("ec2").describe_instances(Filters=filters)["Reservations"]
        found = [one for group in groups for one in group["Instances"]]
        return [{**one, "Tags": {tag["Key"]: tag["Value"] for tag in one["Tags"]}} for one in found]


def until(found: Callable[[], Found | None], what: str, otherwise: Callable[[], str] = lambda: "") -> Found:
    """Waits until `found` returns something true, and returns it.

    A timeout is an error, but tests don't check times.
    """
    return pods.until(found, what, seconds=_PATIENCE_SECONDS, otherwise=otherwise)


@contextlib.contextmanager
def passing_pods(lab: Lab) -> Iterator[Callable[..., str]]:
    """Runs pods as `Lab.run_pod` does and gives their names; they go with the block, and so do all nodes."""
    made: list[str] = []

    def run(name: str, **wishes: Any) -> str:
        lab.run_pod(name, **wishes)
        made.append(name)
        return name

    try:
        yield run
    finally:
        for name in made:
            lab.delete_pod(name)
        lab.end_nodes()


@contextlib.contextmanager
def running_lab(toolchain: Toolchain, folder: Path) -> Iterator[Lab]:
    """A lab with Karpenter and no pool; it ends with the block."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    environment = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "PYTHONPATH": str(PROJECT)}
    with background(folder / "logs") as processes:
        plane = control_plane.start(
            folder / "kubernetes",
            toolchain,
            processes,
            token_review_url=f"{url}/gpulab/token-review",
            bindings=access_bindings(),
        )
        aws.start(processes, port, environment)
        aws.connect(url, url=plane.url, ca=plane.ca, token=plane.token)
        lab = Lab(processes.rehearsal_id, Kubernetes(plane.kubeconfig), url)
        make_account(lab.client)
        starting.start(
            processes,
            program=toolchain.path("karpenter"),
            environment={**environment, "AWS_ENDPOINT_URL": url},
            kubeconfig=plane.kubeconfig,
            region=REGION,
            zones=ZONES,
        )
        lab.install_karpenter()
        yield lab


def words_of(process: psutil.Process) -> list[str]:
    """The command line of a process that may be ending."""
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
