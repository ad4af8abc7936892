"""Official releases: asked for, downloaded, and compared with the checksums that were published with them."""

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
"""What was published with a release: by program, or for None with the archive of all."""


class NotToBeHad(Exception):
    """A release can't be downloaded; the message says why, after the name of a program and "not on PATH"."""


def get(url: str, waiting: Callable[[], None] = lambda: None) -> bytes:
    """What is at `url`. `waiting` is called with each piece that arrives; its exception ends it. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        pieces = []
        while piece := answer.read(_PIECE):
            pieces.append(piece)
            waiting()
        return b"".join(pieces)


def verify(url: str, content: bytes, published: str) -> None:
    """Compares a download with the checksum that was published for it. Raises ToolMissing."""
    file_name = url.rpartition("/")[2]
    lines = [line.split() for line in published.splitlines() if line.strip()]
    expected = [words[0] for words in lines if len(words) == 1 or words[-1].lstrip("*") == file_name]
    actual = hashlib.sha256(content).hexdigest()
    if actual not in expected:
        raise ToolMissing(
            f"{url} is not what its publisher signed for: its SHA-256 is {actual}, published is"
            f" {', '.join(expected) or 'nothing'}. Nothing was installed; try again, or put the program on PATH."
        )


class Releases:
    """The releases of tools. After the first that finds no network no other is asked for."""

    def __init__(self) -> None:
        self._no_network: str | None = None

    def checksums(self, tool: Tool) -> Checksums:
        """What was published with the tool's release, which says that there is one. Raises NotToBeHad."""
        if tool.download is None:
            raise NotToBeHad("it has no release that could be checked")
        if self._no_network:
            raise NotToBeHad(self._no_network)
        names = placeholders(tool.download.version_of or tool)
        programs = [None] if tool.download.archive else tool.programs
        try:
            return {one: get(tool.download.checksums.format(**names, program=one)).decode() for one in programs}
        except (urllib.error.HTTPError, http.client.HTTPException, UnicodeDecodeError) as error:
            raise NotToBeHad(f"its download failed ({error})") from error
        except OSError as error:
            self._no_network = f"its download failed ({getattr(error, 'reason', error)})"
            raise NotToBeHad(self._no_network) from error

    def fetch(self, tool: Tool, checksums: Checksums, folder: Path, waiting: Callable[[], None]) -> None:
        """Puts the programs of the tool's release into `folder`. `waiting` is called while they arrive.

        Raises NotToBeHad, and ToolMissing when what came is not what was published.
        """
        assert tool.download  # its checksums were published
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
            raise NotToBeHad(f"its download failed ({getattr(error, 'reason', error)})") from error


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
