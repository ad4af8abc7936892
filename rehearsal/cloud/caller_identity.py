"""The identity of a caller of the simulated AWS: the user or assumed role of its access key in moto's IAM and STS."""

from __future__ import annotations

import os
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.iam import models
from moto.iam.models import AccessKey, iam_backends
from moto.sts.models import sts_backends

PARTITION = "aws"
USER = "rehearsal"


def admit() -> None:
    """Makes the IAM user `rehearsal` with the access key in this process's environment.

    So a caller with that key has an ARN like in a real account, and its signatures can be checked.
    """
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        return
    iam = iam_backends[DEFAULT_ACCOUNT_ID][PARTITION]
    user = iam.create_user(region_name=PARTITION, user_name=USER)
    key: Any = AccessKey(user.name, prefix="AKIA", account_id=DEFAULT_ACCOUNT_ID)
    key.access_key_id, key.secret_access_key = key_id, secret
    user.access_keys.append(key)
    iam.access_keys[key_id] = key


def account_of(access_key_id: str) -> str:
    """The account of this access key; the default one if no account has it.

    moto would search every partition (China, GovCloud and so on), and make an IAM with AWS's managed policies for each.
    """
    for account, partitions in list(iam_backends.items()):
        if access_key_id in partitions[PARTITION].access_keys:
            return account
    return DEFAULT_ACCOUNT_ID


def principal(access_key_id: str) -> str:
    """The ARN that STS returns for a caller with this key."""
    _, arn, _ = sts_backends[DEFAULT_ACCOUNT_ID][PARTITION].get_caller_identity(access_key_id, "us-east-1")
    return arn


def iam_arn(principal: str) -> str:
    """`principal` in the form of access entries: an assumed role's session becomes its IAM role."""
    head, _, resource = principal.rpartition(":")
    if not resource.startswith("assumed-role/"):
        return principal
    name = resource.split("/")[1]
    iam = iam_backends[DEFAULT_ACCOUNT_ID][PARTITION]
    paths = [role.arn for role in iam.get_roles() if role.name == name]
    return paths[0] if paths else f"{head.replace(':sts:', ':iam:')}:role/{name}"


def secret_of(access_key_id: str) -> str | None:
    """The secret of an access key that IAM or STS issued, or None."""
    assumed = sts_backends[DEFAULT_ACCOUNT_ID][PARTITION].get_assumed_role_from_access_key(access_key_id)
    if assumed:
        return assumed.secret_access_key
    key = iam_backends[DEFAULT_ACCOUNT_ID][PARTITION].access_keys.get(access_key_id)
    return key.secret_access_key if key else None


def install() -> None:
    """Makes moto use this for the callers of all its services."""
    models.get_account_id_from = account_of
