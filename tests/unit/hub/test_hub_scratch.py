"""How full scratch is, as JupyterLab's notice reads it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from components.hub.inside import notebook_scratch
from components.hub.inside.notebook_scratch import used, write_use

pytestmark = pytest.mark.skipif(shutil.which("du") is None, reason="needs du, which every image has")

MIB = 1024**2


def test_what_files_take_is_counted_with_those_in_folders_and_links_once(tmp_path: Path) -> None:
    before = used(str(tmp_path))
    file = tmp_path / "deep" / "er" / "file"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\1" * 2 * MIB)
    (tmp_path / "again").hardlink_to(file)
    (tmp_path / "link").symlink_to(file)
    assert 2 * MIB <= used(str(tmp_path)) - before < 3 * MIB


def test_it_is_told_beside_the_size_that_the_notebook_has(tmp_path: Path) -> None:
    file = tmp_path / "scratch.json"
    for _ in range(2):
        write_use(file, str(tmp_path), 50)
        assert json.loads(file.read_text(encoding="utf-8"))["size"] == 50 * 1024**3
    assert [one.name for one in tmp_path.iterdir()] == [file.name]


def test_it_looks_as_long_as_the_server_lives_and_again_when_once_it_could_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, slept = tmp_path / "live" / "scratch.json", list[float]()
    tries = iter([OSError("No space left on device"), None])

    def once_not(*given: object) -> None:
        if problem := next(tries):
            raise problem
        write_use(*given)  # type: ignore[arg-type]

    server = 4711
    with (
        patch("components.hub.inside.notebook_scratch.os.getppid", side_effect=[server, server, server, 1]),
        patch("components.hub.inside.notebook_scratch.write_use", once_not),
        patch("components.hub.inside.notebook_scratch.time.sleep", slept.append),
    ):
        notebook_scratch.main(str(tmp_path), "50", str(place))
    assert "No space left on device" in capsys.readouterr().out
    assert json.loads(place.read_text(encoding="utf-8"))["size"] == 50 * 1024**3
    assert slept == [notebook_scratch.LOOK_SECONDS] * 2
