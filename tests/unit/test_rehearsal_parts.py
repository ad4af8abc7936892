"""Parts of the rehearsal that need no engine: its events, its order of destruction, the workspace it lays out."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from rich.console import Console

import contracts
from rehearsal.checks import ingress as ingress_checks
from rehearsal.checks.checking import DoesNotHold
from rehearsal.checks.cluster import identities_come_first
from rehearsal.checks.destroy_order import destroyed_in_order
from rehearsal.checks.leftovers import Account
from rehearsal.machine import plugins, workspace
from rehearsal.machine.engine import Engine, Result, Step, _Lines
from rehearsal.machine.toolchain import Toolchain
from rehearsal.run import Options, staged
from settings import SettingsError

URN = "urn:pulumi:dev::gpulab::"


def destroy(*events: str) -> Result:
    """A destroy as the engine reports it: `-TYPE NAME` is a deletion that began, `+TYPE NAME` one that ended."""
    result = Result("destroy")
    for event in events:
        type_, name = event[1:].split(" ")
        step = Step("delete", f"{URN}{type_}::{name}", type_)
        if event[0] == "-":
            result.begun.append((step, len(result.steps)))
        else:
            result.steps.append(step)
    return result


POOL = "kubernetes:karpenter.sh/v1:NodePool gpulab-dev-pools-gpu"
KARPENTER = "kubernetes:helm.sh/v3:Release gpulab-dev-karpenter"
CRDS = "kubernetes:helm.sh/v3:Release gpulab-dev-karpenter-crd"
NODES = "aws:eks/nodeGroup:NodeGroup gpulab-dev-system"
SUBNET = "aws:ec2/subnet:Subnet gpulab-dev-private-us-east-1a"


@pytest.mark.parametrize(
    ("events", "wrong"),
    [
        ([f"-{POOL}", f"+{POOL}", f"-{KARPENTER}", f"+{KARPENTER}", f"-{CRDS}", f"+{CRDS}"], None),
        ([f"-{POOL}", f"-{KARPENTER}", f"+{POOL}", f"+{KARPENTER}"], "was being deleted before"),
        ([f"-{KARPENTER}", f"+{KARPENTER}", f"-{POOL}", f"+{POOL}"], "gpulab-dev-karpenter was being deleted before"),
        ([f"-{CRDS}", f"-{KARPENTER}", f"+{KARPENTER}", f"+{CRDS}"], "gpulab-dev-karpenter-crd was being deleted"),
        ([f"-{KARPENTER}", f"-{NODES}", f"+{KARPENTER}", f"+{NODES}"], "gpulab-dev-system was being deleted"),
        ([f"-{SUBNET}", f"+{SUBNET}"], None),
    ],
)
def test_the_order_of_destruction_is_read_from_beginnings_and_ends(events: list[str], wrong: str | None) -> None:
    check = destroyed_in_order(destroy(*events))
    assert check.ok is (wrong is None)
    if wrong:
        assert wrong in check.detail


def in_state(type_: str, name: str, *dependencies: str, parent: str = "", **outputs: Any) -> dict[str, Any]:
    return {"urn": name, "type": type_, "parent": parent, "dependencies": list(dependencies), "outputs": outputs}


@pytest.mark.parametrize(
    ("dependencies", "own", "wrong"),
    [
        ([], [], None),
        (["release"], [], "association of karpenter waits for the system nodes"),
        ([], ["arn:1"], "addon ebs creates its association at the same time as its pods"),
    ],
)
def test_an_association_that_is_as_late_as_its_pods_is_found(
    dependencies: list[str], own: list[str], wrong: str | None
) -> None:
    """It may be the association's component that waits."""
    resources = [
        in_state("aws:eks/nodeGroup:NodeGroup", "nodes"),
        in_state("gpulab:index:Karpenter", "karpenter", *dependencies),
        in_state("kubernetes:helm.sh/v3:Release", "release", "nodes"),
        in_state("aws:eks/addon:Addon", "addon", addonName="ebs", podIdentityAssociations=own),
        in_state(
            "aws:eks/podIdentityAssociation:PodIdentityAssociation",
            "association",
            parent="karpenter",
            namespace="kube-system",
            serviceAccount="karpenter",
        ),
    ]
    subject = mock.Mock(resources=resources)
    if wrong is None:
        assert identities_come_first(subject) == "karpenter"
        return
    with pytest.raises(DoesNotHold, match=wrong):
        identities_come_first(subject)


def test_a_network_alone_is_not_rehearsed(tmp_path: Path) -> None:
    document = yaml.safe_load((workspace.PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    document["config"]["gpulab:network"]["only"] = True
    stack_file = tmp_path / "Pulumi.dev.yaml"
    stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    staging = staged(Options(stack_file=stack_file, stack="dev"), Console(quiet=True))
    with pytest.raises(SettingsError, match=r"gpulab:network\.only"), staging:
        pass


def test_only_whole_lines_of_a_growing_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with path.open("w", encoding="utf-8") as writing, path.open(encoding="utf-8") as reading:
        lines = _Lines(reading)
        writing.write('{"a": 1}\n{"b"')
        writing.flush()
        assert list(lines) == ['{"a": 1}\n']
        assert list(lines) == []
        writing.write(": 2}\n")
        writing.flush()
        assert list(lines) == ['{"b": 2}\n']


def test_consequences_of_an_error_are_not_shown_as_its_cause() -> None:
    cause = "vpc: CIDR block 10.0.0.1/16 has host bits"
    trace = "gpulab-dev: Program failed with an unhandled exception: Traceback"
    assert Result("up", errors=[trace, cause]).causes == [cause]
    assert Result("up", errors=[trace]).causes == [trace]


def make(
    tmp_path: Path, config: dict | None = None, *, stack_file: Path | None = None, **changes: object
) -> workspace.Workspace:
    (tmp_path / "tools").mkdir(parents=True)
    # The workspace looks for an aws CLI that works, which takes a second; this one comes first on PATH.
    aws = tmp_path / "tools" / "aws"
    aws.write_text("#!/bin/sh\n", encoding="utf-8")
    aws.chmod(0o755)
    if stack_file is None:
        stack_file = tmp_path / "Pulumi.x y.yaml"
        content = {"config": config or {"gpulab:owner": "Zoë"}, "encryptionsalt": "v1:users-own"}
        stack_file.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    values: dict = {
        "project": workspace.PROJECT,
        "stack": "dev",
        "toolchain": Toolchain({"pulumi": tmp_path / "tools" / "pulumi"}, {"pulumi": "built"}),
        "plugins": {},
        "aws_url": "http://127.0.0.1:9",
        "today": datetime.date(2026, 9, 1),
    }
    return workspace.make(tmp_path / "re hearsal", stack_file, **{**values, **changes})


def test_nothing_of_the_users_environment_reaches_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "PULUMI_ACCESS_TOKEN", "KUBECONFIG", "PULUMI_CONFIG_PASSPHRASE"):
        monkeypatch.setenv(name, "users-own")
    made = make(tmp_path)
    assert "users-own" not in made.environment.values()
    places = [made.environment[name] for name in ("HOME", "PULUMI_HOME", "KUBECONFIG", "AWS_CONFIG_FILE")]
    assert all(str(tmp_path / "re hearsal") in place for place in places)


def test_the_copied_stack_file_has_the_config_and_not_the_users_encryption(tmp_path: Path) -> None:
    made = make(tmp_path)
    assert yaml.safe_load(made.stack_file.read_text(encoding="utf-8")) == {"config": {"gpulab:owner": "Zoë"}}
    made.change_config("gpulab:lifecycle", unlock=True)
    changed = yaml.safe_load(made.stack_file.read_text(encoding="utf-8"))["config"]
    assert changed == {"gpulab:owner": "Zoë", "gpulab:lifecycle": {"unlock": True}}


def test_the_real_kubernetes_plugin_is_told_where_each_chart_lies(tmp_path: Path) -> None:
    """It has neither folders of charts nor recorded ones; the stack file's setting of a chart stays."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "pulumi-resource-kubernetes").write_text("#!/bin/sh\n", encoding="utf-8")
    for name in ("karpenter", "jupyterhub"):
        chart = tmp_path / "charts" / name
        chart.mkdir(parents=True)
        version = contracts.chart(name).version
        (chart / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n", encoding="utf-8")
    config = {"gpulab:charts": {"karpenter": {"repository": "oci://mirror.example.com"}}}
    made = make(tmp_path, config, plugins=plugins.given(given), charts=[tmp_path / "charts"])
    told = yaml.safe_load(made.stack_file.read_text(encoding="utf-8"))["config"]["gpulab:charts"]
    assert told["karpenter"] == {"repository": "oci://mirror.example.com"}
    assert told["jupyterhub"] == {"path": str(tmp_path / "charts" / "jupyterhub")}


def test_a_given_plugin_takes_the_place_of_its_stand_in(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "pulumi-resource-kubernetes").write_text("#!/bin/sh\n", encoding="utf-8")
    made = make(tmp_path, plugins=plugins.given(given))
    assert made.stand_ins == ("aws", "eks", "random")
    providers = yaml.safe_load((made.folder / "Pulumi.yaml").read_text(encoding="utf-8"))["plugins"]["providers"]
    places = {one["name"]: one["path"] for one in providers}
    assert places["kubernetes"] == str(given)
    assert (Path(places["aws"]) / "pulumi-resource-aws").is_file()


def test_a_charts_path_is_seen_from_the_projects_folder(tmp_path: Path) -> None:
    charts = {"karpenter": {"path": "charts/karpenter-1.tgz"}, "karpenter-crd": {"path": "/charts/crd"}}
    made = make(tmp_path, config={"gpulab:charts": charts})
    copied = yaml.safe_load(made.stack_file.read_text(encoding="utf-8"))["config"]["gpulab:charts"]
    assert copied == {
        "karpenter": {"path": str(workspace.PROJECT / "charts/karpenter-1.tgz")},
        "karpenter-crd": {"path": "/charts/crd"},
    }


def test_charts_are_looked_for_where_told_then_in_the_cache_and_on_the_network_only_if_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    made = make(tmp_path, charts=(tmp_path / "mine",))
    assert made.environment["GPULAB_CHARTS"].split(":") == [str(tmp_path / "mine"), str(tmp_path / "cache" / "charts")]
    assert "GPULAB_CHART_DOWNLOADS" not in made.environment


def test_charts_may_be_pulled_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    made = make(tmp_path, pull_charts=True)
    assert made.environment["GPULAB_CHART_DOWNLOADS"] == made.environment["GPULAB_CHARTS"]


def test_the_scripts_work_in_a_folder_with_a_space_in_its_name(tmp_path: Path) -> None:
    made = make(tmp_path)
    script = Path(made.environment["PATH"].split(":")[0])
    assert script.is_absolute()
    providers = yaml.safe_load((made.folder / "Pulumi.yaml").read_text(encoding="utf-8"))["plugins"]["providers"]
    for one in providers:
        path = Path(one["path"]) / f"pulumi-resource-{one['name']}"
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_the_engine_runs_with_the_workspaces_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERS_OWN", "1")
    made = make(tmp_path)
    pulumi = tmp_path / "tools" / "pulumi"
    pulumi.write_text("#!/bin/sh\nenv\nexit 3\n", encoding="utf-8")
    pulumi.chmod(0o755)
    logs = tmp_path / "logs"
    logs.mkdir()
    monkeypatch.setenv("PATH", made.environment["PATH"])
    result = Engine(made, "dev-1", logs).run("preview")
    assert result.exit_code == 3
    assert "USERS_OWN" not in result.output
    assert "GPULAB_REHEARSAL=dev-1" in result.output


def fake_pulumi(tmp_path: Path, script: str) -> Toolchain:
    pulumi = tmp_path / "pulumi"
    pulumi.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    pulumi.chmod(0o755)
    return Toolchain({"pulumi": pulumi}, {"pulumi": "PATH"})


INSTALLS = 'd="$PULUMI_HOME/plugins/resource-$4-$5"; mkdir -p "$d"; echo real > "$d/pulumi-resource-$4"'


def test_real_plugins_are_installed_and_used_without_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugins, "PUBLISHER", tmp_path.as_uri() + "/pulumi")
    found = plugins.installed(fake_pulumi(tmp_path, INSTALLS), Console(quiet=True))
    assert set(found) == {"kubernetes", "random"}
    assert make(tmp_path / "a", plugins=found).stand_ins == ("aws", "eks")
    monkeypatch.setattr(plugins, "PUBLISHER", tmp_path.as_uri() + "/gone")
    assert plugins.installed(fake_pulumi(tmp_path, "exit 1"), Console(quiet=True)) == found


@pytest.mark.parametrize(("publisher", "script"), [("gone", INSTALLS), ("pulumi", "exit 1")])
def test_plugins_that_cannot_be_had_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, publisher: str, script: str
) -> None:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugins, "PUBLISHER", f"{tmp_path.as_uri()}/{publisher}")
    assert plugins.installed(fake_pulumi(tmp_path, script), Console(quiet=True)) == {}


def test_scalars_of_the_stack_file_are_copied_as_they_are_written(tmp_path: Path) -> None:
    stack_file = tmp_path / "Pulumi.dev.yaml"
    stack_file.write_text("config:\n  gpulab:tags: {Team: no, Shift: 12:30, Version: 1.10}\n", encoding="utf-8")
    copied = make(tmp_path / "b", stack_file=stack_file).stack_file.read_text(encoding="utf-8")
    for written in ("no", "12:30", "1.10"):
        assert written in copied
    assert yaml.load(copied, yaml.BaseLoader)["config"]["gpulab:tags"] == {
        "Team": "no",
        "Shift": "12:30",
        "Version": "1.10",
    }


def test_the_rehearsals_own_calls_to_aws_read_nothing_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("this is [no configuration", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/file")
    client = Account("http://127.0.0.1:9", "us-east-1").client("sqs")
    assert client.meta.endpoint_url == "http://127.0.0.1:9"


def rule(priority: int, path: str, sent_to: str | None = None, host: str = "*.a.example.com") -> dict[str, Any]:
    action = {"Type": "redirect", "RedirectConfig": {"Host": sent_to}} if sent_to else None
    return {
        "Priority": str(priority),
        "Conditions": [
            {"Field": "host-header", "HostHeaderConfig": {"Values": [host]}},
            {"Field": "path-pattern", "PathPatternConfig": {"Values": [path]}},
        ],
        "Actions": [action or {"Type": "forward", "TargetGroupArn": "arn"}],
    }


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([rule(1, "/user/*"), rule(2, "/*")], "goes to"),
        ([rule(1, "/user/*"), rule(2, "/*", "b.example.com")], "goes to"),
        ([rule(1, "/user/*")], "goes to"),
        ([rule(2, "/user/*"), rule(1, "/*", "a.example.com")], "comes before"),
        ([rule(1, "/*", "a.example.com")], "leads"),
    ],
)
def test_pages_of_a_host_at_names_below_it_are_found(rules: list[dict[str, Any]], said: str) -> None:
    sent_on = [rule(1, "/user/*"), rule(2, "/*", "a.example.com"), rule(3, "/*", host="a.example.com")]
    ingress_checks._wildcards_redirect(sent_on)
    with pytest.raises(DoesNotHold, match=said):
        ingress_checks._wildcards_redirect(rules)
