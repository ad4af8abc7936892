"""Volumes and load balancers that only controllers make: on a real API server and scheduler, in the simulated AWS."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from unittest import mock

import pytest
from aws_server_lab import Lab, running_lab
from botocore.exceptions import ClientError

from rehearsal.controllers import load_balancers, volumes
from rehearsal.controllers.load_balancers import CONTROLLER_CHART, SERVICES, LoadBalancers
from rehearsal.controllers.volumes import CLAIMS, CLASSES, VOLUMES, Volumes
from rehearsal.controllers.world import NODES, PODS, SECRETS, Aws, Kubernetes, Object, World, place
from rehearsal.machine.control_plane import ControlPlane
from tests.rehearsal.helm_records import record

ZONE, CLUSTER, CLASS = "us-east-1b", "lab", "test-gp3"
NODE = "node-of-cloud"
PATIENCE_SECONDS = 240
EVENTS = "/api/v1/events"

names = (f"cloud-{number}" for number in itertools.count(1))


class Site:
    """A namespace in a cluster with nodes in one zone, and the controllers, whose rounds a test runs."""

    def __init__(self, world: World, aws: Lab) -> None:
        self.world = world
        self.kubernetes = world.kubernetes
        self.aws = aws
        self.namespace = next(names)
        self.controllers = (Volumes(), LoadBalancers())
        self.put("/api/v1/namespaces", "v1", "Namespace", self.namespace, namespaced=False)

    def put(
        self, collection: str, version: str, kind: str, name: str, *, namespaced: bool = True, **content: Any
    ) -> str:
        """Makes an object; its API path."""
        metadata = {"name": name, **content.pop("metadata", {})}
        path = place(collection, name, self.namespace if namespaced else None)
        self.kubernetes.apply(path, {"apiVersion": version, "kind": kind, "metadata": metadata, **content})
        return path

    def claim(self, size: str = "10Gi", storage_class: str = CLASS, mode: str = "ReadWriteOnce") -> str:
        spec = {
            "storageClassName": storage_class,
            "accessModes": [mode],
            "resources": {"requests": {"storage": size}},
        }
        return self.put(CLAIMS, "v1", "PersistentVolumeClaim", "home", spec=spec)

    def pod(self) -> str:
        """A pod with the claim, for a node of the zone."""
        spec = {
            "nodeSelector": {"topology.kubernetes.io/zone": ZONE},
            "containers": [{"name": "main", "image": "main", "volumeMounts": [{"name": "home", "mountPath": "/home"}]}],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}],
        }
        return self.put(PODS, "v1", "Pod", "notebook", spec=spec)

    def service(self, annotations: Mapping[str, str] | None = None, **spec: Any) -> str:
        given = {"type": "LoadBalancer", "selector": {"app": "x"}, "ports": [{"port": 80, "protocol": "TCP"}], **spec}
        return self.put(SERVICES, "v1", "Service", "gateway", metadata={"annotations": annotations or {}}, spec=given)

    def phase(self, path: str) -> str | None:
        live = self.kubernetes.get(path)
        return live["status"].get("phase") if live else None

    def passes(self, count: int = 3) -> None:
        for _ in range(count):
            self.world.begin_pass()
            for controller in self.controllers:
                controller.reconcile(self.world)

    def until(self, holds: Callable[[], Any]) -> None:
        """Runs rounds of the controllers until a condition holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < deadline
            self.passes(1)
            time.sleep(0.1)

    def volumes(self) -> list[dict[str, Any]]:
        return self.aws.ec2.describe_volumes()["Volumes"]

    def balancing(self) -> list[str]:
        """The existing load balancers, target groups and network interfaces."""
        elb = self.aws.client("elbv2")
        found = [one["LoadBalancerName"] for one in elb.describe_load_balancers()["LoadBalancers"]]
        found += [one["TargetGroupName"] for one in elb.describe_target_groups()["TargetGroups"]]
        interfaces = self.aws.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return [*found, *(one["Description"] for one in interfaces if one["Description"].startswith("ELB"))]

    def warnings(self) -> list[str]:
        events = self.kubernetes.list(EVENTS)
        return [one["message"] for one in events if one["metadata"]["namespace"] == self.namespace]

    def install(self, chart: str) -> str:
        """The record of a Helm release of `chart`."""
        secret = record(chart, {}, self.namespace)
        path = place(SECRETS, secret["metadata"]["name"], self.namespace)
        self.kubernetes.apply(path, secret)
        return path


@pytest.fixture(scope="module")
def aws() -> Iterator[Lab]:
    with running_lab() as lab, mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": lab.url}):
        lab.make_cluster(CLUSTER)
        lab.ec2.create_tags(Resources=lab.subnets, Tags=[{"Key": "kubernetes.io/role/elb", "Value": "1"}])
        yield lab


@pytest.fixture(scope="module")
def world(cluster: ControlPlane, aws: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(
        kubernetes=Kubernetes(cluster.kubeconfig),
        aws=Aws("us-east-1"),
        folder=tmp_path_factory.mktemp("controllers"),
        zones=("us-east-1a", ZONE),
    )
    quantities = {"cpu": "4", "memory": "8Gi", "pods": "20"}
    node = {
        "metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": ZONE}},
        "status": {"allocatable": quantities, "capacity": quantities},
    }
    made.kubernetes.create(place(NODES, NODE), node)
    for name, mode in ((CLASS, "WaitForFirstConsumer"), ("test-now", "Immediate")):
        made.kubernetes.apply(
            place(CLASSES, name),
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": name},
                "provisioner": "ebs.csi.aws.com",
                "volumeBindingMode": mode,
                "parameters": {"type": "gp3", "encrypted": "true"},
            },
        )
    yield made
    for name in (CLASS, "test-now"):
        made.kubernetes.delete(place(CLASSES, name))
    made.kubernetes.delete(place(NODES, NODE))


@pytest.fixture
def site(world: World, aws: Lab) -> Iterator[Site]:
    made = Site(world, aws)
    yield made
    world.kubernetes.delete(place("/api/v1/namespaces", made.namespace))
    if any(addon == volumes.ADDON for addon in aws.eks.list_addons(clusterName=CLUSTER)["addons"]):
        aws.eks.delete_addon(clusterName=CLUSTER, addonName=volumes.ADDON)


@pytest.fixture
def driver(site: Site) -> Site:
    site.aws.eks.create_addon(clusterName=CLUSTER, addonName=volumes.ADDON)
    return site


class TestVolumes:
    def test_a_claim_waits_for_its_pod_and_goes_with_its_volume(self, driver: Site) -> None:
        claim = driver.claim()
        driver.passes()
        assert driver.phase(claim) == "Pending"
        pod = driver.pod()
        driver.until(lambda: driver.phase(claim) == "Bound" and driver.phase(pod) == "Running")
        (volume,) = driver.volumes()
        assert (volume["AvailabilityZone"], volume["Size"], volume["Encrypted"]) == (ZONE, 10, True)
        tags = {tag["Key"]: tag["Value"] for tag in volume["Tags"]}
        assert tags["kubernetes.io/created-for/pvc/namespace"] == driver.namespace
        assert tags[f"kubernetes.io/cluster/{CLUSTER}"] == "owned"
        driver.passes()
        assert len(driver.volumes()) == 1

        driver.kubernetes.delete(claim)
        driver.passes()
        # Its pod protects it.
        assert driver.volumes()
        driver.kubernetes.delete(pod)
        driver.until(lambda: not driver.volumes() and not driver.kubernetes.list(VOLUMES))

    def test_a_pass_that_broke_off_makes_no_second_volume(self, driver: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = driver.claim(storage_class="test-now")
        with monkeypatch.context() as broken:
            broken.setattr(volumes, "persistent_volume", lambda *_: {}["broken"])
            with pytest.raises(KeyError):
                driver.until(lambda: False)
        assert len(driver.volumes()) == 1
        driver.until(lambda: driver.phase(claim) == "Bound")
        assert len(driver.volumes()) == 1
        driver.kubernetes.delete(claim)
        driver.until(lambda: not driver.volumes())

    def test_without_the_driver_nothing_is_made_and_nothing_goes(self, driver: Site) -> None:
        claim = driver.claim(storage_class="test-now")
        driver.until(lambda: driver.phase(claim) == "Bound")
        driver.aws.eks.delete_addon(clusterName=CLUSTER, addonName=volumes.ADDON)
        driver.kubernetes.delete(claim)
        name = driver.kubernetes.list(VOLUMES)[0]["metadata"]["name"]
        driver.until(lambda: driver.phase(place(VOLUMES, name)) == "Released")
        driver.passes()
        assert driver.volumes()
        driver.aws.eks.create_addon(clusterName=CLUSTER, addonName=volumes.ADDON)
        driver.until(lambda: not driver.volumes() and not driver.kubernetes.list(VOLUMES))

    def test_a_claim_that_ebs_can_not_serve_says_why_once(self, driver: Site) -> None:
        driver.claim(storage_class="test-now", mode="ReadWriteMany")
        driver.until(driver.warnings)
        driver.passes()
        said = [message for message in driver.warnings() if "not supported" in message]
        assert len(said) == 1
        assert not driver.volumes()


class TestLoadBalancers:
    def test_a_service_is_served_and_takes_all_with_it(self, site: Site) -> None:
        service = site.service()
        site.until(lambda: ingress(site, service))
        (balancer,) = site.aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
        assert ingress(site, service) == [{"hostname": balancer["DNSName"]}]
        assert balancer["Scheme"] == "internet-facing"
        assert len(balancer["AvailabilityZones"]) == 3
        arns = [balancer["LoadBalancerArn"]]
        (described,) = site.aws.client("elbv2").describe_tags(ResourceArns=arns)["TagDescriptions"]
        assert {"Key": "kubernetes.io/service-name", "Value": f"{site.namespace}/gateway"} in described["Tags"]
        # Its network interfaces keep the network.
        with pytest.raises(ClientError, match="DependencyViolation"):
            site.aws.ec2.delete_subnet(SubnetId=site.aws.subnets[0])
        site.kubernetes.delete(service)
        site.until(lambda: site.kubernetes.get(service) is None)
        assert not site.balancing()

    def test_a_service_of_another_type_now_gives_its_load_balancer_up(self, site: Site) -> None:
        service = site.service()
        site.until(lambda: ingress(site, service))
        site.kubernetes.patch(service, {"spec": {"type": "ClusterIP"}})
        site.until(lambda: not site.balancing())
        assert not ingress(site, service)
        live = site.kubernetes.get(service)
        assert live
        assert not live["metadata"].get("finalizers")

    def test_the_controllers_own_class_needs_the_controller(self, site: Site) -> None:
        service = site.service({load_balancers.SCHEME: "internet-facing"}, loadBalancerClass="service.k8s.aws/nlb")
        site.passes()
        assert not site.balancing()
        release = site.install(CONTROLLER_CHART)
        site.until(lambda: ingress(site, service))
        site.kubernetes.delete(release)
        site.kubernetes.delete(service)
        site.passes()
        # Nobody is left to take it away.
        assert site.kubernetes.get(service)
        assert site.balancing()
        site.install(CONTROLLER_CHART)
        site.until(lambda: site.kubernetes.get(service) is None)
        assert not site.balancing()

    def test_without_subnets_for_it_a_service_says_why(self, site: Site) -> None:
        service = site.service({load_balancers.INTERNAL: "true"})
        site.until(site.warnings)
        assert "none is tagged kubernetes.io/role/internal-elb" in site.warnings()[0]
        site.kubernetes.delete(service)
        site.until(lambda: site.kubernetes.get(service) is None)


def ingress(site: Site, service: str) -> list[Object] | None:
    live = site.kubernetes.get(service)
    return live["status"]["loadBalancer"].get("ingress") if live else None
