"""The kubeconfig of a cluster: its user gets tokens from the aws CLI."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import pulumi

from rehearsal.providers.eks.resources import EksCluster


def cluster_kubeconfig(
    cluster: pulumi.Input[EksCluster],
    *,
    role_arn: pulumi.Input[str | None] = None,
    profile: pulumi.Input[str | None] = None,
) -> pulumi.Output[dict[str, Any]]:
    """A kubeconfig whose user gets tokens from the aws CLI, with a role or a profile if given."""
    found = pulumi.Output.from_input(cluster).apply(
        lambda one: pulumi.Output.all(one.name, one.endpoint, one.arn, one.certificateAuthority)
    )
    return pulumi.Output.all(found, role_arn, profile).apply(
        lambda given: kubeconfig_for(
            given[0][0],
            endpoint=given[0][1],
            region=given[0][2].split(":")[3],
            authority=given[0][3]["data"],
            role_arn=given[1],
            profile=given[2],
        )
    )


def kubeconfig_for(
    cluster_name: str,
    *,
    endpoint: str,
    region: str,
    authority: str,
    role_arn: str | None = None,
    profile: str | None = None,
) -> dict[str, Any]:
    """The kubeconfig as a dict; `authority` is the CA certificate as base64 of PEM."""
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", cluster_name, "--output", "json"]
    if role_arn:
        arguments += ["--role", role_arn]
    if profile:
        arguments += ["--profile", profile]
    version = "client.authentication.k8s.io/v1beta1"
    exec_info = {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps({"apiVersion": version})}
    user = {"exec": {"apiVersion": version, "command": "aws", "args": arguments, "env": [exec_info]}}
    return {
        "apiVersion": "v1",
        "clusters": [{"cluster": {"server": endpoint, "certificate-authority-data": authority}, "name": "kubernetes"}],
        "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
        "current-context": "aws",
        "kind": "Config",
        "users": [{"name": "aws", "user": user}],
    }


def credential_options(inputs: Mapping[str, Any]) -> pulumi.Input[Mapping[str, Any]]:
    """`providerCredentialOpts`, else the profile that the AWS provider's configuration or the environment names."""
    if "providerCredentialOpts" in inputs:
        return inputs["providerCredentialOpts"]
    profile = os.environ.get("AWS_PROFILE") or pulumi.Config("aws").get("profile")
    return {"profileName": profile} if profile else {}


def compact_json(value: Any) -> str:
    """`value` as JSON without white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
