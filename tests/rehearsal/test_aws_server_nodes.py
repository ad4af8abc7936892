from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aws_server_lab import Lab, running_lab

import contracts
from rehearsal.cloud import api_server, starting
from rehearsal.cloud.nodes import manifest, resources

WHERE = {"clusterName": "lab", "nodegroupName": "system"}
TAINT = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}


class ApiServer:
    """Takes objects as an API server would, and remembers the nodes among them by name."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.tokens: set[str] = set()
        self.broken = False
        self.pods: list[dict[str, Any]] = []
        self.kept: set[str] = set()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def __getattr__(self, name: str) -> Any:
                return self.answer if name.startswith("do_") else super().__getattribute__(name)

            def answer(self) -> None:
                api.tokens.add(self.headers["Authorization"])
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                is_node = self.path.startswith("/api/v1/nodes")
                taken = api.take(self.command, self.path.rpartition("/")[2], body) if is_node else 200
                answer: dict[str, Any] = {}
                if self.path.startswith("/api/v1/pods?fieldSelector=spec.nodeName%3D"):
                    node = self.path.rpartition("%3D")[2]
                    answer["items"] = [pod for pod in api.pods if pod["spec"]["nodeName"] == node]
                elif self.path.endswith("/eviction"):
                    assert json.loads(body)["deleteOptions"] == {"dryRun": ["All"]}
                    taken = 429 if self.path.split("/")[-2] in api.kept else 201
                status = 500 if api.broken else taken
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, method: str, name: str, body: bytes) -> int:
        if method == "POST":
            node = json.loads(body)
            self.nodes[node["metadata"]["name"]] = node
        elif name not in self.nodes:
            return 404
        elif method == "DELETE":
            del self.nodes[name]
        else:
            patch = json.loads(body)
            self.nodes[name]["metadata"]["labels"] |= patch["metadata"]["labels"]
            self.nodes[name]["spec"] |= patch.get("spec", {})
        return 200


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def api(site: Lab) -> Iterator[ApiServer]:
    api = ApiServer()
    url = f"http://127.0.0.1:{api.server.server_port}"
    starting.connect(site.url, url=url, ca="", token="administrator")
    yield api
    api_server.disconnect()
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def lab(site: Lab, api: ApiServer) -> Iterator[Lab]:
    site.make_cluster()
    yield site
    site.clean()


def test_a_cluster_is_where_the_api_server_is(lab: Lab, api: ApiServer) -> None:
    assert lab.eks.describe_cluster(name="lab")["cluster"]["endpoint"] == f"http://127.0.0.1:{api.server.server_port}"


def test_nodes_come_and_go_with_their_group(lab: Lab, api: ApiServer) -> None:
    lab.make_group(labels={"kind": "system"}, taints=[TAINT])
    instances = {one["PrivateDnsName"]: one for one in lab.instances()}
    assert api.nodes.keys() == instances.keys()
    assert api.tokens == {"Bearer administrator"}
    for name, node in api.nodes.items():
        zone = instances[name]["Placement"]["AvailabilityZone"]
        assert node["spec"]["providerID"] == f"aws:///{zone}/{instances[name]['InstanceId']}"
        assert node["spec"]["taints"] == [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}]
        assert node["metadata"]["labels"]["kind"] == "system"
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == zone
    lab.eks.update_nodegroup_config(**WHERE, labels={"removeLabels": ["kind"]}, taints={"removeTaints": [TAINT]})
    assert {node["metadata"]["labels"]["kind"] for node in api.nodes.values()} == {None}
    assert all(node["spec"]["taints"] == [] for node in api.nodes.values())
    lab.eks.update_nodegroup_config(**WHERE, scalingConfig={"minSize": 1, "desiredSize": 1})
    assert len(api.nodes) == 1
    lab.eks.delete_nodegroup(**WHERE)
    assert not api.nodes


def test_a_group_whose_nodes_cannot_join_fails_and_can_be_deleted(lab: Lab, api: ApiServer) -> None:
    api.broken = True
    group = lab.make_group()
    assert group["status"] == "CREATE_FAILED"
    assert group["health"]["issues"][0]["code"] == "NodeCreationFailure"
    lab.eks.delete_nodegroup(**WHERE)
    assert not lab.instances()


def test_nodes_that_a_disruption_budget_keeps_are_not_replaced(lab: Lab, api: ApiServer) -> None:
    """A database with one server: CloudNativePG's disruption budget does not allow its eviction."""
    lab.make_group()
    before = api.nodes.keys() | set()
    for name, kind in (("keycloak-db-1", "Cluster"), ("keycloak-0", "StatefulSet"), ("aws-node-1", "DaemonSet")):
        metadata = {"name": name, "namespace": "identity", "ownerReferences": [{"kind": kind}]}
        api.pods.append({"metadata": metadata, "spec": {"nodeName": min(before)}})
    api.kept = {"keycloak-db-1", "aws-node-1"}
    update = lab.eks.update_nodegroup_version(**WHERE)["update"]
    assert update["status"] == "Failed"
    (error,) = lab.eks.describe_update(name="lab", updateId=update["id"])["update"]["errors"]
    assert error["errorCode"] == "PodEvictionFailure"
    assert error["errorMessage"].endswith("evict pods from nodes in node group system")
    assert error["resourceIds"] == [min(before)]
    assert api.nodes.keys() == before
    # The pods of a DaemonSet stay on a node that is drained.
    api.kept.remove("keycloak-db-1")
    assert lab.eks.update_nodegroup_version(**WHERE)["update"]["status"] == "Successful"
    assert not api.nodes.keys() & before


def test_clusters_endpoint_is_the_rehearsals(lab: Lab, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lab.eks.describe_cluster(name="lab")["cluster"]["endpoint"].endswith(str(api.server.server_port))


@pytest.mark.parametrize("name", ["m7i.large", "t4g.micro", "g5.xlarge"])
def test_a_node_keeps_something_for_itself(name: str) -> None:
    instance_type = contracts.instance_types()[name]
    node = manifest(
        name="ip-10-0-0-1.ec2.internal",
        instance_id="i-1",
        instance_type=instance_type,
        zone="us-east-1a",
        private_ip="10.0.0.1",
        version="1.36",
        labels={},
        taints=[],
        resources=resources(instance_type, 50),
    )
    capacity, allocatable = node["status"]["capacity"], node["status"]["allocatable"]
    assert 0 < int(allocatable["cpu"].removesuffix("m")) < 1000 * int(capacity["cpu"])
    assert 0 < int(allocatable["memory"].removesuffix("Mi")) < int(capacity["memory"].removesuffix("Mi"))
    assert node["metadata"]["labels"]["kubernetes.io/arch"] in {"amd64", "arm64"}
    # Only a device plugin advertises GPUs.
    assert "nvidia.com/gpu" not in capacity
