"""The machine root: where it can't be made, and how commands are run in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.machine.tools import ToolMissing
from rehearsal.node import root


@pytest.mark.parametrize(
    ("system", "user", "programs", "said"),
    [
        ("darwin", 0, True, "on Linux only, not on darwin"),
        ("linux", 1000, True, "run the command as root"),
        ("linux", 0, False, "apt-get, dpkg-deb, perl, python3, unshare"),
    ],
)
def test_where_it_cannot_be_made_one_sentence_says_why(
    monkeypatch: pytest.MonkeyPatch, system: str, user: int, *, programs: bool, said: str
) -> None:
    monkeypatch.setattr(root.sys, "platform", system)
    monkeypatch.setattr(root.os, "geteuid", lambda: user)
    monkeypatch.setattr(root.shutil, "which", lambda name: f"/usr/bin/{name}" if programs else None)
    with pytest.raises(ToolMissing, match=said) as refused:
        root.refuse_without()
    assert len(str(refused.value).splitlines()) == 1


def test_a_command_writes_only_where_it_may(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPULAB_CACHE", str(tmp_path))
    binds = [root.Bind(Path("/some/source"), "/files"), root.Bind(Path("/some/out"), "/out", writable=True)]
    line = root.command_line(Path("/root-1"), ["gcc", "x.c"], binds=binds, network=False)
    assert "--net" in line
    before, _, after = " ".join(line).partition(" -- /usr/bin/env ")
    assert "/some/source /files ro /some/out /out rw" in before
    assert after.endswith("gcc x.c")
