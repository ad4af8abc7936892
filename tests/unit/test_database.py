"""PostgreSQL in the cluster: what CloudNativePG's Cluster and its operator are given."""

from __future__ import annotations

import jsonschema
import pytest

import contracts
from components.ground.placement import Placement
from components.ground.system_nodes import SYSTEM_NODE_LABELS, SYSTEM_NODES, SYSTEM_TOLERATION
from components.storage.cluster_database import cluster_spec, operator_values


def test_the_clusters_crd_takes_the_spec() -> None:
    spec = cluster_spec(database="people", instances=3, storage=30, secret="owner", placement=SYSTEM_NODES)
    version = next(v for v in contracts.crd("clusters.postgresql.cnpg.io")["spec"]["versions"] if v["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    jsonschema.Draft202012Validator(schema).validate(spec)
    assert spec.keys() <= schema["properties"].keys()


@pytest.mark.parametrize(("instances", "budget"), [(1, False), (2, True)])
def test_a_single_database_server_does_not_keep_its_node_from_being_drained(instances: int, budget: bool) -> None:
    assert (
        cluster_spec(database="people", instances=instances, storage=30, secret="owner", placement=SYSTEM_NODES)[
            "enablePDB"
        ]
        is budget
    )


def test_nothing_empty_is_said_of_where_the_servers_run() -> None:
    """CloudNativePG takes an empty list for a change, and restarts the servers for it without end."""
    anywhere = Placement(node_selector={}, tolerations=[], annotations={}, off_pools={})
    spec = cluster_spec(database="people", instances=1, storage=30, secret="owner", placement=anywhere)
    assert all(spec["affinity"].values())


def test_the_database_in_the_cluster_stays_on_the_system_nodes_too() -> None:
    """Nobody can sign in without it. Its disk is in one zone, so its server must be there too."""
    spec, operator = (
        cluster_spec(database="people", instances=1, storage=30, secret="owner", placement=SYSTEM_NODES),
        operator_values(SYSTEM_NODES),
    )
    assert spec["affinity"]["nodeSelector"] == operator["nodeSelector"] == SYSTEM_NODE_LABELS
    assert spec["affinity"]["tolerations"] == operator["tolerations"] == [SYSTEM_TOLERATION]
    for of_pods in (spec["inheritedMetadata"]["annotations"], operator["podAnnotations"]):
        assert of_pods["karpenter.sh/do-not-disrupt"] == "true"
    assert operator.keys() <= contracts.chart("cloudnative-pg").values.keys()
