"""The rehearsal's search for secrets finds a secret wherever it is, and the places that it searches exist."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal import account_secrets
from rehearsal.checks import secrets as secret_checks
from rehearsal.checks.checking import DoesNotHold
from rehearsal.checks.final_snapshots import all_taken, final_snapshots
from rehearsal.providers.protocol.model import Request
from rehearsal.providers.random.provider import RandomProvider
from settings import Hub, Identity

SECRET = "a-secret-of-the-tests"
AWKWARD = 'a<b&"c"-and-more'


class Plane:
    """A cluster that holds one object of each kind."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {
            path: {"metadata": {"namespace": "identity", "name": "one"}, "data": {}}
            for path in (*secret_checks._KINDS.values(), secret_checks._HELM_SECRETS)
        }

    def request(self, method: str, path: str) -> dict[str, Any]:
        return {"items": [self.items[path]]}


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(secret_checks, "_generated", lambda subject: {"bootstrap": SECRET})
    (tmp_path / "logs").mkdir()
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "etcd").write_text(SECRET, encoding="utf-8")
    return SimpleNamespace(folder=tmp_path, outputs={"region": "us-east-1"}, plane=Plane(), given_secrets=dict)


def release(values: dict[str, str]) -> str:
    content = gzip.compress(json.dumps({"config": values}).encode())
    return base64.b64encode(base64.b64encode(content)).decode()


def test_a_stack_without_a_leak_holds(subject: Any) -> None:
    subject.plane.items[secret_checks._HELM_SECRETS]["data"]["release"] = release({"password": "elsewhere"})
    assert secret_checks.no_secret_in_plain_text(subject).endswith("for 1 secrets")


@pytest.mark.parametrize("path", ["logs/02-up.log", "state/.pulumi/stacks/gpulab/dev.json", "session.json"])
def test_a_secret_in_a_file_is_found(subject: Any, path: str) -> None:
    file = subject.folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"before {SECRET} after", encoding="utf-8")
    with pytest.raises(DoesNotHold, match="bootstrap") as finding:
        secret_checks.no_secret_in_plain_text(subject)
    assert SECRET not in str(finding.value)


def test_every_place_is_named(subject: Any) -> None:
    for place in ("logs/02-up.log", "logs/03-preview.log", "dev.json"):
        (subject.folder / place).write_text(SECRET, encoding="utf-8")
    subject.outputs["password"] = SECRET
    with pytest.raises(DoesNotHold) as finding:
        secret_checks.no_secret_in_plain_text(subject)
    for place in ("logs/02-up.log", "logs/03-preview.log", "dev.json", "the exports"):
        assert place in str(finding.value)


@pytest.mark.parametrize(
    "written",
    [
        json.dumps(AWKWARD),
        r"""before a\u003cb\u0026\"c\"-and-more after""",
        base64.b64encode(AWKWARD.encode()).decode(),
    ],
)
def test_a_secret_is_found_however_it_is_written(subject: Any, monkeypatch: Any, written: str) -> None:
    monkeypatch.setattr(secret_checks, "_generated", lambda subject: {"bootstrap": AWKWARD})
    (subject.folder / "dev.json").write_text(written, encoding="utf-8")
    with pytest.raises(DoesNotHold, match="bootstrap in dev"):
        secret_checks.no_secret_in_plain_text(subject)


@pytest.mark.parametrize(("kind", "is_open"), [("Bytes", True), ("Password", False)])
def test_a_secret_that_is_an_id_is_found_in_the_state(subject: Any, monkeypatch: Any, kind: str, is_open: bool) -> None:
    """As the engine writes it: secret outputs encrypted, IDs as they are."""
    token = f"random:index/random{kind}:Random{kind}"
    made, request = RandomProvider().resource_type(token), Request(urn="", provider=RandomProvider())
    id, outputs = made.create(made.check({"length": 32}, {}, request), request)
    one = {"urn": f"urn:pulumi:dev::lab::{token}::key", "type": token, "id": id}
    monkeypatch.setattr(secret_checks, "_generated", lambda _: secret_checks.generated([{**one, "outputs": outputs}]))
    encrypted = {key: {"ciphertext": "v1:"} if key in made.secret_outputs else value for key, value in outputs.items()}
    (subject.folder / "dev.json").write_text(json.dumps({**one, "outputs": encrypted}), encoding="utf-8")
    if is_open:
        with pytest.raises(DoesNotHold, match=r"key \(base64\) in dev.json"):
            secret_checks.no_secret_in_plain_text(subject)
    else:
        secret_checks.no_secret_in_plain_text(subject)


def test_a_secret_in_an_export_is_found(subject: Any) -> None:
    subject.outputs["password"] = SECRET
    with pytest.raises(DoesNotHold, match="exports"):
        secret_checks.no_secret_in_plain_text(subject)


@pytest.mark.parametrize("kind", secret_checks._KINDS)
def test_a_secret_in_an_object_is_found(subject: Any, kind: str) -> None:
    subject.plane.items[secret_checks._KINDS[kind]]["data"]["realm.json"] = f'{{"secret": "{SECRET}"}}'
    with pytest.raises(DoesNotHold, match=f"{kind} identity/one"):
        secret_checks.no_secret_in_plain_text(subject)


def test_a_secret_in_the_values_of_a_release_is_found(subject: Any) -> None:
    subject.plane.items[secret_checks._HELM_SECRETS]["data"]["release"] = release({"password": SECRET})
    with pytest.raises(DoesNotHold, match="Helm release one"):
        secret_checks.no_secret_in_plain_text(subject)


def test_every_place_in_secrets_manager_that_a_stack_names_is_known() -> None:
    def arn(name: str) -> str:
        return f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf"

    identity = Identity.model_validate(
        {
            "administrators": ["ada@example.com"],
            "providers": {
                "github": {"kind": "github", "clientId": "a", "clientSecret": {"secretsManager": arn("github")}},
                "google": {
                    "kind": "google",
                    "clientId": "a",
                    "clientSecret": {"kubernetesSecret": "google", "key": "secret"},
                    "hostedDomain": "example.com",
                },
            },
            "ldap": {
                "url": "ldaps://x",
                "vendor": "other",
                "bindDn": "cn=a",
                "bindPassword": {"secretsManager": arn("ldap"), "key": "bind"},
                "users": "dc=a",
            },
            "mail": {"from": "a@example.com", "host": "smtp.example.com"},
        }
    )
    found = [one.secrets_manager for one in account_secrets.references(identity, None)]
    assert found == [arn("github"), arn("ldap")]
    assert account_secrets.references(None, None) == []
    hub = Hub.model_validate({"registry": {"pullSecret": {"secretsManager": arn("registry")}}})
    assert [one.secrets_manager for one in account_secrets.references(None, hub)] == [arn("registry")]


def instance(**outputs: Any) -> dict[str, Any]:
    return {"type": "aws:rds/instance:Instance", "outputs": outputs}


def test_a_last_snapshot_is_expected_of_databases_that_leave_one() -> None:
    resources = [
        instance(skipFinalSnapshot=True, finalSnapshotIdentifier="lab-final"),
        instance(skipFinalSnapshot=False, finalSnapshotIdentifier="prod-final-1"),
        {"type": "aws:sqs/queue:Queue", "outputs": {}},
    ]
    wanted = final_snapshots(resources)
    assert wanted == {"rds DBSnapshots prod-final-1"}
    assert all_taken({*wanted, "ec2 Vpcs vpc-1"}, wanted).ok
    missing = all_taken({"rds DBSnapshots another"}, wanted)
    assert not missing.ok
    assert "prod-final-1" in missing.detail
