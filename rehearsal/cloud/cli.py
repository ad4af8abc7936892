"""The part of the aws command that an EKS kubeconfig needs, if the real one is not installed.

`aws eks get-token --cluster-name NAME` prints an ExecCredential, and `aws eks update-kubeconfig --name NAME` writes a
context that calls it. `aws --version` answers like a recent AWS CLI 2, because the eks plugin checks it first.
Everything else is refused. It loads as little of botocore as possible: kubectl and the Kubernetes provider run
`get-token` once per process and wait for it.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# The version of the AWS CLI whose options the commands here accept.
_VERSION = "2.31.0"
_CLUSTER_HEADER = "x-k8s-aws-id"
_PREFIX = "k8s-aws-v1."
_URL_SECONDS = 60
# The authenticator accepts a token for 15 minutes; clients must renew it a minute earlier.
_TOKEN_LIFETIME = timedelta(minutes=14)


def get_token(cluster: str, region: str, role_arn: str | None = None) -> str:
    """An EKS token for `cluster`, signed with the environment's credentials or those of a role assumed with them."""
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    url = f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    request = AWSRequest(method="GET", url=url, headers={_CLUSTER_HEADER: cluster})
    SigV4QueryAuth(_credentials(role_arn, region), "sts", region, expires=_URL_SECONDS).add_auth(request)
    return _PREFIX + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")


def _credentials(role_arn: str | None, region: str) -> Any:
    if role_arn:
        import boto3
        from botocore.credentials import Credentials

        sts = boto3.client("sts", region_name=region)
        assumed = sts.assume_role(RoleArn=role_arn, RoleSessionName="EKSGetTokenAuth")["Credentials"]
        return Credentials(assumed["AccessKeyId"], assumed["SecretAccessKey"], assumed["SessionToken"])
    from botocore.credentials import EnvProvider

    found = EnvProvider().load()
    if found is None:
        raise SystemExit("aws: AWS_ACCESS_KEY_ID is not set. This stand-in accepts only credentials in the environment")
    return found


def exec_credential(token: str, now: datetime) -> dict[str, Any]:
    """The ExecCredential for a client that authenticates with a command."""
    expires = (now + _TOKEN_LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "kind": "ExecCredential",
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "spec": {},
        "status": {"expirationTimestamp": expires, "token": token},
    }


def update_kubeconfig(cluster: str, region: str, path: Path, role_arn: str | None, alias: str | None) -> None:
    """Adds the cluster and a context for it to the kubeconfig at `path`, and makes it the current one."""
    import boto3
    import yaml

    described = boto3.client("eks", region_name=region).describe_cluster(name=cluster)["cluster"]
    arn = described["arn"]
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", cluster, "--output", "json"]
    arguments += ["--role-arn", role_arn] if role_arn else []
    entries = {
        "clusters": {
            "name": arn,
            "cluster": {
                "server": described["endpoint"],
                "certificate-authority-data": described["certificateAuthority"]["data"],
            },
        },
        "contexts": {"name": alias or arn, "context": {"cluster": arn, "user": arn}},
        "users": {
            "name": arn,
            "user": {
                "exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": arguments}
            },
        },
    }
    config: dict[str, Any] = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {
        "apiVersion": "v1",
        "kind": "Config",
    }
    for kind, entry in entries.items():
        config[kind] = [*(other for other in config.get(kind) or [] if other["name"] != entry["name"]), entry]
    config["current-context"] = entries["contexts"]["name"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    print(f"Added new context {entries['contexts']['name']} to {path}")


def _arguments() -> argparse.ArgumentParser:
    everywhere = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    everywhere.add_argument("--region")
    everywhere.add_argument("--output", choices=["json"])
    parser = argparse.ArgumentParser(prog="aws", description=__doc__, parents=[everywhere])
    version = f"aws-cli/{_VERSION} Python/{platform.python_version()} {platform.system()} source/gpulab-rehearsal"
    parser.add_argument("--version", action="version", version=version)
    eks = parser.add_subparsers(dest="service", required=True).add_parser("eks", parents=[everywhere])
    commands = eks.add_subparsers(dest="command", required=True)
    token = commands.add_parser("get-token", parents=[everywhere])
    token.add_argument("--cluster-name", required=True)
    token.add_argument("--role-arn")
    kubeconfig = commands.add_parser("update-kubeconfig", parents=[everywhere])
    kubeconfig.add_argument("--name", required=True)
    kubeconfig.add_argument("--kubeconfig")
    kubeconfig.add_argument("--role-arn")
    kubeconfig.add_argument("--alias")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that the arguments name."""
    options = _arguments().parse_args(arguments)
    region = getattr(options, "region", None) or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise SystemExit("aws: you must specify a region: --region, AWS_REGION or AWS_DEFAULT_REGION")
    if options.command == "get-token":
        token = get_token(options.cluster_name, region, options.role_arn)
        json.dump(exec_credential(token, datetime.now(UTC)), sys.stdout)
        return
    default = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or Path.home() / ".kube" / "config"
    path = Path(options.kubeconfig or default)
    update_kubeconfig(options.name, region, path, options.role_arn, options.alias)


if __name__ == "__main__":
    main()
