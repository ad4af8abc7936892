"""The program itself: a wrong stack file ends it before the first resource, a right one builds the platform."""

from __future__ import annotations

import json
import runpy
import shutil
import socket
from pathlib import Path
from typing import Any

import eks_mocks
import ingress_mocks
import pulumi
import pytest
from pulumi.runtime import config as pulumi_config

import settings

PROJECT = Path(__file__).parents[2]


def readable(path: Path) -> bool:
    """Whether the file itself is right; else the engine refuses it as well (test_settings_file.py)."""
    try:
        settings.read_stack_file(path)
    except settings.StackFileError:
        return False
    return True


ERRORS = [path for path in sorted((PROJECT / "tests" / "stacks").glob("*.error.yaml")) if readable(path)]
DAY = "2026-09-01"


def run(mocks: Any, config: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, day: str = DAY) -> None:
    """Runs `__main__.py` as the language host does, with `config` as the engine hands it over."""
    monkeypatch.setenv("GPULAB_TODAY", day)
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(config))
    pulumi_config.set_all_config(config)

    def program() -> None:
        runpy.run_path(str(PROJECT / "__main__.py"), run_name="__main__")

    try:
        mocks.deploy(program)
    finally:
        pulumi_config.set_all_config({})


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.name.removesuffix(".error.yaml"))
def test_a_wrong_stack_file_ends_the_program_before_the_first_resource(
    path: Path, mocks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = settings.read_stack_file(path)
    # Where the engine has it, as some mistakes are in the file only.
    shutil.copy(path, tmp_path / "Pulumi.test.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pulumi.RunError, match=r"mistakes? in its settings"):
        run(mocks, config, monkeypatch)
    assert mocks.resources == []
    assert mocks.calls == []


def test_a_preview_warns_of_a_version_that_leaves_standard_support(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    monkeypatch.setattr("components.platform.Platform", not_built)
    config = settings.read_stack_file(PROJECT / "Pulumi.dev.yaml")
    config["gpulab:cluster"] = json.dumps({**json.loads(config["gpulab:cluster"]), "version": "1.34"})
    with pytest.raises(NotBuilt):
        run(mocks, config, monkeypatch, day="2026-11-30")
    assert [line.partition(":")[0] for line in said] == ["gpulab"]
    assert "Kubernetes 1.34 leaves EKS's standard support on 2026-12-02" in said[0]


class NotBuilt(Exception):
    """The end of a program whose platform is not built."""


def not_built(*_: Any) -> None:
    raise NotBuilt


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_projects_own_stack_files_build_the_platform(
    stack: str, mocks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings.read_stack_file(PROJECT / f"Pulumi.{stack}.yaml")
    ingress_mocks.answer(mocks, monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as server:
        eks_mocks.answer(mocks, monkeypatch, f"https://127.0.0.1:{server.getsockname()[1]}")
        run(mocks, config, monkeypatch)
    pools = {pool.inputs["metadata"]["name"] for pool in mocks.all("kubernetes:karpenter.sh/v1:NodePool")}
    assert pools == set(json.loads(config["gpulab:nodePools"]))
