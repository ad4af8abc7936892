"""The server of the simulated AWS: calls, clusters and what is in them, images and volumes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest
from aws_server_lab import Lab, refused, running_lab
from botocore.config import Config
from botocore.exceptions import ClientError

from rehearsal.cloud.versions import versions

ADMINISTRATOR = "arn:aws:iam::123456789012:role/platform-admin"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def lab(site: Lab) -> Iterator[Lab]:
    yield site
    site.clean()


def test_caller_is_a_user_of_the_account(lab: Lab) -> None:
    assert lab.client("sts").get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:user/rehearsal"


def test_calls_are_counted_by_key_and_action(lab: Lab) -> None:
    other = lab.client("ec2", aws_access_key_id="AKIAOTHER", aws_secret_access_key="x")
    other.describe_vpcs()
    lab.ec2.describe_vpcs()
    calls = json.load(urllib.request.urlopen(f"{lab.url}/gpulab/calls"))
    assert calls["keys"]["AKIAOTHER"] == 1
    assert calls["actions"]["ec2:DescribeVpcs"] == 2
    assert json.load(urllib.request.urlopen(f"{lab.url}/gpulab/health")) == {"ok": True}


def test_calls_of_an_application_are_told_from_the_others(lab: Lab) -> None:
    by_name = Config(user_agent_appid="pulumi-up")
    lab.ec2.describe_vpcs()
    lab.client("ec2", config=by_name).describe_subnets()
    bucket = lab.client("s3", config=by_name)
    bucket.create_bucket(Bucket="lab-states")
    bucket.get_bucket_versioning(Bucket="lab-states")
    bucket.list_objects_v2(Bucket="lab-states", Prefix="a")
    calls = json.load(urllib.request.urlopen(f"{lab.url}/gpulab/calls"))
    assert calls["applications"] == {
        "pulumi-up": {
            "ec2:DescribeSubnets": 1,
            "s3:PUT /lab-states": 1,
            "s3:GET /lab-states?versioning": 1,
            "s3:GET /lab-states?list-type": 1,
        }
    }


def test_what_the_calls_of_an_application_name_is_kept(lab: Lab) -> None:
    named = Config(user_agent_appid="pulumi-destroy")
    provider = {"type": "oidc", "name": "keycloak"}
    with pytest.raises(ClientError):
        lab.client("eks", config=named).disassociate_identity_provider_config(
            clusterName="lab", identityProviderConfig=provider
        )
    with pytest.raises(ClientError):
        lab.client("iam", config=named).delete_role(RoleName="nobody")
    requests = json.load(urllib.request.urlopen(f"{lab.url}/gpulab/calls"))["requests"]["pulumi-destroy"]
    by_action = dict(requests)
    disassociated = by_action["eks:POST /clusters/lab/identity-provider-configs/disassociate"]
    assert disassociated["identityProviderConfig.name"] == "keycloak"
    assert by_action["iam:DeleteRole"]["RoleName"] == "nobody"


def test_cluster_has_a_security_group_and_interfaces_that_go_with_it(lab: Lab) -> None:
    cluster = lab.make_cluster()
    group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
    (found,) = lab.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert {"Key": "aws:eks:cluster-name", "Value": "lab"} in found["Tags"]
    assert found["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group
    interfaces = lab.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert len({interface["AvailabilityZone"] for interface in interfaces}) == 2
    assert "DependencyViolation" in refused(lambda: [lab.ec2.delete_subnet(SubnetId=id) for id in lab.subnets])
    lab.eks.delete_cluster(name="lab")
    assert not lab.ec2.describe_network_interfaces()["NetworkInterfaces"]
    assert "NotFound" in refused(lambda: lab.ec2.describe_security_groups(GroupIds=[group]))


def test_node_groups_instances_are_real_and_go_with_it(lab: Lab) -> None:
    lab.make_cluster()
    lab.make_group(scalingConfig={"minSize": 2, "desiredSize": 3, "maxSize": 3}, launchTemplate=lab.make_template())
    instances = lab.instances()
    assert {one["Placement"]["AvailabilityZone"] for one in instances} == {"us-east-1a", "us-east-1b", "us-east-1c"}
    tags = {tag["Key"]: tag["Value"] for tag in instances[0]["Tags"]}
    assert tags["eks:nodegroup-name"] == "system"
    assert tags["kubernetes.io/cluster/lab"] == "owned"
    assert tags["Team"] == "ml"
    assert instances[0]["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    (volume, *_) = lab.ec2.describe_volumes()["Volumes"]
    assert volume["Size"] == 50
    assert volume["Encrypted"]
    entries = lab.eks.list_access_entries(clusterName="lab")["accessEntries"]
    assert lab.node_role in entries
    assert "nodegroups attached" in refused(lambda: lab.eks.delete_cluster(name="lab"))
    lab.eks.delete_nodegroup(clusterName="lab", nodegroupName="system")
    assert not lab.instances()
    assert not lab.ec2.describe_volumes()["Volumes"]


def test_node_group_updates(lab: Lab) -> None:
    lab.make_cluster(version="1.35")
    lab.make_group()
    before = {one["InstanceId"] for one in lab.instances()}
    where = {"clusterName": "lab", "nodegroupName": "system"}
    lab.eks.update_nodegroup_config(
        **where,
        labels={"addOrUpdateLabels": {"a": "b"}},
        taints={"addOrUpdateTaints": [{"key": "x", "value": "y", "effect": "NO_SCHEDULE"}]},
        scalingConfig={"minSize": 1, "desiredSize": 1, "maxSize": 2},
    )
    group = lab.eks.describe_nodegroup(**where)["nodegroup"]
    assert group["labels"] == {"a": "b"}
    assert group["taints"] == [{"key": "x", "value": "y", "effect": "NO_SCHEDULE"}]
    assert len(lab.instances()) == 1
    lab.eks.update_cluster_version(name="lab", version="1.36")
    lab.eks.update_nodegroup_version(**where, version="1.36")
    assert lab.eks.describe_nodegroup(**where)["nodegroup"]["version"] == "1.36"
    assert not before & {one["InstanceId"] for one in lab.instances()}


def test_versions_are_those_of_ekss_calendar(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {one["clusterVersion"]: one for one in lab.eks.describe_cluster_versions()["clusterVersions"]}
    assert {name: one["versionStatus"] for name, one in found.items()} == {
        "1.32": "EXTENDED_SUPPORT",
        "1.33": "EXTENDED_SUPPORT",
        "1.34": "STANDARD_SUPPORT",
        "1.35": "STANDARD_SUPPORT",
        "1.36": "STANDARD_SUPPORT",
    }
    assert f"{found['1.32']['endOfStandardSupportDate']:%Y-%m-%d}" == "2026-03-23"
    monkeypatch.setenv("GPULAB_TODAY", f"{found['1.32']['endOfExtendedSupportDate']:%Y-%m-%d}")
    assert "unsupported Kubernetes version" in refused(lambda: lab.make_cluster(version="1.32"))


def test_a_cluster_without_extended_support_is_upgraded_when_standard_support_ends(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, support_type in (("standard", "STANDARD"), ("extended", "EXTENDED")):
        lab.make_cluster(name, version="1.34", upgradePolicy={"supportType": support_type})
    monkeypatch.setenv("GPULAB_TODAY", "2026-12-02")
    versions = [lab.eks.describe_cluster(name=name)["cluster"]["version"] for name in ("standard", "extended")]
    assert versions == ["1.35", "1.34"]


def test_addons_have_published_versions(lab: Lab) -> None:
    for version in versions():
        (addon,) = lab.eks.describe_addon_versions(addonName="kube-proxy", kubernetesVersion=version)["addons"]
        defaults = [one for one in addon["addonVersions"] if one["compatibilities"][0]["defaultVersion"]]
        assert [one["addonVersion"].startswith(f"v{version}.") for one in defaults] == [True]
    lab.make_cluster()
    lab.eks.create_addon(clusterName="lab", addonName="coredns", tags={"a": "b"})
    assert lab.eks.describe_addon(clusterName="lab", addonName="coredns")["addon"]["status"] == "DEGRADED"
    lab.make_group(taints=[{"key": "gpu", "effect": "NO_SCHEDULE"}])
    assert lab.eks.describe_addon(clusterName="lab", addonName="coredns")["addon"]["status"] == "DEGRADED"
    tolerations = json.dumps({"tolerations": [{"key": "gpu", "operator": "Exists"}]})
    update = lab.eks.update_addon(clusterName="lab", addonName="coredns", configurationValues=tolerations)["update"]
    assert lab.eks.describe_update(name="lab", updateId=update["id"])["update"]["status"] == "Successful"
    assert lab.eks.describe_addon(clusterName="lab", addonName="coredns")["addon"]["status"] == "ACTIVE"
    assert lab.eks.list_addons(clusterName="lab")["addons"] == ["coredns"]
    lab.eks.delete_addon(clusterName="lab", addonName="coredns")
    assert not lab.eks.list_addons(clusterName="lab")["addons"]


def test_access_entries_and_policies(lab: Lab) -> None:
    lab.make_cluster()
    (creator,) = lab.eks.list_access_entries(clusterName="lab")["accessEntries"]
    assert creator == "arn:aws:iam::123456789012:user/rehearsal"
    who = {"clusterName": "lab", "principalArn": ADMINISTRATOR}
    entry = lab.eks.create_access_entry(**who, tags={"a": "b"})["accessEntry"]
    assert entry["username"].endswith(":assumed-role/platform-admin/{{SessionName}}")
    lab.eks.associate_access_policy(**who, policyArn=ADMIN_POLICY, accessScope={"type": "cluster"})
    (policy,) = lab.eks.list_associated_access_policies(**who)["associatedAccessPolicies"]
    assert policy["policyArn"] == ADMIN_POLICY
    assert lab.eks.list_tags_for_resource(resourceArn=entry["accessEntryArn"])["tags"] == {"a": "b"}
    lab.eks.disassociate_access_policy(**who, policyArn=ADMIN_POLICY)
    assert not lab.eks.list_associated_access_policies(**who)["associatedAccessPolicies"]
    lab.eks.delete_access_entry(**who)
    assert "ResourceNotFound" in refused(lambda: lab.eks.describe_access_entry(**who))


def test_an_addons_own_pod_identity_association_can_go_before_it(lab: Lab) -> None:
    lab.make_cluster()
    own = [{"serviceAccount": "ebs-csi-controller-sa", "roleArn": lab.pod_role}]
    driver = {"clusterName": "lab", "addonName": "aws-ebs-csi-driver"}
    made = lab.eks.create_addon(**driver, podIdentityAssociations=own)["addon"]["podIdentityAssociations"]
    lab.eks.delete_pod_identity_association(clusterName="lab", associationId=made[0].rpartition("/")[2])
    assert lab.eks.describe_addon(**driver)["addon"]["podIdentityAssociations"] == []


def test_pod_identity_associations(lab: Lab) -> None:
    lab.make_cluster()
    who = {"clusterName": "lab", "namespace": "kube-system", "serviceAccount": "karpenter"}
    made = lab.eks.create_pod_identity_association(**who, roleArn=lab.pod_role)["association"]
    (listed,) = lab.eks.list_pod_identity_associations(clusterName="lab")["associations"]
    assert listed["associationId"] == made["associationId"]
    lab.eks.delete_pod_identity_association(clusterName="lab", associationId=made["associationId"])
    assert not lab.eks.list_pod_identity_associations(clusterName="lab")["associations"]


def test_quotas_of_gpus(lab: Lab) -> None:
    quotas = lab.client("service-quotas")
    assert quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-DB2E81BA")["Quota"]["Value"] > 0
    assert quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode="L-417A185B")["Quota"]["Value"] == 0
    codes = {quota["QuotaCode"] for quota in quotas.list_service_quotas(ServiceCode="ec2")["Quotas"]}
    assert {"L-3819A6DF", "L-7212CCBC"} <= codes
    assert "NoSuchResource" in refused(lambda: quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-0"))


def test_image_parameters_name_images_that_exist(lab: Lab) -> None:
    name = "/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/recommended/image_id"
    image = lab.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    assert lab.ec2.describe_images(ImageIds=[image])["Images"][0]["Architecture"] == "x86_64"


def test_snapshots_are_those_of_the_owner_asked_for(lab: Lab) -> None:
    volume = lab.ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    mine = lab.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    everyones = {one["SnapshotId"]: one["OwnerId"] for one in lab.ec2.describe_snapshots()["Snapshots"]}
    assert len(set(everyones.values())) > 1
    for owner in ("self", "123456789012"):
        found = {one["SnapshotId"] for one in lab.ec2.describe_snapshots(OwnerIds=[owner])["Snapshots"]}
        assert found == {id for id, account in everyones.items() if account == "123456789012"} >= {mine}
    assert "by account id" in refused(lambda: lab.ec2.describe_snapshots(OwnerIds=["amazon"]))


def test_a_volume_never_shrinks_and_is_changed_four_times_a_day(lab: Lab) -> None:
    volume = lab.ec2.create_volume(AvailabilityZone="us-east-1a", Size=20)["VolumeId"]
    assert "InvalidParameterValue" in refused(lambda: lab.ec2.modify_volume(VolumeId=volume, Size=10))
    for size in (30, 40, 50, 60):
        lab.ec2.modify_volume(VolumeId=volume, Size=size)
    assert "VolumeModificationRateExceeded" in refused(lambda: lab.ec2.modify_volume(VolumeId=volume, Size=70))
    (found,) = lab.ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
    assert found["Size"] == 60


def test_process_answers_and_ends_with_its_parent() -> None:
    """Started by an intermediate shell, which ends at once."""
    code = (
        "import subprocess, sys, time, urllib.request\n"
        "port = '0'\n"
        "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); port = str(s.getsockname()[1]); s.close()\n"
        "child = subprocess.Popen([sys.executable, '-m', 'rehearsal.cloud.server', '--port', port])\n"
        "for _ in range(200):\n"
        "    try:\n"
        "        urllib.request.urlopen(f'http://127.0.0.1:{port}/gpulab/health'); break\n"
        "    except OSError: time.sleep(0.1)\n"
        "print(port, flush=True)\n"
    )
    port = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port.strip()}/gpulab/health", timeout=1)
        except OSError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived its parent")
