"""Stack files of public bug reports about node pools, profiles and databases, with the messages for each."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import contracts
import settings
from components.nodes.gpu_sharing import operator_values
from components.nodes.node_pools import node_pool_spec

CASES = Path(__file__).parents[1] / "cases"
TODAY = datetime.date(2026, 11, 30)


def accepted(name: str) -> settings.EksSettings:
    """The settings of a case."""
    return settings.on_eks(settings.check_stack_file(CASES / f"Pulumi.{name}.yaml", name, TODAY))


def mistakes(name: str) -> dict[str, str]:
    """What is wrong with the stack file of a case, by key."""
    with pytest.raises(settings.SettingsError) as refusal:
        accepted(name)
    return {one.key: one.message for one in refusal.value.mistakes}


def test_a_mistyped_class_of_rds_is_refused_with_the_nearest():
    assert mistakes("rds-class") == {
        "gpulab:identity.database.instanceClass": "is not a class that RDS has for PostgreSQL: "
        'did you mean "db.m7g.large"? (given "db.m7g.larg")'
    }


def test_a_keycloak_that_no_node_has_the_memory_for_is_refused():
    (found,) = mistakes("keycloak-on-no-node").items()
    assert found[0] == "gpulab:identity.keycloak.memory"
    assert found[1].startswith("fits on no system node: a system node has 6 GiB for pods (m7i.large), and Karpenter ")


def test_a_fraction_of_a_gpu_is_refused_with_one_way_out_however_it_is_asked_for():
    with_gpus, without = mistakes("fraction-a"), mistakes("fraction-b")
    assert with_gpus == without
    ((key, message),) = with_gpus.items()
    assert key == "gpulab:nodePools.frac.families[0]"
    assert "take g6 in its place, with gpus: {min: 1, max: 8}, and gpu.sharing" in message


def test_an_open_pool_buys_families_of_the_catalogue_alone():
    catalogue = {one.family for one in contracts.instance_types().values()}
    for name, pool in accepted("open-pool-mig-buckets").node_pools.items():
        asked = {one["key"]: one for one in node_pool_spec(name, pool)["template"]["spec"]["requirements"]}
        families = asked["karpenter.k8s.aws/instance-family"]
        assert families["operator"] == "In"
        assert {*families["values"]} <= catalogue
        assert "karpenter.k8s.aws/instance-generation" not in asked


def test_mig_restarts_no_kubelet():
    operator = operator_values(accepted("open-pool-mig-buckets").node_pools)
    environment = {one["name"]: one["value"] for one in operator["migManager"]["env"]}
    # mig-manager stops the service of that name, and with an empty one none.
    assert environment["HOST_KUBELET_SYSTEMD_SERVICE"] == ""


def test_which_gpus_a_notebook_sees_is_not_for_its_profile_to_say():
    ((key, message),) = mistakes("visible-devices").items()
    assert key == "gpulab:profiles.slice.env"
    assert message.startswith("has NVIDIA_VISIBLE_DEVICES, which only the platform may set: ")
