from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aws_server_lab import Lab, running_lab

from rehearsal.cloud import access, cli, tokens

ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
VIEW_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def lab(site: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.url)
    yield site
    site.clean()


def review(lab: Lab, token: str) -> dict[str, Any]:
    """What the API server gets for a token."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    request = urllib.request.Request(f"{lab.url}/gpulab/token-review", json.dumps(body).encode(), method="POST")
    return json.load(urllib.request.urlopen(request))["status"]


def test_creator_is_an_administrator(lab: Lab) -> None:
    lab.make_cluster()
    status = review(lab, cli.get_token("lab", "us-east-1"))
    assert status["authenticated"]
    assert status["user"]["username"] == "arn:aws:iam::123456789012:user/rehearsal"
    assert status["user"]["groups"] == ["gpulab:access:AmazonEKSClusterAdminPolicy"]


def test_real_clients_token_is_understood(lab: Lab) -> None:
    """botocore's own presigner, as the aws command uses it, writes the URL in its own way."""
    lab.make_cluster()
    sts = lab.client("sts")

    def name_the_cluster(request: Any, **_: Any) -> None:
        request.headers["x-k8s-aws-id"] = "lab"

    sts.meta.events.register("before-sign.sts.GetCallerIdentity", name_the_cluster)
    url = sts.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
    encoded = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    assert review(lab, f"k8s-aws-v1.{encoded}")["authenticated"]


def test_role_is_known_by_its_session(lab: Lab) -> None:
    lab.make_cluster()
    role = lab.make_role("viewer", None, Principal={"AWS": "arn:aws:iam::123456789012:root"})
    token = cli.get_token("lab", "us-east-1", role)
    assert "no access entry" in review(lab, token)["error"]
    lab.eks.create_access_entry(clusterName="lab", principalArn=role, kubernetesGroups=["readers"])
    scope = {"type": "namespace", "namespaces": ["team-a"]}
    lab.eks.associate_access_policy(clusterName="lab", principalArn=role, policyArn=VIEW_POLICY, accessScope=scope)
    user = review(lab, token)["user"]
    assert user["username"] == "arn:aws:sts::123456789012:assumed-role/viewer/EKSGetTokenAuth"
    assert user["groups"] == ["readers", "gpulab:access:AmazonEKSViewPolicy:team-a"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda token: "hello", "not an EKS token"),
        (lambda token: token[:55], "not presigned"),
        (lambda token: cli.get_token("other", "us-east-1"), "not for any existing cluster"),
    ],
)
def test_bad_tokens_are_not_accepted(lab: Lab, spoil: Any, why: str) -> None:
    lab.make_cluster()
    status = review(lab, spoil(cli.get_token("lab", "us-east-1")))
    assert not status["authenticated"]
    assert why in status["error"]


def test_unknown_key_is_not_accepted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make_cluster()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASTRANGER")
    assert "unknown" in review(lab, cli.get_token("lab", "us-east-1"))["error"]


def test_wrong_secret_is_not_accepted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make_cluster()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")
    assert not review(lab, cli.get_token("lab", "us-east-1"))["authenticated"]


def test_old_token_is_not_accepted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.make_cluster()
    token = cli.get_token("lab", "us-east-1")

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(minutes=16)

    monkeypatch.setattr(tokens, "datetime", Later)
    assert "15 minutes" in review(lab, token)["error"]


def test_without_an_access_entry_nobody_comes_in(lab: Lab) -> None:
    lab.make_cluster(accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False})
    assert "no access entry" in review(lab, cli.get_token("lab", "us-east-1"))["error"]


def test_every_group_of_a_policy_is_bound() -> None:
    manifests = access.access_bindings()
    bound = {one["subjects"][0]["name"]: one["roleRef"]["name"] for one in manifests if one["kind"].endswith("Binding")}
    for policy, role in access.POLICIES.items():
        (group,) = access.groups_of({f"arn/{policy}": {"accessScope": {"type": "cluster"}}})
        assert bound.get(group) == role
    made = {one["metadata"]["name"] for one in manifests if one["kind"] == "ClusterRole"}
    assert set(bound.values()) <= made | {"cluster-admin", "admin", "edit", "view"}


def test_command_prints_an_exec_credential(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.make_cluster()
    arguments = "--region us-east-1 eks get-token --cluster-name lab --output json"
    cli.main(arguments.split())
    printed = json.loads(capsys.readouterr().out)
    assert printed["kind"] == "ExecCredential"
    assert review(lab, printed["status"]["token"])["authenticated"]
    expires = datetime.fromisoformat(printed["status"]["expirationTimestamp"])
    assert expires > datetime.now(UTC) + timedelta(minutes=10)


def test_command_writes_a_kubeconfig(lab: Lab, tmp_path: Path) -> None:
    lab.make_cluster()
    path = tmp_path / "kube" / "config"
    for _ in range(2):
        cli.main(["eks", "update-kubeconfig", "--name", "lab", "--kubeconfig", str(path)])
    config = yaml.safe_load(path.read_text())
    assert [one["name"] for one in config["clusters"]] == ["arn:aws:eks:us-east-1:123456789012:cluster/lab"]
    assert config["users"][0]["user"]["exec"]["args"][-4:] == ["--cluster-name", "lab", "--output", "json"]
    assert path.stat().st_mode & 0o077 == 0


def test_command_refuses_what_it_cannot_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["s3", "ls"])
    assert "invalid choice" in capsys.readouterr().err


def test_many_change_iam_at_once(lab: Lab) -> None:
    """As the engine does in a destroy: a request must not read what another one is changing."""
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})

    def come_and_go(number: int) -> None:
        iam = lab.client("iam")
        for name in (f"at-once-{number}-{time}" for time in range(20)):
            lab.make_role(name, "ec2.amazonaws.com")
            arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_role_policy(RoleName=name, PolicyArn=arn)
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
            iam.delete_policy(PolicyArn=arn)
            iam.delete_role(RoleName=name)

    with ThreadPoolExecutor(6) as people:
        list(people.map(come_and_go, range(6)))
