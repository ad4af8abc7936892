"""Where no node can run, and a kubeconfig that is of no use: one sentence says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rehearsal import __main__ as command
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import given_cluster, namespaces


@pytest.mark.parametrize(
    ("system", "user", "programs", "status", "bridges", "said"),
    [
        ("darwin", 0, True, 0, True, "needs Linux, and this is darwin"),
        ("linux", 1000, True, 0, True, "needs root"),
        ("linux", 0, False, 0, True, "needs unshare and nsenter and pivot_root"),
        ("linux", 0, True, 1, True, r"root may not make here \(Operation not permitted\).*--privileged"),
        ("linux", 0, True, 0, False, "modprobe br_netfilter"),
    ],
)
def test_where_none_can_run_it_says_why(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    system: str,
    user: int,
    *,
    programs: bool,
    status: int,
    bridges: bool,
    said: str,
) -> None:
    tried = subprocess.CompletedProcess([], status, "", "Operation not permitted\n")
    monkeypatch.setattr(namespaces.sys, "platform", system)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: user)
    monkeypatch.setattr(namespaces.shutil, "which", lambda name, **_: f"/usr/bin/{name}" if programs else None)
    monkeypatch.setattr(namespaces.subprocess, "run", lambda *_, **__: tried)
    monkeypatch.setattr(namespaces, "_BRIDGES", tmp_path if bridges else tmp_path / "none")
    with pytest.raises(namespaces.NoNamespaces, match=said) as refused:
        namespaces.refuse_without()
    assert len(str(refused.value).splitlines()) == 1
    assert "--kubeconfig FILE" in str(refused.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"users: 3\nclusters: text\n", b"text", b""])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(given_cluster.ClusterUnusable, match=f"--kubeconfig {file}: "):
        given_cluster.connect(file, tmp_path / "rehearsal")


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--node", "--keep"], "none would join a stack that is kept"), (["--kubeconfig"], "must be existing")],
)
def test_what_is_not_for_a_stack_on_eks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    file = tmp_path / "config"
    file.touch()
    given = [*options, str(file)] if options == ["--kubeconfig"] else options
    assert command.main([str(PROJECT / "Pulumi.dev.yaml"), *given]) != 0
    printed = capsys.readouterr()
    assert said in " ".join((printed.out + printed.err).split())
