"""The EBS driver's use of a key: with its addon's role, as far as the role's policies allow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from aws_server_lab import Lab, running_lab

from components.storage.csi_drivers import use_of_key_policy
from rehearsal.controllers.volume_keys import allows, key_problem
from rehearsal.controllers.volumes import ADDON
from rehearsal.controllers.world import Aws, World

CLUSTER = "lab"
ROLE = "driver"


@pytest.fixture
def lab() -> Iterator[Lab]:
    with running_lab() as made, mock.patch.dict(os.environ, {"AWS_ENDPOINT_URL": made.url}):
        made.make_cluster(CLUSTER)
        yield made


@pytest.fixture
def world(lab: Lab) -> World:
    # The controllers of volumes ask AWS alone about keys.
    return World(kubernetes=mock.Mock(), aws=Aws("us-east-1"), folder=Path(), zones=())


def install(lab: Lab, *, with_role: bool = True, **policy: Any) -> dict[str, Any]:
    """The driver's addon as EKS describes it, its role with an inline policy."""
    association: list[dict[str, str]] = []
    if with_role:
        arn = lab.make_role(ROLE, "pods.eks.amazonaws.com", Action=["sts:AssumeRole", "sts:TagSession"])
        association = [{"roleArn": arn, "serviceAccount": "ebs-csi-controller-sa"}]
    if policy:
        lab.client("iam").put_role_policy(RoleName=ROLE, PolicyName="key", PolicyDocument=json.dumps(policy))
    lab.eks.create_addon(clusterName=CLUSTER, addonName=ADDON, podIdentityAssociations=association)
    return lab.eks.describe_addon(clusterName=CLUSTER, addonName=ADDON)["addon"]


def make_key(lab: Lab) -> str:
    return lab.client("kms").create_key()["KeyMetadata"]["Arn"]


def test_the_platforms_policy_is_enough(lab: Lab, world: World) -> None:
    key = make_key(lab)
    addon = install(lab, **json.loads(use_of_key_policy(key)))
    assert key_problem(world, addon, key) is None
    other = make_key(lab)
    assert "may not kms:CreateGrant" in (key_problem(world, addon, other) or "")


def test_awss_own_policy_of_the_driver_is_not(lab: Lab, world: World) -> None:
    key, addon = make_key(lab), install(lab)
    lab.client("iam").attach_role_policy(
        RoleName=ROLE, PolicyArn="arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
    )
    assert f"{ROLE} may not" in (key_problem(world, addon, key) or "")


def test_a_key_in_its_deletion_window_or_unknown_encrypts_nothing(lab: Lab, world: World) -> None:
    key = make_key(lab)
    addon = install(lab, **json.loads(use_of_key_policy(key)))
    lab.client("kms").schedule_key_deletion(KeyId=key.rpartition("/")[2], PendingWindowInDays=7)
    assert "PendingDeletion" in (key_problem(world, addon, key) or "")
    assert key_problem(world, addon, key[:-4] + "0000")


def test_a_driver_without_a_role_encrypts_nothing(lab: Lab, world: World) -> None:
    key = make_key(lab)
    assert "no Pod Identity association" in (key_problem(world, install(lab, with_role=False), key) or "")


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([], False),
        ([{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}], True),
        ([{"Effect": "Allow", "Action": ["KMS:creategrant"], "Resource": ["arn:key/*"]}], True),
        ([{"Effect": "Allow", "Action": "kms:Create*", "Resource": "arn:other/*"}], False),
        ([{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}], False),
        (
            [
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
                {"Effect": "Deny", "Action": "kms:CreateGrant", "Resource": "arn:key/1"},
            ],
            False,
        ),
    ],
)
def test_an_action_is_allowed_by_what_matches_it(statements: list[dict[str, Any]], expected: bool) -> None:
    assert allows(statements, "kms:CreateGrant", "arn:key/1") is expected
