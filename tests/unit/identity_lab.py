"""Identity in a lab, deployed to the mocks, for the tests of sign-in."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from engine_mocks import EngineMocks, Registered

from components.ground.secrets import from_secrets_manager
from components.ground.system_nodes import SYSTEM_NODES
from components.identity.identity import Identity, IdentityArgs
from components.platform_urls import PlatformUrls
from components.storage.databases import EksDatabases
from settings import Identity as IdentitySettings

RELEASE, JOB = "kubernetes:helm.sh/v3:Release", "kubernetes:batch/v1:Job"
SECRET, CONFIG_MAP = "kubernetes:core/v1:Secret", "kubernetes:core/v1:ConfigMap"
INSTANCE, SNAPSHOT = "aws:rds/instance:Instance", "aws:rds/snapshot:Snapshot"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
PASSWORD = "random:index/randomPassword:RandomPassword"
CLUSTER_TYPE = "kubernetes:postgresql.cnpg.io/v1:Cluster"

MAIL_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mail-AbCdEf"
PLACEHOLDER = re.compile(r"\$\(file:UTF-8:([/A-Za-z0-9_-]+)\)")


def identity(**sections: Any) -> IdentitySettings:
    return IdentitySettings.model_validate({"administrators": ["ada@example.com"], **sections})


def databases(**changes: Any) -> EksDatabases:
    return EksDatabases(
        cluster_name="lab",
        vpc_id="vpc-1",
        subnet_ids=["subnet-1", "subnet-2"],
        node_security_group_id="sg-nodes",
        placement=SYSTEM_NODES,
        **changes,
    )


def args(settings: IdentitySettings | None = None, **changes: Any) -> IdentityArgs:
    settings = settings or identity()
    given = IdentityArgs(
        settings=settings,
        urls=PlatformUrls.of(None),
        databases=databases(),
        secret=from_secrets_manager,
        placement=SYSTEM_NODES,
    )
    return dataclasses.replace(given, **changes)


def deploy(mocks: EngineMocks, given: IdentityArgs | None = None) -> Identity:
    return mocks.deploy(lambda: Identity("lab", given or args()))


def secret_of(mocks: EngineMocks, name: str) -> dict[str, str]:
    (found,) = [one for one in mocks.all(SECRET) if one.inputs["metadata"]["name"] == name]
    return found.inputs["stringData"]


def job_of(mocks: EngineMocks) -> tuple[Registered, dict[str, Any]]:
    job = mocks.one(JOB)
    return job, job.inputs["spec"]["template"]["spec"]


MAIL = {"from": "lab@example.com", "host": "smtp.example.com", "user": "lab"}
WITH_SECRETS = {
    "mail": {**MAIL, "password": {"secretsManager": MAIL_ARN, "key": "password"}},
    "ldap": {
        "url": "ldaps://ldap.example.com",
        "vendor": "other",
        "bindDn": "cn=a,dc=b",
        "bindPassword": {"kubernetesSecret": "directory", "key": "bind"},
        "users": "ou=people,dc=b",
    },
}


def secret_names(mocks: EngineMocks) -> set[str]:
    return {one.inputs["metadata"]["name"] for one in mocks.all(SECRET)}
