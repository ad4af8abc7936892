"""The real aws plugin against the simulated AWS: its configuration, and what it is compared with."""

from __future__ import annotations

import inspect
import json
import runpy
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pulumi_aws
import pytest
import yaml
from rich.console import Console

from rehearsal.checks.plugin_differences import Difference, differences
from rehearsal.machine import aws_plugin, plugins, workspace
from rehearsal.providers.aws.base import TYPES
from rehearsal.providers.aws.provider import AwsProvider
from rehearsal.report import Report

URL = "http://127.0.0.1:4566"
PROJECT = Path(__file__).parents[2]


def test_every_service_of_the_stand_in_has_an_endpoint() -> None:
    AwsProvider()
    accepted = inspect.signature(pulumi_aws.ProviderEndpointArgs).parameters
    assert set(aws_plugin.SERVICES) <= accepted.keys()
    used = {kind.service for kind in TYPES.values() if hasattr(kind, "service")}
    assert used | {"s3", "route53", "sts", "ssm", "secretsmanager", "servicequotas"} == set(aws_plugin.SERVICES)


def test_the_programs_own_providers_use_the_simulated_aws(mocks, tmp_path: Path) -> None:
    (tmp_path / "real.py").write_text("import pulumi_aws as aws\naws.Provider('lab', region='eu-west-1')\n")
    (tmp_path / "__main__.py").write_text(aws_plugin.program(tmp_path / "real.py", URL))
    mocks.deploy(lambda: runpy.run_path(str(tmp_path / "__main__.py")))
    provider = mocks.one("pulumi:providers:aws").inputs
    assert provider["region"] == "eu-west-1"
    assert json.loads(provider["endpoints"])[0]["ec2"] == URL
    for switch in ("s3UsePathStyle", "skipCredentialsValidation", "skipMetadataApiCheck"):
        assert provider[switch] == "true"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "__main__.py").write_text("")
    (folder / "Pulumi.yaml").write_text("name: gpulab\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  aws:region: us-east-1\n")
    return folder


@pytest.mark.parametrize("plugin", [True, False])
def test_only_the_rehearsals_copy_is_configured(project: Path, tmp_path: Path, plugin: bool) -> None:
    before = {path.name: path.read_text() for path in project.iterdir()}
    toolchain = cast("Any", SimpleNamespace(paths={}))
    made = workspace.make(
        tmp_path / "copy",
        project / "Pulumi.dev.yaml",
        project=project,
        stack="dev",
        toolchain=toolchain,
        plugins={"aws": tmp_path} if plugin else {},
        aws_url=URL,
        today=date(2026, 9, 1),
    )
    # The program refuses other keys of the provider's.
    assert yaml.safe_load(made.stack_file.read_text())["config"] == {"aws:region": "us-east-1"}
    assert ("SETTINGS" in (made.folder / "__main__.py").read_text()) is plugin
    assert {path.name: path.read_text() for path in project.iterdir()} == before


def test_a_plugin_that_was_requested_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(plugins, "_publisher_answers", lambda: False)
    assert plugins.installed(cast("Any", None), Console()) == {}
    with pytest.raises(FileNotFoundError, match=r"the aws plugin .* cannot be downloaded"):
        plugins.installed(cast("Any", None), Console(), ["aws"])


class StandIn(AwsProvider):
    """Reads the same properties of every resource, or finds none."""

    def __init__(self, read: dict[str, Any] | None) -> None:
        super().__init__()
        self.answer = read

    def resource_type(self, token: str) -> Any:
        kind: Any = super().resource_type(token)
        read = None if self.answer is None else ({}, self.answer)
        return SimpleNamespace(same=kind.same, read=lambda *_: read)


def resource(outputs: dict[str, Any], type: str = "aws:iam/role:Role") -> dict[str, Any]:
    return {"type": type, "urn": f"urn:pulumi:dev::gpulab::{type}::one", "id": "one", "inputs": {}, "outputs": outputs}


SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}


@pytest.mark.parametrize(
    ("plugin", "stand_in", "differs"),
    [
        ({"path": "/"}, {"path": "/"}, {}),
        ({"path": "/a/"}, {"path": "/"}, {"path": ("/a/", "/")}),
        ({"path": "/"}, {}, {"path": ("/", None)}),
        ({}, {"path": "/"}, {"path": (None, "/")}),
        # The same, written in another way.
        ({"description": "", "id": "one"}, {"description": None}, {}),
        ({"managedPolicyArns": ["a", "b"]}, {"managedPolicyArns": ["b", "a"]}, {}),
        ({"assumeRolePolicy": '{"a":1}'}, {"assumeRolePolicy": '{"a": 1}'}, {}),
        # Not to compare: a secret, and what the plugin keeps for itself.
        ({"description": SECRET, "__meta": "x"}, {"description": "y"}, {}),
        ({"inlinePolicies": [{"name": "a", "__defaults": []}]}, {"inlinePolicies": [{"name": "a"}]}, {}),
    ],
)
def test_states_are_compared_by_property(plugin: Any, stand_in: Any, differs: dict[str, Any]) -> None:
    found = differences([resource(plugin)], StandIn(stand_in))
    assert {one.property: (one.plugin, one.stand_in) for one in found} == differs


def test_differences_are_counted_by_type_and_property_with_the_first_values() -> None:
    states = [resource({"path": "/a/"}), resource({"path": "/b/"}), resource({}, "kubernetes:core/v1:Pod")]
    assert differences(states, StandIn({"path": "/"})) == [Difference("aws:iam/role:Role", "path", "/a/", "/", 2)]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (resource({}), "does not exist"),
        (resource({}, "aws:dynamodb/table:Table"), "does not support aws:dynamodb/table:Table"),
    ],
)
def test_what_the_stand_in_cannot_read_is_a_finding(state: dict[str, Any], reason: str) -> None:
    (found,) = differences([state], StandIn(None))
    assert found.property == ""
    assert reason in found.stand_in


def test_the_report_has_the_differences_and_fails_nothing() -> None:
    row = {"type": "aws:iam/role:Role", "property": "path", "plugin": "/a/", "stand_in": "/", "resources": 2}
    report = Report(stack="dev", plugin_differences=[row])
    assert report.as_json()["plugin_differences"] == [row]
    console = Console(record=True, width=200)
    report.show(console)
    assert 'aws:iam/role:Role path: plugin "/a/", stand-in "/" (2 resources)' in console.export_text()
