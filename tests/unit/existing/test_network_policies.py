"""Whether a preview knows what enforces network policies, and warns where nothing does."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from existing_lab import PEOPLE, changed, find, load, manifest, warnings

from components.ground.existing.description import text
from components.ground.existing.found import FoundCluster
from components.ground.existing.makes import made_by
from components.ground.existing.preflight import findings
from contracts import clusters
from settings.ground import Distribution


def daemon(image: str, name: str = "agent", *args: str) -> dict[str, Any]:
    pods = {"spec": {"containers": [{"name": name, "image": image, "args": list(args)}]}}
    return {**manifest("DaemonSet", "network", "kube-system"), "spec": {"template": pods}}


def without_network(distribution: str, *more: dict[str, Any]) -> FoundCluster:
    """The cluster of a fixture without the DaemonSets of its network, and with others."""
    networks = ("kube-flannel", "calico-node", "rke2-canal", "kindnet", "aws-node")
    kept = [one for one in clusters.cluster(distribution) if one["metadata"]["name"] not in networks]
    return FoundCluster.of([*kept, *more])


def said(found: FoundCluster, distribution: str) -> list[str]:
    """What a preview of a stack with a team warns of in the network, whatever else it warns of."""
    settings = load(distribution, **PEOPLE)
    _, found_warnings = findings(settings, found, made_by(settings, found))
    return [str(one) for one in found_warnings if "enforce network policies" in str(one)]


def test_what_to_do_is_known_for_every_distribution():
    for name in typing.get_args(Distribution):
        assert clusters.network_policies(name).remedy


@pytest.mark.parametrize("distribution", clusters.known())
def test_clusters_that_enforce_them_are_not_warned_of(distribution):
    assert said(find(distribution), distribution) == []
    (line,) = [line for line in text(find(distribution)).splitlines() if line.startswith("Network policies: ")]
    assert "nothing" not in line


@pytest.mark.parametrize("distribution", [name for name in clusters.known() if name != "k3s"])
def test_clusters_that_show_nothing_of_it_are_warned_of_with_what_to_do(distribution):
    (warning,) = said(without_network(distribution), distribution)
    assert warning.startswith("gpulab:ground.context: leads to a cluster where nothing is known to enforce network")
    assert "teams would reach each other's notebooks" in warning
    assert warning.endswith(clusters.network_policies(distribution).remedy)
    assert "Network policies: enforced by nothing that a stack knows" in text(without_network(distribution))


@pytest.mark.parametrize(
    ("image", "name", "args"),
    [
        ("quay.io/cilium/cilium:v1.18.2", "cilium-agent", ()),
        ("gke.gcr.io/cilium/cilium:v1.15.10-gke.9", "cilium-agent", ()),
        ("mcr.microsoft.com/oss/calico/node:v3.28.2", "calico-node", ()),
        ("rancher/mirrored-calico-node:v3.30.2", "calico-node", ()),
        ("rancher/hardened-calico:v3.30.2-build20250731", "calico-node", ()),
        ("docker.io/antrea/antrea-agent-ubuntu:v2.4.0", "antrea-agent", ()),
        ("docker.io/cloudnativelabs/kube-router:v2.5.0", "kube-router", ("--run-router=true",)),
        ("mcr.microsoft.com/containernetworking/azure-npm:v1.5.5", "azure-npm", ()),
        ("registry.k8s.io/networking/kube-network-policies:v1.1.2", "main", ("/bin/netpol",)),
        ("docker.io/kindest/kindnetd:v20240813-c6f155d6", "kindnet-cni", ()),
        ("ghcr.io/aojea/kindnetd:stable", "kindnet-cni", ()),
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/amazon/aws-network-policy-agent:v1.2.7",
            "a",
            ("--enable-network-policy=true",),
        ),
    ],
)
def test_programs_that_enforce_them(image, name, args):
    assert said(without_network("eks", daemon(image, name, *args)), "eks") == []


@pytest.mark.parametrize(
    ("image", "name", "args"),
    [
        ("ghcr.io/flannel-io/flannel:v0.27.4", "kube-flannel", ("--ip-masq",)),
        ("docker.io/kindest/kindnetd:v20240513-cd2ac642", "kindnet-cni", ()),
        ("docker.io/cloudnativelabs/kube-router:v2.5.0", "kube-router", ("--run-router=true", "--run-firewall=false")),
        ("rancher/hardened-calico:v3.30.2", "calico-kube-controllers", ()),
        ("quay.io/cilium/operator-generic:v1.18.2", "cilium-operator", ()),
        (
            "1.dkr.ecr.eu-west-1.amazonaws.com/amazon/aws-network-policy-agent:v1.2.7",
            "a",
            ("--enable-network-policy=false",),
        ),
    ],
)
def test_programs_that_enforce_none(image, name, args):
    assert len(said(without_network("eks", daemon(image, name, *args)), "eks")) == 1


def test_talos_with_flannel_as_it_is_by_default_enforces_none():
    """Public fault: policies are accepted, and teams reach each other."""
    (warning,) = said(without_network("talos", daemon("ghcr.io/siderolabs/flannel:v0.28.5", "kube-flannel")), "talos")
    assert "(flannel alone does not)" in warning
    assert "kubeNetworkPoliciesEnabled: true" in warning


@pytest.mark.parametrize(
    ("arguments", "is_off"),
    [
        (["server", "--disable-network-policy"], True),
        (["server", "--disable-network-policy", "true", "--disable", "traefik"], True),
        (["server", "--disable-network-policy", "false"], False),
        (["server", "--disable", "traefik"], False),
        (["agent"], False),
    ],
)
def test_k3s_enforces_them_itself_unless_a_server_is_told_not_to(arguments, is_off):
    def started(node: dict[str, Any]) -> None:
        if node["metadata"]["name"] == "ws-cpu":
            node["metadata"]["annotations"]["k3s.io/node-args"] = json.dumps(arguments)

    found = said(changed("k3s", started, "Node"), "k3s")
    assert len(found) == is_off
    assert all("(--disable-network-policy is set on ws-cpu)" in warning for warning in found)


def test_k3s_with_calico_in_place_of_its_own_is_fine():
    def started(node: dict[str, Any]) -> None:
        node["metadata"]["annotations"]["k3s.io/node-args"] = json.dumps(["server", "--disable-network-policy"])

    nodes = [one for one in clusters.cluster("k3s") if one["kind"] != "Node" or started(one) is None]
    found = FoundCluster.of([*nodes, daemon("quay.io/calico/node:v3.30.2", "calico-node")])
    assert said(found, "k3s") == []


def test_a_stack_without_teams_makes_no_policies_and_is_not_warned():
    pools = {"gpu": {"nodes": ["kind-worker"], "gpus": {"count": 1}}}
    assert warnings(without_network("kind"), "kind", nodePools=pools) == []


def reaching(found: FoundCluster, cidr: str, distribution: str = "k3s") -> dict[str, str]:
    """The kind of each finding about what the team reaches, with its message."""
    vision = {**PEOPLE["teams"]["vision"], "reaches": ["192.168.7.7/32", cidr]}
    settings = load(distribution, **{**PEOPLE, "teams": {"vision": vision}})
    by_kind = zip(("error", "warning"), findings(settings, found, made_by(settings, found)), strict=True)
    return {kind: str(one) for kind, some in by_kind for one in some if ".reaches[" in str(one)}


KUBERNETES = {
    **manifest("Service", "kubernetes", "default"),
    "spec": {"clusterIP": "10.43.0.1", "ports": [{"port": 443}]},
}


@pytest.mark.parametrize(
    ("cidr", "words"),
    [
        ("192.168.1.0/24", "has addresses of 192.168.1.20/32, where a node is"),
        ("10.42.3.0/24", "has addresses of 10.42.0.0/22, where pods are"),
        ("10.43.0.0/16", "has addresses of 10.43.0.1/32, where the API server is"),
        ("192.168.1.200/32", None),
        ("10.99.0.0/16", None),
    ],
)
def test_a_team_reaches_the_sites_machines_and_not_the_cluster(cidr, words):
    found = reaching(find("k3s", KUBERNETES), cidr)
    if words is None:
        assert found == {}
        return
    assert list(found) == ["error"]
    assert found["error"].startswith(f"gpulab:teams.vision.reaches[1]: {words}: notebooks would reach the cluster")


def test_where_nodes_do_not_say_which_range_pods_have_it_deserves_a_look():
    def calicos_own(node: dict[str, Any]) -> None:
        node["spec"].pop("podCIDR", None)

    found = changed("k3s", calicos_own, "Node")
    assert list(reaching(found, "10.99.0.0/16")) == ["warning"]
    assert "pods may be" in reaching(found, "10.99.0.0/16")["warning"]
    assert reaching(found, "172.16.0.0/16") == {}
