"""The Java programs: complete or not at all, always checked, and named if they are not available."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.machine import java_tools
from rehearsal.machine.toolchain import ToolMissing

QUIET = Console(quiet=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache and Java 17."""
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(java_tools.OWN_CONFIG_CLI, raising=False)
    have_java(tmp_path, monkeypatch, "17.0.15")
    return tmp_path


def have_java(place: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    folder = place / f"java-{version}"
    folder.mkdir()
    java = folder / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


def have_maven(place: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    folder = place / "maven"
    folder.mkdir()
    maven = folder / "mvn"
    maven.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def published(place: Path, monkeypatch: pytest.MonkeyPatch, *, builds: bool = True, checksum: str = "") -> None:
    """A Keycloak that Maven has, whose build works or does not."""
    script = f"#!/bin/sh\necho $* >> built\nexit {0 if builds else 1}\n".encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo(f"keycloak-{java_tools.KEYCLOAK}/bin/kc.sh")
        info.size, info.mode = len(script), stat.S_IRWXU
        tar.addfile(info, io.BytesIO(script))
    file = place / "keycloak.tar.gz"
    file.write_bytes(archive.getvalue())
    copies = f"for option; do case $option in -DoutputDirectory=*) cp {file} ${{option#*=}}/;; esac; done"
    have_maven(place, monkeypatch, copies)
    monkeypatch.setattr(java_tools, "_KEYCLOAK_SHA256", checksum or hashlib.sha256(archive.getvalue()).hexdigest())
    monkeypatch.chdir(place)


def test_keycloak_is_downloaded_built_and_found_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(place, monkeypatch)
    folder = java_tools.keycloak(QUIET)
    assert (folder / "bin" / "kc.sh").is_file()
    assert "build --db=dev-mem" in (place / "built").read_text(encoding="utf-8")
    (place / "keycloak.tar.gz").unlink()
    assert java_tools.keycloak(QUIET) == folder


def test_a_download_that_is_not_what_was_published_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(place, monkeypatch, checksum="0" * 64)
    with pytest.raises(ToolMissing, match=r"the checksum of .* is wrong"):
        java_tools.keycloak(QUIET)
    assert not list((place / "cache").rglob("kc.sh"))


def test_a_build_that_fails_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(place, monkeypatch, builds=False)
    with pytest.raises(ToolMissing, match="build"):
        java_tools.keycloak(QUIET)
    assert not list((place / "cache").rglob("kc.sh"))


def test_without_maven_it_is_said_what_is_needed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place / "java-17.0.15"))
    with pytest.raises(ToolMissing, match="put `mvn` on PATH"):
        java_tools.keycloak(QUIET)


def test_what_maven_says_is_told_when_it_has_no_keycloak(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_maven(place, monkeypatch, "echo '[ERROR] Could not find artifact'; exit 1")
    with pytest.raises(ToolMissing, match="Could not find artifact"):
        java_tools.keycloak(QUIET)
    assert not list((place / "cache").rglob("kc.sh"))


def test_without_java_it_is_said_what_is_needed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_java(place, monkeypatch, "11.0.2")
    with pytest.raises(ToolMissing, match="needs Java 17"):
        java_tools.keycloak(QUIET)


def test_the_config_cli_needs_its_java_and_its_release(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = place / "keycloak-config-cli.jar"
    jar.write_bytes(b"a jar")
    digest = hashlib.sha256(b"a jar").hexdigest()
    jar.with_name("keycloak-config-cli.jar.sha256").write_text(f"{digest}  {jar.name}\n", encoding="utf-8")
    monkeypatch.setattr(java_tools, "_CONFIG_CLI_URL", jar.as_uri())
    assert java_tools.config_cli(QUIET) is None
    have_java(place, monkeypatch, "21.0.4")
    found = java_tools.config_cli(QUIET)
    assert found is not None
    assert found.read_bytes() == b"a jar"


def test_a_release_out_of_reach_is_no_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    have_java(place, monkeypatch, "21.0.4")
    monkeypatch.setattr(java_tools, "_CONFIG_CLI_URL", (place / "nowhere.jar").as_uri())
    assert java_tools.config_cli(QUIET) is None


def test_a_jar_of_ones_own_is_taken_as_it_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(java_tools.OWN_CONFIG_CLI, "/somewhere/config-cli.jar")
    assert java_tools.config_cli(QUIET) == Path("/somewhere/config-cli.jar")
