"""The toolchain: from PATH, by download, by build; never half, never unchecked."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.machine import toolchain, tools
from rehearsal.machine.toolchain import fits
from rehearsal.machine.tools import Download, Tool, ToolMissing
from settings.kubernetes_versions import KUBERNETES_VERSIONS

QUIET = Console(quiet=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine: an empty cache, and a PATH with nothing on it but what a test puts there."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(tools, "TOOLS", tmp_path / "tools")
    folder = tmp_path / "tools" / "hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example\n\nrequire example.com/hello v1.4.2\n", encoding="utf-8")
    return tmp_path


def tool(**changes: object) -> Tool:
    values: dict = {
        "name": "hello",
        "module": "example.com/hello",
        "packages": {"hello": "example.com/hello/cmd"},
        "build_seconds": {"hello": 1},
    }
    return Tool(**{**values, **changes})


def ensure_only(one: Tool) -> toolchain.Toolchain:
    return toolchain.ensure(QUIET, [one])


def cached(place: Path) -> list[str]:
    """The content of the cache, without its locks."""
    return sorted(path.name for path in (place / "cache" / "toolchain").iterdir() if path.name != ".locks")


def put_program(path: Path, prints: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)


def release(place: Path, content: bytes, *, checksum: str | None = None) -> Download:
    """A published release of one program, with the checksum of its content or another."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("hello-v1.4.2/hello")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    (place / "hello-v1.4.2.tgz").write_bytes(archive.getvalue())
    digest = checksum or hashlib.sha256(archive.getvalue()).hexdigest()
    (place / "SUMS").write_text(f"{'0' * 64}  another.tgz\n{digest}  hello-v1.4.2.tgz\n", encoding="utf-8")
    return Download(url=f"{place.as_uri()}/hello-{{version}}.tgz", checksums=f"{place.as_uri()}/SUMS")


@pytest.mark.parametrize(
    ("printed", "pinned", "expected"),
    [
        ("v3.250.0", "v3.250.0", True),
        ("v3.251.0", "v3.250.0", True),
        ("v3.249.9", "v3.250.0", False),
        ("v4.0.0", "v3.250.0", False),
        ("etcd Version: 3.6.10\nGit SHA: 1", "v3.6.9", True),
        ("Kubernetes v1.33.0", "v1.34.2", False),
        ("no version at all", "v1.0.0", False),
    ],
)
def test_only_the_same_major_and_nothing_older_is_taken_from_path(printed: str, pinned: str, expected: bool) -> None:
    assert fits(printed, pinned) is expected


def test_another_minor_version_of_kubernetes_is_not_the_stacks() -> None:
    assert fits("Kubernetes v1.36.9", "v1.36.3", same_minor=True)
    assert not fits("Kubernetes v1.37.2", "v1.36.3", same_minor=True)


def test_a_rehearsal_has_the_control_plane_of_its_stacks_own_version() -> None:
    for version in KUBERNETES_VERSIONS:
        (control_plane,) = (one for one in tools.rehearsal_tools(version) if "kube-apiserver" in one.packages)
        assert control_plane.version.startswith(f"v{version}.")
        assert control_plane.same_minor
        assert (control_plane.pin / "go.sum").stat().st_size > 0
    assert all(one in tools.ALL_TOOLS for one in tools.rehearsal_tools(KUBERNETES_VERSIONS[-1]))


def test_a_fitting_program_on_path_is_taken_and_nothing_is_cached(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_program(place / "path" / "hello", "hello v1.5.0")
    found = ensure_only(tool())
    assert found.path("hello") == place / "path" / "hello"
    assert found.origins == {"hello": "PATH"}
    assert not (place / "cache").exists()


def test_a_release_is_downloaded_checked_and_found_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_program(place / "path" / "hello", "hello v1.3.0")  # too old to be taken
    wanted = tool(download=release(place, b"program"))
    found = ensure_only(wanted)
    assert found.path("hello").read_bytes() == b"program"
    assert found.path("hello").stat().st_mode & stat.S_IXUSR
    assert found.origins == {"hello": "downloaded"}
    (place / "hello-v1.4.2.tgz").unlink()
    assert ensure_only(wanted) == found


def test_a_release_that_is_not_what_was_published_is_refused_and_not_installed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tool(download=release(place, b"program", checksum="1" * 64))
    with pytest.raises(ToolMissing, match=r"the checksum of .*hello-v1\.4\.2\.tgz is wrong"):
        ensure_only(wanted)
    assert cached(place) == []


def test_without_a_download_it_is_built_with_go(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go = place / "path" / "go"
    # Writes where `-o` says, as the real one does: go build -trimpath -ldflags FLAGS -o FILE PACKAGE
    fake_go.write_text('#!/bin/sh\necho "$4" > "$6"\n', encoding="utf-8")
    fake_go.chmod(0o755)
    found = ensure_only(tool(version_flags="-X main.version={version}"))
    assert found.origins == {"hello": "built"}
    assert found.path("hello").read_text(encoding="utf-8").strip() == "-s -w -X main.version=v1.4.2"


def test_a_failed_build_says_what_go_said_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go = place / "path" / "go"
    fake_go.write_text("#!/bin/sh\necho 'example.com/hello: module not found' >&2\nexit 1\n", encoding="utf-8")
    fake_go.chmod(0o755)
    with pytest.raises(ToolMissing, match="module not found"):
        ensure_only(tool())
    assert cached(place) == []


def test_with_no_way_left_the_message_names_the_program_and_every_way(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Download(url=f"{place.as_uri()}/none.tgz", checksums=f"{place.as_uri()}/none")
    with pytest.raises(ToolMissing) as error:
        ensure_only(tool(download=nowhere))
    message = str(error.value)
    for part in ("hello v1.4.2", "not on PATH", "download failed", "no `go` on PATH", "make setup"):
        assert part in message


def test_every_pin_can_be_read_and_every_go_sum_is_there() -> None:
    for one in toolchain.ALL_TOOLS:
        assert one.version.startswith("v")
        assert (one.pin / "go.sum").stat().st_size > 0
        assert one.build_seconds.keys() == one.packages.keys()


def test_the_cache_lies_outside_the_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GPULAB_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert toolchain.cache_folder() == tmp_path / "gpulab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", os.fspath(tmp_path / "home"))
    assert toolchain.cache_folder() == tmp_path / "home" / ".cache" / "gpulab"


def test_a_folder_that_lost_a_program_is_made_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tool(download=release(place, b"program"))
    found = ensure_only(wanted)
    found.path("hello").unlink()
    assert ensure_only(wanted).path("hello").read_bytes() == b"program"


def test_a_broken_archive_is_built_instead(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tool(download=release(place, b"program"))
    (place / "hello-v1.4.2.tgz").write_bytes(b"no archive")
    digest = hashlib.sha256(b"no archive").hexdigest()
    (place / "SUMS").write_text(f"{digest}  hello-v1.4.2.tgz\n", encoding="utf-8")
    with pytest.raises(ToolMissing, match="download failed"):
        ensure_only(wanted)
