"""Who gives Services and Ingresses of a site their addresses: servicelb or MetalLB, and the ingress controller."""

from __future__ import annotations

from rehearsal.controllers.world import NODES, Cluster, Object, place_of

SERVICES = "/api/v1/services"
INGRESSES = "/apis/networking.k8s.io/v1/ingresses"

_CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"


class Front:
    """Answers what asks for an address; the first node has one for all."""

    def reconcile(self, cluster: Cluster) -> None:
        """Gives an address to each load balancer, and to each Ingress of a class that there is."""
        asking = [one for one in cluster.listed(SERVICES) if one["spec"].get("type") == "LoadBalancer"]
        classes = {one["metadata"]["name"] for one in cluster.listed(_CLASSES)}
        served = [one for one in cluster.listed(INGRESSES) if one["spec"].get("ingressClassName") in classes]
        for collection, objects in ((SERVICES, asking), (INGRESSES, served)):
            for one in objects:
                if not one.get("status", {}).get("loadBalancer", {}).get("ingress"):
                    address = {"ingress": [{"ip": one["spec"].get("loadBalancerIP") or _node_address(cluster)}]}
                    cluster.kubernetes.patch(
                        f"{place_of(collection, one)}/status", {"status": {"loadBalancer": address}}
                    )


def _node_address(cluster: Cluster) -> str:
    addresses = (one for node in cluster.listed(NODES) for one in _addresses(node) if one["type"] == "InternalIP")
    return next((one["address"] for one in addresses), "192.0.2.1")


def _addresses(node: Object) -> list[dict[str, str]]:
    return node.get("status", {}).get("addresses") or []
