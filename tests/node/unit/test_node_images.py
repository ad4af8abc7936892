"""Images without a registry: each that the platform runs has a recipe, of the versions that the platform names."""

from __future__ import annotations

import json
import re
import tomllib
import urllib.error
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from rich.console import Console

import contracts
import settings
from components.images import chart_images
from rehearsal.node import addons, cached, images, references
from rehearsal.node.images import building, programs, pulling, recipes
from rehearsal.node.images.downloads import FILES
from rehearsal.node.images.files.config_cli import realm_importer
from rehearsal.progress import Display
from rehearsal.stack_phases import REHEARSAL_DAY
from settings import ExistingSettings

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def display() -> Display:
    return Display(Console(quiet=True))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path))
    return tmp_path


def versions(lock: str) -> set[str]:
    return set((FILES / lock).read_text(encoding="utf-8").splitlines())


def tag(reference: str) -> str:
    return reference.rpartition(":")[2]


@pytest.mark.parametrize("file", ["Pulumi.workstation.yaml", "examples/microk8s.yaml"])
def test_each_image_of_a_stack_can_be_had_without_a_registry(file: str) -> None:
    found = settings.check_stack_file(PROJECT / file, "test", REHEARSAL_DAY)
    assert isinstance(found, ExistingSettings)
    names = references.of_stack(found)
    assert names
    assert not {name for name in names if not images.known(name)}


def test_an_image_has_its_recipe_under_the_name_of_a_mirror_and_with_a_digest_too() -> None:
    at_home = recipes.recipe("quay.io/jupyter/scipy-notebook:2026-08-03")
    assert at_home is recipes.recipe("harbor.example.com:5000/quay/jupyter/scipy-notebook:2026-08-03@sha256:12")
    assert at_home is recipes.recipe("harbor.example.com:5000/quay/jupyter/scipy-notebook")
    assert recipes.recipe("docker.io/traefik:v3.7.11") is recipes.recipe("traefik:v3")
    assert recipes.recipe("quay.io/someone/not-traefik:1") is None
    assert recipes.recipe("quay.io/jupyter/no-such-notebook:1") is None


def test_the_hub_has_the_versions_that_the_project_tests_with() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {requirement for requirement in project["dependency-groups"]["hub"] if "==" in requirement}
    assert pinned <= versions("hub/requirements.txt")


def test_notebooks_have_the_hub_s_version_of_jupyterhub() -> None:
    of_hub = {line for line in versions("hub/requirements.txt") if line.startswith("jupyterhub==")}
    assert of_hub <= versions("notebook/requirements-light.txt")
    both = versions("notebook/requirements-light.txt") & versions("notebook/requirements.txt")
    assert not any("==" in line for line in both), "the notebook's image has these from the light one"


def test_programs_have_the_versions_of_the_images_that_the_platform_runs() -> None:
    (proxy,) = [one for one in chart_images("jupyterhub").values() if "http-proxy" in one]
    modules = json.loads((FILES / "proxy" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert modules["node_modules/configurable-http-proxy"]["version"] == tag(proxy)
    assert programs.COREDNS.version == tag(addons.COREDNS)
    assert programs.LOCAL_PATH.version == tag(contracts.image("local-path-provisioner"))
    (operator,) = chart_images("cloudnative-pg").values()
    assert programs.CLOUDNATIVE_PG.version == f"v{tag(operator)}"
    assert programs.TRAEFIK.version == contracts.chart("traefik").app_version


def test_postgresql_has_the_major_version_of_the_tag() -> None:
    # CloudNativePG reads it from the tag, and writes a configuration for it.
    postgresql = recipes.recipe(contracts.image("postgresql"))
    assert postgresql
    major = tag(contracts.image("postgresql")).partition(".")[0]
    assert f"postgresql-{major}" in postgresql.run
    assert re.search(rf"/postgresql/{major}/bin$", postgresql.env["PATH"])


def test_the_operator_s_program_is_where_its_pods_look_for_it(tmp_path: Path) -> None:
    manager = tmp_path / "manager"
    manager.write_text("program", encoding="utf-8")
    (operator,) = [recipes.recipe(one) for one in chart_images("cloudnative-pg").values()]
    assert operator
    context = tmp_path / "context"
    building._place_files(operator, context, mock.Mock(path=lambda _: manager))
    (of_processor,) = (context / "operator").iterdir()
    assert (context / "manager").readlink() == Path("/operator") / of_processor.name


def test_an_archive_s_name_changes_with_all_that_goes_into_the_image() -> None:
    hub = recipes.recipe("quay.io/jupyterhub/k8s-hub:4.4.2")
    assert hub
    assert hub.base
    changed = [
        replace(hub, run="true"),
        replace(hub, user="0"),
        replace(hub, downloads=()),
        replace(hub, files={"/x": "pause/pause.c"}),
        replace(hub, base=replace(hub.base, apt=())),
    ]
    assert len({building.archive_of(one).name for one in [hub, *changed]}) == len(changed) + 1
    assert building.archive_of(replace(hub, seconds=1)) == building.archive_of(hub)


def test_after_a_registry_that_does_not_answer_none_is_asked_again(display: Display) -> None:
    registries = pulling.Registries()
    with mock.patch.object(pulling.urllib.request, "urlopen", side_effect=urllib.error.URLError("no route")) as asked:
        for reference in ("quay.io/a/b:1", "ghcr.io/a/b:1"):
            with pytest.raises(pulling.NotPulled, match=r"quay.io does not answer \(no route\)"):
                registries.pull(reference, display)
    assert asked.call_count == 1


def test_an_image_that_nobody_has_is_left_out_and_said(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("scipy-notebook", "pytorch-notebook"):
        made = recipes.recipe(f"quay.io/jupyter/{name}:1")
        assert made
        building.archive_of(made).parent.mkdir(parents=True, exist_ok=True)
        building.archive_of(made).touch()
    wanted = ["quay.io/jupyter/scipy-notebook:1", "quay.io/nobody/nothing:1", "quay.io/jupyter/pytorch-notebook:2"]
    with mock.patch.object(pulling.urllib.request, "urlopen", side_effect=urllib.error.URLError("no route")):
        found = images.ensure(wanted, Display(Console(soft_wrap=True)))
    assert [one.reference for one in found] == [wanted[0], wanted[2]]
    assert len({one.archive for one in found}) == 1, "both are the same image"
    said = capsys.readouterr().out
    assert "quay.io/nobody/nothing:1 can't be had" in said
    assert "no recipe" in said


def test_what_is_made_is_whole_or_not_there(cache: Path, display: Display) -> None:
    path = cache / "node" / "thing"

    def fail(making: Path) -> None:
        making.mkdir()
        (making / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached.kept(path, fail, display, "a thing", seconds=1)
    assert [one.name for one in path.parent.iterdir()] == [".locks"]
    (path.parent / ".making-thing").mkdir()  # a killed process left it
    cached.kept(path, lambda making: making.mkdir(), display, "a thing", seconds=1)
    assert path.is_dir()
    cached.kept(path, fail, display, "a thing", seconds=1)  # made once


def test_the_stand_in_of_the_realm_s_job_fills_the_files_of_secrets_in() -> None:
    applied: list[object] = []

    class Api:
        realm = "gpulab"

        def admin(self, method: str, path: str, content: object = None) -> object:
            applied.append(content)
            raise ZeroDivisionError

        def ask(self, path: str) -> object:
            return []

        def renew(self) -> None: ...

    document = {"realm": "gpulab", "displayName": "$(file:UTF-8:/secrets/name)", "roles": {}}
    with pytest.raises(ZeroDivisionError):
        realm_importer.apply(Api(), json.dumps(document), lambda path: f'{path} \\"quoted\\"')
    assert applied == [{"realm": "gpulab", "displayName": '/secrets/name "quoted"'}]
