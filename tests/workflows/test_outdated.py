"""Pins compared with what registries serve: found, sorted, and never silently left out."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_registry import FakeRegistry, fake_registry
from packaging.version import Version

from ci import outdated, pins, registries
from ci.pins import Pin
from ci.registries import Registries, Unreachable

DIGESTS = {name: f"sha256:{name * 64}" for name in "abc"}
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def serving() -> Iterator[FakeRegistry]:
    with fake_registry() as registry:
        yield registry


@pytest.fixture
def registry(serving: FakeRegistry) -> FakeRegistry:
    """The server, with nothing on it yet."""
    for served in (serving.files, serving.tags, serving.digests, serving.affected, serving.asked):
        served.clear()
    return serving


@pytest.fixture
def asking(registry: FakeRegistry) -> Registries:
    return Registries(github=registry.url, advisories=registry.url)


def image(registry: FakeRegistry, **changed: Any) -> Pin:
    pin = Pin(kind="image", name="keycloak", version="26.8.2", repository=f"{registry.host}/keycloak/keycloak")
    return replace(pin, **changed)


def test_newest_is_of_the_same_line_of_versions() -> None:
    tags = ["26.8.2", "26.10.0", "latest", "27.0.0-rc1", "26.8", "nightly", "26.9.1-2"]
    assert registries.newest(tags, "26.8.2") == "26.10.0"
    assert registries.newest(["v26.7.0", "26.9.0"], "v26.3.3") == "v26.7.0"
    dated = [
        "17.11-202608170816-system-trixie",
        "17.12-202611160810-standard-trixie",
        "17.11-202608240820-system-trixie",
    ]
    assert registries.newest(dated, "17.11-202608170816-system-trixie") == "17.11-202608240820-system-trixie"
    with pytest.raises(Unreachable, match="none of 2 versions has the form of"):
        registries.newest(["latest", "main"], "1.0")


def test_charts_are_looked_up_in_an_index_or_in_a_registry(registry: FakeRegistry, asking: Registries) -> None:
    registry.serve("/charts/index.yaml", {"entries": {"hub": [{"version": "4.4.2"}, {"version": "4.5.0-0.dev"}]}})
    assert asking.newest(Pin(kind="chart", name="hub", version="4.4.0", repository=f"{registry.url}/charts")) == "4.4.2"
    registry.tags["karpenter/karpenter"] = [["1.14.1"], ["1.15.0", "sha256-abc.sig"]]
    in_registry = Pin(
        kind="chart", name="karpenter", version="1.14.1", repository=f"oci://{registry.host}/karpenter/karpenter"
    )
    assert asking.newest(in_registry) == "1.15.0"


def test_a_registry_that_wants_a_token_gives_tags_and_digests(registry: FakeRegistry, asking: Registries) -> None:
    registry.tags["keycloak/keycloak"] = [["26.8.2", "26.9.0"]]
    registry.digests["keycloak/keycloak:26.8.2"] = DIGESTS["a"]
    assert asking.newest(image(registry)) == "26.9.0"
    assert asking.image_digest(image(registry).reference) == DIGESTS["a"]
    with pytest.raises(Unreachable, match="404"):
        asking.image_digest(image(registry, version="1.0").reference)


def test_a_database_stays_at_its_major_version(registry: FakeRegistry, asking: Registries) -> None:
    registry.tags["keycloak/keycloak"] = [["17.11", "17.12", "18.6"]]
    assert asking.newest(image(registry, version="17.11", line="17.")) == "17.12"
    (postgres,) = [pin for pin in pins.images() if pin.name == "postgresql"]
    assert postgres.version.startswith(postgres.line)
    assert postgres.line


def test_releases_are_asked_for_at_github(registry: FakeRegistry, asking: Registries) -> None:
    registry.serve("/repos/awslabs/amazon-eks-ami/releases/latest", {"tag_name": "v20261104"})
    pin = Pin(kind="node image", name="al2023", version="v20260930", repository="awslabs/amazon-eks-ami")
    assert asking.newest(pin) == "v20261104"
    assert registries.is_newer("v20261104", than=pin.version)


def test_go_modules_come_from_where_go_is_told(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("go"):
        pytest.skip("there is no go on PATH, which the toolchain needs only where nothing can be downloaded")
    monkeypatch.setenv("GOPROXY", registry.url)
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    registry.serve("/sigs.k8s.io/kwok/@v/list", "v0.7.0\nv0.8.0\n")
    registry.serve("/sigs.k8s.io/kwok/@v/v0.8.0.info", {"Version": "v0.8.0", "Time": "2026-10-01T00:00:00Z"})
    by_name = {pin.name: pin for pin in pins.go_tools(pins.PROJECT)}
    kwok, kubernetes = by_name["kwok"], by_name["kubernetes-1.36"]
    assert registries.go_latest(kwok) == "v0.8.0"
    registry.serve("/k8s.io/kubernetes/@v/list", "v1.36.3\nv1.36.9\nv1.37.2\n")
    registry.serve("/k8s.io/kubernetes/@v/v1.36.9.info", {"Version": "v1.36.9", "Time": "2026-10-01T00:00:00Z"})
    assert registries.go_latest(kubernetes) == "v1.36.9"
    with pytest.raises(Unreachable, match="go: "):
        registries.go_latest(Pin(kind="go", name="kwok", version="v1.0.0", repository="example.com/none"))


def test_packages_come_from_where_uv_is_told(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{registry.url}/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    names = [f"gpulab_test-{version}-py3-none-any.whl" for version in ("1.0", "1.2", "2.0a1")]
    links = "".join(f'<a href="/simple/{name}" data-dist-info-metadata="true">{name}</a>' for name in names)
    registry.serve("/simple/gpulab-test/", f"<!DOCTYPE html><html><body>{links}</body></html>")
    for name in names:
        version = name.split("-")[1]
        registry.serve(f"/simple/{name}.metadata", f"Metadata-Version: 2.1\nName: gpulab-test\nVersion: {version}\n")
    pin = Pin(kind="python", name="gpulab-test", version="1.0")
    assert registries.python_newest([pin]) == {"gpulab-test": "1.2"}
    with pytest.raises(Unreachable, match="uv: "):
        registries.python_newest([Pin(kind="python", name="gpulab-none", version="1.0")])


@pytest.fixture
def some_pins(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> list[Pin]:
    """A few pins that the registries know."""
    found = [
        Pin(kind="chart", name="hub", version="4.4.2", repository=f"{registry.url}/charts"),
        Pin(kind="chart", name="lost", version="1.0.0", repository=f"{registry.url}/nowhere"),
        image(registry, advisories=(("Maven", "org.keycloak:keycloak-core"),)),
        image(registry, name="operator", repository=f"{registry.host}/operator", chosen_by="chart hub"),
        Pin(kind="python", name="deep", version="1.0", advisories=(("PyPI", "deep"),), chosen_by="other packages"),
    ]
    monkeypatch.setattr(pins, "all_pins", lambda: found)
    registry.serve("/charts/index.yaml", {"entries": {"hub": [{"version": "4.5.0"}, {"version": "4.4.2"}]}})
    registry.tags["keycloak/keycloak"] = [["26.8.2"]]
    registry.digests = {"keycloak/keycloak:26.8.2": DIGESTS["a"], "operator:26.8.2": DIGESTS["b"]}
    return found


def contract(tmp_path: Path, digests: dict[str, str]) -> Path:
    known = {tag: {"digest": digest, "source": "a test"} for tag, digest in digests.items()}
    file = tmp_path / "images.json"
    file.write_text(json.dumps({"images": {"keycloak": "x:1"}, "digests": known}), encoding="utf-8")
    return file


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if " contract " not in line]


@pytest.mark.usefixtures("some_pins")
def test_newer_versions_are_listed_and_are_no_error(
    asking: Registries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outdated.main([], asking, contract(tmp_path, {})) == 0
    newer, lost, *current = printed(capsys)
    assert newer.split() == ["newer", "chart", "hub", "4.4.2", "->", "4.5.0"]
    assert lost.startswith("not asked chart")
    assert "/nowhere/index.yaml answers 404" in lost
    assert [line.split()[:3] for line in current] == [
        ["current", "image", "keycloak"],
        ["current", "image", "operator"],
    ]
    assert "comes with chart hub" in current[1]


@pytest.mark.usefixtures("some_pins")
def test_advisories_come_first_and_fail(
    registry: FakeRegistry, asking: Registries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.affected = {("org.keycloak:keycloak-core", "26.8.2"): ["GHSA-1"], ("deep", "1.0"): ["GHSA-2", "CVE-3"]}
    assert outdated.main([], asking, contract(tmp_path, {})) == 1
    first, second, third, *_ = printed(capsys)
    assert first.startswith("ADVISORY  image")
    assert "GHSA-1" in first
    assert second.startswith("ADVISORY  python     deep")
    assert "CVE-3; GHSA-2" in second
    assert third.startswith("newer")


def test_a_tag_that_is_another_image_fails(
    some_pins: list[Pin], asking: Registries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = contract(tmp_path, {some_pins[2].reference: DIGESTS["c"]})
    assert outdated.main([], asking, file) == 1
    assert f"the tag was {DIGESTS['c']} and is {DIGESTS['a']}" in printed(capsys)[0]


def test_digests_are_written_for_production(some_pins: list[Pin], asking: Registries, tmp_path: Path) -> None:
    """Known digests keep their source, and those of unused tags are removed."""
    keycloak, operator = (pin.reference for pin in some_pins if pin.kind == "image")
    file = contract(tmp_path, {keycloak: DIGESTS["a"], "quay.io/x/y:0.1": DIGESTS["c"]})
    assert outdated.main(["--write"], asking, file) == 0
    written = json.loads(file.read_text(encoding="utf-8"))
    today = datetime.datetime.now(datetime.UTC).date()
    assert written["digests"] == {
        keycloak: {"digest": DIGESTS["a"], "source": "a test"},
        operator: {"digest": DIGESTS["b"], "source": f"the registry, {today}"},
    }
    assert written["images"] == {"keycloak": "x:1"}


def test_without_a_network_each_pin_is_named_and_nothing_is_lost(
    some_pins: list[Pin],
    registry: FakeRegistry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = [replace(pin, repository=pin.repository.replace(registry.host, "127.0.0.1:1")) for pin in some_pins]
    monkeypatch.setattr(pins, "all_pins", lambda: nowhere)
    file = contract(tmp_path, {nowhere[2].reference: DIGESTS["a"]})
    before = json.loads(file.read_text(encoding="utf-8"))["digests"]
    assert outdated.main(["--write"], Registries(github=NOWHERE, advisories=NOWHERE), file) == 1
    *listed, nothing, last = printed(capsys)
    assert [line for line in listed if not line.startswith("not asked")] == []
    assert nothing == "Nothing was checked: no registry answered."
    assert last == "images.json: 0 of 2 images: digest found"
    assert json.loads(file.read_text(encoding="utf-8"))["digests"] == before


def test_the_contract_keeps_its_form() -> None:
    """The program's file differs from the handwritten one only in the digests."""
    text = pins.IMAGES.read_text(encoding="utf-8")
    used = json.loads(text)["digests"]
    assert outdated.written(text, {}, used, datetime.date(2026, 11, 30)) == text


def test_facts_of_long_ago_are_listed_as_old() -> None:
    lines = outdated.contract_lines({"contracts/x.json": datetime.date(2026, 1, 1)}, datetime.date(2026, 11, 30))
    assert [(line.status, line.notes) for line in lines] == [("old", ("333 days",))]


def test_facts_that_expire_are_on_the_list_by_part_where_each_has_its_date() -> None:
    dates = pins.contract_dates()
    assert {"contracts/aws/instance-types.json", "contracts/nvidia/mig.json", "contracts/images.json"} <= dates.keys()
    assert {f"contracts/aws/eks-versions.json ({part})" for part in ("calendar", "addons", "nodes")} <= dates.keys()


def test_everything_that_is_pinned_is_on_the_list() -> None:
    listed = {(pin.kind, pin.name) for pin in pins.all_pins()}
    assert {("chart", "gpu-operator"), ("image", "postgresql"), ("go", "engine"), ("node image", "al2023")} <= listed
    assert ("action", "actions/checkout") in listed
    assert {("python", name) for name in pins.requirements(pins.PROJECT)} <= listed
    assert {("go", folder.name) for folder in (pins.PROJECT / "tools").iterdir()} <= listed


def test_what_pulumi_is_made_of_is_released() -> None:
    versions = {pin.name: Version(pin.version) for pin in pins.python(pins.PROJECT) if pin.name.startswith("pulumi")}
    assert "pulumi-policy" in versions
    assert [name for name, version in versions.items() if version.is_prerelease] == []
