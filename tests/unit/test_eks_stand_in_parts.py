"""The eks stand-in: node groups, add-ons and the provider itself."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import pulumi
import pytest
from eks_stand_in import CLUSTER, ROLE_ARN, refused, with_eks, write_command

from rehearsal.machine.workspace import PROJECT
from rehearsal.providers.eks import aws_cli
from rehearsal.providers.eks.addons import Addon, VpcCniAddon, cni_configuration
from rehearsal.providers.eks.cluster import Cluster
from rehearsal.providers.eks.node_group import ManagedNodeGroup, ami_type, operating_system
from rehearsal.providers.eks.provider import EksProvider
from rehearsal.providers.eks.resources import LaunchTemplate, Role
from rehearsal.providers.eks.roles import trust_policy


@pytest.fixture
def eks(mocks):
    return with_eks(mocks)


class TestManagedNodeGroup:
    def deploy(self, eks, **inputs: Any) -> ManagedNodeGroup:
        def program() -> ManagedNodeGroup:
            return ManagedNodeGroup("system", {"cluster": Cluster("lab", CLUSTER), "nodeRoleArn": ROLE_ARN, **inputs})

        return eks.deploy(program)

    def test_defaults_come_from_the_cluster(self, eks):
        self.deploy(eks)
        group = eks.one("aws:eks/nodeGroup:NodeGroup", "system")
        assert group.inputs == {
            "clusterName": "lab",
            "version": "1.34",
            "nodeRoleArn": ROLE_ARN,
            "subnetIds": ["subnet-1", "subnet-2"],
            "scalingConfig": {"desiredSize": 2, "minSize": 1, "maxSize": 2},
        }
        assert group.parent == eks.one("eks:index:ManagedNodeGroup").urn
        assert eks.needs(group, eks.one("aws:eks/cluster:Cluster"))

    def test_own_launch_template_decides_on_the_version(self, eks):
        self.deploy(
            eks,
            launchTemplate={"id": "lt-1", "version": "2"},
            scalingConfig={"desiredSize": 2.0, "minSize": 2.0, "maxSize": 3.0},
            taints=[{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}],
            ignoreScalingChanges=True,
        )
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert "version" not in group.inputs
        assert group.inputs["launchTemplate"] == {"id": "lt-1", "version": "2"}
        assert group.inputs["taints"] == [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}]
        assert group.ignore_changes == ["scalingConfig.desiredSize"]

    def test_core_data_serve_as_cluster_and_role_as_resource(self, eks):
        def program() -> ManagedNodeGroup:
            return ManagedNodeGroup("system", {"cluster": Cluster("lab", CLUSTER).core, "nodeRole": Role("nodes", {})})

        eks.deploy(program)
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert group.inputs["clusterName"] == "lab"
        assert group.inputs["nodeRoleArn"] == eks.one("aws:iam/role:Role", "nodes").outputs["arn"]

    def test_metadata_option_makes_a_launch_template_that_takes_the_disk_size(self, eks):
        self.deploy(eks, enableIMDSv2=True, diskSize=50, operatingSystem="Bottlerocket", instanceTypes=["m7g.large"])
        template = eks.one(LaunchTemplate.pulumi_type, "system-launchTemplate")
        assert template.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 2
        assert template.inputs["blockDeviceMappings"] == [{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": 50}}]
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert group.inputs["launchTemplate"] == {"id": template.id, "version": "3"}
        assert group.inputs["amiType"] == "BOTTLEROCKET_ARM_64"
        assert "diskSize" not in group.inputs

    @pytest.mark.parametrize(
        ("inputs", "path", "reason"),
        [
            ({"nodeRoleArn": None}, "nodeRole", "nodeRole or nodeRoleArn"),
            ({"enableIMDSv2": True, "launchTemplate": {"version": "1"}}, "launchTemplate", "enableIMDSv2"),
            ({"launchTemplate": {"id": "lt-1"}}, "launchTemplate.version", "missing"),
            ({"scalingConfig": {"desiredSize": 1}}, "scalingConfig.maxSize", "missing"),
            ({"updateConfig": {"maxUnavailable": 1}}, "updateConfig", "no such property"),
            ({"kubeletExtraArgs": "--max-pods=20"}, "kubeletExtraArgs", "does not support"),
            ({"taints": [{"key": "a"}]}, "taints[0].effect", "missing"),
            ({"cluster": "lab"}, "cluster", "eks:index:Cluster"),
            ({"operatingSystem": "Windows"}, "operatingSystem", "AL2023"),
        ],
    )
    def test_refused(self, eks, inputs, path, reason):
        assert reason in refused(lambda: self.deploy(eks, **inputs))[path]
        assert eks.all("eks:index:ManagedNodeGroup") == []

    def test_two_roles(self, eks):
        def program() -> None:
            ManagedNodeGroup(
                "system", {"cluster": Cluster("lab", CLUSTER), "nodeRoleArn": ROLE_ARN, "nodeRole": Role("nodes", {})}
            )

        assert "mutually exclusive" in refused(lambda: eks.deploy(program))["nodeRole"]

    def test_ami_types(self):
        assert ami_type("AL2023", True, ["g5.xlarge", "g6.xlarge"]) == "AL2023_x86_64_NVIDIA"
        assert "architecture" in refused(lambda: ami_type("AL2023", False, ["m7i.large", "m7g.large"]))["instanceTypes"]
        assert "arm64" in refused(lambda: ami_type("AL2", True, ["g5g.xlarge"]))["operatingSystem"]
        assert operating_system("BOTTLEROCKET_x86_64", None) == "Bottlerocket"
        assert "does not match" in refused(lambda: operating_system("AL2_x86_64", "AL2023"))["operatingSystem"]


class TestAddons:
    def test_addon_is_a_child_of_the_cluster(self, eks):
        def program() -> Addon:
            inputs = {
                "addonName": "coredns",
                "configurationValues": {"replicaCount": 2.0, "b": [1.0]},
                "preserve": False,
            }
            return Addon("coredns", {"cluster": Cluster("lab", CLUSTER), **inputs})

        eks.deploy(program)
        component = eks.one("eks:index:Addon")
        assert component.parent == eks.one("eks:index:Cluster").urn
        addon = eks.one("aws:eks/addon:Addon", "coredns")
        assert addon.parent == component.urn
        assert addon.inputs == {
            "clusterName": "lab",
            "addonName": "coredns",
            "configurationValues": '{"b":[1],"replicaCount":2}',
            "preserve": False,
        }

    def test_addon_without_a_name_is_refused(self, eks):
        def program() -> None:
            Addon("coredns", {"cluster": Cluster("lab", CLUSTER)})

        assert refused(lambda: eks.deploy(program)) == {"addonName": "required, but missing"}

    def test_cni_defaults(self):
        configuration = cni_configuration({"enableNetworkPolicy": True, "enablePrefixDelegation": True})
        assert configuration["enableNetworkPolicy"] == "true"
        assert configuration["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
        assert configuration["env"]["WARM_ENI_TARGET"] == "1"
        assert configuration["init"] == {"env": {"DISABLE_TCP_EARLY_DEMUX": "false"}}
        assert "WARM_IP_TARGET" not in configuration["env"]

    def test_cni_configuration_values_win(self):
        given = {"env": {"WARM_ENI_TARGET": "3"}, "nodeAgent": {"enabled": "true"}, "init": {"image": "x"}}
        configuration = cni_configuration({"configurationValues": given, "warmEniTarget": 2})
        assert configuration["env"]["WARM_ENI_TARGET"] == "3"
        assert configuration["nodeAgent"] == {"enabled": "true"}
        assert configuration["init"] == {"image": "x", "env": {"DISABLE_TCP_EARLY_DEMUX": "false"}}

    def test_cni_needs_a_version_to_choose(self, eks):
        errors = refused(lambda: eks.deploy(lambda: VpcCniAddon("cni", {"clusterName": "lab"})))
        assert errors == {"addonVersion": "addonVersion or clusterVersion is needed"}


class TestProvider:
    @pytest.mark.parametrize("token", ["eks:index:NodeGroupV2", "eks:index:Nonsense"])
    def test_types_that_are_not_modelled(self, token, monkeypatch):
        monkeypatch.setattr("rehearsal.providers.eks.resources.register_references", lambda _: None)
        with pytest.raises(pulumi.InputPropertiesError, match=rf"{token} .* models eks:index:Addon"):
            EksProvider().construct("x", token, {})

    def test_cluster_needs_the_aws_command(self, monkeypatch, tmp_path):
        monkeypatch.setattr("rehearsal.providers.eks.resources.register_references", lambda _: None)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(pulumi.InputPropertiesError, match="aws CLI"):
            EksProvider().construct("lab", "eks:index:Cluster", CLUSTER)

    @pytest.mark.parametrize(
        ("printed", "refused"),
        [
            ("aws-cli/2.31.0 Python/3.13.7 Linux/6.1 exe/x86_64", ""),
            ("aws-cli/2.6.9 Python/3.9.11 Linux/6.1 exe/x86_64", "At least v2.7.0 of aws-cli is required"),
            ("aws-cli/1.23.9 Python/3.8.8 Darwin/20.5.0", "At least v1.24.0 of aws-cli is required"),
            ("usage: aws", "Invalid Version"),
        ],
    )
    def test_cluster_needs_an_aws_command_that_is_new_enough(self, printed, refused, monkeypatch, tmp_path):
        write_command(tmp_path / "aws", f"echo '{printed}'")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert refused in (aws_cli.refusal() or "")
        assert bool(refused) == bool(aws_cli.refusal())

    def test_the_rehearsals_own_aws_command_is_new_enough(self, monkeypatch, tmp_path):
        """The real plugin checks its version before it makes a cluster."""
        run = f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} -m rehearsal.cloud.cli"
        write_command(tmp_path / "aws", f'{run} "$@"')
        monkeypatch.setenv("PATH", str(tmp_path))
        assert aws_cli.refusal() is None


def test_trust_policy_names_the_service():
    (statement,) = json.loads(trust_policy("ec2.amazonaws.com", ["sts:AssumeRole"]))["Statement"]
    assert statement["Principal"] == {"Service": ["ec2.amazonaws.com"]}
