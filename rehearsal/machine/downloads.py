"""Downloads official releases and verifies them by their published checksums."""

from __future__ import annotations

import hashlib
import http.client
import io
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from .tools import Tool, ToolMissing, placeholders

_TIMEOUT_SECONDS = 10
_PIECE = 1 << 18  # bytes

Checksums = Mapping[str | None, str]
"""The published checksums of a release: by program, or under None for one archive of all programs."""


class ReleaseUnavailable(Exception):
    """A release cannot be downloaded. The message is the reason; it continues "PROGRAM: not on PATH, "."""


def get(url: str, waiting: Callable[[], None] = lambda: None) -> bytes:
    """Downloads `url`. `waiting` is called after each piece; its exception ends the download. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        pieces = []
        while piece := answer.read(_PIECE):
            pieces.append(piece)
            waiting()
        return b"".join(pieces)


def verify(url: str, content: bytes, published: str) -> None:
    """Compares a download with its published checksum. Raises ToolMissing."""
    file_name = url.rpartition("/")[2]
    lines = [line.split() for line in published.splitlines() if line.strip()]
    expected = [words[0] for words in lines if len(words) == 1 or words[-1].lstrip("*") == file_name]
    actual = hashlib.sha256(content).hexdigest()
    if actual not in expected:
        raise ToolMissing(
            f"the checksum of {url} is wrong: its SHA-256 is {actual}, published is"
            f" {', '.join(expected) or 'nothing'}. Nothing was installed. Try again, or put the program on PATH."
        )


class Releases:
    """The releases of tools. After the first failure of the network no further release is tried."""

    def __init__(self) -> None:
        self._no_network: str | None = None

    def checksums(self, tool: Tool) -> Checksums:
        """The published checksums of the tool's release, which prove that it exists. Raises ReleaseUnavailable."""
        if tool.download is None:
            raise ReleaseUnavailable("it has no release with a checksum")
        if self._no_network:
            raise ReleaseUnavailable(self._no_network)
        names = placeholders(tool.download.version_of or tool)
        programs = [None] if tool.download.archive else tool.programs
        try:
            return {name: get(tool.download.checksums.format(**names, program=name)).decode() for name in programs}
        except (urllib.error.HTTPError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise ReleaseUnavailable(f"its download failed ({error})") from error
        except OSError as error:
            self._no_network = f"its download failed ({getattr(error, 'reason', error)})"
            raise ReleaseUnavailable(self._no_network) from error

    def fetch(self, tool: Tool, checksums: Checksums, folder: Path, waiting: Callable[[], None]) -> None:
        """Downloads the programs of the tool's release into `folder`. `waiting` is called meanwhile.

        Raises ReleaseUnavailable, and ToolMissing for a wrong checksum.
        """
        assert tool.download  # it has checksums
        names = placeholders(tool.download.version_of or tool)
        try:
            for program, published in checksums.items():
                url = tool.download.url.format(**names, program=program)
                content = get(url, waiting)
                verify(url, content, published)
                if program:
                    install(folder / program, content)
                else:
                    _unpack(content, tool.programs, folder)
        except (OSError, http.client.HTTPException, tarfile.TarError, KeyError) as error:
            raise ReleaseUnavailable(f"its download failed ({getattr(error, 'reason', error)})") from error


def install(path: Path, content: bytes) -> None:
    """Writes a program."""
    path.write_bytes(content)
    path.chmod(0o755)


def _unpack(archive: bytes, programs: tuple[str, ...], folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = {Path(member.name).name: member for member in tar.getmembers() if member.isfile()}
        for program in programs:
            content = tar.extractfile(members[program])
            if content is not None:
                install(folder / program, content.read())
