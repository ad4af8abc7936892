"""How a starting notebook checks its team's buckets, with an S3 that refuses what AWS refuses."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from hub_catalogue import NOON, choice, document

from components.hub.inside import notebook_buckets
from components.hub.inside.catalogue import parse
from components.hub.inside.pod import overrides

REFUSED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
LISTED = b"<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"
LONGEST_NOTIFICATION = 140
MINE, OTHERS, WHOLE = "s3://lab/research/", "s3://lab/vision/", "s3://corpus/"


class S3(BaseHTTPRequestHandler):
    """Lets the role list research/ in the bucket lab, and the whole bucket corpus."""

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        prefix = parse_qs(asked.query).get("prefix", [""])[0]
        may = asked.path.strip("/") == "corpus" or (asked.path.strip("/") == "lab" and prefix.startswith("research/"))
        self._answer(200 if may else 403, LISTED if may else REFUSED)

    def do_HEAD(self) -> None:
        self._answer(403, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), S3) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            monkeypatch.setenv(name, value)
        yield
        server.shutdown()


def tried(folder: Path, *addresses: str) -> dict[str, str]:
    place = folder / "live" / "buckets.json"
    notebook_buckets.main(addresses, str(place))
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}


@pytest.mark.usefixtures("s3")
def test_a_role_of_prefixes_is_not_asked_for_its_bucket_and_people_read_what_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = tried(tmp_path, MINE, WHOLE)
    said = capsys.readouterr().out
    assert found["level"] == "info"
    assert notebook_buckets.TEXT in found["text"]
    assert len(found["text"]) <= LONGEST_NOTIFICATION
    assert f"{MINE}: answers" in said
    for words in ("create_dir=False", "HeadBucket", "list_objects_v2", "s3fs"):
        assert words in said


@pytest.mark.usefixtures("s3")
def test_a_prefix_that_s3_refuses_is_named_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tried(tmp_path, MINE, OTHERS)
    assert (found["level"], "1 of your team's 2 prefixes" in found["text"]) == ("warning", True)
    assert f"{OTHERS}: An error occurred (AccessDenied)" in capsys.readouterr().out


@pytest.mark.usefixtures("s3")
def test_of_whole_buckets_nothing_is_said_of_prefixes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert notebook_buckets.TEXT not in tried(tmp_path, WHOLE)["text"]
    assert "create_dir" not in capsys.readouterr().out


def test_pyarrow_serves_where_there_is_no_botocore_and_lists_below_the_prefix(tmp_path: Path) -> None:
    fs: Any = ModuleType("pyarrow.fs")
    fs.FileSelector, fs.S3FileSystem = mock.Mock(), mock.Mock()
    missing = dict.fromkeys(("botocore.session", "botocore.config"))
    with mock.patch.dict(sys.modules, {**missing, "pyarrow": ModuleType("pyarrow"), "pyarrow.fs": fs}):
        assert tried(tmp_path, MINE)["level"] == "info"
    fs.FileSelector.assert_called_once_with("lab/research", allow_not_found=True)
    fs.S3FileSystem.return_value.get_file_info.assert_called_once_with(fs.FileSelector.return_value)


def test_an_image_without_either_says_so_and_tells_jupyterlab_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mock.patch.dict(sys.modules, dict.fromkeys(("botocore.session", "botocore.config", "pyarrow.fs"))):
        assert tried(tmp_path, MINE) == {}
    said = capsys.readouterr().out
    assert "that needs boto3 or pyarrow in the image" in said
    assert "pip install" not in said, "what people install is not looked at"


def test_notebooks_of_a_team_with_buckets_know_them_and_others_try_nothing() -> None:
    def started(reached: list[str]) -> tuple[str | None, bool]:
        changed = document()
        changed["teams"]["research"]["buckets"] = reached
        catalogue = parse(changed)
        made = overrides(catalogue, choice("research_python", catalogue=catalogue), NOON)
        limits = made["extra_annotations"]["files.gpulab.dev/limits"].replace("{{", "{").replace("}}", "}")
        return made["environment"].get("GPULAB_BUCKETS"), json.loads(limits)["buckets"]

    assert started([MINE, WHOLE]) == (f"{MINE} {WHOLE}", True)
    assert started([]) == (None, False)
